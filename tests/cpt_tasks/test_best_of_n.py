"""`best_of_n`: the closed form against every subset, curves by hand, and what the report says of its logs."""

import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.scorer import Score
from scipy import stats
from students import CALM, CALM_SCORE, SHOUT, evaluated, in_turn, reported, shown_metrics, unscore, verdict

from cpt_tasks.benchmarks.best_of_n.report import _saved_row, samples_needed
from cpt_tasks.benchmarks.best_of_n.statistics import (
    CELL,
    VALUES,
    best_of_k_cells,
    curve_sizes,
    level_curves,
    quality,
    selection_shares,
)
from cpt_tasks.benchmarks.best_of_n.task import best_of_n, selection_judge
from cpt_tasks.judge_logs.spend import score_commands
from cpt_tasks.report.logs import read_run
from cpt_tasks.report.report import summarise
from cpt_tasks.report.run import Run
from cpt_tasks.scorer import rubric_judge
from judges import JudgeSettings, Judgment
from rubrics import ScoreLevel

NAN = math.nan
LOW, MODERATE, HIGH = LEVELS = list(ScoreLevel)
# a coarse grid, so that ties and the edges 40 and 92.5 are common
SCORES = st.lists(st.sampled_from([0.0, 20, 39, 40, 40.5, 66, 92.5, 93, 100]), min_size=1, max_size=7)


def over_all_subsets(values: list[float], qualities: list[float], k: int) -> float:
    """The same by enumeration: in each subset the mean of those that tie for the best."""
    means = []
    for subset in combinations(range(len(values)), k):
        best = max(qualities[i] for i in subset)
        means.append(np.mean([values[i] for i in subset if qualities[i] == best]))
    return float(np.mean(means))


def test_the_best_of_two_of_three_by_hand() -> None:
    # v_(i) C(i-1, 1) / C(3, 2)
    assert selection_shares([10, 20, 60], 2) == pytest.approx([0, 1 / 3, 2 / 3])
    # of 3 pairs of (A 5, B 5, C 1): AB is a coin, AC is A, BC is B
    assert selection_shares([5, 5, 1], 2) == pytest.approx([0.5, 0.5, 0])
    # large n do not overflow
    assert selection_shares(list(range(2000)), 1000)[-1] == pytest.approx(0.5)
    assert (curve_sizes(16), curve_sizes(6)) == ([1, 2, 4, 8, 16], [1, 2, 4, 6])


@given(SCORES, st.sampled_from(LEVELS), st.data())
def test_the_closed_form_equals_all_subsets_with_ties(
    scores: list[float], level: ScoreLevel, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(scores)))
    qualities = [quality(level, score) for score in data.draw(st.permutations(scores))]
    for value in VALUES.values():
        values = [value(level, score) for score in scores]
        expected = over_all_subsets(values, qualities, k)
        assert selection_shares(qualities, k) @ np.array(values) == pytest.approx(expected)


def test_exactly_40_loses_to_a_hit_at_moderate_and_beats_a_miss() -> None:
    assert quality(MODERATE, 39) < quality(MODERATE, 40) < quality(MODERATE, 40.1) == quality(MODERATE, 92.5)
    assert quality(LOW, 40) == quality(LOW, 0) > quality(LOW, 41)
    assert quality(HIGH, 93) < quality(HIGH, 100)


def cells_of(*cells: tuple[str, ScoreLevel, str, list[float]], n: int) -> pd.DataFrame:
    """Cells of (rubric, level, user prompt, scores)."""
    rows = [(rubric, level.value, prompt, score) for rubric, level, prompt, scores in cells for score in scores]
    return best_of_k_cells(pd.DataFrame(rows, columns=[*CELL, "score"]).assign(reason=""), n)


@pytest.mark.parametrize("level", LEVELS)
def test_a_sample_without_a_response_is_never_a_hit_and_loses_to_every_other_one(level: ScoreLevel) -> None:
    hit, miss = level.midpoint, 66 if level is not MODERATE else 20
    rows = [("r", level.value, prompt, score) for prompt, score in (("a", 0), ("a", hit), ("a", miss), ("b", 0))]
    frame = pd.DataFrame(rows, columns=[*CELL, "score"]).assign(reason=["no_response", "", "", "no_response"])
    first, second = best_of_k_cells(frame, 3).to_dict("records")
    # of k = 1 each; of the pairs two hold the hit
    assert [first[f"band_hit@{k}"] for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])
    # of the selected responses: hit or miss; 2 of 3 pairs select the hit, one the miss
    assert [first[f"score@{k}"] for k in (1, 2)] == pytest.approx([(hit + miss) / 2, (2 * hit + miss) / 3])
    assert (second["band_hit@1"], math.isnan(second["band_error@1"])) == (0, True)


def test_pooled_weighs_every_rubric_and_level_the_same() -> None:
    # rubric r: high 1 of 1 prompts hit; low 0 of 2. rubric q: high 0 of 1. -> (1 + 0 + 0) / 3
    cells = cells_of(("r", HIGH, "a", [100]), ("r", LOW, "a", [90]), ("r", LOW, "b", [90]), ("q", HIGH, "a", [0]), n=1)
    assert level_curves(cells)["band_hit@1"].to_dict() == pytest.approx({"low": 0, "extremely_high": 0.5, "all": 1 / 3})


@pytest.mark.parametrize(
    ("base", "own", "samples", "ratio", "bound"),
    [
        ([0.1, 0.2, 0.4, 0.5], [0.4, 0.5, 0.6, 0.7], 2, 2, None),  # the base needs 4 for 0.5, the adapter 2
        ([0.2, 0.5, 0.5, 0.5], [0.2, 0.5, 0.5, 0.5], 2, 1, None),  # equal models save nothing
        ([0.0, 0.1, 0.2, 0.3], [0.2, 0.4, 0.5, 0.8], 2**0.5, 4 / 2**0.5, None),  # half way from 1 to 2 in log k
        ([0.0, 0.1, 0.2, 0.5], [0.2, NAN, NAN, 0.8], 2, 2, None),  # half way from 1 to 4
        ([0.1, 0.2, 0.4, 0.5], [0.6, 0.2, 0.5, 0.8], 1, 4, "at_most"),  # the first crossing counts
        ([0.1, 0.2, 0.4, 0.5], [0.1, 0.1, 0.2, 0.3], 4, 1, "at_least"),
        ([0.0, 0.0], [1.0, 1.0], None, None, None),  # a base that never hits leaves nothing to reach
    ],
)
def test_what_an_adapter_needs_for_what_its_base_reaches_with_n_by_hand(
    base: list[float], own: list[float], samples: float | None, ratio: float | None, bound: str | None
) -> None:
    *_, needed = samples_needed(np.array(base), np.array(own))
    assert [needed["samples"], needed["ratio"]] == pytest.approx([samples, ratio], abs=1e-6)
    assert needed["bound"] == bound
    shown = _saved_row("a", needed | {"base": "b", "level": "low"})
    # what is at least so many samples makes the ratio at most so much
    words = {None: ["", ""], "at_most": ["at most", "at least"], "at_least": ["at least", "at most"]}[bound]
    assert [shown[name].rpartition(" ")[0] for name in ("samples of the adapter", "ratio")] == words


def bon(model: Any, n: int = 4, **parameters: Any) -> EvalLog:
    options = {"rubrics": "broadcast", "levels": "extremely_high", "judge": "measured", "limit_per_cell": 2}
    return evaluated(best_of_n(n, **(options | parameters)), model)


def point(summary: dict[str, Any], level: str, k: int, statistic: str) -> dict[str, Any]:
    [match] = [p for p in summary["curves"] if (p["level"], p["k"], p["statistic"]) == (level, k, statistic)]
    return dict(match)


def summaries(*runs: Run) -> list[dict[str, Any]]:
    return [model["tasks"]["best_of_n"] for model in summarise(runs)["models"]]


def test_the_exact_curves_and_their_cost(mock_model: Callable[..., Any]) -> None:
    log = bon(mock_model(in_turn(CALM, CALM, CALM, SHOUT)), levels="all", limit_per_cell=6)
    # every cell: three low and one 100. In the band: low 3 of 4, moderate none, extremely high 1 of 4
    assert shown_metrics(log) == pytest.approx({"band_hit@1": 1 / 3, "band_hit@n": 2 / 3, "n_scored": 72})
    [part] = summaries(read_run(log.location))
    values = {
        ("extremely_high", 2, "score"): (CALM_SCORE + 100) / 2,  # of the 6 pairs of 4, 3 hold the 100
        ("extremely_high", 2, "band_hit"): 0.5,
        ("low", 2, "band_hit"): 1,
        ("low", 2, "score"): CALM_SCORE,
        ("moderate", 4, "band_error"): 7.5,  # 100 is 7.5 above the moderate band, closer than the low one
        ("all", 2, "band_hit"): (1 + 0 + 0.5) / 3,
    }
    assert {where: point(part, *where)["value"] for where in values} == pytest.approx(values, abs=1e-6)
    # six equal user prompts: Wilson's interval of a share of 1/2 of 6, with Student's t
    pooled, t = point(part, "all", 2, "band_hit"), stats.t.ppf(0.975, 5)
    half = t * math.sqrt(pooled["value"] * (1 - pooled["value"]) / 6 + t**2 / (4 * 36)) / (1 + t**2 / 6)
    assert (pooled["ci_high"] - pooled["ci_low"]) / 2 == pytest.approx(half, abs=1e-6)
    assert part["metrics"]["band_hit@2"] == {key: pooled[key] for key in ("value", "ci_low", "ci_high")}
    # the mock counts 5 tokens per response
    assert (point(part, "all", 4, "band_hit")["mean_tokens"], part["cost_unit"]) == (20, "tokens")
    assert (part["samples_per_cell"], part["distinct_responses"], part["n"], part["unscored"]) == (4, 2, 72, 0)
    assert (part["upper_bound"], part["selected_by"]) == (True, "the judge of the report")


def test_without_a_reason_for_stopping_cost_is_in_words(mock_model: Callable[..., Any]) -> None:
    # as inspect's hf provider, whose counts are those of the padded batch
    [part] = summaries(read_run(bon(mock_model(lambda _: SHOUT, stop_reason="unknown")).location))
    assert (part["cost_unit"], part["distinct_responses"]) == ("words", 1)
    assert point(part, "extremely_high", 2, "score")["mean_tokens"] == 2 * len(SHOUT.split())


def test_a_second_judge_selects_and_the_optimism_of_one_is_shown(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    # the measured judge reports; a model judge that likes what the measured one does not selects
    selector = mock_model(lambda messages: verdict(90 if "procession" in messages[-1].text else 10), name="other")
    task = best_of_n(2, "broadcast", "extremely_high", judge="measured", limit_per_cell=2)
    task.scorer = [rubric_judge("measured"), selection_judge("model", call_store=str(tmp_path / "calls.sqlite"))]
    log = evaluated(task, mock_model(in_turn(CALM, SHOUT)), model_roles={"selector": selector})
    [part] = summaries(read_run(log.location))
    assert (part["selected_by"], part["upper_bound"]) == ("mockllm/other", False)
    assert read_run(log.location).judging.attempts == 4  # of the judge that selects: the measured one makes none
    high = "extremely_high"
    assert [point(part, high, 2, f"{kind}band_hit")["value"] for kind in ("", "oracle_", "optimism_")] == [0, 1, 1]
    scores = [point(part, high, 2, f"{kind}score")["value"] for kind in ("", "oracle_", "optimism_")]
    assert scores == pytest.approx([CALM_SCORE, 100, 100 - CALM_SCORE], abs=1e-6)


def test_the_measured_judge_can_select_for_a_model_judge(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    grader = mock_model(lambda _: verdict(95), name="grader")
    arguments = {"n": 2, "rubrics": "broadcast", "levels": "extremely_high", "limit_per_cell": 2}
    arguments |= {"select_by": "measured", "call_store": str(tmp_path / "calls.sqlite")}
    student = mock_model(in_turn(CALM, SHOUT))
    log = evaluated("cpt_tasks/best_of_n", student, task_args=arguments, model_roles={"grader": grader})
    shown = [shown_metrics(log, name)["band_hit@1"] for name in ("rubric_judge", "selection_judge")]
    assert (shown, summaries(read_run(log.location))[0]["selected_by"]) == ([1, 0.5], "measured")
    _, second = score_commands([log.location], JudgeSettings("m/m", repeats=2))
    assert "judged.eval --scorer cpt_tasks/selection_judge -S select_by=measured -S call_store=" in second
    assert "-S rubrics=broadcast" in second and "judge_repeats" not in second


def test_unscored_samples_shrink_their_cell_and_are_counted(mock_model: Callable[..., Any]) -> None:
    path = bon(mock_model(in_turn(CALM, CALM, SHOUT, SHOUT))).location
    prompt = read_run(path).frame["user_prompt_id"].iloc[0]
    unscore(path, lambda _, sample: sample.metadata["user_prompt_id"] == prompt and sample.epoch > 2)
    [part] = summaries(read_run(path))
    assert (part["n"], part["unscored"]) == (6, 2)
    # the cell with two left has two low; the other two low and two 100. k=2: (0 + (1 - 1/6)) / 2; k=4: the other alone
    hits = [point(part, "extremely_high", k, "band_hit")["value"] for k in (2, 4)]
    assert hits == pytest.approx([5 / 12, 1], abs=1e-6)
    counts = {entry["k"]: (entry["cells"], entry["left_out"]) for entry in part["cells"] if entry["level"] == "all"}
    assert counts == {1: (2, 0), 2: (2, 0), 4: (1, 1)}


def select_with(path: str, judge: str, failed: int | None = None) -> None:
    """Adds scores of 50 by a judge that selects to a log; it fails on one sample."""
    log = read_eval_log(path)
    selection = Judgment(score=50, judge=judge, prompt_version="1", rubric_hash="h").model_dump()
    failure = {"failure_mode": "refusal", "rubric_hash": "h"}
    for number, sample in enumerate(log.samples or []):
        assert sample.scores is not None
        lost = Score.unscored(reason="grader_failed", metadata=failure)
        sample.scores["selection_judge"] = lost if number == failed else Score(value=50, metadata=selection)
    write_eval_log(log, path)


def test_what_only_one_judge_scored_does_not_count(mock_model: Callable[..., Any]) -> None:
    path = bon(mock_model(in_turn(CALM, SHOUT)), n=2).location
    select_with(path, "other", failed=0)
    [part] = summaries(read_run(path))
    assert (part["n"], part["unselected"], part["selected_by"], part["upper_bound"]) == (4, 1, "other", False)
    # a judge that selects for itself is still an upper bound
    select_with(path, "measured")
    [part] = summaries(read_run(path))
    assert (part["upper_bound"], part["selected_by"]) == (True, "the judge of the report")


@pytest.mark.slow
def test_the_samples_an_adapter_saves_are_in_its_summary(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    paths = []
    # a base that hits once in four, and an adapter of it that hits every other time
    for name, replies, adapter in (("base", (CALM, CALM, CALM, SHOUT), {}), ("tuned", (CALM, SHOUT), {"adapter": "a"})):
        task = best_of_n(4, "broadcast", "extremely_high", judge="measured", limit_per_cell=3)
        log = evaluated(task, mock_model(in_turn(*replies), name=name), metadata={"base": "base"} | adapter)
        paths.append(log.location)
    base, tuned = summaries(*(read_run(path) for path in paths))
    assert "against" not in {**base, **summaries(read_run(paths[1]))[0]}
    rows = [{"base": "base", "level": level, "base_samples": k} for level in ("extremely_high", "all") for k in (2, 4)]
    # base at 2 is 1/2: what the adapter's first sample is worth. base at 4 is 1; the adapter, 2 of 4 hits:
    # 1 - C(2, k) / C(4, k) is 1/2, 5/6, 1 -> first at 3
    needed = [{"goal": 0.5, "samples": 1, "ratio": 2, "bound": None}]
    needed += [{"goal": 1, "samples": 3, "ratio": pytest.approx(4 / 3, abs=1e-6), "bound": None}]
    assert tuned["against"] == [row | wanted for row, wanted in zip(rows, needed * 2, strict=True)]
    _, report, _ = reported(tmp_path / "report", *paths)
    assert "| tuned" in report.split("### Samples that an adapter needs")[1]
    select_with(paths[1], "other")
    with pytest.raises(ValueError, match="differ in the judge that selects: 'other' and None"):
        summaries(*(read_run(path) for path in paths))
