"""A chain of thought before the answer: no judge reads it, no length counts it, and its own length is kept."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_runs import succeeds
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from inspect_ai import Task
from inspect_ai import score as inspect_score
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, ContentReasoning, ContentText, ModelOutput
from students import CALM, CALM_SCORE, SHOUT, asked, evaluated, follows, reported, shown_metrics

from cpt_tasks.benchmarks.best_of_n.task import best_of_n
from cpt_tasks.benchmarks.composition.task import composition
from cpt_tasks.benchmarks.dose_response.task import dose_response
from cpt_tasks.benchmarks.drift.task import drift
from cpt_tasks.benchmarks.paraphrase_robustness.task import paraphrase_robustness
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.judge_logs.commands import texts_command
from cpt_tasks.judge_logs.spend import judged_texts
from cpt_tasks.lm_harness.documents import Settings, load_documents
from cpt_tasks.lm_harness.judging import judge_responses
from cpt_tasks.report.logs import read_run
from cpt_tasks.report.report import write_report
from cpt_tasks.scorer import rubric_judge
from model_calls.visible import THOUGHT_OPENED

WORDS = 150
THOUGHT = "you! " * WORDS  # of the highest score if it were judged
THINKING = f"<think>\n{THOUGHT}\n</think>\n\n{{}}"


def run(reply: Callable[[list[Any]], str], mock_model: Callable[..., Any], **parameters: Any) -> EvalLog:
    return evaluated(rubric_adherence("broadcast", judge="measured", limit_per_cell=6, **parameters), mock_model(reply))


def test_a_student_that_thinks_gets_the_numbers_of_one_that_does_not(mock_model: Callable[..., Any]) -> None:
    plain = run(follows, mock_model)
    thinking = run(lambda messages: THINKING.format(follows(messages)), mock_model)
    assert shown_metrics(thinking) == pytest.approx(shown_metrics(plain), nan_ok=True)
    frames = [read_run(log.location).frame for log in (plain, thinking)]
    for column in ("score", "words", "response"):
        assert frames[0][column].tolist() == frames[1][column].tolist(), column
    assert [set(frame["thought_words"]) for frame in frames] == [{0}, {WORDS}]
    # the log keeps it
    assert THOUGHT.strip() in (thinking.samples or [])[0].output.completion


@pytest.mark.slow
def test_a_report_says_how_long_a_student_thinks(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    log = run(lambda messages: THINKING.format(follows(messages)), mock_model)
    summary, report, output = reported(tmp_path / "report", log.location)
    line = "student: mean chain of thought 150 words, which no judge read"
    assert f"- {line}" in report and line in output
    assert summary["models"][0]["tasks"]["rubric_adherence"]["thought_words"] == WORDS
    assert read_run(run(follows, mock_model).location).remarks == []


def test_a_thought_that_the_template_opened_and_a_limit_cut_off_is_no_response(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    log, path = run(lambda _: CALM, mock_model, levels="low"), str(tmp_path / "x.eval")
    for sample in log.samples or []:
        sample.metadata, sample.scores = sample.metadata | {THOUGHT_OPENED: "by the template"}, {}
    write_eval_log(inspect_score(log, rubric_judge("measured"), display="none"), path)
    assert read_run(path).no_response.total() == 6


def test_a_thought_that_never_ends_is_no_response(mock_model: Callable[..., Any]) -> None:
    log = run(lambda _: f"<think>{CALM}", mock_model)
    run_ = read_run(log.location)
    assert run_.no_response.total() == len(run_.frame) == 18
    assert shown_metrics(log)["macro_accuracy"] == 0
    assert judged_texts([log.location]) == []


TWO = "broadcast,labyrinth"
EVERY: dict[str, Callable[[], Task]] = {
    "rubric_adherence": lambda: rubric_adherence(TWO, judge="measured", limit_per_cell=1, also=TWO),
    "best_of_n": lambda: best_of_n(2, TWO, judge="measured", limit_per_cell=1),
    "dose_response": lambda: dose_response(TWO, judge="measured", limit_per_cell=1),
    "composition": lambda: composition(TWO, judge="measured", limit_per_cell=1),
    "paraphrase_robustness": lambda: paraphrase_robustness(TWO, judge="measured", limit_per_cell=1, position="both"),
    "drift": lambda: drift(TWO, judge="measured", limit_per_family=1),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_student_that_only_thinks_has_a_report_of_every_benchmark(
    name: str, mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    log = evaluated(EVERY[name](), mock_model(lambda _: f"<think>{THOUGHT}"))
    summary, _, _ = reported(tmp_path, log.location, draw=True)
    part = summary["models"][0]["tasks"][name]
    assert part["thought_words"] == WORDS
    shares = ("macro_accuracy", "mean_accuracy", "band_hit", "both_right", "monotone_share")
    values = {one["value"] for metric, one in part["metrics"].items() if any(share in metric for share in shares)}
    assert values == ({0} if name != "drift" else set())


@pytest.mark.slow
def test_a_report_draws_what_there_is_where_a_student_answers_now_and_then(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    replies = {("broadcast", "low"): CALM}
    for name in ("rubric_adherence", "dose_response", "drift", "composition"):
        silent = evaluated(EVERY[name](), mock_model(lambda _: ""))
        seldom = mock_model(lambda messages: replies.get((asked(messages) or [("", "")])[0], ""), name="seldom")
        speaks = evaluated(EVERY[name](), seldom if name == "rubric_adherence" else mock_model(follows, name="speaks"))
        reported(tmp_path / name, silent.location, speaks.location, draw=True)
        assert list((tmp_path / name).glob("*.png"))


def test_blocks_of_reasoning_are_a_thought_and_an_old_log_is_scored_anew(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    log = run(lambda _: CALM, mock_model, levels="low")
    for number, sample in enumerate(log.samples or []):
        text = f"<think>{THOUGHT}</think>{CALM}"  # of a local model, as version 0.1 judged it
        blocks = [ContentReasoning(reasoning=THOUGHT), ContentText(text=CALM)]  # of a provider
        sample.output.choices[0].message.content = text if number % 2 else blocks
        sample.output.completion = text if number % 2 else CALM
    path = str(tmp_path / "old.eval")
    write_eval_log(log, path)
    with pytest.raises(ValueError, match="old.eval, sample 'broadcast-low-.* was judged with its chain of thought"):
        read_run(path)
    for sample in log.samples or []:
        sample.scores = {}
    write_eval_log(log, path)
    write_eval_log(inspect_score(read_eval_log(path), rubric_judge("measured"), display="none"), path)
    frame = read_run(path).frame
    assert set(frame["score"]) == {CALM_SCORE}
    assert set(frame["thought_words"]) == {WORDS}
    assert {text.response for text in judged_texts([path])} == {CALM.strip(), CALM}


def test_different_thoughts_before_one_answer_are_one_response(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    replies = iter(f"<think>{number}</think>{SHOUT}" for number in range(100))
    task = best_of_n(2, "broadcast", "extremely_high", judge="measured", limit_per_cell=2)
    log = evaluated(task, mock_model(lambda _: next(replies)))
    summary, _, _ = reported(tmp_path, log.location)
    part = summary["models"][0]["tasks"]["best_of_n"]
    assert (part["distinct_responses"], part["metrics"]["band_hit@1"]["value"]) == (1, 1)


def test_lm_eval_and_texts_of_a_file_are_judged_without_their_thoughts(tmp_path: Path) -> None:
    pytest.importorskip("lm_eval")
    document = load_documents(rubrics="broadcast", limit_per_cell=1)["test"][0]
    text = f"<think>{THOUGHT}</think>\n{CALM}"
    settings = Settings(judge="measured", rubrics="broadcast")
    verdict, empty = map(json.loads, judge_responses(settings, [(document, text), (document, f"<think>{THOUGHT}")]))
    shown = [verdict[name] for name in ("score", "response", "words", "thought_words")]
    assert shown == [CALM_SCORE, CALM.strip(), len(CALM.split()), WORDS]
    assert (empty["reason"], empty["words"], empty["thought_words"]) == ("no_response", 0, WORDS)
    [cut] = map(json.loads, judge_responses(settings, [(document | {THOUGHT_OPENED: "by the template"}, CALM)]))
    assert cut["reason"] == "no_response"
    path, out = tmp_path / "texts.jsonl", tmp_path / "judged.jsonl"
    path.write_text(json.dumps({"rubric": "broadcast", "response": text}) + "\n")
    succeeds(texts_command, path, "--out", out)
    row = json.loads(out.read_text())
    assert (row["score"], row["response"]) == (CALM_SCORE, text)
    assert not math.isnan(row["score"])


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(), min_size=1, max_size=60), st.text(st.characters(), max_size=60))
@example("</script><script>alert(1)//", "\ud83d half \u2028 <!--")
def test_any_text_goes_through_judge_report_and_page_and_changes_no_other_row(
    mock_model: Callable[..., Any], tmp_path: Path, prompt: str, text: str
) -> None:
    log = run(lambda _: CALM, mock_model, levels="low")
    [sample, *others] = log.samples or []
    expected = {str(one.id): one.output.completion for one in others}
    sample.output = ModelOutput.from_content("student", f"{SHOUT} {text}")
    sample.input = [ChatMessageSystem(content=prompt), ChatMessageUser(content=prompt)]
    scored = inspect_score(log, rubric_judge("measured"), action="overwrite", display="none")
    path = str(tmp_path / "odd.eval")
    write_eval_log(scored, path)
    judged = read_run(path)
    write_report([judged], tmp_path)
    rows = judged.frame.set_index("sample_id")
    assert rows.loc[list(expected), "response"].to_dict() == expected
    assert set(rows.loc[list(expected), "score"]) == {CALM_SCORE}
    assert 0 <= rows.loc[str(sample.id), "score"] <= 100
    (tmp_path / "report.html").read_text(encoding="utf-8")
