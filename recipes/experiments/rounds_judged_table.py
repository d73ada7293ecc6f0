"""Stages of a run by two judges: the measured one, which selected the pairs of its rounds, and one that did not.

python recipes/experiments/rounds_judged_table.py data/rounds_judged.jsonl --out results/rounds_judged/report.md
"""

import argparse
from pathlib import Path

import pandas as pd
from scipy import stats

from rubrics import ScoreLevel

STAGES = ["twins", "round-1", "round-2"]
CELL = ["seed", "rubric", "level", "user_prompt"]
HEAD = """\
# Rounds by a judge that did not select their pairs

Accuracy is the share of scores in the band asked for, of {cells} cells of seed, rubric, level and user prompt, the same
at every stage. Differences are paired by cell, with 95% t intervals over the cells. `rho` is Spearman's between the
scores of the two judges at a stage.

"""


def table_of(texts: pd.DataFrame) -> pd.DataFrame:
    """One row a judge and stage; `texts` has the columns of `CELL`, source, measured, score (of the other judge)."""
    agreement = {stage: stats.spearmanr(rows["measured"], rows["score"]) for stage, rows in texts.groupby("source")}
    rows = []
    for judge, name in {"measured": "measured", "strong model": "score"}.items():
        hits = texts[name].map(ScoreLevel.of) == texts["level"].map(ScoreLevel)
        by_stage = hits.groupby([texts[key] for key in (*CELL, "source")]).mean().unstack()
        for stage in STAGES:
            hit, first = by_stage[stage], by_stage[STAGES[0]]
            row = {"judge": judge, "stage": stage, "accuracy": f"{hit.mean():.2f}"}
            row[f"accuracy - {STAGES[0]}"] = difference(hit, first) if stage != STAGES[0] else ""
            by_level = {level.value: f"{hit.xs(level.value, level='level').mean():.2f}" for level in ScoreLevel}
            rows.append({**row, **by_level, "rho": f"{agreement[stage].statistic:.2f}"})
    return pd.DataFrame(rows)


def difference(first: pd.Series, second: pd.Series) -> str:
    """Mean of first - second with its 95% t interval."""
    interval = stats.ttest_rel(first.astype(float), second.astype(float)).confidence_interval(0.95)
    return f"{(first - second).mean():+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"


def main() -> None:
    """Writes the report."""
    parser = argparse.ArgumentParser(description="Compare stages by the measured and by another judge.")
    parser.add_argument("texts", type=Path, help="what `cpt judge texts` wrote, with columns measured and source")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    texts = pd.read_json(options.texts, lines=True)
    table = table_of(texts).to_markdown(index=False, disable_numparse=True)
    page = HEAD.format(cells=len(texts) // len(STAGES)) + table + "\n"
    options.out.write_text(page, encoding="utf-8", newline="\n")
    print(options.out.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
