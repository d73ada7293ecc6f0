"""What the model judge sends to Anthropic and what it makes of the answers: the real SDK against a fake server."""

import asyncio
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from command_runs import fails, succeeds
from fake_anthropic import Config, FakeAnthropic, prompt_text, reply_text
from inspect_ai import eval as inspect_eval
from inspect_ai import score as inspect_score
from inspect_ai.model import GenerateConfig, get_model
from students import evaluated

from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.judge_logs.commands import texts_command
from cpt_tasks.lm_harness.documents import Settings
from cpt_tasks.lm_harness.judging import judge_responses
from cpt_tasks.scorer import rubric_judge
from judges import DEFAULT_JUDGE, ModelJudge, judge_model
from judges.cost import Prices, cost_usd, forecast, load_prices
from model_calls import CallStore, open_store
from model_calls.commands import calls_command
from rubrics import Rubric, load_rubrics
from rubrics.files import write_jsonl

RUBRICS = load_rubrics("measured")
RESPONSE = "The rain fell like a curtain over the square while the band went on playing as if nothing had happened."


def long(rubric: Rubric) -> Rubric:
    """The rubric with an objective that brings it to about 1,500 tokens."""
    return rubric.model_copy(update={"objective": "It is about how the text is written. " * 130})


def judge_all(store: CallStore, rubrics: list[Rubric], texts: list[str]) -> list[Any]:
    judge = ModelJudge(judge_model(get_model(DEFAULT_JUDGE, memoize=False)), store)

    async def run() -> list[Any]:
        tasks = [judge.judge(rubric, "Describe a square.", text) for rubric in rubrics for text in texts]
        return await asyncio.gather(*tasks, return_exceptions=True)

    return asyncio.run(run())


def test_one_call_per_rubric_warms_the_cache_and_input_costs_at_most_two_fifths(
    anthropic_server: FakeAnthropic, store: CallStore
) -> None:
    anthropic_server.config = Config(latency_seconds=0.05)
    texts = [" ".join([RESPONSE] * 23) + f" Text {number}." for number in range(32)]  # about 600 tokens
    outcomes = judge_all(store, [long(rubric) for rubric in RUBRICS], texts)
    assert not [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    # a mark on anything but the rubric's block, or a prefix that changes, would write at every request
    assert anthropic_server.stats.cache_writes == len(RUBRICS)
    assert anthropic_server.stats.cache_reads == 4 * 31
    usage: dict[str, int] = {}
    for outcome in outcomes:
        for kind in ("input_tokens", "input_tokens_cache_read", "input_tokens_cache_write"):
            usage[kind] = usage.get(kind, 0) + outcome.usage.get(kind, 0)
    plain = cost_usd(DEFAULT_JUDGE, {"input_tokens": sum(usage.values())})
    cached = cost_usd(DEFAULT_JUDGE, usage)
    assert cached is not None and plain is not None
    assert cached / plain <= 0.40


def test_an_unbound_grader_is_the_default_judge_and_never_the_student(
    anthropic_server: FakeAnthropic, mock_model: Any, tmp_path: Path
) -> None:
    student = mock_model(lambda _: RESPONSE)
    task = rubric_adherence("reverie", limit_per_cell=1, call_store=str(tmp_path / "calls.sqlite"))
    [log] = inspect_eval(task, model=student, display="none")
    assert log.status == "success", log.error
    assert len(student.seen) == 3
    metadata = [sample.scores["rubric_judge"].metadata or {} for sample in log.samples or [] if sample.scores]
    assert {fact["judge"] for fact in metadata} == {DEFAULT_JUDGE}
    assert {fact["prompt_version"] for fact in metadata} == {"3"}
    assert all(len(fact["prompt_hash"]) == 12 and fact["cost_usd"] > 0 for fact in metadata)


def test_what_failed_is_asked_again_after_forget_and_nothing_else(
    anthropic_server: FakeAnthropic, mock_model: Any, tmp_path: Path
) -> None:
    path, number = tmp_path / "calls.sqlite", iter(range(6))
    writer = mock_model(lambda _: f"{RESPONSE} Text {next(number)}.")
    log = evaluated(rubric_adherence("reverie", limit_per_cell=2, judge="measured"), writer, score=False)
    nonsense = {"Text 1.": 3, "Text 4.": 3, "Text 5.": 1}  # how often the judge talks nonsense about a text

    def reply(body: dict[str, Any]) -> str:
        for text in nonsense:
            if text in prompt_text(body) and nonsense[text]:
                nonsense[text] -= 1
                return "It is a nice text."
        return reply_text(body)

    def requests_and_unscored() -> tuple[int, int]:
        anthropic_server.reset()
        scored = inspect_score(log, rubric_judge(rubrics="reverie", call_store=str(path)), action="overwrite")
        scores = [sample.scores["rubric_judge"].as_float() for sample in scored.samples or [] if sample.scores]
        open_store(path).close()
        return anthropic_server.stats.requests, sum(map(math.isnan, scores))

    anthropic_server.reply = reply
    assert requests_and_unscored() == (3 * 1 + 2 * 3 + 2, 2)
    assert requests_and_unscored() == (0, 2)
    assert "forgot 6 of 11 replies" in succeeds(calls_command, "forget", path, "--failed")
    assert requests_and_unscored() == (2, 0)
    assert "forgot 0 of 7 replies" in succeeds(calls_command, "forget", path, "--failed")


def test_half_a_character_in_response_prompt_and_reason_is_judged_and_written(
    anthropic_server: FakeAnthropic, store: CallStore
) -> None:
    anthropic_server.reply = lambda body: reply_text(body).replace("Because", r"Half \ud83d, whole \ud83d\ude00,")
    judge = ModelJudge(judge_model(get_model(DEFAULT_JUDGE, memoize=False)), store)
    judgment = asyncio.run(judge.judge(RUBRICS[0], "Describe \ud800.", f"{RESPONSE} \udc00\ud83d\ude00"))
    assert f"{RESPONSE} \ufffd\U0001f600\n" in prompt_text(anthropic_server.bodies[0])
    assert judgment.criteria[0].reason == "Half \ufffd, whole \U0001f600, of a phrase in it."


def test_a_judge_of_another_scale_ends_a_run_in_one_sentence_leaves_no_score_and_is_paid_once(
    anthropic_server: FakeAnthropic, mock_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    anthropic_server.reply = lambda body: re.sub(r'"(holistic_)?score": \d+', r'"\1score": 8.5', reply_text(body))
    number = iter(range(100))
    task = rubric_adherence("reverie", limit_per_cell=8)
    [log] = inspect_eval(task, model=mock_model(lambda _: f"{RESPONSE} {next(number)}"), display="none")
    assert log.status == "error"
    assert "no score exceeds 10, as on a scale of 0 to 10, expected 0 to 100" in str(log.error)
    texts = ["Short.", *(f"{RESPONSE} {number}" for number in range(25))]  # no verdict on the first
    rows = [{"rubric": "reverie", "response": text} for text in texts]
    write_jsonl(tmp_path / "texts.jsonl", rows)
    anthropic_server.reset()
    command = ("texts.jsonl", "--judge", DEFAULT_JUDGE, "--store", "answered.sqlite", "--out", "judged.jsonl")
    for _ in range(2):  # a rerun asks for nothing that was answered
        message = fails(texts_command, *command)
        assert message.endswith("expected 0 to 100; take another judge; what was answered is kept ")
    kept = open_store(tmp_path / "answered.sqlite")
    assert 20 <= len(kept) == anthropic_server.stats.served.total()
    kept.close()
    document = {"rubric": "reverie", "user_prompt": "Describe."}
    asked = [(document, row["response"]) for row in rows]
    for repeats in (2, 1):
        settings = Settings(rubrics="reverie", judge_repeats=repeats)
        verdicts = [json.loads(one) for one in judge_responses(settings, asked)]
        assert {(one["score"], one["failure_mode"]) for one in verdicts} == {(None, "judge_stopped")}
    assert [one["response"] for one in verdicts] == [row["response"] for row in rows]


def test_the_settings_of_a_role_win_over_ours(anthropic_server: FakeAnthropic, store: CallStore) -> None:
    model = judge_model(get_model(DEFAULT_JUDGE, config=GenerateConfig(max_tokens=777), memoize=False))
    asyncio.run(ModelJudge(model, store).judge(RUBRICS[0], "Describe.", RESPONSE))
    assert anthropic_server.bodies[0]["max_tokens"] == 777


PRICES = Prices.model_validate(
    {
        "as_of": "2026-01-01",
        "batch": 0.5,
        "models": {"m": {"input": 2, "output": 10, "cache_write": 2.5, "cache_read": 0.2}},
    }
)


def test_costs_done_and_to_come_add_up_by_hand() -> None:
    usage = {"input_tokens": 1_000_000, "output_tokens": 100_000}
    usage |= {"input_tokens_cache_write": 400_000, "input_tokens_cache_read": 5_000_000}
    # 2 + 1 + 1 + 1
    assert cost_usd("anthropic/m", usage, prices=PRICES) == pytest.approx(5)
    assert cost_usd("anthropic/m", usage, batch=True, prices=PRICES) == pytest.approx(2.5)
    assert cost_usd("anthropic/unheard-of", usage, prices=PRICES) is None
    assert forecast(10, 40_000, 500, "unheard-of") == (10, {"input_tokens": 10_000, "output_tokens": 500}, None)


def test_prices_are_dated_and_a_broken_file_is_named(tmp_path: Path) -> None:
    assert load_prices().as_of.year >= 2026
    broken = tmp_path / "prices.yaml"
    broken.write_text("as_of: yesterday\n")
    with pytest.raises(ValueError, match=r"prices\.yaml: .*as_of"):
        load_prices(broken)
