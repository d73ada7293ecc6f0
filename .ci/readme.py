"""Writes the parts of README.md that hold numbers or answers, between their markers, from results/smollm2-135m.

make readme      # python .ci/readme.py; with --check it only says whether they are as they should be
"""

import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from cpt_tasks.report.report import SECTIONS, of_task
from cpt_tasks.report.text import cell
from cpt_tasks.statistics.frame import read_log
from judges.interval import Estimate
from rubrics import load_rubric

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RESULT = ROOT / "results" / "smollm2-135m"
BASE, TUNED = "smollm2-135m", "smollm2-135m-cpt"
RUBRIC, LEVEL = "field_notes", "extremely_high"
LETTERS_SHOWN = 330


def example(summary: dict[str, Any]) -> str:
    """The first test prompt under one rubric's system prompt, what two models answer, and their accuracy."""
    answers = {}
    for name in ("base", "cpt"):
        frame = read_log(str(RESULT / "logs" / f"{name}.eval"))
        answers[name] = frame[(frame["rubric"] == RUBRIC) & (frame["level"] == LEVEL)].iloc[0]
    row, rubric = answers["base"], load_rubric(RUBRIC)
    models = of_task(summary, "rubric_adherence")
    before, after = (cell(models[name]["metrics"]["macro_accuracy"]) for name in (BASE, TUNED))
    return f"""\
A *rubric* grades a text from 0 to 100. Here: **{rubric.title}**. {rubric.objective}

| | |
|---|---|
| system prompt | {row["system_prompt"]} |
| user prompt | {row["user_prompt"]} |
| SmolLM2-135M | {_shortened(row["response"])} |
| the same, tuned | {_shortened(answers["cpt"]["response"])} |

The measured judge (text statistics) gives the first answer {row["score"]:.0f} points and the second \
{answers["cpt"]["score"]:.0f}. The top level asked for begins above 92.5. Over four rubrics, three levels and 24 test
prompts the share of answers in the band asked for goes from {before} to **{after}**.
"""


def results(summary: dict[str, Any]) -> str:
    """The main table and what the other benchmarks say of the adapter."""
    parts = {task: of_task(summary, task) for task in summary["tasks"]}
    adherence = parts["rubric_adherence"]
    protocol = summary["tasks"]["rubric_adherence"]
    table = SECTIONS["rubric_adherence"].tables(adherence)["Overall"].drop(columns="unscored").to_markdown(index=False)
    line = [adherence[TUNED]["metrics"][f"calibration_{part}"]["value"] for part in ("slope", "intercept")]
    levels = {level: entry["metrics"]["accuracy"]["value"] for level, entry in adherence[TUNED]["by_level"].items()}
    best = [parts["best_of_n"][name]["metrics"]["band_hit@4"]["value"] for name in (TUNED, BASE)]
    dose = parts["dose_response"][TUNED]
    doses = [point["mean"] for point in dose["curve"] if not point["trained"]]
    words = [parts["drift"][name]["metrics"]["mean_words"]["value"] for name in (TUNED, BASE)]
    metrics = adherence[TUNED]["metrics"]
    cost = Estimate.from_json(parts["composition"][TUNED]["metrics"]["interference"])
    unscored = sum(entry["unscored"] for entry in adherence.values())
    bands = ", ".join(f"{value:.2f} at {level.replace('_', ' ')}" for level, value in levels.items())
    slope, moved = cell(dose["metrics"]["calibration_slope"]), metrics["side_effects"]["value"]
    by_chance = metrics["side_effects_by_chance"]["value"]
    lines = [
        f"""{adherence[BASE]["n"]} answers per row: {len(protocol["rubrics"])} rubrics x 3 levels x
        {protocol["user_prompts"]} test prompts, {protocol["wording_split"]} wordings,
        {protocol["judge"]} judge, one seed, {unscored} unscored; 95% intervals over user prompts. Ignoring the
        level gives an accuracy of {metrics["chance_accuracy"]["value"]:.2f} and an order of 0. Calibration: points away
        from the band. "of": the most for scores without ties. `[full_rubric]`: untrained, shown the whole rubric.""",
        table,
        "![Score by level asked for, per rubric, base model and adapter](results/smollm2-135m/score_by_level.png)",
        f"""The adapter orders the levels but stays too low (score = {line[0]:.2f} x asked {line[1]:+.0f} points):
        accuracy is {bands}. The best of 4 samples
        hits the band {best[0]:.0%} of the time (base {best[1]:.0%}). It ignores numbers that it was never trained on:
        asked for 10 to 90 it writes at {min(doses):.0f} to {max(doses):.0f} (slope {slope}). Two rubrics at once change
        accuracy by {cost.text(sign=True)}. Asking for one rubric moves the scores by the others too, {moved:.2f} times
        as far (by chance {by_chance:.2f}). Without a system prompt it writes {words[0]:.0f} words, the base
        {words[1]:.0f}. From few user prompts each: [report](results/smollm2-135m/report.md).""",
    ]
    return "\n\n".join(_wrapped(line) for line in lines) + "\n"


def generated(readme: str) -> str:
    """The README with its generated parts, each between two markers of its name, written anew."""
    summary = json.loads((RESULT / "summary.json").read_text(encoding="utf-8"))
    for part in (example, results):
        before, start, rest = readme.partition(f"<!-- {part.__name__} -->\n")
        end = f"<!-- /{part.__name__} -->"
        readme = before + start + part(summary) + end + rest.partition(end)[2]
    return readme


def _wrapped(paragraph: str) -> str:
    if paragraph.startswith(("|", "!")):
        return paragraph
    return textwrap.fill(" ".join(paragraph.split()), 120, break_long_words=False, break_on_hyphens=False)


def _shortened(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|").replace(" - ", " <br>- ")
    return line if len(line) <= LETTERS_SHOWN else line[:LETTERS_SHOWN].rsplit(" ", 1)[0] + " ..."


if __name__ == "__main__":
    text = README.read_text(encoding="utf-8")
    if "--check" in sys.argv:
        sys.exit("README.md: its numbers are not those of results/, run make readme" if generated(text) != text else 0)
    README.write_text(generated(text), encoding="utf-8")
