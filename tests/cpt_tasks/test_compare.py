"""`cpt compare`: paired on identical cells, by hand on two small logs; unscored ones are left out of both."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copy
from typing import Any

import pytest
from command_runs import fails, ran
from inspect_ai import score
from inspect_ai.log import read_eval_log, write_eval_log
from students import SHOUT, follows, ignores, unscore

from cpt_tasks.benchmarks.rubric_adherence.report import COLUMNS
from cpt_tasks.report.compare import compare, compare_command, pair, text
from cpt_tasks.report.logs import read_run
from cpt_tasks.report.run import check_comparable
from cpt_tasks.scorer import rubric_judge
from cpt_tasks.statistics.frame import frame_of
from rubrics import load_rubric

COMMITTED = str(Path(__file__).parents[2] / "results/smollm2-135m/logs/curve/base.eval")


def shouts(messages: list[Any]) -> str:
    return SHOUT


@pytest.fixture(scope="module")
def base(log_of: Callable[..., str]) -> str:
    return log_of("base", ignores)


@pytest.fixture(scope="module")
def tuned(log_of: Callable[..., str]) -> str:
    return log_of("tuned", follows)


def test_differences_by_hand(base: str, tuned: str) -> None:
    result = compare(read_run(base), read_run(tuned))
    # the base is right at low only, the tuned model everywhere, on each of 4 prompts
    entry = result["statistics"]["macro_accuracy"]
    assert (entry["a"], entry["b"], entry["difference"]["value"]) == pytest.approx((1 / 3, 1, 2 / 3), abs=1e-6)
    # every prompt shows the same difference: it is as far from 0 only if all 4 are swapped, or none, of 2^4 ways
    assert entry["p"] == pytest.approx(2 / 16)
    assert result["permutations"] == {"exact": True, "n": 16}
    # tested: accuracy, order and calibration
    assert entry["p_holm"] == pytest.approx(3 * 2 / 16)
    assert (result["tested"], result["statistics"]["kendall_tau_b"]["p"]) == (
        ["macro_accuracy", "somers_d", "band_error"],
        None,
    )
    # one score at each level of the tuned model: no ties but those of the level, so tau-b can be 1 and is
    tau = result["statistics"]["kendall_tau_b"]
    assert (tau["b"], tau["ceilings"][1]) == (1, 1)
    assert "| 1.000 of 1.00 " in text(result)
    assert "4 user prompts: no p can be below 0.125" in text(result)
    assert "p asks whether the two models could be exchanged" in text(result)
    assert (result["n"], result["user_prompts"]) == (12, 4)
    assert result["left_out"] == {"unscored_a": 0, "unscored_b": 0, "scored_on_one_side": 0}
    assert "4 user prompts: too few for an interval" in text(result)


def test_a_model_compared_with_itself_differs_in_nothing(tuned: str) -> None:
    result = compare(read_run(tuned), read_run(tuned))
    assert [result[side]["name"] for side in "ab"] == ["tuned (A)", "tuned (B)"]
    for name in COLUMNS:
        assert result["statistics"][name]["difference"] == {"value": 0, "ci_low": None, "ci_high": None}
        assert result["statistics"][name]["p"] == (1 if name in result["tested"] else None)


def test_unscored_samples_of_either_side_are_left_out_of_both_and_counted(
    base: str, tuned: str, tmp_path: Path
) -> None:
    paths = [copy(path, tmp_path) for path in (base, tuned)]
    for path, failed in zip(paths, ((0, 1), (1, 2, 3)), strict=True):
        unscore(path, lambda number, _, failed=failed: number in failed)  # type: ignore[misc]
    # of 12 cells a lacks 0 and 1 and b lacks 1, 2 and 3: 8 pairs; 10 and 9 are scored, 2 + 1 of them on one side only
    result = compare(*map(read_run, paths))
    assert result["n"] == 8
    assert result["left_out"] == {"unscored_a": 2, "unscored_b": 3, "scored_on_one_side": 3}


def test_pairs_are_cells_whatever_the_order_of_the_log(log_of: Callable[..., str], tmp_path: Path) -> None:
    path = log_of("tuned", follows, wordings=3)
    log = read_eval_log(path)
    log.samples = (log.samples or [])[::-1]
    write_eval_log(log, str(tmp_path / "reordered.eval"))
    first, second, _ = pair(read_run(path), read_run(str(tmp_path / "reordered.eval")))
    assert first.equals(second)
    assert len(first) == 3 * 4 * 3


def test_the_full_rubric_baseline_stands_beside_every_wording(log_of: Callable[..., str]) -> None:
    run = read_run(log_of("tuned", follows, wordings=3))
    full_rubric = read_run(log_of("tuned", shouts, prompting="full_rubric", wordings=3))
    result = compare(run, full_rubric)
    assert (result["n"], result["b"]["name"]) == (12 * 3, "tuned [full_rubric]")
    assert result["left_out"]["scored_on_one_side"] == 0
    # always shouting is right at extremely high, whichever wording it stands beside
    entry = result["statistics"]["macro_accuracy"]
    assert (entry["a"], entry["b"]) == pytest.approx((1, 1 / 3), abs=1e-6)
    check_comparable([run, full_rubric])  # and beside it in a report
    assert compare(full_rubric, run)["n"] == result["n"]


def test_the_command_prints_a_table_and_writes_what_it_says(base: str, tuned: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = ran(compare_command, base, tuned, "--out", out)
    assert "| accuracy " in done.stdout
    assert "| +0.667 " in done.stdout
    result = json.loads((out / "compare.json").read_text())
    assert (result["schema"], result["run"]["judge"]) == (2, "measured")
    written = "".join((out / name).read_text() for name in ("compare.md", "compare.json", "command.txt"))
    assert written.startswith(done.stdout)
    assert str(Path(base).parent) not in written


def test_other_protocols_and_folders_of_several_logs_are_refused(
    base: str, tuned: str, log_of: Callable[..., str], tmp_path: Path
) -> None:
    for path in (base, tuned):
        copy(path, tmp_path)
    low = log_of("low", ignores, levels="low", limit_per_cell=1)
    refused = {base: "low and base differ in ", str(tmp_path): "holds 2 logs, expected one"}
    for path, message in refused.items():
        assert message in fails(compare_command, path, low)


@pytest.fixture
def second_version(tmp_path: Path) -> str:
    """The file of a rubric whose first heldout wording of the middle level was rewritten."""
    content = load_rubric("broadcast").model_dump(mode="json", by_alias=True) | {"version": 2}
    content["system_prompts"]["moderate"]["heldout"][0] = "Be lively in places. Cheer a little."
    path = tmp_path / "broadcast.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")
    return str(path)


def test_a_committed_log_of_version_1_is_read_compared_and_scored_when_there_is_a_version_2(
    second_version: str,
) -> None:
    log = read_eval_log(COMMITTED)
    log.eval.model, log.eval.model_args = "none/none", {}  # the student is not here
    assert not any("rubric_version" in sample.metadata for sample in log.samples or [])
    judge = rubric_judge("measured", [second_version, "field_notes", "labyrinth", "reverie"])
    again = frame_of(score(log, judge, action="overwrite", display="none"))
    assert again["score"].tolist() == frame_of(log)["score"].tolist()
    assert set(again["rubric_version"]) == {1}
    assert compare(read_run(COMMITTED), read_run(COMMITTED))["run"]["rubric_versions"] == {}


def test_responses_to_two_versions_are_told_apart_and_only_new_wordings_are_new_samples(
    base: str, second_version: str, log_of: Callable[..., str]
) -> None:
    later = log_of("later", ignores, rubrics=second_version)
    assert compare(read_run(later), read_run(later))["run"]["rubric_versions"] == {"broadcast": 2}
    with pytest.raises(ValueError, match=r"differ in rubric_versions: \{'broadcast': 2\} and \{\};"):
        compare(read_run(base), read_run(later))
    full_rubric = log_of("base", ignores, prompting="full_rubric")  # it reads no wording
    assert compare(read_run(full_rubric), read_run(later))["n"] == 12
    ids, later_ids = (read_run(path).frame.set_index("sample_id")["wording"] for path in (base, later))
    moved = later_ids[~later_ids.index.isin(ids.index)]
    assert moved.tolist() == ["heldout-0", "heldout-0"]
    assert all("-moderate-" in sample_id for sample_id in moved.index)
