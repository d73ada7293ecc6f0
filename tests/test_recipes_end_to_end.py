"""The end-to-end run: its plan, what is skipped and what runs again. `make demo-smoke` runs the commands themselves."""

import sys
from pathlib import Path

import pytest

# the script's own folder is on the path when it runs
sys.path.insert(0, str(Path(__file__).parent.parent / "recipes"))
import end_to_end  # noqa: E402
from end_to_end import CONFIG, SIZES, Stage, fingerprint_of, plan, run_stage  # noqa: E402

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("size", sorted(SIZES))
def test_every_stage_needs_only_stages_before_it_and_names_existing_inputs(size: str) -> None:
    seen: set[str] = set()
    for stage in plan("x", SIZES[size], CONFIG):
        assert set(stage.needs) <= seen
        assert all(Path(path).is_file() for path in stage.inputs)
        seen.add(stage.name)
    assert {"model", "data", "base", "full_rubric", "train", "cpt", "report"} <= seen


def test_base_and_adapter_are_evaluated_by_the_same_command_but_for_the_model() -> None:
    stages = {stage.name: stage.command for stage in plan("x", SIZES["demo"], CONFIG)}

    def settings(command: tuple[str, ...]) -> list[str]:
        return [word for word in command if "smollm2" not in word and "outputs/" not in word and "logs/" not in word]

    assert settings(stages["base"]) == settings(stages["cpt"])
    assert settings(stages["full_rubric"])[:-2] == settings(stages["base"])


def test_a_fingerprint_follows_command_inputs_and_needs(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_text("a")
    stage = Stage("s", ("true",), (str(path),), ("before",))
    first = fingerprint_of(stage, {"before": "1"})
    assert fingerprint_of(stage, {"before": "1"}) == first
    assert fingerprint_of(stage, {"before": "2"}) != first
    assert fingerprint_of(Stage("s", ("false",), (str(path),), ("before",)), {"before": "1"}) != first
    path.write_text("b")
    assert fingerprint_of(stage, {"before": "1"}) != first


def test_a_failing_stage_stops_the_run_and_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(end_to_end, "BIN", Path("/bin"))
    with pytest.raises(SystemExit, match="stage s ended with exit code 3; start the same command again"):
        run_stage(Stage("s", ("sh", "-c", "exit 3")), "f")


def test_a_log_folder_of_other_settings_is_moved_aside_and_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "base"
    stage = Stage("base", ("inspect", "eval"), log_dir=str(folder))
    assert end_to_end._resumed(stage, "first") == stage.command
    (folder / "a.eval").write_text("kept")
    assert end_to_end._resumed(stage, "second") == stage.command
    assert not list(folder.glob("*.eval"))
    [old] = tmp_path.glob("base-*-old")
    assert (old / "a.eval").read_text() == "kept"
