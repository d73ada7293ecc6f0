"""The tables of what each stage buys, what it costs, and by another judge, of numbers that are known."""

from __future__ import annotations

import io
import json
import math
import sys
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pandas as pd
import pytest
import rounds_table
import torch
from fluency_table import perplexity, repeated
from rounds_judged_table import page_of, table_of

from cpt_tasks.statistics.frame import in_band, read_log
from rubrics import ScoreLevel

ROOT = Path(__file__).parents[2]


def write_seed(folder: Path, accuracies: dict[str, float], seconds: dict[str, float]) -> None:
    values = {"band_error": 9.0, "kendall_tau_b": 0.25, "kendall_tau_b_ceiling": 0.75}
    models = []
    for name, accuracy in accuracies.items():
        numbers = (values | {"macro_accuracy": accuracy, "somers_d": 1 - accuracy}).items()
        metrics = {one: {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1} for one, value in numbers}
        models.append({"name": name, "tasks": {"rubric_adherence": {"n": 288, "metrics": metrics}}})
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps({"schema": 2, "models": models}), encoding="utf-8")
    stages = {name: {"command": "x", "seconds": spent} for name, spent in seconds.items()}
    (folder / "stages.json").write_text(json.dumps(stages), encoding="utf-8")


def run(folder: Path, code: int = 0, *options: str) -> str:
    said = io.StringIO()
    ends = pytest.raises(SystemExit, match=f"^{code}$") if code else nullcontext()
    argv = patch.object(sys, "argv", ["rounds_table.py", str(folder), *options])
    with argv, redirect_stdout(said), redirect_stderr(said), ends:
        rounds_table.main()
    return said.getvalue()


def rows_of(page: str) -> dict[str, list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for line in lines if (cells := [cell.strip() for cell in line.strip("|").split("|")])}


def test_means_over_seeds_have_t_intervals_and_minutes_are_those_of_training_and_texts(tmp_path: Path) -> None:
    seconds: dict[str, float | None] = {
        "train": 600.0,
        "round-1/responses": 60.0,
        "round-1/train": 120.0,
        "rounds/base": 999.0,
    }
    for seed, last in ((0, 0.8), (1, 0.82), (2, 0.84)):
        accuracies = {"base": 0.33, "sft": 0.4, "twins": 0.6, "round-1": last}
        interrupted = {} if seed < 2 else {"train": math.nan}
        write_seed(tmp_path / f"seed-{seed}/rounds", accuracies, seconds | interrupted)
    page = run(tmp_path)
    assert (tmp_path / "rounds.md").read_text(encoding="utf-8") in page
    rows = rows_of(page)
    assert list(rows) == ["stage", "base", "sft", "twins", "round-1"]
    assert "twins right" not in rows["stage"]
    # mean .82, standard error .02 / sqrt(3), t of 2 degrees 4.303: reach .0497
    assert rows["round-1"] == [
        "0.82 [0.77, 0.87]", "0.800, 0.820, 0.840", "+0.22 [+0.17, +0.27]",
        "0.18 [0.13, 0.23]", "-0.22 [-0.27, -0.17]", "9.00 [9.00, 9.00]", "0.25 [0.25, 0.25]", "0.75 [0.75, 0.75]", "3",
    ]  # fmt: skip
    assert [rows[name][-1] for name in ("base", "sft", "twins")] == ["", "", "10"]
    assert "288 answers" in page
    assert "over seeds 0, 1, 2" in page
    assert rows_of(run(tmp_path, 0, "--seeds", "0", "2"))["round-1"][1] == "0.800, 0.840"
    without_one = rounds_table.row_means(pd.DataFrame([[0.4, float("nan"), 0.6]])).iloc[0]
    assert rounds_table.show(without_one) == "undefined"


def test_twins_right_are_those_of_the_last_evaluation_of_every_stage_that_was_trained_on_twins(tmp_path: Path) -> None:
    for seed, last in ((0, 0.5), (1, 0.75)):
        folder = tmp_path / f"seed-{seed}/rounds"
        write_seed(folder, {"base": 0.3, "shuffled": 0.5, "twins": 0.6, "round-1": 0.7}, {})
        for stage, shares in {".": [0.1, last], "shuffled": [0.25], "round-1": []}.items():
            steps = [{"loss": 0.6}, *({"eval_twins/both_correct": share} for share in shares), {"train_loss": 0.5}]
            (folder / stage / "training").mkdir(parents=True)
            (folder / stage / "training/log_history.json").write_text(json.dumps({"dpo": steps}), encoding="utf-8")
    # t of one degree is 12.706, the standard error .125
    shown = {"base": "", "shuffled": "0.25 [0.25, 0.25]", "twins": "0.62 [-0.96, 2.21]", "round-1": ""}
    rows = rows_of(run(tmp_path))
    assert {name: rows[name][rows["stage"].index("twins right")] for name in shown} == shown


def test_one_seed_has_no_intervals_and_without_any_it_says_what_to_run(tmp_path: Path) -> None:
    write_seed(tmp_path / "seed-0/rounds", {"twins": 0.6}, {"train": 30.0})
    assert rows_of(run(tmp_path))["twins"][:2] == ["0.60", "0.600"]
    write_seed(tmp_path / "from/seed-0/rounds", {"start": 0.5, "round-1": 0.75}, {})
    rows = rows_of(run(tmp_path / "from"))
    assert {name: rows[name][2] for name in rows} == {"stage": "accuracy - start", "start": "", "round-1": "+0.25"}
    assert "expected those of recipes/experiments/rounds.mk" in run(tmp_path / "nothing", code=2)


@pytest.mark.slow
def test_the_committed_table_is_that_of_the_committed_runs_and_chooses_by_train_prompts_alone() -> None:
    run = ROOT / "results/smollm2-135m"
    folders = sorted(run.glob("seed-*/rounds"))
    page = (run / "rounds.md").read_text(encoding="utf-8")
    assert rounds_table.table_of(folders) in page
    rows, chosen = rows_of(page), []
    for seed, folder in enumerate(folders):
        train, test = {}, {}
        for name in ("1", "2", "3"):
            for kind, values in (("on-train", train), ("round", test)):
                frame = read_log(str(folder / f"logs/rounds/{kind}-{name}.eval"))
                values[name] = in_band(frame).mean()
            assert f"{test[name]:.3f}" == rows[f"round-{name}"][1].split(", ")[seed]
        chosen.append(f"{test[max(train, key=lambda name: train[name])]:.3f}")
    assert rows["chosen"][1] == ", ".join(chosen)
    stages = json.loads((run.parent / "tuned/stages.json").read_text(encoding="utf-8"))
    assert f"seed-0/rounds/{rounds_table.best_round(folders[0])[-1]} " in stages["cpt"]["command"]


def test_what_a_stage_costs_worked_by_hand() -> None:
    assert repeated("a b c d e") == 0.0
    # runs: abcd bcda cdab dabc abcd bcda: 4 of 6 are the first of their kind
    assert repeated("a b c d a b c d a") == pytest.approx(1 / 3)
    assert repeated("too short") == repeated("") == 0.0

    class Uniform:
        def __call__(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> SimpleNamespace:
            # sure of 7, with 6 to 1 against all else together, after an even token
            likely = torch.full((*input_ids.shape, 8), 0.0)
            likely[..., 7] = torch.where(input_ids % 2 == 0, math.log(42.0), 0.0)
            return SimpleNamespace(logits=likely)

    read = {"odd": [1, 2], "both": [2, 7, 7, 1], "one": [3]}
    texts = ["both", "odd", "one"]
    # after 1: 1/8; after 2: 42/49; after 7, twice: 1/8 each; a text of one token has nothing to be predicted
    expected = math.exp((3 * math.log(8) + math.log(49 / 42)) / 4)
    assert perplexity(texts, Uniform(), lambda text: {"input_ids": read[text]}) == pytest.approx(expected, rel=1e-5)


def test_two_judges_of_the_same_stages_worked_by_hand() -> None:
    judged = {
        "twins": [("low", 10, 10), ("low", 10, 50), ("moderate", 20, 50), ("moderate", 60, 70)],
        "round-1": [("low", 10, 10), ("low", 50, 50), ("moderate", 60, 30), ("moderate", 60, 95)],
        "round-2": [("low", 10, 10), ("low", 20, 20), ("moderate", 60, 60), ("moderate", 70, 70)],
    }
    names = ["source", "user_prompt", "level", "measured", "score"]
    rows = [(stage, f"p{number}", *text) for stage, texts in judged.items() for number, text in enumerate(texts)]
    texts = pd.DataFrame(rows, columns=names).assign(seed=0, rubric="r")
    texts = pd.concat([texts, texts.assign(level="extremely_high", measured=99, score=99)], ignore_index=True)
    measured, strong = (texts.assign(score=texts[name]) for name in ("measured", "score"))
    for one in (measured, strong):
        one["in_band"] = one["score"].map(ScoreLevel.of) == one["level"].map(ScoreLevel)
    table = table_of(measured, strong).set_index(["judge", "stage"])
    assert table["accuracy"].tolist() == ["0.88", "0.88", "1.00", "0.88", "0.62", "1.00"]
    assert table["low"].tolist() == ["1.00", "0.50", "1.00", "0.50", "0.50", "1.00"]
    # of two differences a user prompt, four prompts, one is 1: means .5, 0, 0, 0, standard error .125, t of 3 degrees
    # 3.1824: .125 -+ .398
    assert table.loc[("measured", "round-2"), "accuracy - twins"] == "+0.12 [-0.27, +0.52]"
    assert table.loc[("measured", "twins"), "accuracy - twins"] == ""
    assert table.loc[("measured", "round-2"), "rho"] == "1.00"
    # the judge fails on one text: its cell counts at no stage, for neither judge, and the page says so
    cell = texts.index[(texts["level"] == "moderate") & (texts["user_prompt"] == "p2")]
    failed = strong.assign(score=strong["score"].mask(strong.index == cell[1]))
    page, without = page_of(measured, failed), page_of(measured.drop(cell), strong.drop(cell))
    said = "Cells left out at every stage, because a judge failed on one of their texts: 1.\n\n"
    assert page.replace(said, "") == without != page_of(measured, strong)
    assert "of 7 cells" in page and said in page and "left out" not in without
