"""`cpt teachers`: numbers against values worked by hand or scipy, refusals, and the report from file to figure."""

import hashlib
import itertools
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_runs import fails, ran, strict_json
from inspect_ai import eval as inspect_eval
from inspect_ai.log import ProvenanceData, read_eval_log, write_eval_log
from matplotlib.figure import Figure
from scipy import stats
from seed import ROOT, SEED, SEED_FILE, SEED_ROWS
from students import follows

from data_gen.teachers.command import teachers_command
from data_gen.teachers.numbers import LEVELS, measure_responses, numbers, shared_grams, statistics
from data_gen.teachers.rows import COLUMNS, read_rows
from data_gen.verify.command import verify_command
from judges.counting import words
from rubrics import ScoreLevel, load_rubric
from rubrics.files import write_jsonl

SELF = ROOT / "results" / "self_teacher"
BROADCAST = [row for row in SEED if row.rubric == "broadcast"]


def frame(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """Rows of (rubric, level, user prompt, score, response) by one teacher, measured."""
    return written("t", "teacher", *rows)


def written(writer: str, kind: str, *rows: tuple[Any, ...]) -> pd.DataFrame:
    full = [("here", writer, kind, rubric, "0", *rest, "judge") for rubric, *rest in rows]
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


def carried(teacher: int, base: int, student: int, prompts: int = 8) -> Any:
    lengths = {"teacher": teacher, "student": student, "base": base}
    writers = [
        written(
            kind,
            kind,
            *(("a", "low", f"{kind == 'teacher'}{n}", 50.0, "word " * (words + n % 2)) for n in range(prompts)),
        )
        for kind, words in lengths.items()
    ]
    rows = pd.concat(writers, ignore_index=True)
    rows["cluster"] = rows["user_prompt_id"]
    return table_of(rows).loc["carried"].loc["macro"].loc["low"]


@pytest.mark.parametrize(("student", "share"), [(40, 1.0), (20, 0.0), (30, 0.5), (10, -0.5)])
def test_carried_share_is_the_students_part_of_the_way_from_base_to_teacher(student: int, share: float) -> None:
    table = carried(40, 20, student)
    row = table.loc["words"]
    assert row.writer == "student from teacher"
    assert row.value == pytest.approx(share)
    assert row.ci_low <= share <= row.ci_high or math.isnan(row.ci_low)
    assert math.isnan(table.loc["score"].value)  # teacher and base do not differ


@pytest.mark.parametrize(("teacher", "prompts"), [(20, 8), (40, 5)])
def test_no_share_where_teacher_and_base_do_not_differ_or_prompts_are_few(teacher: int, prompts: int) -> None:
    assert math.isnan(carried(teacher, 20, 30, prompts).loc["words"].value)


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
        ([str(SEED_FILE), "--student", "missing.eval"], "missing.eval: not readable ("),
        ([str(SEED_FILE), "--student", str(SEED_FILE)], "responses.jsonl: not readable ("),
        ([str(SEED_FILE), "--base", "b.eval"], "--base needs --student"),
        ([str(SEED_FILE), "--rubrics", "nonsense"], "rubric 'nonsense' not found"),
        ([str(SEED_FILE), "--rubrics", "film_dada"], "no judged response among 288 rows; judge them: cpt verify"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: list[str], message: str) -> None:
    assert message in fails(teachers_command, *arguments, "--out", "out")


# students


@pytest.fixture(scope="module")
def student_logs(tmp_path_factory: pytest.TempPathFactory, mock_model: Callable[..., Any]) -> dict[str, Path]:
    """A student that writes what a teacher wrote for the level, and a base that thinks and writes low ones always."""
    from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence

    texts = [row.response for row in BROADCAST if row.level is ScoreLevel.LOW]
    low = itertools.cycle(texts[8 * level + prompt] for prompt in range(8) for level in range(3))
    models = [mock_model(follows, "student"), mock_model(lambda _: f"<think>Hm.</think>\n{next(low)}", "base")]
    task = rubric_adherence("broadcast", judge="measured", limit_per_cell=8)
    logs = inspect_eval(task, model=models, log_dir=str(tmp_path_factory.mktemp("logs")), display="none")
    assert [log.status for log in logs] == ["success"] * 2
    return {log.eval.model.split("/")[1]: Path(log.location) for log in logs}


@pytest.mark.usefixtures("no_figures")
def test_a_student_that_writes_like_its_teacher_carries_all_over(student_logs: dict[str, Path], tmp_path: Path) -> None:
    done = run(SEED_FILE, "--out", tmp_path, "--student", student_logs["student"], "--base", student_logs["base"])
    assert "different rubrics: unnamed-llm 4, student (student) 1, base (base) 1; see teachers.csv." in done.stdout
    content = load(tmp_path)
    writers = [(w["name"], w["kind"], w["n"]) for w in content["writers"]]
    assert writers == [("unnamed-llm", "teacher", 288), ("student", "student", 24), ("base", "base", 24)]
    values = values_of(content)
    assert values["student", "macro", "extremely_high", "in_band"] == 1
    assert values["student from unnamed-llm", "macro", "extremely_high", "score"] == pytest.approx(1, abs=0.1)
    assert ("student from unnamed-llm", "macro", "all", "length_rho") in values
    page = (tmp_path / "teachers.md").read_text(encoding="utf-8")
    assert "student from unnamed-llm" in page and "student (student)" in page


def test_the_response_of_a_student_is_what_it_wrote_after_its_thought(student_logs: dict[str, Path]) -> None:
    rows, _ = read_rows([SEED_FILE], [(student_logs["base"], "base")], {"broadcast": load_rubric("broadcast")})
    written = set(rows.loc[rows["kind"] == "base", "response"])
    assert written and written <= {row.response for row in BROADCAST if row.level is ScoreLevel.LOW}


@pytest.mark.usefixtures("no_figures")
def test_a_log_of_before_the_renaming_is_read_and_without_base_nothing_is_carried(
    student_logs: dict[str, Path], tmp_path: Path
) -> None:
    log = read_eval_log(str(student_logs["student"]))
    assert log.samples is not None
    for sample in log.samples:
        sample.metadata["prompt_id"] = sample.metadata.pop("user_prompt_id")
    log.samples[0].scores = None
    log.samples[1].invalidation = ProvenanceData(author="Ada")
    for sample, value in zip(log.samples[2:4], (0, 30), strict=True):  # the judge read neither, and a person one
        score = (sample.scores or {})["rubric_judge"]
        score.value, score.metadata = value, (score.metadata or {}) | {"reason": "no_response"}
    old = tmp_path / "old.eval"
    write_eval_log(log, str(old))
    done = run(SEED_FILE, "--out", tmp_path / "out", "--student", old)
    for left_out in ("Left out of student student: ", "1 unscored", "1 invalidated by a person", "1 no response"):
        assert left_out in done.stdout
    content = load(tmp_path / "out")
    assert content["writers"][1]["n"] == 21
    assert "carried" not in {n["kind"] for n in content["numbers"]}
    assert "with `--base`" in (tmp_path / "out" / "teachers.md").read_text(encoding="utf-8")
    two = ("--student", old, "--student", student_logs["student"])
    refused = fails(teachers_command, SEED_FILE, "--out", tmp_path / "out", *two)
    assert "student student has 2 logs, expected one log per model" in refused


@pytest.mark.parametrize(
    ("status", "task", "message"),
    [
        ("cancelled", "rubric_adherence", "status is 'cancelled', expected success"),
        ("success", "best_of_n", "log of the task 'best_of_n', expected one of rubric_adherence"),
    ],
)
def test_logs_that_are_unfinished_or_of_another_task_are_refused(
    status: Any, task: str, message: str, student_logs: dict[str, Path], tmp_path: Path
) -> None:
    log = read_eval_log(str(student_logs["student"]))
    log.status, log.eval.task = status, task
    write_eval_log(log, str(tmp_path / "changed.eval"))
    done = run(SEED_FILE, "--out", tmp_path / "out", "--student", tmp_path / "changed.eval", code=1)
    assert f"changed.eval: {message}" in done.stderr


MEASURED = "measured (judge version 2)"
OTHER = "other (judge version 2)"


@pytest.mark.parametrize(
    ("rubric", "changed", "with_log", "message"),
    [
        ("broadcast", [4], False, f"rows.jsonl:5: judge of 'broadcast' is {OTHER}, expected {MEASURED} as in the rows"),
        ("broadcast", range(9), True, f"is {MEASURED}, expected {OTHER} as in the rows before; different judges"),
        ("labyrinth", [], True, "no sample scored by rubric_judge for a rubric of labyrinth"),
    ],
)
def test_different_judges_or_rubrics_cannot_stand_in_one_report(
    rubric: str, changed: Any, with_log: bool, message: str, student_logs: dict[str, Path], tmp_path: Path
) -> None:
    rows = [row for row in SEED_ROWS if row["rubric"] == rubric][:9]
    for number in changed:
        rows[number] = rows[number] | {"judgment": rows[number]["judgment"] | {"judge": "other"}}
    write_jsonl(tmp_path / "rows.jsonl", rows)
    student = ["--student", student_logs["student"]] if with_log else []
    done = run(tmp_path / "rows.jsonl", "--out", tmp_path / "out", *student, code=1)
    assert done.stderr.splitlines()[-1].startswith("Error: ") and message in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_log_of_another_version_of_a_rubric_is_refused(student_logs: dict[str, Path], tmp_path: Path) -> None:
    own = tmp_path / "broadcast.yaml"
    text = (ROOT / "rubrics" / "library" / "broadcast.yaml").read_text(encoding="utf-8")
    own.write_text(text.replace("objective: ", "objective: Now ", 1), encoding="utf-8")
    before, after = load_rubric("broadcast").hash, load_rubric(own).hash
    write_jsonl(
        tmp_path / "r.jsonl", (row | {"rubric_hash": after} for row in SEED_ROWS if row["rubric"] == "broadcast")
    )
    options = ("--rubrics", own, "--student", student_logs["student"], "--out", tmp_path / "out")
    assert f"'broadcast' is {before}, expected {after}" in run(tmp_path / "r.jsonl", *options, code=1).stderr
