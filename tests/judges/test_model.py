"""The model judge and panels: what counts, what is asked again, what fails. Only the model call is faked."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from verdicts import RESPONSE, verdict

from judges import JudgeFailure, ModelJudge, Panel
from judges.judgment import weighted_total
from model_calls import CallStore
from rubrics import load_rubric

RUBRIC = load_rubric("reverie")  # comparison 55 %, sensation 45 %


def ask(judge: Any, response: str = RESPONSE) -> Any:
    return asyncio.run(judge.judge(RUBRIC, "Describe a street.", response))


def replying(*replies: str) -> Callable[[Any], str]:
    rest = iter(replies)
    return lambda messages: next(rest)


def test_the_score_is_the_weighted_total_computed_by_us_or_the_judges_own_and_both_are_kept(
    mock_model: Callable[..., Any], store: CallStore
) -> None:
    model = mock_model(lambda _: verdict(80, 60, holistic=99))
    judgment = ask(ModelJudge(model, store))
    assert judgment.score == judgment.total == pytest.approx(0.55 * 80 + 0.45 * 60)
    assert [(c.id, c.score, c.reason) for c in judgment.criteria] == [
        ("comparison", 80, "One simile."),
        ("sensation", 60, "Two senses."),
    ]
    assert (judgment.attempts, judgment.usage["output_tokens"], judgment.rubric_hash) == (1, 5, RUBRIC.hash)
    assert (judgment.judge, judgment.protocol, judgment.holistic) == ("mockllm/student", "criteria", 99)
    own = ask(ModelJudge(model, store, protocol="holistic"))
    assert (own.score, own.total, own.protocol) == (99, pytest.approx(71), "holistic")


@pytest.mark.parametrize("level", [40, 100])
def test_a_weighted_total_of_equal_scores_is_that_score_whatever_the_weights(level: float) -> None:
    criterion = RUBRIC.criteria[0]
    criteria = tuple(
        criterion.model_copy(update={"id": f"c{weight}", "weight": weight}) for weight in (3.02, 17.19, 79.79)
    )
    rubric = RUBRIC.model_copy(update={"criteria": criteria})
    assert weighted_total(rubric, {criterion.id: level for criterion in criteria}) == level


def test_a_bad_reply_is_asked_again_and_a_second_run_reads_the_store(
    mock_model: Callable[..., Any], store: CallStore
) -> None:
    model = mock_model(replying("nonsense", verdict(101), verdict(90, 90)))
    first, second = (ask(ModelJudge(model, store)) for _ in range(2))
    assert len(model.seen) == 3
    assert len({str([message.content for message in messages]) for messages in model.seen}) == 1  # the same question
    assert (first.score, first.attempts, first.usage["output_tokens"]) == (pytest.approx(90), 3, 15)
    assert (first.score, first.attempts, first.usage) == (second.score, second.attempts, second.usage)


def test_a_judge_that_fails_three_times_fails_again_without_a_call(
    mock_model: Callable[..., Any], store: CallStore
) -> None:
    model = mock_model(lambda _: "nonsense")
    for _ in range(2):
        with pytest.raises(JudgeFailure) as failure:
            ask(ModelJudge(model, store))
        assert (failure.value.mode, failure.value.attempts) == ("malformed_json", 3)
        assert failure.value.usage["output_tokens"] == 15
    assert len(model.seen) == 3


@pytest.mark.parametrize(("stop_reason", "mode"), [("content_filter", "refusal"), ("max_tokens", "truncated")])
def test_a_refused_or_cut_reply_is_not_read_even_if_it_parses(
    stop_reason: str, mode: str, mock_model: Callable[..., Any], store: CallStore
) -> None:
    model = mock_model(lambda _: verdict(), stop_reason=stop_reason)
    with pytest.raises(JudgeFailure) as failure:
        ask(ModelJudge(model, store))
    assert failure.value.mode == mode
    assert len(model.seen) == (1 if mode == "refusal" else 3)  # a refusal is final


def test_a_short_response_scores_0_without_a_call(mock_model: Callable[..., Any], store: CallStore) -> None:
    model = mock_model(lambda _: verdict())
    judgment = ask(ModelJudge(model, store, protocol="holistic"), "Too short.")
    assert (judgment.score, judgment.reason, judgment.protocol, model.seen) == (0, "no_response", "holistic", [])
    assert len(judgment.judge_hash) == len(judgment.prompt_hash) == 12


@pytest.mark.parametrize("word", ["река", "河", "نهر", "ｒｉｖｅｒ"])
def test_a_response_in_any_script_is_read(word: str, mock_model: Callable[..., Any], store: CallStore) -> None:
    model = mock_model(lambda _: verdict())
    judgment = ask(ModelJudge(model, store), f"{word} " * 100)
    assert (judgment.reason, len(model.seen)) == ("", 1)


def test_an_empty_store_is_used_and_not_taken_for_none(
    mock_model: Callable[..., Any], store: CallStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ask(ModelJudge(mock_model(lambda _: verdict()), store))
    assert len(store) == 1
    assert not (tmp_path / "calls").exists()


def test_a_panel_takes_mean_or_median_over_judges_of_all_headlines(
    mock_model: Callable[..., Any], store: CallStore
) -> None:
    models = [mock_model(lambda _, x=x: verdict(x, x, x + 10), name=f"judge{x}") for x in (0, 30, 90)]
    seats = [[ModelJudge(model, store)] for model in models]
    mean, median = ask(Panel(seats, "mean")), ask(Panel(seats, "median"))
    assert (mean.score, mean.total, mean.holistic) == (pytest.approx(40), pytest.approx(40), pytest.approx(50))
    assert median.score == pytest.approx(30)
    assert mean.judge == "mean(mockllm/judge0, mockllm/judge30, mockllm/judge90)"


def test_a_panel_without_one_of_its_judges_gives_no_score(mock_model: Callable[..., Any], store: CallStore) -> None:
    replies = {"good": verdict(), "bad": "nonsense"}
    seats = [
        [ModelJudge(mock_model(lambda _, reply=reply: reply, name=name), store)] for name, reply in replies.items()
    ]
    with pytest.raises(JudgeFailure) as failure:
        ask(Panel(seats))
    # one reply of the good judge and three of the bad one; what worked is not lost
    assert (failure.value.mode, failure.value.attempts) == ("malformed_json", 4)
    assert [(rating.seat, rating.score is None) for rating in failure.value.ratings] == [(0, False), (1, True)]
