"""Stages of a run by two judges: the measured one, which selected the pairs of its rounds, and one that did not.

python recipes/experiments/rounds_judged_table.py data/rounds_judged results/smollm2-135m --out report.md
"""

import argparse
from pathlib import Path

import pandas as pd
from rounds_table import REFERENCE, best_round, row_means, show

LEVELS = ["low", "moderate", "extremely_high"]
CELL = ["seed", "rubric", "level", "user_prompt"]
HEAD = """\
# Rounds by a judge that did not select their pairs

Accuracy is the share of scores in the band asked for, of {cells} cells of seed, rubric, level and user prompt, the same
at every stage. Differences are paired by cell, with 95% t intervals over the user prompts. `rho` is Spearman's between
the scores of the two judges at a stage. `chosen` is in each seed the round that was best on train prompts by the
measured judge.

"""
LEFT_OUT = "Cells left out at every stage, because a judge failed on one of their texts: {}.\n\n"


def page_of(measured: pd.DataFrame, strong: pd.DataFrame) -> str:
    """The report as Markdown; cells with a text that a judge failed on are left out and counted."""
    stages = measured["source"].nunique()
    scored = measured["score"].notna() & strong["score"].notna()
    whole = scored.groupby([measured[name] for name in CELL]).transform("all")
    page = HEAD.format(cells=whole.sum() // stages)
    page += "" if whole.all() else LEFT_OUT.format((~whole).sum() // stages)
    return page + table_of(measured[whole], strong[whole]).to_markdown(index=False, disable_numparse=True) + "\n"


def table_of(measured: pd.DataFrame, strong: pd.DataFrame) -> pd.DataFrame:
    """One row a judge and stage; both frames have the same rows and columns of `CELL`, source, score and in_band."""
    rows = []
    for judge, texts in {"measured": measured, "strong model": strong}.items():
        by_stage = texts.set_index([*CELL, "source"])["in_band"].astype(float).unstack()
        for stage in sorted(by_stage, key=lambda name: (name != REFERENCE, name == "chosen", name)):
            hit, first, asked = by_stage[stage], by_stage[REFERENCE], measured["source"] == stage
            row = {"judge": judge, "stage": stage, "accuracy": f"{hit.mean():.2f}"}
            gains = (hit - first).groupby("user_prompt").mean()
            gain = row_means(gains.to_frame().T).iloc[0]
            row[f"accuracy - {REFERENCE}"] = show(gain, "+") if stage != REFERENCE else ""
            row |= {level: f"{hit.xs(level, level='level').mean():.2f}" for level in LEVELS}
            rho = measured["score"][asked].corr(strong["score"][asked], method="spearman")
            rows.append({**row, "rho": f"{rho:.2f}"})
    return pd.DataFrame(rows)


def main() -> None:
    """Writes the report."""
    parser = argparse.ArgumentParser(description="Compare stages by the measured and by another judge.")
    parser.add_argument("folder", type=Path, help="measured.jsonl and strong.jsonl of `cpt judge texts`")
    parser.add_argument("run", type=Path, help="folder with seed-*/rounds/ of rounds.mk")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    options = parser.parse_args()
    frames = [pd.read_json(options.folder / f"{name}.jsonl", lines=True) for name in ("measured", "strong")]
    best = {seed: best_round(options.run / f"seed-{seed}" / "rounds") for seed in frames[0]["seed"].unique()}
    chosen = [texts[texts["source"] == texts["seed"].map(best)].assign(source="chosen") for texts in frames]
    page = page_of(*map(pd.concat, zip(frames, chosen, strict=True)))
    options.out.write_text(page, encoding="utf-8", newline="\n")
    print(page)


if __name__ == "__main__":
    main()
