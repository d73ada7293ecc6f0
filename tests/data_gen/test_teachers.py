"""`cpt teachers`: numbers against values worked by hand or scipy, refusals, and the report from file to figure."""

import hashlib
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_runs import fails, ran, strict_json
from matplotlib.figure import Figure
from scipy import stats
from seed import ROOT, SEED, SEED_FILE, SEED_ROWS

from data_gen.teachers.command import teachers_command
from data_gen.teachers.numbers import LEVELS, measure_responses, numbers, shared_grams, statistics
from data_gen.teachers.rows import COLUMNS
from data_gen.verify.command import verify_command
from judges.counting import words
from rubrics import ScoreLevel
from rubrics.files import write_jsonl

SELF = ROOT / "results" / "self_teacher"
BROADCAST = [row for row in SEED if row.rubric == "broadcast"]


def frame(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """Rows of (rubric, level, user prompt, score, response) by one teacher, measured."""
    full = [("here", "t", rubric, "0", *rest, "judge") for rubric, *rest in rows]
    return measure_responses(pd.DataFrame(full, columns=COLUMNS))


def table_of(rows: pd.DataFrame) -> Any:
    return numbers(rows).set_index(["kind", "rubric", "level", "statistic"])


# numbers


def test_shared_grams_by_hand() -> None:
    texts = pd.Series(["a b c d e", "A b c D x", "a b c d e", "a b c"]).map(str.split)
    # abcd bcde; abcd bcdx; the third answers the first's prompt; the fourth has no run of four
    shares = shared_grams(texts, pd.Series(["p", "q", "p", "r"]))
    # two other prompts each: of p's two runs one stands in one of two others; of q's likewise
    assert shares[:3] == [0.25, 0.25, 0.25]
    assert math.isnan(shares[3])
    assert math.isnan(shared_grams(texts[:1], pd.Series(["p"]))[0])


def test_means_weigh_responses_then_rubrics_and_controls_have_no_band() -> None:
    rows = frame(
        ("a", "low", "p", 10.0, "one two"),
        ("a", "low", "p", 20.0, "one two three"),
        ("a", "low", "q", 60.0, "one two three four"),
        ("b", "low", "p", 40.0, "one"),
        ("b", "extremely_high", "p", 95.0, "one"),
        ("b", "control", "p", 99.0, "one"),
    )
    values = statistics(rows)
    assert values["a", "low", "score"] == pytest.approx(30)
    assert values["macro", "low", "score"] == pytest.approx(35)
    assert values["a", "low", "in_band"] == pytest.approx(2 / 3)  # 40 is low, 41 is not
    assert values["a", "low", "words"] == pytest.approx(3)
    assert values["macro", "all", "dynamic_range"] == pytest.approx(55)  # b alone has both ends
    assert values["macro", "all", "accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert math.isnan(values["a", "all", "tau_b"])  # one level only
    assert ("b", "control", "score") in values and ("b", "control", "in_band") not in values
    low = table_of(rows).loc[("teacher", "macro", "low", "score")]
    assert low.n == 4 and math.isnan(low.ci_low)  # of two user prompts


def test_correlations_are_scipys_within_rubric_without_controls_then_averaged() -> None:
    rng = np.random.default_rng(1)
    rows = frame(
        *(
            (rubric, level, f"p{prompt}", float(rng.integers(0, 10) * 10), "word " * int(rng.integers(1, 9)))
            for rubric in ("a", "b")
            for level in LEVELS
            for prompt in range(8)
        )
    )
    values = statistics(rows)
    asked = rows[rows["level"] != "control"].assign(level=lambda rows: rows["level"].map(LEVELS.index))
    for name, of, column in (
        ("tau_b", stats.kendalltau, "score"),
        ("rho", stats.spearmanr, "score"),
        ("length_rho", stats.spearmanr, "words"),
    ):
        by_rubric = [of(mine["level"], mine[column]).statistic for _, mine in asked.groupby("rubric")]
        assert values["a", "all", name] == pytest.approx(by_rubric[0])
        assert values["macro", "all", name] == pytest.approx(np.mean(by_rubric))
    mine = asked[asked["rubric"] == "a"]
    level, score = (
        np.sign(np.subtract.outer(one, one)) for one in (mine["level"].to_numpy(), mine["score"].to_numpy())
    )
    assert values["a", "all", "order"] == pytest.approx((level * score).sum() / (level != 0).sum())
    tau = table_of(rows).loc[("teacher", "macro", "all", "tau_b")]
    assert -1 <= tau.ci_low < tau.value < tau.ci_high


def test_an_interval_of_one_rubric_is_that_of_its_own_user_prompts_and_correlations_end_at_their_ceiling() -> None:
    scores = {"low": 10.0, "moderate": 60.0, "extremely_high": 95.0}
    rubrics = {
        rubric: frame(
            *((rubric, level, f"{rubric}{n}", score, "w") for n in range(count) for level, score in scores.items())
        )
        for rubric, count in (("a", 8), ("b", 40))
    }
    both = table_of(measure_responses(pd.concat(rubrics.values())))
    alone = table_of(rubrics["a"])
    for statistic in ("in_band", "score"):
        key = ("teacher", "a", "low", statistic)
        assert (both.loc[key].ci_low, both.loc[key].ci_high) == (alone.loc[key].ci_low, alone.loc[key].ci_high)
    for rubric in ("macro", "a"):
        tau = both.loc[("teacher", rubric, "all", "tau_b")]
        assert tau.value == pytest.approx(1) and tau.ci_high == pytest.approx(1)
    tied = frame(
        *(
            ("a", level, f"p{n}", score, "w")
            for n in range(8)
            for level, score in (("low", float(n)), ("moderate", 60.0 + n))
        )
    )
    tau = table_of(tied).loc[("teacher", "a", "all", "tau_b")]
    assert tau.ci_high == pytest.approx(tau.value) and tau.value < 1  # responses of one level differ in score


# the command


run = partial(ran, teachers_command)


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of a report; tests that say nothing of figures do without."""
    monkeypatch.setattr("data_gen.teachers.report._scores", lambda rows: Figure())


def load(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = strict_json(out / "teachers.json")
    return content


def values_of(content: dict[str, Any]) -> dict[tuple[str, ...], float]:
    return {(n["writer"], n["rubric"], n["level"], n["statistic"]): n["value"] for n in content["numbers"]}


@pytest.mark.parametrize(
    ("name", "options"), [("all", []), pytest.param("best_of_4", ["--best-of"], marks=pytest.mark.slow)]
)
def test_the_committed_report_is_what_the_commands_make(
    name: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_all = ("--keep", "all", "--near", 0, *options)
    ran(verify_command, SELF / "responses.jsonl", "--out", tmp_path / name, *keep_all)
    committed = load(SELF / name)
    monkeypatch.setattr("sys.argv", committed["run"]["command"].split())
    run(tmp_path / name / "responses.jsonl", "--out", tmp_path / "report")
    made = load(tmp_path / "report")
    for content in (committed, made):
        content["run"].pop("versions")
    assert made == committed
    assert (tmp_path / "report" / "teachers.md").read_bytes() == (SELF / name / "teachers.md").read_bytes()


def test_table_csv_and_json_hold_the_same_numbers_and_the_same_command_writes_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "report"
    monkeypatch.setattr("sys.argv", ["/bin/cpt", "teachers", str(SEED_FILE), f"--out={out}"])
    done = run(SEED_FILE, "--out", out)
    content = load(out)
    values, facts = values_of(content), content["run"]
    mine = [row for row in BROADCAST if row.level is ScoreLevel.LOW]
    for statistic, expected in (
        ("score", [row.judgment.score for row in mine if row.judgment]),
        ("words", [len(words(row.response)) for row in mine]),
    ):
        assert values["unnamed-llm", "broadcast", "low", statistic] == pytest.approx(np.mean(expected), abs=1e-5)
    of = {(n["rubric"], n["level"], n["statistic"]): n for n in content["numbers"]}
    shown = [of["macro", level, "score"] for level in LEVELS[1:]]
    [line] = [line for line in done.stdout.splitlines() if line.startswith("| score")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:3] == ["unnamed-llm", "–"]
    assert cells[3:6] == [f"{n['value']:.1f} [{n['ci_low']:.1f}, {n['ci_high']:.1f}]" for n in shown]
    assert line in (out / "teachers.md").read_text(encoding="utf-8")
    table = pd.read_csv(out / "teachers.csv").astype(object)
    assert table.where(table.notna(), None).to_dict("records") == content["numbers"]
    assert (content["schema"], facts["judge"]) == (3, "measured (judge version 2)")
    assert facts["command"] == "cpt teachers responses.jsonl --out=report"
    assert facts["files"] == [{"name": "responses.jsonl", "sha256": hashlib.sha256(SEED_FILE.read_bytes()).hexdigest()}]
    run(SEED_FILE, "--out", tmp_path / "again")
    for path in out.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("no_figures")
def test_unjudged_rows_are_counted_controls_are_read_and_few_prompts_are_noted(tmp_path: Path) -> None:
    rows = [row | {"teacher": f"teacher-{number % 2}"} for number, row in enumerate(SEED_ROWS[:9])]
    for row, change in zip(rows, [{"judgment": None}] * 2 + [{"level": "control"}] * 2, strict=False):
        row |= change
    write_jsonl(tmp_path / "rows.jsonl", rows)
    done = run(tmp_path / "rows.jsonl", "--out", tmp_path / "out")
    assert "Left out of responses files: 2 unjudged (judge them with `cpt verify --keep all`)." in done.stdout
    assert "rows.jsonl:1: no judgment" in done.stderr
    assert "too few for an interval" in done.stdout
    content = load(tmp_path / "out")
    assert [(w["name"], w["n"]) for w in content["writers"]] == [("teacher-0", 4), ("teacher-1", 3)]
    assert values_of(content)["teacher-0", "macro", "control", "score"] is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.jsonl"], "missing.jsonl: no such file"),
        ([str(SEED_FILE), "--rubrics", "nonsense"], "rubric 'nonsense' not found"),
        ([str(SEED_FILE), "--rubrics", "film_dada"], "no judged response among 288 rows; judge them: cpt verify"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: list[str], message: str) -> None:
    assert message in fails(teachers_command, *arguments, "--out", "out")


MEASURED = "measured (judge version 2)"
OTHER = "other (judge version 2)"


def test_different_judges_cannot_stand_in_one_report(tmp_path: Path) -> None:
    rows = [row for row in SEED_ROWS if row["rubric"] == "broadcast"][:9]
    rows[4] = rows[4] | {"judgment": rows[4]["judgment"] | {"judge": "other"}}
    write_jsonl(tmp_path / "rows.jsonl", rows)
    said = fails(teachers_command, tmp_path / "rows.jsonl", "--out", tmp_path / "out")
    assert f"rows.jsonl:5: judge of 'broadcast' is {OTHER}, expected {MEASURED} as in the rows before" in said
    assert not (tmp_path / "out").exists()
