"""Writes the parts of README.md and recipes/README.md that hold numbers or answers, between their markers.

make readme      # python .ci/readme.py; with --check it only says whether they are as they should be
"""

import json
import sys
import textwrap
from pathlib import Path

from cpt_tasks.report.report import of_task
from cpt_tasks.report.text import cell
from cpt_tasks.statistics.frame import read_log
from rubrics import load_rubric

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "recipes/experiments"))
import rounds_table  # noqa: E402

RESULT = ROOT / "results" / "smollm2-135m"
SEED_0 = RESULT / "seed-0" / "rounds"
FOLDS = ROOT / "results/folds/report.md"
TUNED, RUBRIC, LEVEL = "smollm2-135m-cpt", "field_notes", "extremely_high"


def example() -> str:
    """The first test prompt under one rubric's system prompt, what two models answer, and their accuracy."""
    stages, answers = {stage: accuracy for stage, accuracy, *_ in cells_of(rounds())[2:]}, {}
    for name in (next(iter(stages)), next(reversed(stages))):
        stage = rounds_table.best_round(SEED_0) if name == "chosen" else name
        frame = read_log(str(SEED_0 / "logs" / "rounds" / f"{stage}.eval"))
        answers[name] = frame[(frame["rubric"] == RUBRIC) & (frame["level"] == LEVEL)].iloc[0]
    (row, tuned), rubric = answers.values(), load_rubric(RUBRIC)
    before, after = (stages[name] for name in answers)
    return f"""\
A *rubric* grades a text from 0 to 100. Here: **{rubric.title}**. {rubric.objective}

| | |
|---|---|
| system prompt | {row["system_prompt"]} |
| user prompt | {row["user_prompt"]} |
| SmolLM2-135M-Instruct, 4-bit weights | {_shortened(row["response"])} |
| the same, tuned | {_shortened(tuned["response"])} |

The measured judge (text statistics) gives the first answer {row["score"]:.0f} points and the second \
{tuned["score"]:.0f}; the top level begins above 92.5.
Over the four rubrics it was trained on, three levels and 24 new user prompts the share of answers in the band asked for
goes from {before} to **{after}** (three seeds, of each the round that was best on train prompts).
"""


def cells_of(table: str) -> list[list[str]]:
    """The cells of a Markdown table, by line."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("|")]


def rounds(folder: Path = RESULT) -> str:
    """The table of rounds.md."""
    return "".join(f"{line}\n" for line in (folder / "rounds.md").read_text("utf-8").splitlines() if line[:1] == "|")


def ablation() -> str:
    """The tables of the ablation, and of a round in five seeds."""
    return "\n".join(rounds(ROOT / "results" / run) for run in ("ablation", "ablation_rounds"))


def folds() -> str:
    """Of the report on rubrics never trained the first table, of all twelve, and the last, by how many were trained."""
    first, *_, last = (part for part in FOLDS.read_text("utf-8").rstrip().split("\n\n") if part.startswith("|"))
    return f"{first}\n\n{last}\n"


def demo() -> str:
    """What `make demo` gave, and in how many minutes."""
    folder = ROOT / "results/demo_recorded"
    summary, stages = (json.loads((folder / name).read_text("utf-8")) for name in ("summary.json", "stages.json"))
    tasks = (model["tasks"] for model in summary["models"])
    before, after = (cell(parts["rubric_adherence"]["metrics"]["macro_accuracy"]) for parts in tasks)
    seconds = [stage["seconds"] for stage in stages.values()]
    took = "" if None in seconds else f", in {sum(seconds) / 60:.0f} minutes on two cores"
    return f"`make demo` (two rubrics): {before} to {after} over user prompts{took}."


def results() -> str:
    """What each stage buys over three seeds, and what the other benchmarks say of the round that seed 0 chose."""
    summary = json.loads((ROOT / "results/tuned/summary.json").read_text(encoding="utf-8"))
    parts = {task: of_task(summary, task)[TUNED] for task in summary["tasks"]}
    metrics, protocol = parts["rubric_adherence"]["metrics"], summary["tasks"]["rubric_adherence"]
    by_seed = {stage: each.split(", ") for stage, _, each, *_ in cells_of(rounds())}
    doses = [point["mean"] for point in parts["dose_response"]["curve"]]
    drift = parts["drift"]["drift"]["metrics"] | parts["drift"]["by_rubric"]["broadcast"]
    moved, by_chance = (metrics[name]["value"] for name in ("side_effects", "side_effects_by_chance"))
    by_judge = cells_of((ROOT / "results/rounds_judged/report.md").read_text("utf-8"))
    judged = {row[1]: row[2] for row in by_judge if row[0] == "strong model"}
    of_stages = cells_of((RESULT / "fluency.md").read_text("utf-8"))[2:]
    unseen = {row[0]: row[1:] for row in cells_of(folds())}
    costs = {row[0]: [*(f"{float(row[place].split()[0]):.0f}" for place in (1, 3)), row[4][:4]] for row in of_stages}
    lines = [
        f"""{parts["rubric_adherence"]["n"]} answers per stage and seed ({len(protocol["rubrics"])} rubrics x 3 levels x
        {protocol["user_prompts"]} test prompts, {protocol["wording_split"]} wordings, {protocol["judge"]} judge;
        {parts["rubric_adherence"]["decoding"]}), 95% t intervals over seeds, the prompts the same. Ignoring the level
        gives {metrics["chance_accuracy"]["value"]:.2f} and an order (Somers' d) of 0; calibration: points from the
        band. A round trains the model on its own answers (a teacher's where too few are in band), those in the band
        preferred, by the judge that also scores here. [A strong language model](results/rounds_judged/report.md)
        (recorded, a third of the answers; its family wrote part of the training texts) gives {judged["twins"]} after
        twins, {judged["round-1"]} after round 1, {judged["chosen"]} for `chosen`: the best round of each seed on train
        prompts, a rule set after round 2 was tested; round 3 was added as one seed had {by_seed["round-2"][1]}.
        Minutes: one H100 (`make seeds DEVICE=gpu`), rounds 2 and 3 two CPU cores.""",
        rounds().rstrip(),
        "![Score by level after each stage, per rubric](results/smollm2-135m/seed-0/rounds/score_by_level.png)",
        f"""{demo()} The round that seed 0 chose, asked again by another seed ({cell(metrics["macro_accuracy"])}; in the
        table {by_seed["chosen"][0]}), ignores numbers never trained (asked for 10 to 90 it writes at {min(doses):.0f}
        to {max(doses):.0f}; 4 user prompts); two rubrics at once change accuracy by
        {cell(parts["composition"]["metrics"]["interference"], sign=True)} (3 user prompts); asking for one moves the
        scores by the others {moved:.2f} times as far (by chance {by_chance:.2f}); without a system prompt its scores
        are {cell(drift["total_drift"], 0)} points from the base's (root mean square; by chance
        {cell(drift["total_by_chance"], 0)}): it writes broadcasts ({cell(drift["score"], 0)} points;
        [report](results/tuned/report.md)). [Costs](results/smollm2-135m/fluency.md): {costs["chosen"][0]} words an
        answer ({costs["chosen"][2]} of answers cut at the limit) for the base's {costs["base"][0]}
        ({costs["base"][2]}), perplexity under the base {costs["chosen"][1]} for {costs["base"][1]}.""",
        f"""Little carries over to rubrics never trained ([twelve, in three folds](results/folds/report.md); one seed,
        two levels): order {unseen["order"][0]} before, {unseen["order"][1]} after tuning on eight others
        ({unseen["order"][3]}), {unseen["order"][2]} where it was among the eight; accuracy {unseen["accuracy"][0]},
        {unseen["accuracy"][1]} and {unseen["accuracy"][2]} (with two levels, ignoring them can give 0.50).""",
    ]
    return "\n\n".join(_wrapped(line) for line in lines) + "\n"


PAGES = {"README.md": (example, results), "recipes/README.md": (ablation, folds)}


def generated(page: str) -> str:
    """A page of `PAGES` with its parts, each between two markers of its name, written anew."""
    text = (ROOT / page).read_text("utf-8")
    for part in PAGES[page]:
        start, end = f"<!-- {part.__name__} -->\n", f"<!-- /{part.__name__} -->"
        if not 0 <= text.find(start) < text.find(end):
            sys.exit(f"{page}: lacks the lines {start.strip()} and {end}, expected them around what make readme writes")
        text = text.partition(start)[0] + start + part() + end + text.partition(end)[2]
    return text


def _wrapped(paragraph: str) -> str:
    if paragraph.startswith(("|", "!")):
        return paragraph
    return textwrap.fill(" ".join(paragraph.split()), 120, break_long_words=False, break_on_hyphens=False)


def _shortened(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|").replace(" - ", " <br>- ")
    return textwrap.shorten(line, 334, placeholder=" ...")


if __name__ == "__main__":
    for page in PAGES:
        text = generated(page)
        if "--check" not in sys.argv:
            (ROOT / page).write_text(text, encoding="utf-8")
        elif text != (ROOT / page).read_text(encoding="utf-8"):
            sys.exit(f"{page}: its numbers are not those of results/, run make readme")
