"""Leave-rubrics-out: what the make rules train and ask for, and the table of made-up logs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import folds_table
import pytest
from click.testing import CliRunner
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog
from make_rules import ROOT, Tree, commands, flags

from cpt_tasks._registry import rubric_adherence
from data_gen.twins.command import twins_command
from rubrics import ScoreLevel, load_rubrics, load_user_prompts

RULES = "recipes/experiments/folds.mk"
ADAPTERS = (*folds_table.FOLDS, "fold-1-of-4", "fold-1-of-2")


@pytest.fixture(scope="module")
def stages() -> dict[str, list[str]]:
    return commands(RULES, "SIZE=full")


def trained(stages: dict[str, list[str]], name: str) -> set[str]:
    words = stages[f"{name}/data"]
    return set(words[words.index("--rubrics") + 1].split(","))


@pytest.fixture(scope="module")
def folds() -> dict[str, list[str]]:
    """The rubrics of each fold, as the rules pass them to the table."""
    done = subprocess.run(
        ["make", "-nB", "-f", RULES, "SIZE=full"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    given = done.stdout.split("--folds ")[1].split()[:3]
    return {fold: rubrics.split(",") for fold, rubrics in zip(folds_table.FOLDS, given, strict=True)}


def asked(stages: dict[str, list[str]], name: str) -> set[str]:
    [given] = [word for word in stages[f"{name}/judged"] if word.startswith("rubrics=")]
    return set(given.removeprefix("rubrics=").split(","))


def test_folds_part_the_twelve_and_no_rubric_left_out_is_trained(
    stages: dict[str, list[str]], folds: dict[str, list[str]]
) -> None:
    families = {rubric.id: rubric.family for name in ("measured", "measured_more") for rubric in load_rubrics(name)}
    assert sorted(rubric for fold in folds.values() for rubric in fold) == sorted(families)
    assert len(families) == 12
    for name, fold in folds.items():
        assert len(fold) == 4
        assert {families[rubric] for rubric in fold} == {"measured", "measured_more"}
        assert trained(stages, name) == families.keys() - {*fold}
        assert asked(stages, name) == asked(stages, "base") == families.keys()
    two, four, eight = (trained(stages, name) for name in ("fold-1-of-2", "fold-1-of-4", "fold-1"))
    assert two < four < eight
    assert (len(two), len(four)) == (2, 4)
    for name in ("fold-1-of-2", "fold-1-of-4"):
        assert asked(stages, name) == {*folds["fold-1"]} | trained(stages, name)


def test_every_adapter_trains_on_as_many_rows_a_rubric_for_as_many_steps(
    stages: dict[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, expected = {"train_file", "output_dir", "max_steps"}, flags(stages["fold-2/train"])
    for name in ADAPTERS:
        given, words, number = flags(stages[f"{name}/train"]), stages[f"{name}/data"], len(trained(stages, name))
        assert {key: given[key] for key in given.keys() - own} == {key: expected[key] for key in expected.keys() - own}
        assert given["train_file"] == [f"{words[-1]}/train.jsonl"]
        assert (words[words.index("--limit") + 1], given["max_steps"]) == (f"{138 * number}", [f"{25 * number}"])
    monkeypatch.chdir(ROOT)
    for name in ("fold-1", "fold-1-of-2"):
        words = [*stages[f"{name}/data"][2:-1], str(tmp_path / name)]
        done = CliRunner().invoke(twins_command, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        rows = [json.loads(line) for line in (tmp_path / name / "train.jsonl").read_text("utf-8").splitlines()]
        assert {row["rubric"] for row in rows} == (rubrics := trained(stages, name))
        assert len(rows) == 2 * 138 * len(rubrics)


def test_each_adapter_is_made_once_and_an_edit_of_the_texts_makes_all_of_them_again(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    of_adapters = [f"{name}/{stage}" for name in ADAPTERS for stage in ("data", "train", "judged")]
    assert tree.make(rules=RULES) == ["model", "base/judged", *of_adapters]
    assert tree.make(rules=RULES) == []
    tree.edit("recipes/training/pairs.py")
    assert tree.make(rules=RULES) == [name for name in of_adapters if not name.endswith("data")]


@pytest.fixture(scope="module")
def answers(mock_model: Callable[..., Any]) -> dict[bool, EvalLog]:
    """Logs of all twelve at two levels, by whether the model follows the level; else it writes what is low."""
    files = (ROOT / "data_gen/seed" / name for name in ("responses.jsonl", "responses_more.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    in_band = {(row["rubric"], row["level"]): row["response"] for row in rows}
    rubrics = [*load_rubrics("measured"), *load_rubrics("measured_more")]
    cells = [(rubric, level) for rubric in rubrics for level in ScoreLevel]
    meant = {text: (one.id, level.value) for one, level in cells for text in one.wordings(level, "heldout")}

    def log_of(follows: bool) -> EvalLog:
        def reply(messages: list[Any]) -> str:
            rubric, level = meant[messages[0].text]
            return in_band[rubric, level if follows else "low"]

        task = rubric_adherence(preset="measured", levels="low,extremely_high", limit_per_cell=6)
        [log] = inspect_eval(task, model=mock_model(reply), display="none")
        return log

    return {follows: log_of(follows) for follows in (True, False)}


@pytest.mark.slow
def test_the_table_of_logs_whose_numbers_are_known(
    answers: dict[bool, EvalLog], stages: dict[str, list[str]], folds: dict[str, list[str]]
) -> None:
    """A model that follows the level has accuracy 1 and order 1, one that does not 1/2 and 0.

    Adapters of folds follow the rubrics that they were trained on; of those that they were not fold-1 follows two,
    fold-2 all four on three of the six user prompts, fold-3 all four. So fold-2
    is 1/2 above the base on three prompts and as the base on three: 1/4, SE sqrt(6 / 16 / 5 / 6) = 0.1118, times
    t(0.975, 5) = 2.571 is 0.287. Over the twelve the mean is (1/4 + 1/4 + 1/2) / 3 and the interval a third as wide.
    """
    followed = {"fold-1": {*folds["fold-2"], *folds["fold-3"], *folds["fold-1"][:2]}}
    followed |= {name: asked(stages, name) for name in ("fold-2", "fold-3")}
    some_prompts = list(load_user_prompts("test", "measured"))[:3]

    def log_of(name: str) -> EvalLog:
        samples = []
        for one, other in zip(*(log.samples or [] for log in answers.values()), strict=True):
            follows = one.metadata["rubric"] in followed.get(name, ())
            if name == "fold-2" and one.metadata["rubric"] in folds["fold-2"]:
                follows = one.metadata["user_prompt_id"] in some_prompts
            samples += [one if follows else other] if one.metadata["rubric"] in asked(stages, name) else []
        return answers[True].model_copy(update={"samples": samples})

    logs = {name: log_of(name) for name in ("base", *ADAPTERS)}
    page = folds_table.page_of(logs, folds)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"]
    whole, accuracy, scores, curve = rows[2:5], rows[7:10], rows[22:34], rows[-5:]
    assert [row[0].split(":")[0] for row in accuracy] == [*folds_table.FOLDS]
    assert [row[1:4] for row in accuracy] == [["0.50", share, "1.00"] for share in ("0.75", "0.75", "1.00")]
    assert [row[4] for row in accuracy] == ["+0.25", "+0.25 [-0.04, +0.54]", "+0.50"]
    assert [row[5] for row in accuracy] == ["-0.25", "-0.25 [-0.54, +0.04]", "+0.00"]
    assert whole[0] == ["accuracy", "0.50", "0.83", "1.00", "+0.33 [+0.24, +0.43]", "-0.17 [-0.26, -0.07]"]
    assert [row[0] for row in whole[1:]] == ["order", "calibration"]
    assert [rows[12][2], rows[14][2]] == ["0.50", "1.00"]  # order
    assert [row[0] for row in scores] == sum(folds.values(), [])
    assert {row[0] for row in scores if row[1] != row[2]} == {*folds["fold-2"], *folds["fold-3"], *folds["fold-1"][:2]}
    assert [row[0] for row in curve] == ["0", *folds_table.CURVE]
    assert [row[1] for row in curve] == ["0.50", "0.50", "0.50", "0.75", "1.00"]
    assert [row[4] for row in curve] == ["", "+0.00", "+0.00", "+0.25", "+0.50"]
    assert [row[7] for row in curve] == ["", "+0.00", "+0.00", "+0.50", ""]
