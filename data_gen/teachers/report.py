"""Writes the teacher report: teachers.md, teachers.csv, teachers.json and scores.png."""

import json
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from data_gen.teachers.numbers import ALL, LEVELS, MACRO
from data_gen.teachers.rows import LeftOut
from judges.interval import Estimate, cluster_note
from rubrics import ScoreLevel
from rubrics.files import write_whole

SCHEMA = 3
UNDEFINED = "–"
DIGITS = {"score": 1, "dynamic_range": 1, "words": 1, "shared_grams": 4}
STATISTICS = ["score", "dynamic_range", "in_band", "accuracy", "order", "tau_b", "rho"]
STATISTICS += ["words", "length_rho", "shared_grams"]
PAGE = f"""# Teachers

Responses of $files, judged by $judge. Means per rubric and level, then over rubrics, with 95% jackknife intervals over
user prompts; {UNDEFINED} is undefined. Where rows outside the band were dropped before (`cpt verify` without
`--keep all`), the share in the band is 1 and the means say what was kept, not what the teacher writes.

$shown

- score: mean judged score, 0-100, per level asked for; dynamic_range: extremely_high minus low, in points.
- in_band: share in the band asked for, 0-1; accuracy: its mean over levels.
- order: Somers' d of score given level, at most 1; tau_b, rho: Kendall's and Spearman's, which do not reach 1 unless
  all scores of a level are tied. Within rubric, over all pairs of responses, those to one user prompt too.
- words: length; length_rho: Spearman's rho of level and length: away from 0, length gives the level away.
- shared_grams: of a response's different runs of four words, the share that a response to another prompt of the same
  rubric and level has, too, averaged over the other prompts. High: the same phrases whatever the topic.

By rubric: teachers.csv.

![judged scores by level](scores.png)


Made by `$command`.
"""


def write_report(out: Path, rows: pd.DataFrame, left_out: LeftOut, numbers: pd.DataFrame, run: dict[str, Any]) -> str:
    """Writes everything into a folder, which is made if there is none; returns the table as text.

    `run` is what else the numbers rest on: files, command.
    """
    notes = [
        f"Left out of {where}: {', '.join(f'{count} {reason}' for reason, count in counts.items())}"
        + (" (judge them with `cpt verify --keep all`)." if "unjudged" in counts else ".")
        for where, counts in left_out.items()
        if counts
    ] or ["No row was left out."]
    if any(name.startswith("recorded/") for name in (*rows["writer"], *rows["judge"])):
        notes.append("`recorded/`: replies that were recorded elsewhere, no model was asked.")
    notes.append(cluster_note(int(numbers.groupby("writer")["user_prompts"].max().min())))
    rubrics: Any = rows.groupby("writer", sort=False)["rubric"].agg(frozenset)
    if rubrics.nunique() > 1:
        counts = ", ".join(f"{name} {len(ids)}" for name, ids in rubrics.items())
        notes.append(f"The means are over different rubrics: {counts}; see teachers.csv.")
    macro, judge = numbers[numbers["rubric"] == MACRO], rows["judge"].iloc[0]
    shown = f"{_table(macro)}\n\n{' '.join(notes).strip()}"
    page = Template(PAGE).substitute(
        files=", ".join(f"`{file['name']}`" for file in run["files"]),
        judge=judge,
        shown=shown,
        command=run["command"],
    )
    write_whole(out / "teachers.md", page)
    write_whole(out / "teachers.csv", numbers.to_csv(index=False, lineterminator="\n"))
    about = {
        "judge": judge,
        "rubrics": dict(sorted(zip(rows["rubric"], rows["rubric_hash"], strict=True))),
        "left_out": left_out,
        "versions": {name: version(name) for name in ("cpt-tasks", "numpy", "scipy")},
    }
    content = {
        "schema": SCHEMA,
        "run": run | about,
        "writers": [{"name": name, "kind": "teacher", "n": n} for name, n in Counter(rows["writer"]).items()],
        "numbers": numbers.astype(object).where(numbers.notna(), None).to_dict("records"),
    }
    write_whole(out / "teachers.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    _scores(rows).savefig(out / "scores.png", dpi=130)
    return shown


def _table(numbers: pd.DataFrame) -> str:
    """A line per statistic and writer, a column per level; as Markdown."""
    named = numbers.assign(
        cell=[_cell(row) for row in numbers.itertuples()],
        statistic=pd.Categorical(numbers["statistic"], STATISTICS),
    )
    wide = named.pivot(index=["statistic", "writer"], columns="level", values="cell").reindex(columns=[*LEVELS, ALL])
    return str(wide.fillna(UNDEFINED).sort_index().reset_index().to_markdown(index=False, disable_numparse=True))


def _cell(row: Any) -> str:
    text = Estimate(row.value, row.ci_low, row.ci_high).text(DIGITS.get(row.statistic, 2))
    return UNDEFINED if text == "undefined" else text


def _scores(rows: pd.DataFrame) -> Figure:
    """A panel per writer: a box with all scores per level asked for, over the bands."""
    writers: list[Any] = list(rows.groupby("writer", sort=False))
    figure = Figure(figsize=(1.2 + 4.0 * len(writers), 4.4), layout="constrained")
    panels = figure.subplots(1, len(writers), sharey=True, squeeze=False)[0]
    for axis, (name, mine) in zip(panels, writers, strict=True):
        scores = [mine.loc[mine["level"] == level, "score"] for level in LEVELS]
        axis.boxplot(scores, positions=range(len(LEVELS)), showmeans=True)
        for place, level in enumerate(ScoreLevel, start=LEVELS.index(ScoreLevel.LOW)):
            axis.fill_between([place - 0.5, place + 0.5], *level.band, color="0.9", linewidth=0, zorder=0)
        axis.set_title(name, fontsize=11)
        axis.set_xticks(range(len(LEVELS)), [level.replace("_", "\n") for level in LEVELS])
    panels[0].set_ylabel("judged score (0-100)")
    figure.supxlabel("level asked for; grey: the band to hit, triangle: mean", fontsize=9)
    return figure
