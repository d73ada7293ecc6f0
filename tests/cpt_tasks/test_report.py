"""The report recomputes everything from logs, and refuses logs that are not comparable."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from inspect_ai import eval as inspect_eval

from cpt_tasks.benchmarks.rubric_adherence import statistics
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.report.logs import find_logs, read_run
from cpt_tasks.report.report import report_command, summarise
from cpt_tasks.report.run import check_comparable
from rubrics import load_rubric

CALM = "The procession moved along the avenue in good order while the authorities observed it from a stand. " * 3
SHOUT = "Look at that! You see it? You cheer! Run! You can feel it! Oh my! You there! Go! Your turn! Wow! You! Yes!"


@pytest.fixture
def logs(mock_model: Callable[..., Any], tmp_path: Path) -> Path:
    def follows(messages: list[Any]) -> str:
        high = load_rubric("broadcast").system_prompts["extremely_high"].heldout  # type: ignore[index]
        return SHOUT if messages[0].text in high else CALM

    folder = tmp_path / "runs"
    for name, reply in (("base", lambda _: CALM), ("tuned", follows)):
        task = rubric_adherence("broadcast", judge="measured", limit_per_cell=4)
        inspect_eval(task, model=mock_model(reply, name=name), log_dir=str(folder), display="none")
    return folder


def test_summary_follows_the_contract_and_the_logs(logs: Path) -> None:
    runs = [read_run(path) for path in find_logs([str(logs)])]
    summary = summarise(runs, seed=0)
    protocol = summary["tasks"]["rubric_adherence"]
    assert (summary["schema"], protocol["judge"], protocol["split"]) == (2, "measured", "test")
    assert protocol["rubrics"] == {"broadcast": load_rubric("broadcast").hash}
    by_name = {model["name"]: model["tasks"]["rubric_adherence"] for model in summary["models"]}
    assert set(by_name) == {"base", "tuned"}
    # base: low right, moderate and high wrong; tuned: low and high right
    assert by_name["base"]["metrics"]["macro_accuracy"]["value"] == pytest.approx(1 / 3, abs=1e-6)
    assert by_name["tuned"]["metrics"]["macro_accuracy"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    assert set(by_name["tuned"]["metrics"]) == {*statistics.STATISTICS, "worst_wording_accuracy"}
    # four user prompts are too few for an interval
    assert by_name["tuned"]["metrics"]["macro_accuracy"]["ci_low"] is None
    assert by_name["tuned"]["by_level"]["moderate"]["metrics"]["accuracy"]["value"] == 0
    assert by_name["tuned"]["by_rubric"]["broadcast"]["n"] == 12
    assert (by_name["tuned"]["n"], by_name["tuned"]["unscored"]) == (12, 0)


def test_the_command_writes_strict_json_tables_and_figures(logs: Path, tmp_path: Path) -> None:
    out = tmp_path / "report"
    done = CliRunner().invoke(report_command, [str(logs), "--out", str(out), "--resamples", "20"])
    assert "--resamples has no effect any more" in done.output
    assert "4 user prompts: too few for an interval" in (out / "report.md").read_text()
    assert done.exit_code == 0, done.output

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    json.loads((out / "summary.json").read_text(), parse_constant=refuse)
    assert str(tmp_path) not in (out / "summary.json").read_text() + (out / "report.md").read_text()
    for name in ("score_by_level.png", "confusion.png", "levels_by_model.png"):
        assert (out / name).read_bytes()[:4] == b"\x89PNG"
    assert "| tuned" in done.output
    assert (out / "table.csv").read_text().startswith("model,n,unscored,macro_accuracy")


def test_the_report_equals_the_metrics_in_the_log(logs: Path) -> None:
    from inspect_ai.log import read_eval_log

    for path in find_logs([str(logs)]):
        results = read_eval_log(path).results
        assert results is not None
        logged = {name: metric.value for name, metric in results.scores[0].metrics.items()}
        rows = read_run(path).asked
        for name in ("macro_accuracy", "order_accuracy", "spearman_rho"):
            ours = statistics.STATISTICS[name](rows)
            assert ours == pytest.approx(logged[name]) or (math.isnan(ours) and math.isnan(float(logged[name])))


@pytest.mark.parametrize(
    ("parameters", "key"),
    [
        ({"user_prompts": "train"}, "split"),
        ({"wording_split": "train"}, "wording_split"),
        ({"rubrics": "reverie"}, "rubrics"),
        ({"limit_per_cell": 3}, "user_prompts"),
        ({"levels": "low,moderate"}, "grid"),
    ],
)
def test_logs_that_differ_in_the_protocol_are_refused(
    parameters: dict[str, Any], key: str, logs: Path, mock_model: Callable[..., Any]
) -> None:
    task = rubric_adherence(**({"rubrics": "broadcast", "judge": "measured", "limit_per_cell": 4} | parameters))
    [other] = inspect_eval(task, model=mock_model(lambda _: CALM, name="other"), display="none")
    first = find_logs([str(logs)])[0]
    with pytest.raises(ValueError, match=f"differ in {key}: "):
        check_comparable([read_run(first), read_run(other.location)])


def test_logs_of_different_judges_are_refused(logs: Path, mock_model: Callable[..., Any]) -> None:
    log = inspect_log(mock_model, BROADCAST_VERDICT)
    with pytest.raises(ValueError, match="differ in judge: "):
        check_comparable([read_run(find_logs([str(logs)])[0]), read_run(log)])


def inspect_log(mock_model: Callable[..., Any], reply: str) -> str:
    from cpt_tasks.scorer import rubric_judge

    task = rubric_adherence("broadcast", judge="measured", limit_per_cell=4)
    task.scorer = [rubric_judge("model")]
    grader = mock_model(lambda _: reply, name="grader")
    student = mock_model(lambda _: CALM, name="third")
    [log] = inspect_eval(task, model=student, model_roles={"grader": grader}, display="none")
    return str(log.location)


BROADCAST_VERDICT = json.dumps(
    {
        "criteria": [{"id": i, "reason": "r", "score": 55} for i in ("excitement", "address", "brevity")],
        "holistic_score": 50,
    }
)


def test_unscored_and_errored_samples_are_counted(logs: Path) -> None:
    from inspect_ai.log import EvalError, read_eval_log, write_eval_log
    from inspect_ai.scorer import Score

    path = find_logs([str(logs)])[0]
    log = read_eval_log(path)
    assert log.samples is not None
    log.samples[0].scores = {}
    log.samples[0].error = EvalError(message="boom", traceback="", traceback_ansi="")
    log.samples[1].scores = {"rubric_judge": Score.unscored(reason="grader_failed")}
    write_eval_log(log, path)
    run = read_run(path)
    assert (len(run.asked), run.unscored.total()) == (10, 2)


def test_a_log_that_was_judged_twice_is_refused(logs: Path) -> None:
    from inspect_ai.log import read_eval_log, write_eval_log

    path = find_logs([str(logs)])[0]
    log = read_eval_log(path)
    assert log.samples is not None
    for sample in log.samples:
        assert sample.scores is not None
        sample.scores["rubric_judge1"] = sample.scores["rubric_judge"]
    write_eval_log(log, path)
    with pytest.raises(ValueError, match="judged more than once"):
        read_run(path)


def test_two_logs_of_one_model_are_refused(logs: Path) -> None:
    path = find_logs([str(logs)])[0]
    with pytest.raises(ValueError, match="more than one log"):
        check_comparable([read_run(path), read_run(path)])


def test_missing_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not found, expected an .eval log or a folder"):
        find_logs([str(tmp_path / "nowhere")])
    with pytest.raises(ValueError, match="no finished log found"):
        find_logs([str(tmp_path)])


def test_without_the_main_benchmark_the_command_shows_what_there_is(tmp_path: Path) -> None:
    logs = Path(__file__).parents[2] / "results" / "smollm2-135m" / "logs" / "drift"
    done = CliRunner().invoke(report_command, [str(logs), "--out", str(tmp_path / "report")])
    assert done.exit_code == 0, done.output
    assert "### Drift" in done.output
    assert "| smollm2-135m-cpt |  24 |" in done.output
    assert (tmp_path / "report" / "table.csv").read_text().startswith("model,n,unscored,mean_words")
