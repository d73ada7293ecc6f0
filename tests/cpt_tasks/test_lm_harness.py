"""The benchmarks in lm_eval, driven through its real evaluator by a fake model, and their numbers beside inspect's."""

import json
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

pytest.importorskip("lm_eval")
from lm_eval import simple_evaluate
from lm_eval.api.model import LM
from lm_eval.tasks import TaskManager
from students import CALM, LIVELY, SHOUT, evaluated, shown_metrics

from cpt_tasks.benchmarks.best_of_n.report import summarise
from cpt_tasks.benchmarks.best_of_n.task import best_of_n
from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS, worst_wording_accuracy
from cpt_tasks.benchmarks.rubric_adherence.task import adherence_grid, rubric_adherence
from cpt_tasks.lm_harness import include_path
from cpt_tasks.lm_harness.documents import CannotRunError, load_documents
from cpt_tasks.lm_harness.lm_eval_private import sampled_as
from cpt_tasks.lm_harness.metrics import adherence_numbers
from cpt_tasks.lm_harness.task import chat_problem
from cpt_tasks.options import decoding_of
from cpt_tasks.report.logs import read_run
from judges.interval import jsonable
from rubrics import load_rubric
from rubrics.load import rubric_yaml

ADHERENCE, BEST = "cpt_rubric_adherence", "cpt_best_of_n"
TEXTS = {"low": CALM, "moderate": LIVELY, "extremely_high": SHOUT}


def answer(system: str, user: str, number: int = 0) -> str:
    """A text fixed by what is asked, of another level now and then."""
    levels = list(TEXTS)
    draw = sum(map(ord, system + user)) + number
    return f"{TEXTS[levels[draw % 3]]} {user} {'And on it goes. ' * (draw % 4)}"


def answer_or_nothing(system: str, user: str, number: int = 0) -> str:
    """As `answer`, and nothing now and then."""
    return "" if (sum(map(ord, user)) + number) % 4 == 0 else answer(system, user, number)


class FakeLM(LM):  # type: ignore[misc]  # lm_eval is not typed
    """Answers by a function; its chat template is a row of tags."""

    tokenizer_name = "fake"
    loglikelihood = loglikelihood_rolling = None
    tok_encode = staticmethod(str.split)
    max_length = 2000

    def __init__(
        self,
        drop: bool = False,
        fold: bool = False,
        padding: int = 0,
        reply: Callable[..., str] = answer,
        end: str = "",
    ) -> None:
        super().__init__()
        self.think_end_token = end  # with it the template opens a thought
        self.reply = reply
        self.drop, self.fold, self.padding = drop, fold, padding
        self._rank, self._world_size, self._device = 0, 1 + bool(padding), "cpu"
        self.prompts: list[str] = []

    def apply_chat_template(self, chat: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        if self.drop:
            chat = [message for message in chat if message["role"] != "system"]
        if self.fold and len(chat) > 1:
            chat = [{"role": "user", "content": "\n\n".join(message["content"] for message in chat)}]
        turns = "".join(f"<{message['role']}>{message['content']}</{message['role']}>" for message in chat)
        return turns + "<think>\n" * bool(self.think_end_token)

    def generate_until(self, requests: list[Any]) -> list[str]:
        self.prompts += [request.args[0] for request in requests]
        asked: Counter[int] = Counter()
        texts = []
        for request in requests:
            texts.append(self.reply(request.doc["system_prompt"], request.doc["user_prompt"], asked[id(request)]))
            asked[id(request)] += 1
        return texts

    def all_gather(self, count: Any) -> Any:
        import torch

        return torch.tensor([int(count), int(count) + self.padding])

    def gather_object(self, result: Any, dst: int = 0) -> list[Any]:
        return [result]


def evaluate(task: str = ADHERENCE, model: Any = None, metadata: dict[str, Any] | None = None, **options: Any) -> Any:
    settings = {"rubrics": "broadcast", "judge": "measured", "limit_per_cell": 1} | (metadata or {})
    manager = TaskManager(include_path=include_path(), include_defaults=False, metadata=settings)
    options = {"apply_chat_template": True} | options
    return simple_evaluate(model=model or FakeLM(), tasks=[task], task_manager=manager, **options)


def value(result: Any, name: str, task: str = ADHERENCE) -> float:
    return float(result["results"][task][f"{name},none"])


def test_the_documents_are_the_grid_of_the_inspect_task_each_with_a_system_turn_of_its_own() -> None:
    grid = adherence_grid("broadcast,reverie", limit_per_cell=2)
    model = FakeLM()
    result = evaluate(model=model, metadata={"rubrics": "broadcast,reverie", "limit_per_cell": 2})
    rows = result["samples"][ADHERENCE]
    prompts = {row["doc"]["id"]: prompt for row, prompt in zip(rows, model.prompts, strict=True)}
    for sample in grid:
        system, user = (message.text for message in sample.input)  # type: ignore[union-attr]
        assert prompts.pop(sample.id) == f"<system>{system}</system><user>{user}</user>"
    # every level of a user prompt stands together
    first = [(row["doc"]["rubric"], row["doc"]["level"]) for row in rows[:6]]
    assert first == [(rubric, level) for rubric in ("broadcast", "reverie") for level in TEXTS]
    assert len({row["doc"]["user_prompt_id"] for row in rows[:3]}) == 1
    # the judgment is in the samples, the settings in the results
    verdict = json.loads(rows[0]["filtered_resps"][0])
    assert verdict["response"] == rows[0]["resps"][0][0]
    assert [criterion["id"] for criterion in verdict["criteria"]] == ["excitement", "address", "brevity"]
    recorded = result["configs"][ADHERENCE]["metadata"]
    assert (recorded["judge"], recorded["rubrics"], recorded["levels"]) == ("measured", "broadcast,reverie", "all")


@pytest.mark.parametrize(
    ("task", "options", "decoding"),
    [
        (ADHERENCE, {}, "greedy, at most 1024 tokens"),
        (BEST, {}, "do_sample True, temperature 1.0, top_p 1.0, at most 1024 tokens"),
        (ADHERENCE, {"gen_kwargs": "do_sample=True,temperature=0.7,max_gen_toks=224"})
        + ("do_sample True, temperature 0.7, at most 224 tokens",),
    ],
)
def test_decoding_is_recorded_in_the_results_as_it_is_of_inspects_logs(
    task: str, options: dict[str, Any], decoding: str
) -> None:
    result = evaluate(task, metadata={"n_samples": 2, "levels": "low"}, **options)
    assert result["configs"][task]["metadata"]["decoding"] == decoding


def test_the_same_responses_get_the_same_numbers_in_both_harnesses(mock_model: Callable[..., Any]) -> None:
    metadata = {"rubrics": "broadcast,reverie", "limit_per_cell": 6}
    student = mock_model(lambda messages: answer_or_nothing(messages[0].text, messages[1].text))
    log = evaluated(rubric_adherence(**metadata, judge="measured"), student)
    result = evaluate(model=FakeLM(reply=answer_or_nothing), metadata=metadata)
    shown = shown_metrics(log)
    assert shown.pop("n_scored") == value(result, "n_scored") == 36
    # the texts are worth comparing, and the user prompts are enough for an interval
    assert 0 < shown["macro_accuracy_ci_low"] < shown["macro_accuracy"] < 1
    for name, expected in shown.items():  # headline statistics with the ends of their intervals
        assert value(result, name) == pytest.approx(expected, abs=0, nan_ok=True), name
    rows = read_run(log.location).asked
    assert value(result, "no_response") == (rows["response"] == "").mean() > 0
    for name, statistic in STATISTICS.items():
        assert jsonable(value(result, name)) == jsonable(statistic(rows)), name  # as summary.json holds it
    assert jsonable(value(result, "worst_wording_accuracy")) == jsonable(worst_wording_accuracy(rows))
    responses = {row["doc"]["id"]: row["resps"][0][0] for row in result["samples"][ADHERENCE]}
    assert responses == {sample.id: sample.output.completion for sample in log.samples or []}


@pytest.mark.slow
def test_a_judgment_paid_for_in_one_harness_is_free_in_the_other(
    mock_model: Callable[..., Any], anthropic_server: Any, tmp_path: Path
) -> None:
    anthropic_server.config.latency_seconds = 0.2
    store = {"call_store": str(tmp_path / "calls.sqlite")}
    result = evaluate(metadata={"judge": "model", "limit_per_cell": 2} | store)
    assert value(result, "judge_failed") == 0
    paid = anthropic_server.stats.requests
    assert paid == len({row["resps"][0][0] for row in result["samples"][ADHERENCE]})
    assert anthropic_server.stats.peak_in_flight > 1
    again = evaluate(metadata={"judge": "anthropic/claude-sonnet-5-5", "limit_per_cell": 2} | store)
    student = mock_model(lambda messages: answer(messages[0].text, messages[1].text))
    log = evaluated(rubric_adherence("broadcast", limit_per_cell=2, **store), student)
    assert anthropic_server.stats.requests == paid
    error = shown_metrics(log)["band_error"]
    assert [value(run, "band_error") for run in (result, again)] == pytest.approx([error, error])


def test_a_judge_that_fails_leaves_a_document_unscored_and_never_a_number(
    anthropic_server: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    low, moderate, _ = (wordings.heldout[0] for wordings in load_rubric("broadcast").system_prompts.values())
    valid = anthropic_server.reply

    def reply(body: dict[str, Any]) -> Any:
        if moderate in str(body):
            raise web.HTTPForbidden  # not retried
        return "I would rather not say." if low in str(body) else valid(body)

    anthropic_server.reply = reply
    model = FakeLM()
    model.generate_until = lambda requests: [  # type: ignore[method-assign]
        f"{request.doc['system_prompt']} {TEXTS['moderate']}" for request in requests
    ]
    result = evaluate(model=model, metadata={"judge": "model", "call_store": str(tmp_path / "calls.sqlite")})
    assert (value(result, "judge_failed"), value(result, "n_scored")) == (pytest.approx(2 / 3), 1)
    rows = {row["doc"]["level"]: json.loads(row["filtered_resps"][0]) for row in result["samples"][ADHERENCE]}
    failures = {level: (row["score"], row["failure_mode"]) for level, row in rows.items() if row["score"] is None}
    assert failures == {"low": (None, "malformed_json"), "moderate": (None, "call_failed")}
    assert "failed on 2 of 3 responses, which stay unscored (1 malformed_json, 1 call_failed)" in caplog.text
    assert math.isnan(adherence_numbers(())["macro_accuracy"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"apply_chat_template": False}, "pass --apply_chat_template"),
        ({"system_instruction": "Be nice."}, "--system_instruction would stand before the"),
        ({"cache_requests": True}, "--cache_requests would replay"),
        ({"model": {"drop": True}}, "the chat template leaves out the system turn"),
        ({"model": {"fold": True}}, "the chat template folds the system prompt into the user turn"),
        ({"model": {"end": "</think>"}}, "the chat template opens a thought, of which think_end_token would leave"),
        ({"gen_kwargs": "max_tokens=224"}, "--gen_kwargs max_tokens: give max_gen_toks"),
        ({"gen_kwargs": "max_gen_toks=1995"}, "would be cut off; pass --gen_kwargs max_gen_toks="),
        ({"metadata": {"judges": "measured"}}, "--metadata judges: unknown, expected one of call_store, judge, "),
        ({"metadata": {"judge": "gpt"}}, "--metadata judge: Model name 'gpt' should be in the format"),
        ({"metadata": {"rubrics": "nope"}}, "--metadata: rubric 'nope' not found"),
        ({"metadata": {"levels": "medium"}}, "--metadata: levels: got 'medium'"),
        ({"metadata": {"limit_per_cell": 0}}, "--metadata limit_per_cell: got 0, expected"),
        ({"metadata": {"judge": "model"}}, "^ANTHROPIC_API_KEY is not set and the judge is anthropic/claude-.*; bind"),
        ({"metadata": {"rubrics": "tone_irony"}}, "has no measure"),
        ({"task": BEST, "metadata": {"wordings": 2}}, "--metadata wordings: got 2, expected 1 for cpt_best_of_n"),
    ],
)
def test_what_cannot_be_or_would_lose_the_system_turn_is_said_before_anything_is_generated(
    options: dict[str, Any], message: str
) -> None:
    model = FakeLM(**options.get("model", {}))
    with pytest.raises(CannotRunError, match=message):
        evaluate(**(options | {"model": model}))
    assert model.prompts == []


def test_a_chat_for_an_api_needs_a_system_message_of_its_own() -> None:
    document = load_documents(rubrics="broadcast", limit_per_cell=1)["test"][0]
    system = {"role": "system", "content": document["system_prompt"]}
    user = {"role": "user", "content": document["user_prompt"]}
    rendered = SimpleNamespace(prompt=json.dumps([system, user]))  # as lm_eval's JsonChatStr
    assert chat_problem(document, rendered, list) == chat_problem(document, [system, user], list) == ""
    both = {"role": "user", "content": f"{system['content']}\n\n{user['content']}"}
    assert "gives the turns ['user'], expected system and user" in chat_problem(document, [both], list)


def test_decoding_is_that_of_the_model_where_lm_eval_changes_it() -> None:
    model = type("OpenAIChatCompletion", (), {"model": "gpt-4.1-2025-04-14"})()
    greedy = {"do_sample": False, "temperature": 0.0}
    assert decoding_of(sampled_as(model, greedy)) == "temperature 1"
    assert decoding_of(sampled_as(FakeLM(), greedy)) == "greedy"


def test_a_rubric_that_is_edited_meanwhile_judges_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(rubric_yaml(load_rubric("broadcast").model_copy(update={"id": "mine"})))

    class Slow(FakeLM):
        def generate_until(self, requests: list[Any]) -> list[str]:
            path.write_text("no rubric")
            return super().generate_until(requests)

    result = evaluate(model=Slow(), metadata={"rubrics": str(path), "limit_per_cell": 1})
    for row in result["samples"][ADHERENCE]:
        assert json.loads(row["filtered_resps"][0])["rubric_hash"] == row["doc"]["rubric_hash"]


def test_predict_only_asks_no_judge_and_needs_no_key() -> None:
    result = evaluate(metadata={"judge": "model"}, predict_only=True)
    assert all(row["filtered_resps"] == row["resps"][0] for row in result["samples"][ADHERENCE])


@pytest.mark.parametrize("padding", [0, 1])
def test_best_of_n_is_exact_from_n_samples_also_when_a_process_is_padded(padding: int) -> None:
    result = evaluate(BEST, FakeLM(padding=padding), metadata={"n_samples": 3, "limit_per_cell": 2})
    assert {len(row[key][0]) for row in result["samples"][BEST] for key in ("resps", "filtered_resps")} == {3}
    # every document's three texts are one of each level: in its band 1 of 3 times at k = 1 and always at k = 3;
    # of the 3 pairs, 2 hold the hit
    hits = [value(result, f"band_hit@{k}", BEST) for k in (1, 2, 3)]
    assert hits == pytest.approx([1 / 3, 2 / 3, 1])
    assert value(result, "n_distinct", BEST) == 3
    assert value(result, "band_hit@2_stderr", BEST) == pytest.approx(0)


def test_best_of_n_has_the_numbers_of_the_report_of_the_inspect_task(mock_model: Callable[..., Any]) -> None:
    settings: dict[str, Any] = {"rubrics": "broadcast,reverie", "limit_per_cell": 2}
    asked: Counter[tuple[str, str]] = Counter()

    def reply(messages: list[Any]) -> str:
        turns = (messages[0].text, messages[1].text)
        asked[turns] += 1
        return answer_or_nothing(*turns, asked[turns] - 1)

    log = evaluated(best_of_n(n=4, judge="measured", **settings), mock_model(reply))
    summary = summarise(read_run(log.location), seed=0)
    result = evaluate(BEST, FakeLM(reply=answer_or_nothing), metadata=settings | {"n_samples": 4})
    assert value(result, "no_response", BEST) == 1 / 4
    for name, estimate in summary["metrics"].items():
        assert jsonable(value(result, name, BEST)) == estimate["value"], name
    compared = 0
    for point in summary["curves"]:
        name = f"{point['level']}_{point['statistic']}@{point['k']}"
        if f"{name},none" in result["results"][BEST]:
            assert jsonable(value(result, name, BEST)) == point["value"], name
            compared += 1
    assert compared == 3 * 2 * 3
    assert jsonable(value(result, "n_distinct", BEST)) == summary["distinct_responses"]


def test_the_standard_error_is_the_jackknifes_and_nan_with_one_prompt() -> None:
    # prompt p is right and q is wrong: 1 without q and 0 without p, sqrt(1/2 (1/4 + 1/4)) = 1/2
    scores = {("low", "p"): 10.0, ("moderate", "p"): 60.0, ("low", "q"): 60.0, ("moderate", "q"): 10.0}
    items = tuple((n, "r", *where, "heldout-0", score, 50, "") for n, (where, score) in enumerate(scores.items()))
    numbers = adherence_numbers(items)
    assert (numbers["macro_accuracy"], numbers["macro_accuracy_stderr"]) == (0.5, pytest.approx(0.5))
    numbers = adherence_numbers((*items[:2], (9, "r", "low", "s", "heldout-0", None, 50, "")))
    assert numbers["macro_accuracy"] == 1
    assert math.isnan(numbers["macro_accuracy_stderr"])
