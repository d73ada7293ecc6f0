"""The commands of the README run as written, on a tiny model and with limits, in slow tests; some are run elsewhere."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
from tiny_model import save_tiny_model  # noqa: E402

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    command.split(" #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    for command in re.sub(r"\\\n\s*", "", block).splitlines()
    if command and not command.startswith("#")
]
DATA_COMMANDS = ("cpt rubric", "cpt generate", "cpt verify", "cpt twins", "cpt teachers")
RUBRIC_TEXT = """\
Title: Haiku closeness
Objective: How close a short poem comes to a haiku.

Criterion | Weight | Excellent | Good | Fair | Needs improvement | Unsatisfactory
Season | 60% | one clear season word | a hint of season | weather only | a stock season | none
Cut | 40% | two images, one cut | two images | one image | an argument | a report
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a checkout in which the demo's model is a tiny one."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "data_gen").symlink_to(ROOT / "data_gen")
    save_tiny_model(folder / "models" / "smollm2-135m-instruct")
    return folder


def run(command: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = os.environ | {"PATH": path, "INSPECT_DISPLAY": "plain", "INSPECT_LOG_DIR": "logs"} | environment
    return subprocess.run(command, shell=True, cwd=cwd, env=settings, capture_output=True, text=True, check=False)


def the_command(start: str) -> str:
    [command] = [command for command in COMMANDS if command.startswith(start)]
    return command


def test_every_command_is_covered_here_or_by_ci() -> None:
    covered = ("make demo", "make test", "inspect eval", "cpt report", "cpt judge", "cpt compare", *DATA_COMMANDS)
    covered += ("HF_HUB_OFFLINE=1 inspect eval",)
    covered += ("cpt quickstart", "cpt-lm-eval")  # tests/cpt_tasks/test_quickstart.py, test_lm_harness_command.py
    covered += (
        "python recipes/experiments/prepare_smollm2.py --out models/",
        "accelerate launch",
    )  # make demo-smoke; below
    assert [command for command in COMMANDS if not command.startswith(covered)] == []
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make test" in ci
    assert "make demo-smoke" in ci
    config = (ROOT / the_command("accelerate launch").split("--config ")[1]).read_text(encoding="utf-8")
    assert f"train_file: {the_command('cpt twins --wordings').split('--out ')[1]}/train.jsonl" in config


def succeeds(command: str, cwd: Path, **environment: str) -> str:
    """What a command that succeeds says."""
    done = run(command, cwd, **environment)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_training_command(checkout: Path) -> None:
    (checkout / "recipes").symlink_to(ROOT / "recipes")
    succeeds(f"{the_command('cpt twins --wordings')} --limit 4", checkout)
    succeeds(f"{the_command('accelerate launch')} --max_steps 2 --max_length 2048", checkout)


def test_examples_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    log, figure, rubric = "results/smollm2-135m/logs/curve/base.eval", tmp_path / "x.png", tmp_path / "mine.yaml"
    for script, arguments in (("read_a_log", [log, str(figure)]), ("own_rubric", [str(rubric)])):
        monkeypatch.setattr("sys.argv", [script, *arguments])
        runpy.run_path(f"examples/{script}.py")
    assert figure.is_file() and rubric.is_file()


@pytest.mark.slow
def test_benchmark_of_an_api_model_says_what_it_needs_without_a_key(checkout: Path) -> None:
    command = the_command("inspect eval cpt_tasks/rubric_adherence --model openai").replace("openai/", "mockllm/")
    done = run(command, checkout)
    assert done.returncode != 0
    output = " ".join((done.stdout + done.stderr).split())
    assert "ANTHROPIC_API_KEY is not set" in output
    assert "-T judge=measured -T rubrics=measured" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_local_benchmark_and_report(checkout: Path) -> None:
    limits = " --limit 2 --max-tokens 10 --max-connections 2"  # 10 tokens are under 15 words: no response
    succeeds(the_command("HF_HUB_OFFLINE=1 inspect eval") + limits, checkout)
    said = succeeds(the_command("cpt report"), checkout)
    assert "No figures: there is not a single" in (checkout / "results" / "mine" / "report.md").read_text("utf-8")
    assert (checkout / "results" / "mine" / "report.html").is_file()
    assert "| local" in said


@pytest.mark.slow
def test_two_models_are_compared() -> None:
    assert "| accuracy" in succeeds(the_command("cpt compare"), ROOT)


@pytest.mark.slow
def test_judging_has_a_forecast(checkout: Path) -> None:
    assert "| online" in succeeds(the_command("cpt judge forecast"), checkout)


@pytest.mark.slow
def test_the_data_commands(checkout: Path) -> None:
    (checkout / "my_rubric.txt").write_text(RUBRIC_TEXT, encoding="utf-8")
    done = run(the_command("cpt rubric import"), checkout)
    assert "cpt rubric prompts" in done.stderr, done.stderr  # the text has no system prompts: it says who writes them
    assert (checkout / "haiku_closeness.yaml").is_file()
    assert "USD" in succeeds(the_command("cpt generate"), checkout, ANTHROPIC_API_KEY="none")
    made = [command for command in COMMANDS if command.startswith(("cpt verify", "cpt twins --resp", "cpt teachers"))]
    assert len(made) == 4
    for command in made:
        succeeds(command, checkout)
    assert (checkout / "data" / "mine" / "twins" / "train.parquet").is_file()
    assert (checkout / "results" / "my-teachers" / "teachers.md").is_file()
