"""The dataset card and manifest say what is in the files, counted here anew, and name no folder."""

import hashlib
import json
import shlex
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from data_gen.twins.command import twins_command

ROOT = Path(__file__).parents[2]
SEED_FILE = ROOT / "data_gen" / "seed" / "responses.jsonl"


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(twins_command, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_counts_and_means_of_the_card_are_those_of_the_rows(tmp_path: Path) -> None:
    rows = read(SEED_FILE)
    for number, row in enumerate(rows):
        row["teacher"] = "b" if number % 72 < 30 else "a | b"
    responses = tmp_path / "responses.jsonl"
    responses.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    run("--responses", responses, "--wordings", 2, "--min-gap", 30, "--out", tmp_path / "out")
    counted: dict[tuple[str, str, str], dict[str, Any]] = defaultdict(lambda: defaultdict(list))
    for name in ("train", "eval"):
        for row in read(tmp_path / "out" / f"{name}.jsonl"):
            if row["score_chosen"] < row["score_rejected"]:
                kind = (row["rubric"], f"{row['level']}:{row['rejected_level']}", row["teacher"].replace("|", "\\|"))
                counted[kind][name].append((row["score_chosen"], row["score_rejected"]))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["schema"], len(manifest["twins"])) == (3, len(counted))
    for (rubric, levels, teacher), by_file in counted.items():
        pairs = by_file["train"] + by_file["eval"]
        start = f"| {rubric} | {levels} | {teacher} | {len(by_file['train'])} | {len(by_file['eval'])}"
        [line] = [line for line in card.split("\n") if line.startswith(start)]
        means = [float(cell) for cell in line.removeprefix(start).strip(" |").split(" | ")]
        assert means == pytest.approx([sum(scores) / len(pairs) for scores in zip(*pairs, strict=True)], abs=0.006)


def test_the_header_is_what_the_hub_reads(tmp_path: Path) -> None:
    run("--licence", "cc-by-4.0", "--out", tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    files = [{"split": name, "path": f"{name}.jsonl"} for name in ("train", "eval")]
    assert yaml.safe_load(card.split("---\n")[1]) == {
        "license": "cc-by-4.0",
        "language": ["en"],
        "task_categories": ["text-generation"],
        "tags": ["preference", "dpo", "trl", "system-prompt", "synthetic", "cpt-tasks"],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def test_the_command_of_the_card_makes_the_same_files_and_names_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "first"
    mine = tmp_path / "reverie.yaml"
    mine.write_bytes((ROOT / "rubrics" / "library" / "reverie.yaml").read_bytes())
    run("--responses", SEED_FILE, "--min-gap", "12.5", "--rubrics", f"labyrinth,{mine}", "--seed=7", f"--out={first}")
    card = (first / "README.md").read_text(encoding="utf-8")
    names = "--responses responses.jsonl --min-gap 12.5 --rubrics labyrinth,reverie.yaml --seed=7"
    command = f"cpt twins {names} --out=DIR"
    assert f"    {command}\n" in card
    assert "Teachers: unnamed-llm. Judges: measured, prompt version 1." in card
    assert "license: apache-2.0" in card
    content = (first / "manifest.json").read_text(encoding="utf-8")
    manifest = json.loads(content)
    assert [about["sha256"] for about in manifest["inputs"]] == [hashlib.sha256(SEED_FILE.read_bytes()).hexdigest()]
    for name in ("train.jsonl", "eval.jsonl"):
        written = (first / name).read_bytes()
        rows, digest = written.count(b"\n"), hashlib.sha256(written).hexdigest()
        assert manifest["files"][name] == {"rows": rows, "twins": rows / 2, "sha256": digest}
    for text in (card, content):
        assert str(tmp_path) not in text
        assert str(ROOT) not in text
    (tmp_path / SEED_FILE.name).write_bytes(SEED_FILE.read_bytes())
    monkeypatch.chdir(tmp_path)
    run(*shlex.split(command.replace("DIR", "second"))[2:])
    for path in first.iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


def test_the_manifest_says_why_verification_dropped_responses(tmp_path: Path) -> None:
    counts = {"in": 10, "kept": 6, "dropped_by_reason": {"out_of_band": 3}, "bad_by_kind": {"bad_row": 1}}
    (tmp_path / "responses.jsonl").write_bytes(SEED_FILE.read_bytes())
    (tmp_path / "verification.json").write_text(json.dumps(counts | {"other": 1}), encoding="utf-8")
    run("--responses", tmp_path / "responses.jsonl", "--out", tmp_path / "out")
    [about] = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["inputs"]
    assert about["verification"] == counts
