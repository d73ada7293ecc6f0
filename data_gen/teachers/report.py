"""Writes the teacher report: teachers.md, teachers.csv and teachers.json; returns what is printed."""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd

from data_gen.teachers.numbers import ALL, LEVELS, MACRO
from data_gen.teachers.rows import Report
from judges.interval import Estimate, cluster_note, jsonable
from rubrics.files import write_whole

SCHEMA = 2
UNDEFINED = "–"
WRITER = "teacher or model"
DIGITS = {"score": 1, "dynamic_range": 1, "words": 1, "shared_grams": 4}
TABLE_2 = {("score", level): level for level in LEVELS} | {
    ("dynamic_range", ALL): "range",
    ("accuracy", ALL): "accuracy",
    ("tau_b", ALL): "tau-b",
    ("rho", ALL): "rho",
}
PAGE = f"""# Teachers

Responses of $files, judged by $judge. Means per rubric and level, then over rubrics, with 95% jackknife intervals over
user prompts; {UNDEFINED} is undefined. Where rows outside the band were dropped before (`cpt verify` without
`--keep all`), the share in the band is 1 and the means say what was kept, not what the teacher writes.

## Judged scores

Mean judged score (0-100) per level asked for. Range: extremely_high minus low, in points. Accuracy: share in the band
asked for, 0-1, averaged over levels. tau-b and rho: Kendall's and Spearman's, of level and score, within rubric.

$scores

Share in the band asked for, 0-1:

$in_band

![judged scores by level](scores.png)

## What else tells the levels apart

Length in words, and Spearman's rho of level and length within rubric: away from 0, length gives the level away.

$words

Shared phrases: of a response's different runs of four words, the share that a response to another prompt of the same
rubric and level has, too, averaged over the other prompts. High: the same phrases whatever the topic.

$shared_grams

![length and shared phrases by level](bias.png)

$carried## By rubric

$by_rubric

Made by `$command`.
"""
CARRIED = f"""## Carried over

Carried share: (student - base) / (teacher - base), over the rubrics that all three have: 0 is like the base model, 1
like the teacher. {UNDEFINED} where teacher and base do not differ: the interval of their difference holds 0. Student
and base answered the same prompts, the teacher mostly others: a difference can be one of topics.

"""


def write_report(
    out: Path,
    report: Report,
    numbers: pd.DataFrame,
    carried: Mapping[tuple[str, str], pd.DataFrame],
    run: Mapping[str, Any],
) -> str:
    """Writes all tables into a folder, which is made if there is none; returns Table 2 as text.

    Args:
        out: The folder.
        report: What was read.
        numbers: As `numbers` gives them.
        carried: As `carried` gives it, by (teacher, student).
        run: What else the numbers rest on: files, command.
    """
    macro = numbers[numbers["rubric"] == MACRO]
    left_out = [
        f"Left out of {where}: {', '.join(f'{count} {reason}' for reason, count in counts.items())}"
        + (" (judge them with `cpt verify --keep all`)." if "unjudged" in counts else ".")
        for where, counts in report.left_out.items()
        if counts
    ]
    fewest = int(numbers.groupby(["kind", "writer"])["user_prompts"].max().min())
    lines = [_wide(macro, TABLE_2), cluster_note(fewest), " ".join(left_out) or "No row was left out."]
    scores = "\n\n".join(line for line in lines if line)
    tables = {
        name: _wide(macro, {(name, level): level for level in LEVELS} | more)
        for name, more in (("in_band", {}), ("words", {("length_rho", ALL): "rho"}), ("shared_grams", {}))
    }
    page = Template(PAGE).substitute(
        tables,
        files=", ".join(f"`{file['name']}`" for file in run["files"]),
        judge=f"`{report.judge[0]}` (prompt version {report.judge[1]})",
        scores=scores,
        carried=_carried_over(numbers, carried),
        by_rubric=_wide(numbers[numbers["rubric"] != MACRO], TABLE_2, ["rubric"]),
        command=run["command"],
    )
    write_whole(out / "teachers.md", page)
    _write_numbers(out, report, numbers, carried, run)
    return scores


def _write_numbers(
    out: Path,
    report: Report,
    numbers: pd.DataFrame,
    carried: Mapping[tuple[str, str], pd.DataFrame],
    run: Mapping[str, Any],
) -> None:
    flat = numbers.drop(columns="estimate")
    for name in ("value", "ci_low", "ci_high"):
        flat[name] = [round(getattr(estimate, name), 6) for estimate in numbers["estimate"]]
    counts: Any = report.rows.groupby(["writer", "kind"], sort=False).size()
    content = {
        "schema": SCHEMA,
        "run": {
            **run,
            "judge": report.judge[0],
            "prompt_version": report.judge[1],
            "rubrics": report.rubrics,
            "left_out": report.left_out,
            "versions": {name: version(name) for name in ("cpt-tasks", "numpy", "scipy")},
        },
        "writers": [{"name": name, "kind": kind, "n": int(n)} for (name, kind), n in counts.items()],
        "numbers": _jsonable(flat),
        "carried": [
            {"from": teacher, "to": student} | row
            for (teacher, student), table in carried.items()
            for row in _jsonable(table)
        ],
    }
    write_whole(out / "teachers.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write_whole(out / "teachers.csv", flat.to_csv(index=False, lineterminator="\n"))


def _jsonable(table: pd.DataFrame) -> list[dict[str, Any]]:
    def plain(value: Any) -> Any:
        if isinstance(value, Estimate):
            return value.to_json()
        return jsonable(value) if isinstance(value, float) else value

    return [{str(name): plain(value) for name, value in row.items()} for row in table.to_dict("records")]


def _carried_over(numbers: pd.DataFrame, carried: Mapping[tuple[str, str], pd.DataFrame]) -> str:
    if (numbers["kind"] == "teacher").all():
        return ""
    if not carried:
        return "## Carried over\n\nGive the log of the base model with `--base` to see what was carried over.\n\n"
    text = CARRIED
    for (teacher, student), table in carried.items():
        lines: Any = table.itertuples()
        rows = [
            [
                row.statistic,
                row.level,
                *(_cell(Estimate(x), row.statistic) for x in (row.teacher, row.base, row.student)),
            ]
            + [_cell(row.difference, row.statistic), _cell(row.share, "share")]
            for row in lines
        ]
        heads = ["", "level", "teacher", "base", "student", "teacher - base", "carried share"]
        text += f"### From {teacher} to {student}\n\n{_markdown(pd.DataFrame(rows, columns=heads))}\n\n"
    return text


def _wide(numbers: pd.DataFrame, columns: Mapping[tuple[str, str], str], index: Sequence[str] = ()) -> str:
    """A line per writer, a column per (statistic, level), under their headings; as Markdown."""
    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for one in numbers.to_dict("records"):
        name = one["writer"] if one["kind"] == "teacher" else f"{one['writer']} ({one['kind']})"
        row = rows.setdefault((name, *(one[column] for column in index)), {})
        if (key := (one["statistic"], one["level"])) in columns:
            row[columns[key]] = _cell(one["estimate"], one["statistic"])
    lines = [[*key, *(row.get(column, UNDEFINED) for column in columns.values())] for key, row in rows.items()]
    return _markdown(pd.DataFrame(lines, columns=[WRITER, *index, *columns.values()]))


def _cell(estimate: Estimate, statistic: str) -> str:
    text = estimate.text(DIGITS.get(statistic, 2))
    return UNDEFINED if text == "undefined" else text


def _markdown(table: pd.DataFrame) -> str:
    # numbers stay text, or tabulate would write 1.0 as 1
    return str(table.to_markdown(index=False, disable_numparse=True))
