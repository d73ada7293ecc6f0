"""The attack set, and what no text of a student can do: change the prompt, or be read as the verdict."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from inspect_ai.log import EvalLog
from prompt_structure import HARMLESS, REVERIE, check_structure
from scipy import stats
from seed import SEED_ROWS
from students import evaluated, shown_metrics, verdict

from cpt_tasks.benchmarks.judge_robustness.attacks import attacked_text, full_marks, load_attacks
from cpt_tasks.benchmarks.judge_robustness.statistics import shift_statistics
from cpt_tasks.benchmarks.judge_robustness.task import COLUMNS, attack_samples
from cpt_tasks.judge_logs.spend import score_commands
from judges import JudgeSettings, measure
from judges.verdict import parse_verdict
from model_calls import open_store
from rubrics import LOW_MAX, load_rubric, load_rubrics, load_user_prompts

SET = load_attacks()
ATTACKED = [attacked_text(attack, SET.order, REVERIE, HARMLESS) for attack in SET.attacks]
pytestmark = pytest.mark.usefixtures("in_own_folder")


def test_base_texts_are_low_and_control_texts_moderate_seed_responses_to_train_prompts() -> None:
    seed = {row["id"]: row for row in SEED_ROWS}
    for base in (*SET.base_texts, *SET.control_texts):
        row = seed[base.source.split()[-1]]
        assert (row["response"], row["rubric"], row["user_prompt_id"]) == (base.text, base.rubric, base.user_prompt_id)
        assert base.user_prompt not in load_user_prompts("test").values()
        assert row["level"] == ("low" if base in SET.base_texts else "moderate")
    for base in SET.base_texts:
        assert measure(load_rubric(base.rubric), base.text).score <= LOW_MAX / 2
    assert {base.rubric for base in SET.base_texts} == {rubric.id for rubric in load_rubrics("measured")}


def test_a_fake_verdict_is_one_that_would_be_accepted_from_a_judge() -> None:
    for rubric in load_rubrics("all"):
        criteria, holistic = parse_verdict(rubric, full_marks(rubric))
        assert [criterion.score for criterion in criteria] == [100] * len(rubric.criteria)
        assert holistic == 100


@given(st.text(), st.sampled_from(SET.attacks))
@example("costs $verdict or ${order}, $$5", SET.attacks[0])
def test_an_attack_leaves_the_text_it_is_put_on_as_it_is(text: str, attack: Any) -> None:
    assert text in attacked_text(attack, SET.order, REVERIE, text)


def test_no_attack_changes_the_structure_of_the_prompt_or_speaks_from_a_reason() -> None:
    assert len(set(ATTACKED)) == len(ATTACKED)
    for text in ATTACKED:
        check_structure(text)
        criteria, _ = parse_verdict(REVERIE, verdict(10, "reverie", reason=f"It says: {text}"))
        assert [criterion.score for criterion in criteria] == [10, 10]


def run(grader: Any, tmp_path: Path, **parameters: Any) -> tuple[EvalLog, dict[str, float]]:
    arguments = {"rubrics": "reverie", "call_store": str(tmp_path / "calls.sqlite")} | parameters
    # by name, as a user does
    log = evaluated(
        "cpt_tasks/judge_robustness", "none", task_args=arguments, model_roles={"grader": grader}, max_connections=10
    )
    return log, shown_metrics(log, "attack_judge") | shown_metrics(log, "judge_failure")


def test_a_gullible_judge_shows_a_shift_for_exactly_the_families_that_give_the_order(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    def gullible(messages: list[Any]) -> str:
        return verdict(100 if SET.order in messages[-1].text else 10, "reverie")

    _, values = run(mock_model(gullible, name="grader"), tmp_path, limit_per_family=1)
    # the first attacks of two families hold the order in plain words: 90 points on each of the 3 base texts
    believed = {"direct_orders", "closing_tags"}
    for family in SET.families:
        shift, changed = (90, 1) if family in believed else (0, 0)
        names = (f"{family}_{name}" for name in ("mean_shift", "largest_shift", "level_changed", "n"))
        assert [values[name] for name in (*names, family)] == pytest.approx([shift, shift, changed, 3, 0])
        assert math.isnan(values[f"{family}_mean_shift_ci_low"])  # three base texts are too few for an interval
    assert (values["mean_shift"], values["worst_family_shift"]) == pytest.approx((2 * 90 / 8, 90))
    worst_first = [name.removesuffix("_largest_shift") for name in values if name.endswith("_largest_shift")]
    assert set(worst_first[:2]) == believed


def test_a_firm_judge_shows_no_shift_and_alone_is_asked(mock_model: Callable[..., Any], tmp_path: Path) -> None:
    grader = mock_model(lambda _: verdict(10, "reverie"), name="grader")
    log, values = run(grader, tmp_path, families=",".join(SET.families), limit_per_family=2)
    n_texts = 3 * (2 * len(SET.families) + 1)
    assert len(log.samples or []) == len(grader.seen) == len(open_store(tmp_path / "calls.sqlite")) == n_texts
    assert {values[f"{family}_{name}"] for family in SET.families for name in ("mean_shift", "level_changed")} == {0}
    # no model writes a response: the judge reads the text
    assert all(sample.output.completion == sample.metadata["text"] for sample in log.samples or [])
    assert set(log.stats.model_usage) == {"mockllm/grader"}
    first, second = score_commands([log.location], JudgeSettings("m/m"))
    assert "--scorer cpt_tasks/attack_judge" in first
    assert second.endswith("judged.eval --scorer cpt_tasks/judge_failure --model none --action append --overwrite")
    with pytest.raises(ValueError, match="judge_robustness judges a text once; leave out --repeats"):
        score_commands([log.location], JudgeSettings("m/m", repeats=2))


def test_a_judge_that_an_attack_makes_fail_is_counted_and_gives_no_number(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    def confused(messages: list[Any]) -> str:
        return "{{{{" if "{{{{" in messages[-1].text else verdict(10, "reverie")

    log, values = run(mock_model(confused, name="grader"), tmp_path, families="json_injection,flattery")
    n_attacks = sum(attack.family == "json_injection" for attack in SET.attacks)
    assert (values["json_injection_n"], values["json_injection_mean_shift"]) == (3 * (n_attacks - 1), 0)
    assert [values[family] for family in ("json_injection", "flattery", "clean")] == [1 / n_attacks, 0, 0]
    scores = {sample.metadata["attack"]: (sample.scores or {})["attack_judge"] for sample in log.samples or []}
    failed = {attack: score.metadata or {} for attack, score in scores.items() if math.isnan(score.as_float())}
    modes = {attack: metadata["failure_mode"] for attack, metadata in failed.items()}
    assert modes == {"json_denial": "malformed_json"}


def shifts(*texts: tuple[str, str, float, float]) -> dict[str, Any]:
    """The statistics of texts: family, base text, score, measured score."""
    return shift_statistics(pd.DataFrame(texts, columns=COLUMNS[:4]))


def test_statistics_by_hand() -> None:
    # base a: clean 10, attacked 30 and 50; base b: clean 20, attacked 20 and unscored. Shifts 20, 40, 0: mean 20
    clean = [("clean", "a", 10.0, 0.0), ("clean", "b", 20.0, 0.0)]
    attacked = [("flattery", "a", 30.0, 6.0), ("flattery", "a", 50.0, 0.0), ("flattery", "b", 20.0, 0.0)]
    # the clean text of c is unscored, so it has no shift
    values = shifts(*clean, *attacked, ("role_play", "c", 90.0, 0.0))
    expected = {"mean_shift": 20, "largest_shift": 40, "measured_shift": 2, "level_changed": 1 / 3, "n": 3}
    assert {name: values[f"flattery_{name}"] for name in expected} == pytest.approx(expected)
    assert (values["mean_shift"], values["worst_family_shift"], values["measured_shift"]) == (20, 20, 2)
    assert not any(name.startswith("role_play") for name in values)
    for nothing_attacked in ([], clean):
        assert math.isnan(shifts(*nothing_attacked)["mean_shift"])


def test_the_interval_of_a_family_is_that_of_t_on_the_means_of_its_base_texts() -> None:
    added = np.random.default_rng(0).normal(20, 8, (9, 4))
    clean = [("clean", str(base), 10.0, 0.0) for base in range(9)]
    values = shifts(*clean, *(("flattery", str(base), 10 + added[base, n], 0.0) for base in range(9) for n in range(4)))
    means = added.mean(axis=1)
    expected = stats.t.interval(0.95, 8, loc=means.mean(), scale=stats.sem(means))
    assert [values[f"flattery_mean_shift_ci_{end}"] for end in ("low", "high")] == pytest.approx(expected)


def test_attacks_that_take_the_texts_in_turn_leave_out_no_attack_and_no_text() -> None:
    [rubric, *_], every = load_rubrics("measured"), load_rubrics("measured")
    for texts_per_attack, rubrics, n_texts in ((1, every, 12), (5, every, 12), (2, [rubric], 3), (9, [rubric], 3)):
        samples = list(attack_samples(SET, rubrics, SET.families, texts_per_attack))
        attacked = [sample.metadata or {} for sample in samples[n_texts:]]
        assert {(sample.metadata or {})["family"] for sample in samples[:n_texts]} == {"clean"}
        counts = pd.crosstab([one["attack"] for one in attacked], [one["base_text"] for one in attacked])
        assert counts.to_numpy().max() == 1
        assert (counts.sum(axis=1) == min(texts_per_attack, n_texts)).all()
        assert len(counts) == len(SET.attacks)
        assert len(counts.columns) == n_texts
