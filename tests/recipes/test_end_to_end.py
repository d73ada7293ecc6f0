"""The end-to-end run: its plan, what is skipped and what runs again. `make demo-smoke` runs the commands themselves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

# the script's own folder is on the path when it runs
import end_to_end  # noqa: E402
import pytest
import run_commands  # noqa: E402
from end_to_end import CONFIG, SIZES, Size, plan, run_all  # noqa: E402
from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log, write_eval_log
from run_commands import Stage, fingerprint_of, resume_command, run_stage  # noqa: E402

from cpt_tasks.rubric_adherence import rubric_adherence  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("size", sorted(SIZES))
def test_every_stage_needs_only_stages_before_it_and_names_existing_inputs(
    size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    seen: set[str] = set()
    for stage in plan("x", SIZES[size], CONFIG):
        assert set(stage.needs) <= seen
        assert stage.name not in seen
        assert all(Path(path).is_file() for path in stage.inputs)
        assert len(stage.inputs) > 10 or not stage.is_benchmark
        seen.add(stage.name)
    assert {"model", "data", "base", "train", "cpt", "report"} <= seen
    assert ("full_rubric" in seen) is (size != "demo")


def test_base_and_adapter_are_evaluated_by_the_same_command_but_for_the_model() -> None:
    stages = {stage.name: stage.command for stage in plan("x", SIZES["full"], CONFIG)}

    def settings(command: tuple[str, ...]) -> list[str]:
        words = ("smollm2", "outputs/", "logs/", "--metadata")
        return [word for word in command if not any(part in word for part in words)]

    assert settings(stages["base"]) == settings(stages["cpt"])
    assert settings(stages["full_rubric"])[:-2] == settings(stages["base"])


def test_a_fingerprint_follows_command_inputs_and_needs(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_text("a")
    stage = Stage("s", ("true",), "out", (str(path),), ("before",))
    first = fingerprint_of(stage, {"before": "1"})
    assert fingerprint_of(stage, {"before": "1"}) == first
    assert fingerprint_of(stage, {"before": "2"}) != first
    assert fingerprint_of(Stage("s", ("false",), "out", (str(path),), ("before",)), {"before": "1"}) != first
    path.write_text("b")
    assert fingerprint_of(stage, {"before": "1"}) != first


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which stages are programs of /bin."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_commands, "BIN", Path("/bin"))
    return tmp_path


def test_a_failing_stage_stops_the_run_and_says_how_to_go_on(folder: Path) -> None:
    with pytest.raises(SystemExit, match="stage s ended with exit code 3; start the same command again"):
        run_stage(Stage("s", ("sh", "-c", "exit 3"), "out"), None, "f")


def _writes(text: str) -> Stage:
    return Stage("s", ("sh", "-c", f"mkdir -p outputs/r/made && echo {text} >> outputs/r/made/log"), "outputs/r/made")


def test_finished_stages_are_skipped_and_changed_ones_start_from_an_empty_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(end_to_end, "_print_summary", lambda run, record: None)
    made = folder / "outputs" / "r" / "made" / "log"

    def run(stage: Stage) -> str:
        monkeypatch.setattr(end_to_end, "plan", lambda *_: [stage])
        run_all("r", Size(1, 1, 1, ()), CONFIG)
        return made.read_text()

    assert run(_writes("one")) == "one\n"
    assert run(_writes("one")) == "one\n"  # skipped: a second run would have appended
    made.unlink()
    made.parent.rmdir()
    assert run(_writes("one")) == "one\n"  # what it wrote was gone
    assert run(_writes("two")) == "two\n"
    [aside] = (folder / "outputs").glob("r-made-*-old")
    assert (aside / "log").read_text() == "one\n"
    record = json.loads((folder / "results" / "r" / "stages.json").read_text())
    assert record["s"]["seconds"] >= 0


def test_an_interrupted_stage_goes_on_in_its_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_to_end, "_print_summary", lambda run, record: None)
    mark = "mkdir -p outputs/r/made && echo x >> outputs/r/made/log && test $(wc -l < outputs/r/made/log) = 2"
    stage = Stage("s", ("sh", "-c", mark), "outputs/r/made")
    monkeypatch.setattr(end_to_end, "plan", lambda *_: [stage])
    with pytest.raises(SystemExit):
        run_all("r", Size(1, 1, 1, ()), CONFIG)
    run_all("r", Size(1, 1, 1, ()), CONFIG)
    assert (folder / "outputs" / "r" / "made" / "log").read_text() == "x\nx\n"


def test_a_benchmark_starts_goes_on_or_is_done_by_the_logs_in_its_folder(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    logs = tmp_path / "with space"
    stage = Stage("base", ("inspect", "eval", "x"), str(logs), is_benchmark=True)
    assert resume_command(stage) == stage.command
    task = rubric_adherence("broadcast", judge="measured", limit_per_cell=1)
    [log] = inspect_eval(task, model=mock_model(lambda _: "word " * 20), log_dir=str(logs), display="none")
    assert resume_command(stage) == ()
    interrupted = read_eval_log(log.location)
    interrupted.status = "error"
    write_eval_log(interrupted, log.location)
    command = resume_command(stage)
    assert command[:2] == ("inspect", "eval-retry")
    assert Path(command[2]).is_file()


def test_a_benchmark_that_leaves_no_finished_log_stops_the_run(folder: Path) -> None:
    stage = Stage("base", ("true",), "logs/r/base", is_benchmark=True)
    with pytest.raises(SystemExit, match="stage base left no finished log in logs/r/base"):
        run_stage(stage, None, "f")
