"""Runs any judge on texts whose score is known, and writes the one-page audit: `cpt judge audit`."""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cpt_tasks.judging import figures as judge_figures
from cpt_tasks.judging.pages import agreement_table, bias_table, number, unscored_line, write_page
from judges import Judge, JudgeFailure, Judgment, check_measurable, measure
from judges.audit import Audit, AuditRow, audit
from judges.cost import total_usd
from judges.measures import words
from rubrics import LOW_MAX, MODERATE_MAX, Rubric, ScoreLevel

MEASURED_SCORES = "measured scores"
NEAR_POINTS = 10


class KnownText(BaseModel):
    """A line of a responses file, as far as an audit needs it; other fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    prompt_id: str
    prompt: str
    rubric: str
    level: ScoreLevel
    response: str = Field(min_length=1)


@dataclass(frozen=True)
class JudgedTexts:
    """What a judge made of the texts.

    Attributes:
        rows: One per text, in the order of the texts.
        prompt_version: Version of the judge's prompt, "" if no judgment worked.
        cost_usd: What the judgments cost, bought before or now, in US dollars; None if a price is not known.
    """

    rows: list[AuditRow]
    prompt_version: str
    cost_usd: float | None


def read_texts(path: Path, rubrics: Sequence[Rubric]) -> list[KnownText]:
    """Texts of the rubrics in a responses file, in file order.

    Raises:
        ValueError: If the file is missing, a line is not a valid row, or there is no text of a rubric.
    """
    if not path.is_file():
        raise ValueError(f"{path.name}: not found, expected a responses file in JSONL")
    texts = []
    # not splitlines(): a text may hold characters that it takes for the end of a line
    for line_number, line in enumerate(path.read_text(encoding="utf-8").removesuffix("\n").split("\n"), start=1):
        try:
            texts.append(KnownText.model_validate_json(line))
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(str(part) for part in problem["loc"]) or "line"
            raise ValueError(f"{path.name}:{line_number}: {place}: {problem['msg']}") from error
    for rubric in rubrics:
        check_measurable(rubric)
        if not any(text.rubric == rubric.id for text in texts):
            raise ValueError(f"{path.name}: no text of rubric {rubric.id!r}, expected at least one")
    wanted = {rubric.id for rubric in rubrics}
    return [text for text in texts if text.rubric in wanted]


def draw_texts(texts: Sequence[KnownText], limit: int, seed: int) -> list[KnownText]:
    """The texts of `limit` user prompts per rubric, drawn at random; all levels of a prompt stay together."""
    prompts: dict[str, set[str]] = defaultdict(set)
    for text in texts:
        prompts[text.rubric].add(text.prompt_id)
    rng = random.Random(seed)
    kept = {rubric: set(rng.sample(sorted(ids), min(limit, len(ids)))) for rubric, ids in sorted(prompts.items())}
    return [text for text in texts if text.prompt_id in kept[text.rubric]]


def judge_texts(
    texts: Sequence[KnownText],
    rubrics: Sequence[Rubric],
    askings: Sequence[Judge],
    progress: Callable[[], None] = lambda: None,
) -> JudgedTexts:
    """Asks every asking of the judge about every text; `progress` is called after each judgment.

    Raises:
        ExceptionGroup: If a call fails for a reason that is not the judge's, such as the connection.
    """
    by_id = {rubric.id: rubric for rubric in rubrics}
    outcomes: dict[tuple[int, int], Judgment | JudgeFailure] = {}

    async def ask(position: int, repeat: int) -> None:
        text = texts[position]
        try:
            outcomes[position, repeat] = await askings[repeat].judge(by_id[text.rubric], text.prompt, text.response)
        except JudgeFailure as failure:
            outcomes[position, repeat] = failure
        progress()

    async def ask_all() -> None:
        async with anyio.create_task_group() as group:
            for position in range(len(texts)):
                for repeat in range(len(askings)):
                    group.start_soon(ask, position, repeat)

    anyio.run(ask_all)
    rows = [
        _row(text, by_id[text.rubric], [outcomes[position, repeat] for repeat in range(len(askings))])
        for position, text in enumerate(texts)
    ]
    judged = [outcome for outcome in outcomes.values() if isinstance(outcome, Judgment)]
    return JudgedTexts(
        rows=rows,
        prompt_version=judged[0].prompt_version if judged else "",
        cost_usd=total_usd(outcome.cost_usd for outcome in outcomes.values()),
    )


def write_audit(
    out: Path, judge: str, rubrics: Sequence[Rubric], judged: JudgedTexts, source: str, repeats: int, seed: int
) -> str:
    """Writes audit.md, audit.json, the figures and command.txt; returns the text to print.

    Raises:
        ValueError: If no text was judged.
    """
    found = audit(judged.rows, seed)
    figures = judge_figures.save(
        {
            "judged_against_measured": judge_figures.judged_against_reference(judged.rows, judge, "measured"),
            "bias": judge_figures.bias_by_group(found, judge, "measured"),
            "distribution": judge_figures.distributions(judged.rows, judge, "measured"),
        },
        out,
    )
    numbers = {
        "judge": judge,
        "prompt_version": judged.prompt_version,
        "source": source,
        "rubrics": {rubric.id: rubric.hash for rubric in rubrics},
        "repeats": repeats,
        "seed": seed,
        "cost_usd": judged.cost_usd,
        "audit": found,
        "texts": judged.rows,
    }
    parts = _page(judge, rubrics, judged, found, source, repeats, seed)
    write_page(out, "audit", parts, numbers, figures)
    return "\n\n".join(parts[1:])


def _row(text: KnownText, rubric: Rubric, outcomes: Sequence[Judgment | JudgeFailure]) -> AuditRow:
    return AuditRow(
        rubric=text.rubric,
        level=text.level,
        prompt_id=text.prompt_id,
        words=len(words(text.response)),
        # measured anew: the score in the file may be of an older version of the rubric
        measured=measure(rubric, text.response).score,
        judged=tuple(outcome.score for outcome in outcomes if isinstance(outcome, Judgment)),
        failures=tuple(outcome.mode for outcome in outcomes if isinstance(outcome, JudgeFailure)),
    )


def _page(
    judge: str,
    rubrics: Sequence[Rubric],
    judged: JudgedTexts,
    found: Audit,
    source: str,
    repeats: int,
    seed: int,
) -> list[str]:
    names = ", ".join(rubric.id for rubric in rubrics)
    intro = (
        f"Judge `{judge}` (prompt version {judged.prompt_version}) on texts of `{source}` whose score is known, since "
        f"text statistics measure it: rubrics {names}, {repeats} judgment{'s' * (repeats > 1)} of each text. "
        f"{unscored_line(found)}. Intervals: 95%, bootstrap of user prompts, seed {seed}."
    )
    scale = (
        "The last column is what the best judge would show: 1 or 0, or what the measured scores of the same texts show."
    )
    bias = (
        "Bias is the mean of judged - measured, in score points, over the texts written for a level or rubric; per "
        "doubling of length within rubric and level, given the measured score. Rank correlation of judged score and "
        f"length given the measured score: {number(found.length.partial_rho)}."
    )
    near = sum(min(abs(row.measured - cut) for cut in (LOW_MAX, MODERATE_MAX)) <= NEAR_POINTS for row in judged.rows)
    limits = (
        f"{near} of {found.n_texts} texts have a measured score within {NEAR_POINTS} points of a cut between levels. "
        "The fewer they are, the more do correlations and level agreement flatter the judge; the correlation within "
        "levels is the harder test. The measured score is exactly 0 or 100 beyond the ends of its ramps, where a "
        "judge's scale still goes on: a bias of a few points towards the middle at low and extremely high is no fault."
    )
    repeats_part = (
        "\n".join(f"- {line}" for line in found.noise.lines())
        if found.noise
        else "Each text was judged once, so nothing is known of the judge's noise; `--repeats 3` measures it."
    )
    return [
        f"# Audit of `{judge}`",
        intro,
        "## Agreement",
        scale,
        agreement_table(found, "judge", MEASURED_SCORES),
        "## Bias",
        bias,
        bias_table(found),
        "## Self-consistency",
        repeats_part,
        "## How to read this",
        limits,
    ]
