"""The make rules of the experiments: what runs, what runs again, what is skipped, and what a run of each compares.

Stages are run by a stand-in for `stage.py`; `make demo-smoke` runs the commands themselves.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from dpo_lora import parse
from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log, write_eval_log
from make_rules import END_TO_END, ROOT, Tree, commands, flags
from stage import remaining, run

from data_gen.twins.command import twins_command

ROUNDS, MULTI_TURN = (f"recipes/experiments/{name}.mk" for name in ("rounds", "multi_turn"))

EVERYTHING = ["model", "data", "base", "full_rubric", "train", "cpt"]
ASKED = ["base", "full_rubric", "cpt"]


def test_a_stage_runs_again_when_anything_it_reads_has_changed(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    (tree.folder / "adapter_model.safetensors").touch()
    assert [tree.make(), tree.make()] == [EVERYTHING, []]
    for path, expected in {
        "rubrics/levels.py": [name for name in EVERYTHING if name != "model"],
        "cpt_tasks/report/report.py": ASKED,
        "recipes/training/pairs.py": ["train", "cpt"],
        "recipes/configs/smollm2_135m_cpu.yaml": ["train", "cpt"],
        "recipes/experiments/prepare_smollm2.py": EVERYTHING[:1] + EVERYTHING[2:],
        "recipes/experiments/stages.mk": EVERYTHING[1:],
        "recipes/README.md": [],
    }.items():
        tree.edit(path)
        assert tree.make() == expected, path
    assert tree.make() == []
    (tree.folder / "cpt_tasks/benchmarks/new").mkdir(parents=True)
    (tree.folder / "cpt_tasks/benchmarks/new/task.py").write_text("")
    assert tree.make() == ASKED
    # what changed inputs made is moved aside, what is gone is made again, and another size is another run
    assert {(tree.folder / f"outputs/r/adapter{end}/by").read_text() for end in ("", "-old")} == {"train\n"}
    shutil.rmtree(tree.folder / "logs/r/cpt")
    assert tree.make() == ["cpt"]
    assert set(tree.make("demo")) == {"data", "base", "train", "cpt"}
    # an adapter of one's own, older than what was made, is asked in place of the trained one
    adapters = (".", ".", "outputs/r/adapter")
    assert [tree.make("demo", START=one) for one in adapters] == [["cpt"], [], ["cpt"]]
    assert tree.make("demo", PROMPTS="24") == ["base", "cpt"]


def test_a_stage_that_fails_goes_on_in_its_folder(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    (tree.folder / "fail").write_text("train")
    assert tree.make() == EVERYTHING[:-1]
    assert tree.done.returncode == 2
    assert not (tree.folder / "outputs/r/stages/train.json").exists()
    (tree.folder / "fail").unlink()
    assert tree.make() == ["train", "cpt"]
    assert (tree.folder / "outputs/r/adapter/by").read_text() == "train\ntrain\n"
    for fails in ("train", "train", ""):  # what is half made when inputs change again goes, not what was finished
        (tree.folder / "fail").write_text(fails)
        tree.edit("recipes/training/pairs.py")
        tree.make()
    assert (tree.folder / "outputs/r/adapter/by").read_text() == "train\n"
    assert (tree.folder / "outputs/r/adapter-old/by").read_text() == "train\ntrain\n"


def test_conversations_are_asked_of_the_base_an_adapter_and_one_that_goes_on_from_it(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    assert tree.make(rules=MULTI_TURN, START="tuned") == ["model", "base"]
    assert "tuned holds no adapter; run make full first, or pass START=FOLDER" in tree.done.stderr
    (tree.folder / "tuned").mkdir()
    (tree.folder / "tuned/adapter_model.safetensors").touch()
    tree.settle()
    assert tree.make(rules=MULTI_TURN, START="tuned") == ["cpt", "data", "train", "history"]
    assert tree.make(rules=MULTI_TURN, START="tuned") == []
    tree.edit("tuned/adapter_model.safetensors")
    assert tree.make(rules=MULTI_TURN, START="tuned") == ["cpt", "train", "history"]
    assert tree.make(rules=MULTI_TURN, START="tuned", HISTORY="own,seed") == ["base", "cpt", "history"]
    assert set(tree.make(rules=MULTI_TURN, START="tuned", SEED="1")) == {
        "model",
        "base",
        "cpt",
        "data",
        "train",
        "history",
    }
    for folder in ("multi_turn-smoke", "multi_turn-smoke/seed-1"):
        assert (tree.folder / f"outputs/r/{folder}/history").is_dir()  # beside what RUN is otherwise


def test_the_data_of_multi_turn_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "adapter_model.safetensors").touch()
    printed = subprocess.check_output(["make", "-nf", MULTI_TURN, "RUN=r", f"START={tmp_path}"], cwd=ROOT, text=True)
    [words] = [line.split() for line in printed.splitlines() if "cpt twins" in line]
    monkeypatch.chdir(ROOT)
    given = [*words[words.index("twins") + 1 : -1], str(tmp_path / "out")]
    done = CliRunner().invoke(twins_command, given, catch_exceptions=False)
    assert "1152 twins" in done.output, done.output


def of_round(number: int) -> list[str]:
    return [*(f"round-{number}/{name}" for name in ("responses", "scores", "pairs", "train")), f"rounds/round-{number}"]


def test_rounds_go_on_from_one_another_and_more_can_follow(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    (tree.folder / "fail").write_text("round-1/train")
    begun = tree.make(rules=ROUNDS, ROUNDS="1")
    assert begun == ["model", "rounds/base", "data", "train", "rounds/sft", "rounds/twins", *of_round(1)[:4]]
    (tree.folder / "fail").unlink()
    assert tree.make(rules=ROUNDS, ROUNDS="1") == of_round(1)[3:]
    assert tree.make(rules=ROUNDS, ROUNDS="2") == [*of_round(2), "rounds/on-train-1", "rounds/on-train-2"]
    assert tree.make(rules=ROUNDS, ROUNDS="2") == []
    tree.edit(ROUNDS)
    assert tree.make() == ["base", "full_rubric", "cpt"]  # the start is not made anew
    assert tree.make(rules=ROUNDS, ROUNDS="1") == of_round(1)


def test_another_seed_is_another_run_and_an_adapter_of_ones_own_is_not_trained(tmp_path: Path) -> None:
    seeded = commands(ROUNDS, "RUN=r", "SEED=7", "ROUNDS=2")
    for name in ("train", "rounds/round-1", "round-2/train"):
        assert seeded[name][seeded[name].index("--seed") + 1] == "7"
    assert flags(seeded["round-1/train"])["init_adapter"] == ["outputs/r/seed-7/adapter"]
    assert flags(seeded["round-2/train"])["init_adapter"] == flags(seeded["round-1/train"])["output_dir"]
    words = seeded["round-2/train"]
    parse(words[words.index("--config") :])
    drawn = [seeded[f"round-{number}/responses"] for number in (1, 2)]
    assert [words[words.index("--seed") + 1] for words in drawn] == ["71", "72"]
    (tmp_path / "adapter_model.safetensors").touch()
    assert not {"train", "data"} & commands(ROUNDS, "RUN=r", f"START={tmp_path}").keys()
    # neither takes the other's data for its own
    tree, seed = Tree(tmp_path / "tree"), {"rules": ROUNDS, "ROUNDS": "1", "SEED": "0"}
    assert [bool(tree.make(**seed)), tree.make(), tree.make(**seed)] == [True, EVERYTHING, []]


def test_the_model_of_another_configuration_is_asked_as_the_base(tmp_path: Path) -> None:
    config = tmp_path / "my.yaml"
    config.write_text("seed: 42\nmodel_name_or_path: 'Qwen/Qwen3-0.6B'   # from the hub\n")
    stages = commands(END_TO_END, "RUN=r", f"CONFIG={config}")
    assert stages["model"] == ["true"]
    for name, model in {"base": "Qwen/Qwen3-0.6B", "cpt": "outputs/r/adapter"}.items():
        # the base's own chat template may think, or have no system turn
        given = {f"model_path={model}", "tokenizer_path=outputs/r/adapter", "base=Qwen3-0.6B"}
        assert given <= {*stages[name]}
    assert "openvino/Qwen3-0.6B-cpt" in stages["cpt"]
    tree, given = Tree(tmp_path / "tree"), {"size": "demo", "CONFIG": str(config)}
    assert tree.make(**given) == ["model", "data", "train", "base", "cpt"]
    config.write_text("model_name_or_path: models/another/\n")
    assert tree.make(**given) == ["train", "base", "cpt"]
    tree.make(CONFIG="nowhere.yaml")
    assert "nowhere.yaml: got no model_name_or_path, expected a configuration" in tree.done.stderr


def test_base_and_adapter_are_asked_by_the_same_command_but_for_the_model() -> None:
    stages = commands(END_TO_END, "RUN=r", "SIZE=full")

    def settings(name: str) -> list[str]:
        own = ("smollm2", "outputs/", "logs/", "--meta", "prompting=full_rubric")
        return [word for word in stages[name] if not any(part in word for part in own)]

    assert settings("base") == settings("cpt")
    assert sorted(settings("full_rubric")) == sorted([*settings("base"), "-T"])
    committed = json.loads((ROOT / "results/smollm2-135m/stages.json").read_text(encoding="utf-8"))
    assert stages.keys() == committed.keys()


def test_a_configuration_without_sft_has_no_stage_that_asks_for_it() -> None:
    words = ("RUN=r", "SIZE=full", "CONFIG=recipes/configs/qwen3_4b_instruct.yaml")
    assert "rounds/sft" not in commands(ROUNDS, *words)
    assert not any(name.startswith("curve") for name in commands(END_TO_END, *words))
    assert {"rounds/sft", "curve/sft"} <= {*commands(ROUNDS, *words[:2]), *commands(END_TO_END, *words[:2])}


def test_another_python_makes_the_environment_alone() -> None:
    words = ["make", "-n", "demo", "PYTHON=other"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ".venv/bin/python recipes/experiments/stage.py" in done.stdout
    assert "other recipes" not in done.stdout


def test_other_objectives_share_start_data_steps_and_judging() -> None:
    stages = commands(ROUNDS, "RUN=r", "SIZE=demo", "SEED=3", "OTHER_DPO=shuffled no_sft_term")
    twins, *others = (flags(stages[name]) for name in ("train", "shuffled/train", "no_sft_term/train"))
    own = {"output_dir", "init_adapter", "sft_epochs", "loss_type", "loss_weights", "twin_batching"}
    for other in others:
        assert other["init_adapter"] == ["outputs/r/seed-3/adapter/sft"]
        assert {key: other[key] for key in other.keys() - own} == {key: twins[key] for key in twins.keys() - own}
    asked = [stages[f"rounds/{name}"] for name in ("sft", "twins", "shuffled", "no_sft_term", "round-1")]
    assert len({tuple(words[words.index("-T") : words.index("--log-dir")]) for words in asked}) == 1


def test_a_benchmark_starts_goes_on_or_is_done_by_the_logs_in_its_folder(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    from cpt_tasks._registry import rubric_adherence

    logs = tmp_path / "with space"
    command = ["inspect", "eval", "x", "--log-dir", str(logs)]
    assert remaining(command) == command
    task = rubric_adherence("broadcast", judge="measured", limit_per_cell=1)
    [log] = inspect_eval(task, model=mock_model(lambda _: "word " * 20), log_dir=str(logs), display="none")
    assert remaining(command) == []
    interrupted = read_eval_log(log.location)
    interrupted.status = "error"
    write_eval_log(interrupted, log.location)
    retry = remaining(command)
    assert retry[:2] == ["inspect", "eval-retry"]
    assert Path(retry[2]).is_file()


def test_a_stage_is_recorded_when_it_has_ended_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record = tmp_path / "stages/a/b.json"
    with pytest.raises(SystemExit, match="b ended with exit code 3; start the same command again"):
        run(record, ["bash", "-c", "exit 3"])
    assert not record.exists()
    for seconds in (None, pytest.approx(0, abs=5)):  # the first goes on from what failed
        run(record, ["true"])
        assert json.loads(record.read_text()) == {"command": "true", "seconds": seconds}
    (tmp_path / "inspect").write_text("#!/bin/sh\n")
    (tmp_path / "inspect").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(SystemExit, match="c left no finished log; start the same command again"):
        run(tmp_path / "c.json", ["inspect", "eval", "x", "--log-dir", "nowhere"])
