"""`cpt teachers`: every statistic against a value worked by hand, refusals, and the report from file to figure."""

import hashlib
import json
import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from inspect_ai import eval as inspect_eval
from inspect_ai.log import read_eval_log, write_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from scipy import stats

from data_gen.responses import Problems, TeacherResponse
from data_gen.teacher_report.bias import (
    BIASES,
    count_openings,
    gram_hashes,
    load_compound,
    mattr,
    opening,
    same_opening,
    sentiment,
    shared_grams,
)
from data_gen.teacher_report.command import teachers_command
from data_gen.teacher_report.numbers import Carried, carried, numbers_of, openings_of, summarise
from data_gen.teacher_report.rows import Writer, read_teachers
from data_gen.teacher_report.statistics import (
    LEVELS,
    LOW,
    Cells,
    cell_means,
    dynamic_range,
    interval,
    level_correlation,
    spearman_of_counts,
)
from judges.measures import words
from rubrics import ScoreLevel, load_rubric, load_rubrics

ROOT = Path(__file__).parents[2]
SEED_FILE = ROOT / "data_gen" / "seed" / "responses.jsonl"
SEED_LINES = SEED_FILE.read_text(encoding="utf-8").splitlines()
MODERATE, HIGH = LOW + 1, LOW + 2


def nothing(_: str) -> float:
    return 0.0


def ints(*values: int) -> Any:
    return np.array(values, dtype=np.int64)


def make_cells(prompt: Any, rubric: Any = None, level: Any = None) -> Cells:
    rubric = np.zeros_like(prompt) if rubric is None else rubric
    level = np.full_like(prompt, LOW) if level is None else level
    return Cells(rubric, level, prompt, int(rubric.max()) + 1, int(prompt.max()) + 1)


# texts


def test_mattr_averages_the_windows() -> None:
    # windows of three: a b a (2 types), b a c (3), a c c (2)
    assert mattr("a b A c C".split(), window=3) == pytest.approx((2 + 3 + 2) / 9)
    assert mattr("a b".split(), window=2) == 1
    assert math.isnan(mattr("a b".split(), window=3))


@settings(max_examples=20)
@given(st.lists(st.sampled_from("abcd"), min_size=5, max_size=12))
def test_mattr_equals_its_definition(tokens: list[str]) -> None:
    windows = [len(set(tokens[start : start + 5])) / 5 for start in range(len(tokens) - 4)]
    assert mattr(tokens, window=5) == pytest.approx(sum(windows) / len(windows))


def test_length_alone_does_not_move_mattr() -> None:
    tokens = [f"w{number % 60}" for number in range(600)]
    assert mattr(tokens[:120]) == mattr(tokens) == 1


def test_openings_and_4_grams_ignore_case_and_need_enough_words() -> None:
    assert opening("The Old man was".split()) == "the old man"
    assert opening("The Old".split()) == ""
    # abcd bcda cdab dabc, and abcd again
    assert len(gram_hashes("a b c d A B c d".split())) == 4
    assert len(gram_hashes("a b c".split())) == 0
    assert gram_hashes("A b c d".split()) == gram_hashes("a B C D".split())


def test_sentiment_is_the_mean_over_sentences() -> None:
    values = {"Good day!": 0.5, "Bad.": -0.25, "So": 0.0}
    assert sentiment("Good day! Bad.\n\n * \nSo", values.__getitem__) == pytest.approx(0.25 / 3)
    assert math.isnan(sentiment("123 ...", nothing))


def test_the_sentiment_lexicon_is_the_published_one() -> None:
    compound = load_compound()
    # examples in the README of vaderSentiment
    assert compound("VADER is smart, handsome, and funny.") == pytest.approx(0.8316)
    assert compound("Today SUX!") == pytest.approx(-0.5461)
    assert compound("The table stands by the wall.") == 0
    long = "The day was lovely. " * 30
    assert sentiment(long, compound) == pytest.approx(compound("The day was lovely."))
    assert compound(long) > 0.99  # what the mean over sentences avoids


def test_shared_grams_by_hand() -> None:
    grams = [ints(1, 2, 3, 4), ints(1, 2, 9, 10), ints(1, 20, 30, 40)]
    one_level, prompts = np.full(3, LOW), ints(0, 1, 2)
    own, other = shared_grams(grams, one_level, prompts, topics=2)
    assert own == pytest.approx([2 / 4, 2 / 4, 1 / 4])
    assert np.isnan(other).all()
    # one other prompt drawn of two: gram 1 is always met, gram 2 half the time
    own, _ = shared_grams(grams, one_level, prompts, topics=1)
    assert own == pytest.approx([1.5 / 4, 1.5 / 4, 1 / 4])
    assert np.isnan(shared_grams(grams, one_level, prompts, topics=3)[0]).all()


def test_other_levels_are_searched_without_the_prompts_own_responses() -> None:
    grams = [ints(1, 2), ints(2), ints(1), ints(2, 7), ints(), ints(1)]
    levels, prompts = ints(LOW, LOW, HIGH, HIGH, HIGH, HIGH), ints(0, 1, 0, 1, 2, 3)
    own, other = shared_grams(grams, levels, prompts, topics=1)
    # row 0, own level: row 1 has one of its two. High: of rows 3, 4 and 5, each drawn a third of the time, 3 and 5 do
    assert own[0] == pytest.approx(0.5)
    assert other[0] == pytest.approx(2 / 3 * 0.5)
    # row 2 (gram 1), low: only row 1 counts, and does not have it
    assert other[2] == 0
    # row 5 (gram 1) has no response at low, so that rows 0 and 1 both count, and one has it
    assert other[5] == pytest.approx(0.5)
    assert np.isnan([own[4], other[4]]).all()


@settings(max_examples=20)
@given(st.lists(st.sets(st.integers(0, 5), min_size=1), min_size=3, max_size=5), st.integers(1, 2))
def test_shared_grams_is_the_mean_over_all_draws_of_topics(sets: list[set[int]], topics: int) -> None:
    own, _ = shared_grams([ints(*s) for s in sets], np.full(len(sets), LOW), np.arange(len(sets)), topics)
    for place, mine in enumerate(sets):
        draws = combinations([s for other, s in enumerate(sets) if other != place], topics)
        shares = [len(mine & set().union(*drawn)) / len(mine) for drawn in draws]
        assert own[place] == pytest.approx(np.mean(shares))


def test_openings_by_hand() -> None:
    assert same_opening(ints(7, 7, 8, -1)) == pytest.approx([1 / 3, 1 / 3, 0, 0])
    assert same_opening(ints(-1, -1)) == pytest.approx([0, 0])
    assert np.isnan(same_opening(ints(7))).all()
    counted = count_openings(ints(3, 1, 1, 1, 2, -1, 4, 5, 6))
    # eight openings: three of 1, and the five commonest have 3 + 4 of them
    assert (counted.n, counted.top_1, counted.top_5, counted.distinct) == (8, 3 / 8, 7 / 8, 6 / 8)
    assert counted.most_common == 1
    assert math.isnan(count_openings(ints(-1)).top_1)


# means


def test_a_mean_weighs_responses_and_an_empty_cell_is_nan() -> None:
    # rubric 0 low: prompt 0 has 10 and 20, prompt 1 has 60; rubric 1 high: 80; rubric 1 low has only a missing value
    cells = make_cells(ints(0, 0, 1, 0, 1), rubric=ints(0, 0, 0, 1, 1), level=ints(LOW, LOW, LOW, HIGH, LOW))
    means = cell_means({"score": np.array([10.0, 20, 60, 80, np.nan])}, cells, (0,), 200)["score"]
    assert means.value[0, LOW] == pytest.approx(30)
    assert means.n[0, LOW] == 3
    assert math.isnan(means.value[1, LOW])
    assert means.macro(LOW).value == pytest.approx(30)
    # draws: prompt 0 twice gives 15, prompt 1 twice 60, one of each 30
    assert set(np.unique(means.draws[:, 0, LOW])) == {15.0, 30.0, 60.0}
    assert (means.of(0, LOW).ci_low, means.of(0, LOW).ci_high) == (15, 60)
    # one prompt says nothing of the spread between prompts
    assert math.isnan(means.of(1, HIGH).ci_low)
    assert math.isnan(means.macro(MODERATE).value)


def test_macro_weighs_rubrics_alike() -> None:
    cells = make_cells(ints(0, 1, 0, 1, 1), rubric=ints(0, 0, 1, 1, 1))
    means = cell_means({"x": np.array([0.0, 0, 90, 90, 90])}, cells, (0,), 50)["x"]
    assert means.macro(LOW).value == pytest.approx(45)
    assert means.level_prompts[LOW] == 2


def test_the_interval_is_scipys_where_every_prompt_has_equally_many_responses() -> None:
    rng = np.random.default_rng(3)
    prompts = np.repeat(np.arange(12), 3)
    scores = rng.normal(50, 5, 12)[prompts] + rng.normal(0, 5, 36)
    found = cell_means({"score": scores}, make_cells(prompts), (1,), 9999)["score"].of(0, LOW)
    per_prompt = scores.reshape(12, 3).mean(axis=1)
    expected = stats.bootstrap((per_prompt,), np.mean, method="percentile", rng=np.random.default_rng(2))
    assert found.value == pytest.approx(per_prompt.mean())
    width = expected.confidence_interval.high - expected.confidence_interval.low
    assert found.ci_low == pytest.approx(expected.confidence_interval.low, abs=0.05 * width)
    assert found.ci_high == pytest.approx(expected.confidence_interval.high, abs=0.05 * width)


def test_an_interval_of_prompts_that_differ_is_wider_than_one_of_responses() -> None:
    prompts = np.repeat(np.arange(6), 10)
    scores = 10.0 * prompts + np.tile(np.linspace(-1, 1, 10), 6)

    def width(clusters: Any) -> float:
        estimate = cell_means({"score": scores}, make_cells(clusters), (0,), 500)["score"].of(0, LOW)
        return estimate.ci_high - estimate.ci_low

    assert width(prompts) > 2 * width(np.arange(60))


def test_dynamic_range_is_over_the_rubrics_with_both_ends() -> None:
    cells = make_cells(
        ints(0, 1, 0, 1, 0, 0, 1), rubric=ints(0, 0, 0, 0, 1, 1, 2), level=ints(LOW, LOW, HIGH, HIGH, LOW, HIGH, LOW)
    )
    scores = cell_means({"score": np.array([10.0, 20, 90, 100, 0, 50, 5])}, cells, (0,), 100)["score"]
    overall, by_rubric = dynamic_range(scores)
    assert overall.value == pytest.approx((80 + 50) / 2)
    assert {rubric: estimate.value for rubric, estimate in by_rubric.items()} == {0: 80, 1: 50}
    # within a prompt the range is 80 each time: the draws are paired
    assert (by_rubric[0].ci_low, by_rubric[0].ci_high) == (80, 80)


def test_many_draws_in_blocks_are_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    cells, values = make_cells(np.arange(7)), {"x": np.arange(7.0)}
    at_once = cell_means(values, cells, (5,), 20)["x"].draws
    monkeypatch.setattr("data_gen.teacher_report.statistics.WEIGHTS_AT_ONCE", 21)
    np.testing.assert_array_equal(cell_means(values, cells, (5,), 20)["x"].draws, at_once)


def test_an_interval_leaves_undefined_draws_out() -> None:
    draws = np.array([np.nan, 1.0, 1.0])
    assert interval(1.0, draws, 3).ci_high == 1
    assert math.isnan(interval(1.0, np.array([np.nan]), 3).ci_low)
    assert math.isnan(interval(1.0, draws, 1).ci_low)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), min_size=2, max_size=12))
def test_spearman_of_counts_is_scipys(pairs: list[tuple[int, int]]) -> None:
    rows, columns = zip(*pairs, strict=True)
    counts = np.zeros((1, 3, 5))
    np.add.at(counts[0], (rows, columns), 1)
    [found] = spearman_of_counts(counts)
    if len(set(rows)) == 1 or len(set(columns)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(rows, columns).statistic)


def test_length_correlation_is_within_rubric_and_without_controls() -> None:
    # rubric 0: longer with level, 1: shorter with level, 2: one level only; each at lengths of their own
    level = ints(LOW, MODERATE, HIGH, LOW, MODERATE, HIGH, LOW, LOW - 1, LOW - 1)
    cells = make_cells(ints(0, 0, 0, 0, 0, 0, 1, 0, 1), rubric=ints(0, 0, 0, 1, 1, 1, 2, 0, 1), level=level)
    found = level_correlation(np.array([10.0, 20, 30, 900, 800, 800, 5, 999, 1]), cells, (0,), 20)
    # ranks 1 2 3 and 3 1.5 1.5: rho is -1.5 / sqrt(2 * 1.5)
    assert found.value[:2] == pytest.approx([1, -1.5 / math.sqrt(3)])
    assert math.isnan(found.value[2])
    assert found.macro().value == pytest.approx((1 - 1.5 / math.sqrt(3)) / 2)
    assert list(found.prompts) == [1, 1, 1]


# writers


def make_writer(name: str, kind: Any, lengths: dict[str, int], prompts: int = 3, shared: Any = None) -> Writer:
    writer = Writer(name, kind, ["a"], {} if shared is None else shared)
    for prompt in range(prompts):
        for level, length in lengths.items():
            text = " ".join(f"{name}x{level}y{'z' * (number + 100 * prompt)}" for number in range(length))
            writer.add("a", level, f"{kind == 'teacher'}{prompt}", 50.0, text.replace("_", ""), nothing)
    return writer


def carried_by(teacher: int, base: int, student: int) -> dict[str, Carried]:
    shared: dict[str, int] = {}
    writers = [
        make_writer("t", "teacher", {"low": teacher, "moderate": 20}, prompts=4),
        make_writer("s", "student", {"low": student, "moderate": 20}, shared=shared),
        make_writer("b", "base", {"low": base, "moderate": 20}, shared=shared),
    ]
    summaries, _ = summarise(writers, seed=0, n_resamples=20)
    return {row.statistic: row for row in carried(*summaries) if row.level in ("low", "all")}


@pytest.mark.parametrize(("student", "share"), [(40, 1.0), (20, 0.0), (30, 0.5), (10, -0.5)])
def test_carried_share_is_the_students_part_of_the_way_from_base_to_teacher(student: int, share: float) -> None:
    row = carried_by(teacher=40, base=20, student=student)["words"]
    assert (row.teacher_value, row.base_value, row.student_value) == (40, 20, student)
    assert row.difference.value == 20
    assert row.share.value == pytest.approx(share)
    assert row.share.ci_low == pytest.approx(share)


@pytest.mark.parametrize("base", [40, 20])
def test_nothing_is_carried_where_teacher_and_base_do_not_differ(base: int) -> None:
    found = carried_by(teacher=base, base=base, student=30)
    assert math.isnan(found["words"].share.value)
    assert math.isnan(found["score"].share.value)


def test_a_difference_too_small_to_count_is_not_shared_out() -> None:
    # 40.5 words, whatever the draw, against 40: half a word
    writers = [
        make_writer("t", "teacher", {"low": 40}),
        make_writer("s", "student", {"low": 41}),
        make_writer("b", "base", {"low": 40}),
    ]
    for prompt in range(3):
        writers[0].add("a", "low", f"True{prompt}", 50.0, "word " * 41, nothing)
    summaries, _ = summarise(writers, seed=0, n_resamples=20)
    [row] = [row for row in carried(*summaries) if row.statistic == "words"]
    assert (row.difference.value, row.difference.ci_low) == (0.5, 0.5)
    assert math.isnan(row.share.value)


def test_no_share_rests_on_a_difference_whose_interval_holds_0() -> None:
    shared: dict[str, int] = {}
    teacher = Writer("t", "teacher", ["a"])
    for prompt, length in enumerate((5, 90)):
        teacher.add("a", "low", f"p{prompt}", 50.0, "word " * length, nothing)
    others = [make_writer(kind[0], kind, {"low": 40}, shared=shared) for kind in ("student", "base")]
    summaries, _ = summarise([teacher, *others], seed=0, n_resamples=50)
    [row] = [row for row in carried(*summaries) if row.statistic == "words"]
    assert row.difference.value == pytest.approx(7.5)
    assert row.difference.ci_low < 0 < row.difference.ci_high
    assert math.isnan(row.share.value)


def test_a_writers_numbers_by_hand() -> None:
    writer = Writer("t", "teacher", ["a", "b"])
    for prompt, level, score, text in (
        ("p", "low", 40.0, "The sea was calm. It slept."),
        ("q", "low", 41.0, "The sea was rough today."),
        ("q", "control", 99.0, "Waves."),
    ):
        writer.add("b", level, prompt, score, text, nothing)
    [summary], topics = summarise([writer], seed=0, n_resamples=20)
    assert topics == 1
    found = {(n.rubric, n.level, n.statistic): n for n in numbers_of(summary)}
    assert found["b", "low", "in_band"].estimate.value == 0.5  # 40 is low, 41 is not
    assert ("b", "control", "in_band") not in found
    assert found["macro", "low", "score"].estimate.value == pytest.approx(40.5)
    assert found["macro", "low", "score"].n == 2
    assert found["b", "low", "words"].estimate.value == pytest.approx((6 + 5) / 2)
    assert found["b", "low", "words_sd"].estimate.value == pytest.approx(math.sqrt(0.5))
    assert found["b", "low", "same_opening"].estimate.value == 1
    assert found["b", "low", "shared_grams"].estimate.value == 0  # "the sea was calm" and "the sea was rough"
    assert math.isnan(found["b", "low", "mattr"].estimate.value)
    assert found["b", "low", "mattr"].n == 0
    assert math.isnan(found["macro", "all", "dynamic_range"].estimate.value)
    [most] = openings_of(summary)
    assert (most.opening, most.count, most.n) == ("the sea was", 2, 2)
    assert "a" not in {n.rubric for n in numbers_of(summary)}


def test_the_pool_takes_one_response_per_prompt_and_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_gen.teacher_report.rows.POOL_PROMPTS", 2)
    writer = Writer("t", "teacher", ["a"])
    for prompt in ("p", "p", "q", "r"):
        writer.add("a", "low", prompt, 50.0, "one two three four five", nothing)
    assert list(writer.grams) == [0, 2]
    numbers = writer.numbers(topics=1)
    np.testing.assert_array_equal(numbers["shared_grams"], [1, np.nan, 1, np.nan])
    np.testing.assert_array_equal(numbers["words"], [5, 5, 5, 5])


# the seed data, and the command


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(teachers_command, [str(argument) for argument in arguments])


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of the time of a report; tests that say nothing of figures do without."""
    monkeypatch.setattr("data_gen.teacher_report.figures.draw_figures", lambda summaries, out: [])


@pytest.fixture(scope="module")
def seed_report(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("seed") / "report"
    done = run(SEED_FILE, "--out", out, "--resamples", 200)
    assert done.exit_code == 0, done.output
    return out, done.stdout


def load(out: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found: dict[str, Any] = json.loads((out / "teachers.json").read_text(encoding="utf-8"), parse_constant=refuse)
    return found


def macro(content: dict[str, Any], statistic: str, writer: str = "unnamed-llm") -> dict[str, Any]:
    rows = content["numbers"]
    return {
        row["level"]: row
        for row in rows
        if (row["writer"], row["rubric"], row["statistic"]) == (writer, "macro", statistic)
    }


def test_the_seed_responses_give_a_table_2_in_order_with_all_in_their_band(seed_report: tuple[Path, str]) -> None:
    content = load(seed_report[0])
    scores = macro(content, "score")
    assert scores["low"]["value"] < 40 < scores["moderate"]["value"] < 92.5 < scores["extremely_high"]["value"]
    assert set(scores) == set(LEVELS) - {"control"}
    for level in scores:
        assert scores[level]["ci_low"] <= scores[level]["value"] <= scores[level]["ci_high"]
        assert (macro(content, "in_band")[level]["value"], scores[level]["n"]) == (1.0, 96)
    spread = scores["extremely_high"]["value"] - scores["low"]["value"]
    assert macro(content, "dynamic_range")["all"]["value"] == pytest.approx(spread, abs=1e-5)
    rows = [json.loads(line) for line in SEED_LINES]
    mine = [row for row in rows if (row["rubric"], row["level"]) == ("broadcast", "low")]
    found = {(n["rubric"], n["level"], n["statistic"]): n["value"] for n in content["numbers"]}
    expected = np.mean([row["judgment"]["score"] for row in mine])
    assert found["broadcast", "low", "score"] == pytest.approx(expected, abs=1e-5)
    expected = np.mean([len(words(row["response"])) for row in mine])
    assert found["broadcast", "low", "words"] == pytest.approx(expected, abs=1e-5)


def test_the_command_prints_what_the_json_holds(seed_report: tuple[Path, str]) -> None:
    out, printed = seed_report
    content = load(out)
    [line] = [line for line in printed.splitlines() if line.startswith("| unnamed-llm")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    scores, spread = macro(content, "score"), macro(content, "dynamic_range")["all"]
    expected = [scores["low"], scores["moderate"], scores["extremely_high"], spread]
    shown = [f"{row['value']:.1f} [{row['ci_low']:.1f}, {row['ci_high']:.1f}]" for row in expected]
    assert cells == ["unnamed-llm", "–", *shown, "288"]
    assert line in (out / "teachers.md").read_text(encoding="utf-8")
    assert "No row was left out." in printed
    assert str(out / "teachers.md") in printed


def test_the_json_says_where_its_numbers_come_from(seed_report: tuple[Path, str]) -> None:
    run_facts = load(seed_report[0])["run"]
    assert (run_facts["judge"], run_facts["prompt_version"], run_facts["seed"]) == ("measured", "1", 0)
    assert run_facts["rubrics"]["broadcast"] == load_rubric("broadcast").hash
    assert len(run_facts["rubrics"]) == 4
    digest = hashlib.sha256(SEED_FILE.read_bytes()).hexdigest()
    assert run_facts["files"] == [{"name": "responses.jsonl", "sha256": digest}]
    assert run_facts["topics"] == 10
    assert str(ROOT) not in json.dumps(run_facts)


def test_csv_and_json_hold_the_same_numbers(seed_report: tuple[Path, str]) -> None:
    import pandas as pd

    table = pd.read_csv(seed_report[0] / "teachers.csv")
    content = load(seed_report[0])["numbers"]
    assert len(table) == len(content)
    assert list(table.columns) == list(content[0])
    assert table["value"].fillna(-99).tolist() == [-99 if n["value"] is None else n["value"] for n in content]
    assert {bias.key for bias in BIASES} <= set(table["statistic"])


def test_the_figures_are_there_and_not_blank(seed_report: tuple[Path, str]) -> None:
    from matplotlib.image import imread

    for name in ("scores", "bias"):
        pixels = imread(seed_report[0] / f"{name}.png")
        assert pixels[..., :3].var() > 0.005
        assert (seed_report[0] / f"{name}.svg").read_text(encoding="utf-8").count("<path") > 10


def test_the_same_command_writes_the_same_bytes(seed_report: tuple[Path, str], tmp_path: Path) -> None:
    assert run(SEED_FILE, "--out", tmp_path, "--resamples", 200).exit_code == 0
    for name in ("teachers.md", "teachers.csv", "teachers.json", "bias.svg", "scores.svg"):
        assert (tmp_path / name).read_bytes() == (seed_report[0] / name).read_bytes()


def seed_rows(tmp_path: Path, change: Callable[[int, dict[str, Any]], None]) -> Path:
    rows = [json.loads(line) for line in SEED_LINES[:9]]
    for number, row in enumerate(rows):
        change(number, row)
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.usefixtures("no_figures")
def test_unjudged_rows_are_counted_and_the_remedy_is_named(tmp_path: Path) -> None:
    def unjudge(number: int, row: dict[str, Any]) -> None:
        if number < 2:
            del row["judgment"]

    path = seed_rows(tmp_path, unjudge)
    done = run(path, "--out", tmp_path / "out", "--resamples", 20)
    assert done.exit_code == 0, done.output
    assert "Left out of responses files: 2 unjudged (judge them with `cpt verify --keep all`)." in done.stdout
    assert f"{path}:1: no judgment" in done.stderr
    content = load(tmp_path / "out")
    assert content["run"]["left_out"] == {"unjudged": 2}
    assert content["writers"][0]["n"] == 7


@pytest.mark.usefixtures("no_figures")
def test_limit_keeps_the_first_user_prompts_whole_and_the_command_names_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "sys.argv", ["/bin/cpt", "teachers", "/somewhere/rows.jsonl", "--out=/somewhere/x", "--limit", "2"]
    )
    done = run(SEED_FILE, "--out", tmp_path, "--resamples", 20, "--limit", 2)
    assert done.exit_code == 0, done.output
    content = load(tmp_path)
    assert content["writers"][0]["n"] == 4 * 3 * 2
    assert content["writers"][0]["left_out"] == {"limit": 288 - 24}
    assert content["run"]["command"] == "cpt teachers rows.jsonl --out=x --limit 2"


def other_judge(number: int, row: dict[str, Any]) -> None:
    if number == 4:
        row["judgment"]["judge"] = "other"


def other_version(number: int, row: dict[str, Any]) -> None:
    if number == 4:
        row["judgment"]["prompt_version"] = "2"


def other_rubric(number: int, row: dict[str, Any]) -> None:
    if number == 4:
        row["rubric_hash"] = "0" * 12


def no_judge(number: int, row: dict[str, Any]) -> None:
    del row["judgment"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_judge, r"rows.jsonl:5: judged by other \(prompt version 1\), expected measured \(prompt version 1\)"),
        (other_version, r"scores of different judges cannot stand in one report"),
        (other_rubric, r"1 rows were written for another version of their rubric"),
        (no_judge, r"no judged response found among 9 rows; judge them with `cpt verify --keep all`"),
    ],
)
def test_what_cannot_stand_in_one_report_is_refused(
    change: Callable[[int, dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    path = seed_rows(tmp_path, change)
    rubrics = {rubric.id: rubric for rubric in load_rubrics("measured")}
    with pytest.raises(ValueError, match=message):
        read_teachers([path], rubrics, Problems(), nothing)
    done = run(path, "--out", tmp_path / "out")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.jsonl", "--out", "out"], "missing.jsonl: not found"),
        ([str(SEED_FILE), "--out", "out", "--student", "missing.eval"], "missing.eval: not found"),
        ([str(SEED_FILE), "--out", "out", "--base", "b.eval"], "--base needs --student"),
        ([str(SEED_FILE), "--out", "out", "--base", "b.eval", "--student", "b.eval"], "expected two different logs"),
        ([str(SEED_FILE), "--out", "out", "--rubrics", "nonsense"], "rubric 'nonsense' not found"),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.exit_code != 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("no_figures")
def test_two_teachers_are_told_apart(tmp_path: Path) -> None:
    def rename(number: int, row: dict[str, Any]) -> None:
        row["teacher"] = f"teacher-{number % 2}"

    done = run(seed_rows(tmp_path, rename), "--out", tmp_path / "out", "--resamples", 20)
    assert done.exit_code == 0, done.output
    assert [(w["name"], w["n"]) for w in load(tmp_path / "out")["writers"]] == [("teacher-0", 5), ("teacher-1", 4)]


# students


BROADCAST = [TeacherResponse.model_validate_json(line) for line in SEED_LINES if '"rubric":"broadcast"' in line]


@pytest.fixture(scope="module")
def student_logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A student that writes a teacher's responses, level for level, and a base model that writes low ones always."""
    from cpt_tasks.rubric_adherence import rubric_adherence

    system_prompts = load_rubric("broadcast").system_prompts
    by_level = {level: iter([row.response for row in BROADCAST if row.level is level] * 2) for level in ScoreLevel}

    def student(messages: list[Any]) -> str:
        [level] = [level for level, found in system_prompts.items() if messages[0].text in found.heldout]
        return next(by_level[level])

    def answers(name: str, reply: Callable[[list[Any]], str]) -> Any:
        def output(messages: list[Any], tools: Any, tool_choice: Any, config: Any) -> ModelOutput:
            found = ModelOutput.from_content(f"mockllm/{name}", reply(messages))
            # without usage the mock counts tokens with a table it would download
            found.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
            return found

        return get_model(f"mockllm/{name}", custom_outputs=output, memoize=False)

    folder = tmp_path_factory.mktemp("logs")
    models = [answers("student", student), answers("base", lambda _: next(by_level[ScoreLevel.LOW]))]
    task = rubric_adherence("broadcast", judge="measured", limit_per_cell=4)
    logs = inspect_eval(task, model=models, log_dir=str(folder), display="none")
    assert [log.status for log in logs] == ["success"] * 2
    return {log.eval.model.split("/")[1]: Path(log.location) for log in logs}


@pytest.mark.usefixtures("no_figures")
def test_a_student_that_writes_like_its_teacher_carries_all_over(student_logs: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    logs = ["--student", student_logs["student"], "--base", student_logs["base"]]
    done = run(SEED_FILE, "--out", out, "--resamples", 100, *logs)
    assert done.exit_code == 0, done.output
    content = load(out)
    assert [(w["name"], w["kind"], w["n"]) for w in content["writers"][1:]] == [
        ("student", "student", 12),
        ("base", "base", 12),
    ]
    assert macro(content, "in_band", "student")["extremely_high"]["value"] == 1
    rows = {(row["statistic"], row["level"]): row for row in content["carried"]}
    high = rows["score", "extremely_high"]
    assert high["share"]["value"] == pytest.approx(1, abs=0.1)
    assert high["rubrics"] == 1
    teacher = [row.judgment.score for row in BROADCAST if row.level is ScoreLevel.EXTREMELY_HIGH and row.judgment]
    assert high["teacher_value"] == pytest.approx(np.mean(teacher), abs=1e-5)  # over the rubrics in common only
    assert rows["score", "low"]["share"]["value"] is None  # teacher and base write alike there
    assert ("length_rho", "all") in rows
    page = (out / "teachers.md").read_text(encoding="utf-8")
    assert "### From unnamed-llm to student" in page
    assert "student (student)" in page


@pytest.mark.usefixtures("no_figures")
def test_two_logs_of_one_model_are_refused(student_logs: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.eval"
    copy.write_bytes(student_logs["student"].read_bytes())
    done = run(SEED_FILE, "--out", tmp_path / "out", "--student", copy, "--student", student_logs["student"])
    assert done.exit_code == 1
    assert "student 'student' has 2 logs, expected one log per model" in done.stderr


@pytest.mark.usefixtures("no_figures")
def test_a_student_without_base_stands_beside_its_teacher(student_logs: dict[str, Path], tmp_path: Path) -> None:
    done = run(SEED_FILE, "--out", tmp_path / "out", "--resamples", 20, "--student", student_logs["student"])
    assert done.exit_code == 0, done.output
    assert load(tmp_path / "out")["carried"] == []
    assert "with `--base`" in (tmp_path / "out" / "teachers.md").read_text(encoding="utf-8")


def test_a_log_by_another_judge_is_refused(student_logs: dict[str, Path], tmp_path: Path) -> None:
    def model_judged(number: int, row: dict[str, Any]) -> None:
        row["judgment"]["judge"] = "anthropic/claude-sonnet-5-5"

    path = seed_rows(tmp_path, model_judged)
    done = run(path, "--out", tmp_path / "out", "--student", student_logs["student"])
    assert done.exit_code == 1
    assert "judged by measured (prompt version 1), expected anthropic/claude-sonnet-5-5" in done.stderr


def test_a_log_without_a_rubric_of_the_teachers_is_refused(student_logs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "labyrinth.jsonl"
    path.write_text("".join(f"{line}\n" for line in SEED_LINES if '"labyrinth"' in line), encoding="utf-8")
    done = run(path, "--out", tmp_path / "out", "--student", student_logs["student"])
    assert done.exit_code == 1
    assert "no sample scored by rubric_judge for a rubric of the responses (labyrinth)" in done.stderr


def test_a_log_judged_by_another_version_of_the_rubric_is_refused(
    student_logs: dict[str, Path], tmp_path: Path
) -> None:
    own = tmp_path / "broadcast.yaml"
    text = (ROOT / "rubrics" / "library" / "broadcast.yaml").read_text(encoding="utf-8")
    own.write_text(text.replace("objective: ", "objective: Now ", 1), encoding="utf-8")
    path = tmp_path / "rows.jsonl"
    version = {"rubric_hash": load_rubric(own).hash}
    path.write_text(
        "".join(f"{row.model_copy(update=version).model_dump_json()}\n" for row in BROADCAST), encoding="utf-8"
    )
    done = run(path, "--rubrics", own, "--out", tmp_path / "out", "--student", student_logs["student"])
    assert done.exit_code == 1
    assert f"with hash {load_rubric('broadcast').hash}, expected {version['rubric_hash']}" in done.stderr


@pytest.mark.usefixtures("no_figures")
def test_unscored_samples_are_counted_and_unfinished_or_other_logs_refused(
    student_logs: dict[str, Path], tmp_path: Path
) -> None:
    log = read_eval_log(str(student_logs["student"]))
    assert log.samples is not None
    log.samples[0].scores = None
    changed = tmp_path / "changed.eval"
    write_eval_log(log, str(changed))
    done = run(SEED_FILE, "--out", tmp_path / "out", "--resamples", 20, "--student", changed)
    assert done.exit_code == 0, done.output
    assert "Left out of student: 1 unscored." in done.stdout
    assert load(tmp_path / "out")["writers"][1]["n"] == 11
    log.status = "cancelled"
    write_eval_log(log, str(changed))
    done = run(SEED_FILE, "--out", tmp_path / "out", "--student", changed)
    assert done.exit_code == 1
    assert "changed.eval: status is 'cancelled', expected success" in done.stderr
    changed.write_text("no log", encoding="utf-8")
    done = run(SEED_FILE, "--out", tmp_path / "out", "--student", changed)
    assert "changed.eval: not readable (" in done.stderr
    log.eval.task = "best_of_n"
    write_eval_log(log, str(changed))
    done = run(SEED_FILE, "--out", tmp_path / "out", "--student", changed)
    assert "changed.eval: log of the task 'best_of_n', expected one of rubric_adherence" in done.stderr
