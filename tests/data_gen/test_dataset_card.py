"""The dataset card says what is in the files, counted here anew, and the hub gets them without telling the token."""

import hashlib
import json
import shlex
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from data_gen.twins.card import read_verification
from data_gen.twins.command import twins_command

ROOT = Path(__file__).parents[2]
SEED_FILE = ROOT / "data_gen" / "seed" / "responses.jsonl"
TOKEN = "hf_secretsecret"


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(twins_command, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
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
    assert (manifest["schema"], len(manifest["twins"])) == (2, len(counted))
    for (rubric, levels, teacher), by_file in counted.items():
        pairs = by_file["train"] + by_file["eval"]
        low, high = (sum(scores) / len(pairs) for scores in zip(*pairs, strict=True))
        start = f"| {rubric} | {levels} | {teacher} | {len(by_file['train'])} | {len(by_file['eval'])}"
        [line] = [line for line in card.split("\n") if line.startswith(start)]
        means = [float(cell) for cell in line.removeprefix(start).strip(" |").split(" | ")]
        assert means == pytest.approx([low, high, high - low], abs=0.06)


def test_the_header_is_what_the_hub_reads(tmp_path: Path) -> None:
    run("--licence", "cc-by-4.0", "--out", tmp_path)
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    files = [{"split": name, "path": f"{name}.jsonl"} for name in ("train", "eval")]
    assert yaml.safe_load(card.split("---\n")[1]) == {
        "license": "cc-by-4.0",
        "language": ["en"],
        "task_categories": ["text-generation"],
        "tags": ["preference", "dpo", "trl", "system-prompt", "synthetic", "cpt-tasks"],
        "size_categories": ["n<1K"],
        "configs": [{"config_name": "default", "data_files": files}],
    }


def test_the_card_names_command_hashes_and_sources_but_no_folder_and_its_command_makes_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--min-gap", "12.5", "--balance", "--seed", 7, "--chat-template-kwargs", '{"a": "b c"}')
    first = tmp_path / "first"
    run("--responses", SEED_FILE, *options, "--rubrics", "measured", f"--out={first}")
    card = (first / "README.md").read_text(encoding="utf-8")
    command = (
        "cpt twins --responses responses.jsonl --min-gap 12.5 --balance --seed 7 --chat-template-kwargs "
        '\'{"a": "b c"}\' --rubrics measured --out DIR'
    )
    assert f"    {command}\n" in card
    assert hashlib.sha256(SEED_FILE.read_bytes()).hexdigest() in card
    for name in ("train.jsonl", "eval.jsonl"):
        content = (first / name).read_bytes()
        rows = content.count(b"\n")
        assert f"| {name} | {rows} | {hashlib.sha256(content).hexdigest()} |" in card
    assert "Teachers: unnamed-llm. Judges: measured, prompt version 1." in card
    assert "license: apache-2.0" in card
    for text in (card, (first / "manifest.json").read_text(encoding="utf-8")):
        assert str(tmp_path) not in text
        assert str(ROOT) not in text
    monkeypatch.chdir(SEED_FILE.parent)
    run(*[str(tmp_path / "second") if part == "DIR" else part for part in shlex.split(command)[2:]])
    for path in first.iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name


VERIFICATION = {
    "in": 10,
    "kept": 6,
    "dropped_by_reason": {"out_of_band": 2, "near_duplicate": 1},
    "bad_by_kind": {"bad_row": 1},
}


def test_the_card_says_why_verification_dropped_responses(tmp_path: Path) -> None:
    responses = tmp_path / "responses.jsonl"
    responses.write_bytes(SEED_FILE.read_bytes())
    (tmp_path / "verification.json").write_text(json.dumps(VERIFICATION), encoding="utf-8")
    run("--responses", responses, "--balance", "--limit", 12, "--out", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    stage = "verification of responses.jsonl: 6 of 10 responses kept"
    for reason, count in (("out_of_band", 2), ("near_duplicate", 1), ("bad_row", 1)):
        assert f"| {stage} | {reason} | {count} |" in card
    # 20 train prompts give 20 twins of each of the 12 kinds; one is kept
    assert "| pairing | twins of reverie low:moderate in train, to balance | 19 |" in card
    assert read_verification(tmp_path / "other.jsonl") is None
    (tmp_path / "verification.json").write_text('{"in": 1}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"lacks \['bad_by_kind', 'dropped_by_reason', 'kept'\]"):
        read_verification(responses)


class FakeHub:
    """Stands in for `huggingface_hub.HfApi`, and takes down what it is asked."""

    calls: list[tuple[str, dict[str, Any]]] = []

    def create_repo(self, repo_id: str, **options: Any) -> str:
        self.calls.append(("create_repo", {"repo_id": repo_id, **options}))
        return f"https://hub.example/datasets/{repo_id}"

    def upload_folder(self, **options: Any) -> None:
        self.calls.append(("upload_folder", options))
        if options["repo_id"] == "me/refused":
            raise OSError("403 Forbidden\nsee the server's log")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> type[FakeHub]:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeHub)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: TOKEN)
    FakeHub.calls = []
    return FakeHub


def test_pushing_uploads_the_files_of_the_card_and_nothing_else(hub: type[FakeHub], tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    result = run("--push-to-hub", "me/twins", "--private", "--out", tmp_path)
    assert hub.calls == [
        ("create_repo", {"repo_id": "me/twins", "repo_type": "dataset", "private": True, "exist_ok": True}),
        (
            "upload_folder",
            {
                "repo_id": "me/twins",
                "repo_type": "dataset",
                "folder_path": tmp_path,
                "allow_patterns": ["train.jsonl", "eval.jsonl", "README.md", "manifest.json"],
                "commit_message": "Upload preference pairs",
            },
        ),
    ]
    assert "pushed: https://hub.example/datasets/me/twins" in result.stdout
    everything = result.output + "".join(path.read_text(encoding="utf-8") for path in tmp_path.iterdir())
    assert TOKEN not in everything
    assert "me/twins" not in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_a_refused_push_says_so_and_keeps_the_files(hub: type[FakeHub], tmp_path: Path) -> None:
    result = run("--push-to-hub", "me/refused", "--out", tmp_path, code=1)
    assert f"Error: push to 'me/refused' failed, the files are in {tmp_path}: 403 Forbidden\n" in result.stderr
    assert TOKEN not in result.output
    assert (tmp_path / "train.jsonl").is_file()


def test_without_a_token_nothing_is_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    huggingface_hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    result = run("--push-to-hub", "me/twins", "--out", tmp_path / "out", code=1)
    assert "found no token of the Hugging Face hub, expected one; run `hf auth login` or set HF_TOKEN" in result.stderr
    assert not (tmp_path / "out").exists()
