"""Every number of the teacher report as a flat row: scores, biases, openings, and what students took over."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_gen.teacher_report.bias import BIASES, TOPICS, count_openings
from data_gen.teacher_report.rows import Kind, Writer, comparable_topics
from data_gen.teacher_report.statistics import (
    LEVELS,
    LOW,
    NAN,
    CellMeans,
    Floats,
    Ints,
    RankCorrelation,
    cell_means,
    dynamic_range,
    interval,
    level_correlation,
    mean_known,
)
from judges.agreement import Estimate

MACRO = "macro"
ALL_LEVELS = "all"
LENGTH_RHO = "length_rho"
DYNAMIC_RANGE = "dynamic_range"
LEAST_SCORE_POINTS, LEAST_RHO = 1.0, 0.05


@dataclass(frozen=True)
class Number:
    """One number of the report.

    Attributes:
        writer: Teacher or model.
        kind: What the writer is.
        rubric: Rubric id, or "macro" for the mean over rubrics, each weighing the same.
        level: One of `LEVELS`, or "all" for a number of several levels.
        statistic: Its name.
        estimate: Value and 95% interval; nan where undefined.
        n: Responses it rests on.
    """

    writer: str
    kind: Kind
    rubric: str
    level: str
    statistic: str
    estimate: Estimate
    n: int


@dataclass(frozen=True)
class Opening:
    """The most common opening of a cell, and how many of its n responses begin with it."""

    writer: str
    kind: Kind
    rubric: str
    level: str
    opening: str
    count: int
    n: int


@dataclass(frozen=True)
class Carried:
    """How much of a teacher's number a student took over, over the rubrics that all three have.

    Attributes:
        teacher: Its name.
        student: Its name.
        level: One of `LEVELS`, or "all".
        statistic: Its name.
        teacher_value: Mean of the teacher.
        base_value: Mean of the base model.
        student_value: Mean of the student.
        difference: Teacher minus base, with its interval.
        share: (student - base) / (teacher - base): 0 is like the base model, 1 like the teacher; nan where the
            interval of the difference holds 0, or the difference is smaller than what counts for this number.
        rubrics: Rubrics averaged.
    """

    teacher: str
    student: str
    level: str
    statistic: str
    teacher_value: float
    base_value: float
    student_value: float
    difference: Estimate
    share: Estimate
    rubrics: int


@dataclass(frozen=True)
class Summary:
    """A writer with every number of each response, and their means and draws."""

    writer: Writer
    numbers: dict[str, Floats]
    means: dict[str, CellMeans]
    length_rho: RankCorrelation


def summarise(writers: Sequence[Writer], seed: int, n_resamples: int) -> tuple[list[Summary], int]:
    """Means of every writer, and the number of other prompts that shared 4-grams were looked for in.

    Writers that share an index of prompts (a student and its base) get the same draws; teachers get others, because
    they answer other prompts.
    """
    topics = comparable_topics(writers, at_most=TOPICS)
    found = []
    for writer in writers:
        numbers, cells = writer.numbers(topics), writer.cells
        draws = (seed, int(writer.kind != "teacher"))
        means = cell_means(numbers, cells, draws, n_resamples)
        found.append(Summary(writer, numbers, means, level_correlation(numbers["words"], cells, draws, n_resamples)))
    return found, topics


def numbers_of(summary: Summary) -> list[Number]:
    """All numbers of a writer: means by level and rubric, dynamic range, SD and correlation of length, openings."""
    writer, found = summary.writer, []

    def add(rubric: str, level: str, statistic: str, estimate: Estimate, n: int) -> None:
        found.append(Number(writer.name, writer.kind, rubric, level, statistic, estimate, n))

    for statistic, means in summary.means.items():
        for place, level in enumerate(LEVELS):
            if not summary.means["score"].n[:, place].any():
                continue
            if statistic == "in_band" and place < LOW:
                continue
            add(MACRO, level, statistic, means.macro(place), int(means.n[:, place].sum()))
            for rubric in np.flatnonzero(summary.means["score"].n[:, place]).tolist():
                add(writer.rubrics[rubric], level, statistic, means.of(rubric, place), int(means.n[rubric, place]))
    scores = summary.means["score"]
    overall, by_rubric = dynamic_range(scores)
    ends = scores.n[:, [LOW, -1]].sum(axis=1)
    add(MACRO, ALL_LEVELS, DYNAMIC_RANGE, overall, int(ends[list(by_rubric)].sum()))
    for rubric, estimate in by_rubric.items():
        add(writer.rubrics[rubric], ALL_LEVELS, DYNAMIC_RANGE, estimate, int(ends[rubric]))
    asked = scores.n[:, LOW:].sum(axis=1)
    rho = summary.length_rho
    add(MACRO, ALL_LEVELS, LENGTH_RHO, rho.macro(), int(asked.sum()))
    for rubric in np.flatnonzero(asked).tolist():
        estimate = interval(rho.value[rubric], rho.draws[:, rubric], rho.prompts[rubric])
        add(writer.rubrics[rubric], ALL_LEVELS, LENGTH_RHO, estimate, int(asked[rubric]))
    return found + _without_interval(summary)


def openings_of(summary: Summary) -> list[Opening]:
    """The most common opening of every cell of a writer, where at least two responses share it, most shared first."""
    writer, texts = summary.writer, list(summary.writer.openings)
    found = []
    for rubric, level, rows in _cells(writer):
        counted = count_openings(writer.opening_of[rows])
        count = round(counted.top_1 * counted.n) if counted.n else 0
        if count > 1:
            cell = (writer.rubrics[rubric], LEVELS[level], texts[counted.most_common])
            found.append(Opening(writer.name, writer.kind, *cell, count, counted.n))
    return sorted(found, key=lambda opening: -opening.count / opening.n)


def carried(teacher: Summary, student: Summary, base: Summary) -> list[Carried]:
    """What the student took over of the teacher's scores and biases, by level.

    Student and base are paired by prompt; the teacher is drawn on its own. Levels without a rubric in common are left
    out.
    """
    found = []
    parts = (teacher, base, student)
    for statistic, least in _compared():
        for place, level in enumerate(LEVELS):
            values = [part.means[statistic].value[:, place] for part in parts]
            draws = [part.means[statistic].draws[:, :, place] for part in parts]
            prompts = min(int(part.means[statistic].level_prompts[place]) for part in parts)
            if any(part.means["score"].n[:, place].any() for part in parts[1:]):
                found.append(_carried(teacher, student, level, statistic, values, draws, prompts, least))
    values, draws = [part.length_rho.value for part in parts], [part.length_rho.draws for part in parts]
    prompts = min(part.length_rho.all_prompts for part in parts)
    found.append(_carried(teacher, student, ALL_LEVELS, LENGTH_RHO, values, draws, prompts, LEAST_RHO))
    return [row for row in found if row.rubrics]


def _compared() -> list[tuple[str, float]]:
    return [("score", LEAST_SCORE_POINTS), *((bias.key, bias.least) for bias in BIASES)]


def _carried(
    teacher: Summary,
    student: Summary,
    level: str,
    statistic: str,
    values: list[Floats],
    draws: list[Floats],
    n_prompts: int,
    least: float,
) -> Carried:
    common = ~np.isnan(np.stack(values)).any(axis=0)
    of_teacher, of_base, of_student = (float(mean_known(value[common], axis=0)) for value in values)
    teacher_draws, base_draws, student_draws = (mean_known(draw[:, common], axis=1) for draw in draws)
    difference = interval(of_teacher - of_base, teacher_draws - base_draws, n_prompts)
    share = Estimate(NAN, NAN, NAN)
    # bounds that are nan say nothing of the difference, so that no share can rest on it
    if abs(difference.value) >= least and difference.ci_low * difference.ci_high > 0:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = (student_draws - base_draws) / (teacher_draws - base_draws)
        share = interval((of_student - of_base) / (of_teacher - of_base), ratios, n_prompts)
    return Carried(
        teacher=teacher.writer.name,
        student=student.writer.name,
        level=level,
        statistic=statistic,
        teacher_value=of_teacher,
        base_value=of_base,
        student_value=of_student,
        difference=difference,
        share=share,
        rubrics=int(common.sum()),
    )


def _without_interval(summary: Summary) -> list[Number]:
    """SD of length and counts of openings, per cell and averaged over rubrics; the latter depend on n by nature."""
    writer = summary.writer
    words = summary.numbers["words"]
    cells: dict[tuple[str, int], list[tuple[str, float, int]]] = {}
    for rubric, level, rows in _cells(writer):
        spread = float(np.std(words[rows], ddof=1)) if len(rows) > 1 else NAN
        counted = count_openings(writer.opening_of[rows])
        shares = (("words_sd", spread), ("top_1_opening", counted.top_1), ("top_5_openings", counted.top_5))
        for statistic, value in (*shares, ("distinct_openings", counted.distinct)):
            cells.setdefault((statistic, level), []).append((writer.rubrics[rubric], value, len(rows)))
    found = []
    for (statistic, level), values in cells.items():
        mean = float(mean_known(np.array([value for _, value, _ in values]), axis=0))
        for rubric_id, value, n in ((MACRO, mean, sum(n for _, _, n in values)), *values):
            estimate = Estimate(value, NAN, NAN)
            found.append(Number(writer.name, writer.kind, rubric_id, LEVELS[level], statistic, estimate, n))
    return found


def _cells(writer: Writer) -> list[tuple[int, int, Ints]]:
    cells = writer.cells
    order = np.argsort(cells.index, kind="stable")
    starts = np.flatnonzero(np.diff(cells.index[order], prepend=-1))
    groups = np.split(order, starts[1:])
    return [(int(cells.rubric[rows[0]]), int(cells.level[rows[0]]), rows) for rows in groups]
