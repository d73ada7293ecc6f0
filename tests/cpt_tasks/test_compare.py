"""`cpt compare`: paired on identical cells, by hand on two small logs; unscored ones are left out of both."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from broadcast_student import CALM, SHOUT, follows, unscore
from click.testing import CliRunner
from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log, write_eval_log

from cpt_tasks.benchmarks.rubric_adherence.report import TABLE_STATISTICS
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.report.compare import compare, compare_command, notes, pair
from cpt_tasks.report.logs import read_run
from cpt_tasks.report.report import summarise
from cpt_tasks.report.run import check_comparable, tell_apart

STUDENTS: dict[str, Callable[[list[Any]], str]] = {"base": lambda _: CALM, "tuned": follows}


@pytest.fixture
def log_of(mock_model: Callable[..., Any], tmp_path: Path) -> Callable[..., str]:
    def make(name: str, reply: Callable[[list[Any]], str] = follows, **parameters: Any) -> str:
        task = rubric_adherence(**({"rubrics": "broadcast", "judge": "measured", "limit_per_cell": 4} | parameters))
        [log] = inspect_eval(task, model=mock_model(reply, name=name), log_dir=str(tmp_path / "logs"), display="none")
        return str(log.location)

    return make


@pytest.fixture
def base(log_of: Callable[..., str]) -> str:
    return log_of("base", lambda _: CALM)


def test_differences_by_hand(base: str, log_of: Callable[..., str]) -> None:
    result = compare(read_run(base), read_run(log_of("tuned")))
    # the base is right at low only, the tuned model at low and extremely high, on each of 4 prompts
    entry = result["statistics"]["macro_accuracy"]
    assert (entry["a"], entry["b"], entry["difference"]["value"]) == pytest.approx((1 / 3, 2 / 3, 1 / 3), abs=1e-6)
    # every prompt shows the same difference: it is as far from 0 only if all 4 are swapped, or none, of 2^4 ways
    assert entry["p"] == pytest.approx(2 / 16)
    assert result["permutations"] == {"exact": True, "n": 16}
    # defined and tested: accuracy, kappa, order accuracy and slope; the base's scores are constant, so no correlations
    assert result["statistics"]["kendall_tau_b"]["p"] is None
    assert entry["p_holm"] == pytest.approx(4 * 2 / 16)
    assert (result["n"], result["user_prompts"]) == (12, 4)
    assert result["left_out"] == {"unscored_a": 0, "unscored_b": 0, "scored_on_one_side": 0}
    assert result["by_rubric"]["broadcast"]["statistics"]["macro_accuracy"]["difference"] == entry["difference"]
    # the SD of four equal differences is 0: nothing to say about power
    assert result["power"]["user_prompts_needed"] is None
    assert "4 user prompts: too few for an interval" in notes(result)
    assert "with 4 user prompts no p can be below 0.125, so none can be below 0.05" in notes(result)


def test_six_prompts_are_too_few_for_holm(log_of: Callable[..., str]) -> None:
    # 4 tests of 2 / 2^6; with 8 prompts 4 * 2 / 2^8 is below .05
    for n_prompts, noted in ((6, True), (8, False)):
        paths = [log_of(f"{name}{n_prompts}", reply, limit_per_cell=n_prompts) for name, reply in STUDENTS.items()]
        lines = notes(compare(*(read_run(path) for path in paths)))
        note = f"with {n_prompts} user prompts no p (Holm) can be below 0.125, so none can be below 0.05"
        assert (note in lines) == noted


def test_a_model_compared_with_itself_differs_in_nothing(log_of: Callable[..., str]) -> None:
    path = log_of("tuned")
    result = compare(read_run(path), read_run(path))
    assert [result[side]["name"] for side in "ab"] == ["tuned (A)", "tuned (B)"]
    for name in TABLE_STATISTICS:
        assert result["statistics"][name]["difference"] == {"value": 0, "ci_low": None, "ci_high": None}
        assert result["statistics"][name]["p"] == 1


def test_unscored_samples_of_either_side_are_left_out_of_both_and_counted(
    base: str, log_of: Callable[..., str]
) -> None:
    other = log_of("tuned")
    unscore(base, lambda number, _: number in (0, 1))
    unscore(other, lambda number, _: number in (1, 2, 3))
    # of 12 cells a lacks 0 and 1 and b lacks 1, 2 and 3: 8 pairs; 10 and 9 are scored, 2 + 1 of them on one side only
    result = compare(read_run(base), read_run(other))
    assert result["n"] == 8
    assert result["left_out"] == {"unscored_a": 2, "unscored_b": 3, "scored_on_one_side": 3}


def test_pairs_are_cells_whatever_the_order_of_the_log(log_of: Callable[..., str]) -> None:
    path = log_of("tuned", limit_per_cell=3, wordings=2)
    log = read_eval_log(path)
    assert log.samples is not None
    log.samples = log.samples[::-1]
    reordered = str(Path(path).with_name("reordered.eval"))
    write_eval_log(log, reordered)
    first, second, _ = pair(read_run(path), read_run(reordered))
    assert first.equals(second)
    assert len(first) == 3 * 3 * 2


@pytest.mark.parametrize("wordings", [1, 3])
def test_the_full_rubric_baseline_stands_beside_every_wording(wordings: int, log_of: Callable[..., str]) -> None:
    base = read_run(log_of("base", follows, wordings=wordings))
    full_rubric = read_run(log_of("base", lambda _: SHOUT, prompting="full_rubric", wordings=wordings))
    result = compare(base, full_rubric)
    assert (result["n"], result["b"]["name"]) == (12 * wordings, "base [full_rubric]")
    assert result["left_out"]["scored_on_one_side"] == 0
    # right at low and extremely high; always shouting is right at extremely high, whichever wording it stands beside
    entry = result["statistics"]["macro_accuracy"]
    assert (entry["a"], entry["b"]) == pytest.approx((2 / 3, 1 / 3), abs=1e-6)
    check_comparable([base, full_rubric])  # and beside it in a report
    assert compare(full_rubric, base)["n"] == result["n"]


@pytest.mark.parametrize(
    ("parameters", "key"),
    [
        ({"user_prompts": "train"}, "split"),
        ({"rubrics": "reverie"}, "rubrics"),
        ({"levels": "low,moderate"}, "grid"),
        ({"wordings": 2}, "wordings_per_cell"),
    ],
)
def test_other_protocols_are_refused_by_name(
    parameters: dict[str, Any], key: str, base: str, log_of: Callable[..., str]
) -> None:
    done = CliRunner().invoke(compare_command, [base, log_of("other", lambda _: CALM, **parameters)])
    assert done.exit_code == 1
    assert f"Error: other and base differ in {key}: " in done.output


def test_the_command_prints_a_table_and_writes_what_it_says(
    base: str, log_of: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    arguments = [base, log_of("tuned", limit_per_cell=4), "--out", str(out), "--resamples", "20"]
    monkeypatch.setattr("sys.argv", ["cpt", "compare", *arguments])
    done = CliRunner().invoke(compare_command, arguments)
    assert done.exit_code == 0, done.output
    assert "| macro_accuracy " in done.output
    assert "| +0.333 " in done.output
    assert "--resamples has no effect any more" in done.output
    result = json.loads((out / "compare.json").read_text())
    assert (result["schema"], result["run"]["judge"]) == (2, "measured")
    text = (out / "compare.md").read_text()
    assert text.startswith("# tuned against base")
    assert str(tmp_path) not in text + (out / "compare.json").read_text()
    assert (out / "compare.png").read_bytes()[:4] == b"\x89PNG"
    command = (out / "command.txt").read_text()
    assert command.startswith("cpt compare ")
    assert str(tmp_path) not in command


def test_a_folder_of_several_logs_is_refused(base: str, log_of: Callable[..., str]) -> None:
    log_of("tuned")
    done = CliRunner().invoke(compare_command, [str(Path(base).parent), base])
    assert done.exit_code == 1
    assert "holds 2 logs, expected one" in done.output


def test_runs_of_one_model_name_from_two_providers_stand_in_one_report(log_of: Callable[..., str]) -> None:
    run = read_run(log_of("m"))
    other = replace(run, model="openai/m")
    with pytest.raises(ValueError, match="model 'm' has more than one log"):
        check_comparable([run, other])
    named = tell_apart([run, other, replace(run, model="mockllm/n", name="n")])
    assert [one.name for one in named] == ["mockllm/m", "openai/m", "n"]
    check_comparable(named)
    assert [model["name"] for model in summarise(named)["models"]] == ["mockllm/m", "openai/m", "n"]
    # one model at one provider is not told apart from itself
    assert [one.name for one in tell_apart([run, run])] == ["m", "m"]


def test_an_edit_of_the_judges_prompt_that_kept_its_version_is_refused(log_of: Callable[..., str]) -> None:
    run = read_run(log_of("one"))
    edited = replace(run, name="two", protocol=run.protocol | {"judge_prompt_hash": "edited"})
    with pytest.raises(ValueError, match="two and one differ in judge_prompt_hash: 'edited' and ''"):
        check_comparable([run, edited])
