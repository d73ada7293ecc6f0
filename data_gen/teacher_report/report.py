"""Writes the teacher report: teachers.md, teachers.csv, teachers.json and the figures; returns what is printed."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from data_gen.teacher_report.bias import BIASES, MATTR_WINDOW_WORDS, OPENING_WORDS
from data_gen.teacher_report.numbers import Carried, Number, Opening, Summary, carried, numbers_of, openings_of
from data_gen.teacher_report.tables import (
    LENGTH_RHO_TITLE,
    UNDEFINED,
    band_table,
    bias_table,
    carried_table,
    openings_table,
    rubric_table,
    table_2,
)

SHOWN_OPENINGS = 10


@dataclass(frozen=True)
class Source:
    """What the report rests on.

    Attributes:
        files: Name and SHA-256 of each file read, in order.
        judge: The judge of all scores.
        prompt_version: Version of its prompt.
        rubrics: Hash by rubric id.
        left_out: Rows of responses files that are in no number, by reason.
        seed: Of the bootstrap.
        n_resamples: Draws of the bootstrap.
        topics: Other prompts that shared 4-grams were looked for in.
        command: The command line, without absolute paths.
    """

    files: Sequence[Mapping[str, str]]
    judge: str
    prompt_version: str
    rubrics: Mapping[str, str]
    left_out: Mapping[str, int]
    seed: int
    n_resamples: int
    topics: int
    command: str


def write_report(out: Path, source: Source, summaries: Sequence[Summary]) -> str:
    """Writes all files of the report into a folder, which is made if there is none; returns Table 2 as text.

    Args:
        out: The folder.
        source: What the report rests on.
        summaries: Teachers, then students, then the base model if there is one.
    """
    from data_gen.teacher_report.figures import draw_figures

    out.mkdir(parents=True, exist_ok=True)
    numbers = [number for summary in summaries for number in numbers_of(summary)]
    openings = [opening for summary in summaries for opening in openings_of(summary)]
    shares = _all_carried(summaries)
    _write_json(out / "teachers.json", source, summaries, numbers, openings, shares)
    _write_csv(out / "teachers.csv", numbers)
    draw_figures(summaries, out)
    scores = f"{table_2(numbers)}\n\n{_counts(source, summaries)}"
    parts = [
        "# Teachers",
        _intro(source),
        "## Judged scores",
        "Mean judged score (0-100) per level asked for, mean over rubrics. Range: mean at extremely_high minus mean at "
        "low, in score points.",
        scores,
        "Share of scores in the band asked for (0-1), and number of responses.",
        band_table(numbers),
        "![judged scores by level](scores.png)",
        "## Biases",
        _how_to_read(source),
        *(bias_table(numbers, summary.writer.name, summary.writer.kind) for summary in summaries),
        "![biases by level](bias.png)",
        "### Commonest openings",
        _openings(openings),
        *_carried_over(shares, summaries),
        "## By rubric",
        rubric_table(numbers),
        f"Made by `{source.command}`.",
    ]
    (out / "teachers.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return scores


def _write_json(
    path: Path,
    source: Source,
    summaries: Sequence[Summary],
    numbers: Sequence[Number],
    openings: Sequence[Opening],
    shares: Sequence[Carried],
) -> None:
    content = {
        "run": asdict(source) | {"versions": {name: version(name) for name in ("cpt-tasks", "numpy", "scipy")}},
        "writers": [
            {"name": s.writer.name, "kind": s.writer.kind, "n": len(s.writer), "left_out": dict(s.writer.left_out)}
            for s in summaries
        ],
        "numbers": [_flat(number) for number in numbers],
        "openings": [asdict(opening) for opening in openings],
        "carried": [_jsonable(asdict(row)) for row in shares],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_csv(path: Path, numbers: Sequence[Number]) -> None:
    rows = [_flat(number) for number in numbers]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _flat(number: Number) -> dict[str, Any]:
    row = asdict(number)
    estimate = row.pop("estimate")
    flat: dict[str, Any] = _jsonable(row | estimate)
    return flat


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(entry) for key, entry in value.items()}
    if isinstance(value, float):
        return None if math.isnan(value) else round(value, 6)
    return value


def _all_carried(summaries: Sequence[Summary]) -> list[Carried]:
    teachers, students, bases = (
        [summary for summary in summaries if summary.writer.kind == kind] for kind in ("teacher", "student", "base")
    )
    return [
        row for base in bases for teacher in teachers for student in students for row in carried(teacher, student, base)
    ]


def _counts(source: Source, summaries: Sequence[Summary]) -> str:
    lines = [_left_out("responses files", source.left_out)]
    lines += [_left_out(summary.writer.name, summary.writer.left_out) for summary in summaries]
    return " ".join(line for line in lines if line) or "No row was left out."


def _left_out(where: str, counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    remedy = " (judge them with `cpt verify --keep all`)" if "unjudged" in counts else ""
    return f"Left out of {where}: {reasons}{remedy}."


def _intro(source: Source) -> str:
    files = ", ".join(f"`{file['name']}`" for file in source.files)
    return (
        f"Responses of {files}, judged by `{source.judge}` (prompt version {source.prompt_version}). Values with 95% "
        f"intervals from {source.n_resamples} bootstrap draws of user prompts, seed {source.seed}; {UNDEFINED} is "
        "undefined. Where rows outside the band were dropped before (`cpt verify` without `--keep all`), the share in "
        "the band is 1 and the means say what was kept, not what the teacher writes."
    )


def _how_to_read(source: Source) -> str:
    lines = [f"- {bias.title}: {bias.scale}; higher: {bias.higher}." for bias in BIASES]
    lines += [
        "- Shared 4-grams: of a response's different runs of four words, those that stand in at least one of "
        f"{source.topics} responses to other prompts of the same teacher and rubric, drawn at random. More at its own "
        "level than at the other levels: templates of that level.",
        f"- Diversity needs {MATTR_WINDOW_WORDS} words: shorter responses are left out there. Sentiment is the mean "
        "over sentences.",
        f"- Openings are the first {OPENING_WORDS} words. Commonest and five commonest: share, 0-1, of responses of a "
        "cell that begin so; different openings: per response, 0-1, lower is more formulaic. These three depend on the "
        "number of responses in a cell; same opening does not.",
        f"- {LENGTH_RHO_TITLE}: -1 to 1, within rubric, then averaged; away from 0, length gives the level away.",
    ]
    return "\n".join(lines)


def _openings(openings: Sequence[Opening]) -> str:
    if not openings:
        return "No two responses of a cell begin alike."
    return openings_table(sorted(openings, key=lambda opening: -opening.count / opening.n)[:SHOWN_OPENINGS])


def _carried_over(shares: Sequence[Carried], summaries: Sequence[Summary]) -> list[str]:
    if not any(summary.writer.kind == "student" for summary in summaries):
        return []
    if not shares:
        return ["## Carried over", "Give the log of the base model with `--base` to see what was carried over."]
    parts = [
        "## Carried over",
        "Carried share: (student - base) / (teacher - base), over the rubrics that all three have: 0 is like the base "
        f"model, 1 like the teacher. {UNDEFINED} where teacher and base do not differ: the interval of their "
        "difference holds 0, or it is smaller than what counts for the number. Student and base answered the same "
        "prompts, the teacher mostly others: a difference can be one of topics.",
    ]
    for teacher, student in dict.fromkeys((row.teacher, row.student) for row in shares):
        mine = [row for row in shares if (row.teacher, row.student) == (teacher, student)]
        parts += [f"### From {teacher} to {student}", carried_table(mine)]
    return parts
