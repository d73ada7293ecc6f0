"""`cpt twins` as a user runs it: known bytes, splits, formats, bad rows, card and manifest, and TRL's own trainer."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from command_runs import cpt
from command_runs import read_rows as read
from command_runs import write_rows as write
from seed import ROOT, SEED_FILE, SEED_ROWS

from rubrics import ScoreLevel, load_rubric, load_rubrics, load_user_prompts

LOW, _, HIGH = ScoreLevel
TEST_PROMPT_ID, TEST_PROMPT = next(iter(load_user_prompts("test").items()))


run = partial(cpt, "twins")


# SHA-256 of the files, by number of wordings; trained adapters name those of their data in run_manifest.json
BYTES = {
    1: {
        "train.jsonl": "6e5604e1311fda6b6654c7d7caadc325a78467c9e2649669b18bd224d8a6228a",
        "eval.jsonl": "de0f9efb779195f6bc7e7d973a296a6c6ece601da73e56ec2b9d72479472885a",
    },
    2: {
        "train.jsonl": "13bbd5353d2e03b0f488889d0a2dcafefc898fb92cfec0e4a27a805f6d2a0bdb",
        "eval.jsonl": "006d620592240a442931d2b04267dc6ffa3b1b4fd4bb7e948fcf4edada7357fd",
    },
}


@pytest.mark.parametrize("wordings", BYTES)
def test_the_seed_gives_the_same_bytes_as_ever(wordings: int, tmp_path: Path) -> None:
    run("--wordings", wordings, "--out", tmp_path)
    digests = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in BYTES[wordings]}
    assert digests == BYTES[wordings]


@pytest.mark.parametrize("kind", ["jsonl", "both"])
def test_the_folder_loads_with_datasets(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    out = tmp_path / "out"
    run("--out", tmp_path / "jsonl")
    run("--format", kind, "--out", out)
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "eval"}
    for name, split in loaded.items():
        assert split.to_list() == read(tmp_path / "jsonl" / f"{name}.jsonl")
    assert len(loaded["eval"]) == 4 * 4 * 3 * 2


def test_bad_and_repeated_rows_of_several_files_are_named_and_counted_and_good_ones_survive(tmp_path: Path) -> None:
    first, second = tmp_path / "1.jsonl", write(tmp_path / "2.jsonl", SEED_ROWS[99:])
    unverified = SEED_ROWS[1] | {"id": "x", "judgment": None}
    first.write_text("\n".join(["nonsense", *map(json.dumps, [unverified, *SEED_ROWS[:100]])]), encoding="utf-8")
    result = run("--responses", first, "--responses", second, "--out", tmp_path / "out")
    for message in ("1.jsonl:1: got 'nonsense", "1.jsonl:2: has no judgment, expected one", "2.jsonl:1: id"):
        assert message in result.stderr
    assert "3 bad rows skipped" in result.stderr
    run("--out", tmp_path / "good")
    assert (tmp_path / "out" / "train.jsonl").read_bytes() == (tmp_path / "good" / "train.jsonl").read_bytes()
    skipped = json.loads((tmp_path / "out" / "manifest.json").read_text())["skipped"]
    assert skipped == {"bad_row": 1, "not_verified": 1, "repeated_id": 1}


def test_no_test_prompt_heldout_rubric_or_heldout_wording_gets_into_a_file(tmp_path: Path) -> None:
    rubric = load_rubric("tone_irony")
    assert rubric.split == "heldout"
    own = {"rubric": rubric.id, "rubric_hash": rubric.hash}
    rows = [row | {"user_prompt": f" {TEST_PROMPT.upper()}"} if n < 24 else row for n, row in enumerate(SEED_ROWS)]
    test_prompt = {"user_prompt_id": TEST_PROMPT_ID, "user_prompt": TEST_PROMPT}
    rows += [row | {"id": row["id"] + "x"} | test_prompt for row in SEED_ROWS]
    rows += [row | own | {"id": row["id"] + "h"} for row in SEED_ROWS if row["rubric"] == "reverie"]
    result = run("--responses", write(tmp_path / "r.jsonl", rows), "--wordings", 6, "--out", tmp_path)
    assert f"{24 + 288} bad rows skipped: {24 + 288} test_prompt" in result.stderr
    assert "left out: 72 tone_irony (controls, rubrics kept for measuring and those not among" in result.stderr
    written = "".join((tmp_path / f"{name}.jsonl").read_text(encoding="utf-8") for name in ("train", "eval"))
    by_level = [wordings for rubric in load_rubrics() for wordings in rubric.system_prompts.values()]
    heldout = [json.dumps(text, ensure_ascii=False)[1:-1] for wordings in by_level for text in wordings.heldout]
    written = written.casefold()
    assert [text for text in (TEST_PROMPT_ID, TEST_PROMPT, "tone_irony", *heldout) if text.casefold() in written] == []


def test_a_rubric_of_ones_own_is_paired_and_others_are_told(tmp_path: Path) -> None:
    text = (ROOT / "rubrics" / "library" / "reverie.yaml").read_text(encoding="utf-8")
    mine = tmp_path / "mine.yaml"
    mine.write_text(text.replace("id: reverie", "id: mine", 1), encoding="utf-8")
    rubric = load_rubric(mine)
    changes = {"rubric": "mine", "rubric_hash": rubric.hash}
    rows = [row | changes | {"id": row["id"] + "m"} for row in SEED_ROWS if row["rubric"] == "reverie"]
    path = write(tmp_path / "r.jsonl", rows + SEED_ROWS)
    result = run("--responses", path, "--rubrics", mine, "--rubrics", "labyrinth", "--out", tmp_path / "out")
    assert "left out: 72 broadcast, 72 field_notes, 72 reverie (" in result.stderr
    assert {row["rubric"] for row in read(tmp_path / "out" / "train.jsonl")} == {"mine", "labyrinth"}
    prompts = rubric.system_prompts
    mine.write_text(mine.read_text("utf-8").replace(prompts[HIGH].train[1], prompts[LOW].train[0]), encoding="utf-8")
    refused = run("--responses", path, "--rubrics", mine, "--out", tmp_path / "out", code=1).stderr
    assert (
        "wording mine-extremely_high-train-1 has the text of mine-low-train-0, expected each text at one level"
        in refused
    )


def test_without_eval_prompts_there_is_one_file_and_no_other_is_left_over(tmp_path: Path) -> None:
    run("--format", "both", "--out", tmp_path)
    run("--eval-prompts", 0, "--out", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "manifest.json", "train.jsonl"]
    assert len(read(tmp_path / "train.jsonl")) == 2 * 288


ERRORS: list[tuple[tuple[object, ...], int, str]] = [
    (("--level-pairs", ""), 2, "got '', expected some of low:moderate, moderate:extremely_high, low:extremely_high"),
    (("--eval-prompts", 24), 1, "eval prompts: got 24, expected at most 23"),
    (("--min-gap", 99, "--level-pairs", "low:moderate"), 1, "no twin can be made of the 288 responses that may train"),
    (("--rubrics", "nonesuch"), 1, "rubric 'nonesuch' not found"),
    (("--level-pairs", "none"), 2, "--level-pairs none makes no twins, expected --same-level N beside it"),
    (
        ("--level-pairs", "none", "--same-level", 1),
        1,
        "no pair can be made of the 288 responses that may train, expected one response in its band and one out of",
    ),
    (("--from-paper", "no", "--same-level", 1), 2, "--from-paper and --same-level do not go together, since the paper"),
    (("--from-paper", "no", "--min-gap", 5), 2, "judge OUT/paper_responses.jsonl with `cpt verify`, and give the"),
    (("--from-paper", "no"), 1, "no: expected a JSONL or Parquet file, or the id of a data set on the hub"),
]


def test_nothing_that_is_read_or_was_not_written_here_is_overwritten(tmp_path: Path) -> None:
    ratings, card = tmp_path / "train.jsonl", tmp_path / "README.md"
    for file, arguments in ((ratings, ("--from-ratings", ratings)), (card, ())):
        file.write_text("{}")
        assert "would be overwritten" in run(*arguments, "--out", tmp_path, code=1).stderr
        assert file.read_text() == "{}"
        ratings.unlink(missing_ok=True)


@pytest.mark.parametrize(("arguments", "code", "message"), ERRORS)
def test_a_wrong_call_is_told_in_one_sentence(
    arguments: tuple[object, ...], code: int, message: str, tmp_path: Path
) -> None:
    result = run(*arguments, "--out", tmp_path / "out", code=code)
    assert message in " ".join(result.stderr.split())
    assert not (tmp_path / "out").exists()


def test_counts_and_means_of_the_card_are_those_of_the_rows(tmp_path: Path) -> None:
    rows = [row | {"teacher": "b" if number % 72 < 30 else "a | b"} for number, row in enumerate(SEED_ROWS)]
    options = ("--wordings", 2, "--min-gap", 30, "--licence", "cc-by-4.0", "--out", tmp_path)
    run("--responses", write(tmp_path / "r.jsonl", rows), *options)
    counted: dict[tuple[str, str, str], dict[str, Any]] = defaultdict(lambda: defaultdict(list))
    for name in ("train", "eval"):
        for row in read(tmp_path / f"{name}.jsonl"):
            if row["score_chosen"] < row["score_rejected"]:
                kind = (row["rubric"], f"{row['level']}:{row['rejected_level']}", row["teacher"].replace("|", "\\|"))
                counted[kind][name].append((row["score_chosen"], row["score_rejected"]))
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert "license: cc-by-4.0" in card
    assert (manifest["schema"], len(manifest["twins"])) == (3, len(counted))
    for (rubric, levels, teacher), by_file in counted.items():
        pairs = by_file["train"] + by_file["eval"]
        start = f"| {rubric} | {levels} | {teacher} | {len(by_file['train'])} | {len(by_file['eval'])}"
        [line] = [line for line in card.split("\n") if line.startswith(start)]
        means = [float(cell) for cell in line.removeprefix(start).strip(" |").split(" | ")]
        assert means == pytest.approx([sum(scores) / len(pairs) for scores in zip(*pairs, strict=True)], abs=0.006)


def test_the_command_of_the_card_makes_the_same_files_and_names_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, mine = tmp_path / "first", tmp_path / "reverie.yaml"
    mine.write_bytes((ROOT / "rubrics" / "library" / "reverie.yaml").read_bytes())
    options = ("--min-gap", "12.5", "--rubrics", f"labyrinth,{mine}", "--limit", 60, "--format", "both", "--seed=7")
    run("--responses", SEED_FILE, *options, f"--out={first}")
    card = (first / "README.md").read_text(encoding="utf-8")
    names = "--responses responses.jsonl --min-gap 12.5 --rubrics labyrinth,reverie.yaml --limit 60 --format both"
    command = f"cpt twins {names} --seed=7 --out=DIR"
    for text in (
        f"    {command}\n",
        "Teachers: unnamed-llm. Judges: measured, prompt version 2.",
        "license: apache-2.0",
    ):
        assert text in card
    content = (first / "manifest.json").read_text(encoding="utf-8")
    manifest = json.loads(content)
    assert [about["sha256"] for about in manifest["inputs"]] == [hashlib.sha256(SEED_FILE.read_bytes()).hexdigest()]
    for name in ("train.jsonl", "eval.jsonl"):
        written = (first / name).read_bytes()
        rows, digest = written.count(b"\n"), hashlib.sha256(written).hexdigest()
        assert manifest["files"][name] == {"rows": rows, "twins": rows / 2, "sha256": digest}
    assert str(tmp_path) not in card + content and str(ROOT) not in card + content
    (tmp_path / SEED_FILE.name).write_bytes(SEED_FILE.read_bytes())
    monkeypatch.chdir(tmp_path)
    run(*shlex.split(command.replace("DIR", "second"))[2:])
    for path in first.iterdir():
        assert path.read_bytes() == (tmp_path / "second" / path.name).read_bytes(), path.name
    run(*shlex.split(command.replace("DIR", "third").replace("=7", "=8"))[2:])
    assert (first / "train.jsonl").read_bytes() != (tmp_path / "third" / "train.jsonl").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_trls_own_dpo_command_trains_on_the_files_unchanged(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    from tiny_model import save_tiny_model

    save_tiny_model(tmp_path / "tiny")
    run("--limit", 8, "--format", kind, "--out", tmp_path / "data")
    command = [Path(sys.executable).parent / "trl", "dpo", "--model_name_or_path", tmp_path / "tiny"]
    command += ["--dataset_name", tmp_path / "data", "--dataset_test_split", "eval", "--eval_strategy", "steps"]
    command += ["--eval_steps", "2", "--max_steps", "2", "--per_device_train_batch_size", "2", "--use_cpu", "true"]
    command += ["--report_to", "none", "--dtype", "float32", "--bf16", "false", "--output_dir", tmp_path / "out"]
    environment = os.environ | {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(part) for part in command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=220
    )
    assert done.returncode == 0, done.stderr[-3000:]
    state = json.loads((tmp_path / "out" / "checkpoint-2" / "trainer_state.json").read_text())
    assert state["global_step"] == 2
    assert any("eval_loss" in entry for entry in state["log_history"])


def test_earlier_turns_stand_before_the_same_twins(tmp_path: Path) -> None:
    for history in (0, 2):
        run("--history", history, "--same-level", 0, "--out", tmp_path / str(history))
    in_band = {(row["user_prompt"], row["response"]): (row["rubric"], row["level"]) for row in SEED_ROWS}
    kept = {True: 0, False: 0}  # rows whose earlier turns are as their system prompt asks, and others
    drawn = set()
    for name in ("train", "eval"):
        plain, rows = (read(tmp_path / folder / f"{name}.jsonl") for folder in ("0", "2"))
        asked = {row["prompt"][-1]["content"] for row in plain}
        for row, before in zip(rows, plain, strict=True):
            system, *turns, user = row["prompt"]
            assert row | {"prompt": [system, user]} == before
            assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2
            texts = [turn["content"] for turn in turns]
            questions = texts[::2]
            assert len({*questions, user["content"]}) == 3 and set(questions) <= asked
            [(rubric, level)] = {in_band[exchange] for exchange in zip(questions, texts[1::2], strict=True)}
            assert rubric == row["rubric"] and level in (row["level"], row["rejected_level"])
            kept[level == row["level"]] += 1
            drawn.add(level)
        for one, other in zip(rows[::2], rows[1::2], strict=True):  # a twin: only the system prompt differs
            assert one["prompt"][1:] == other["prompt"][1:]
            assert one["prompt"][0] != other["prompt"][0]
    assert kept[True] == kept[False]
    assert len(drawn) == 3
    from training.pairs import load_pairs

    assert len(load_pairs(str(tmp_path / "2" / "train.jsonl"))) == len(read(tmp_path / "0" / "train.jsonl"))
    # 4 user prompts in eval leave 3 others
    said = run("--history", 4, "--out", tmp_path / "4", code=1)
    assert "--history: got 4, expected at most 3, the other user prompts in the file" in said.output
