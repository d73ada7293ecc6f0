"""The one-page audit of a judge on texts whose score is known: `cpt judge audit`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from judges import figures
from judges.audit import Audit, audit
from judges.cost import total_usd
from judges.interval import NAN, cluster_note
from judges.judgment import JudgeFailure, Judgment
from judges.measured import measure
from judges.measures import words
from judges.noise import lines_of
from judges.pages import agreement_table, bias_table, number, unscored_line, write_page
from judges.texts import CONTROL, Text
from rubrics import LOW_MAX, MODERATE_MAX

MEASURED_SCORES = "measured scores"
NEAR_POINTS = 10
Outcomes = Sequence[Sequence[Judgment | JudgeFailure]]


def audit_rows(texts: Sequence[Text], outcomes: Outcomes) -> pd.DataFrame:
    """The rows of an audit: one per text and asking.

    The known score is measured anew: the one in the file may be of an older version of the rubric.
    """
    rows = []
    for number_of_text, (text, of_text) in enumerate(zip(texts, outcomes, strict=True)):
        row = {
            "text": number_of_text,
            "rubric": text.rubric.id,
            "writer": text.writer,
            "level": text.level or CONTROL,
            "user_prompt_id": text.user_prompt_id,
            "words": max(1, len(words(text.response))),
            "measured": measure(text.rubric, text.response).score,
            "judged": NAN,
            "failure": "",
        }
        for outcome in of_text:
            result = {"judged": outcome.score} if isinstance(outcome, Judgment) else {"failure": outcome.mode}
            rows.append(row | result)
    return pd.DataFrame(rows)


def write_audit(out: Path, texts: Sequence[Text], outcomes: Outcomes, about: Mapping[str, Any]) -> str:
    """Writes audit.md, audit.json, the figures and command.txt; returns the text to print.

    Args:
        out: Folder.
        texts: Texts judged.
        outcomes: What every asking of the judge made of each of them.
        about: `judge`, its name; `source`, the file of the texts; `repeats`, judgments of each text.

    Raises:
        ValueError: If no text was judged.
    """
    rows = audit_rows(texts, outcomes)
    result = audit(rows)
    everything = [outcome for of_text in outcomes for outcome in of_text]
    versions = {outcome.prompt_version for outcome in everything if isinstance(outcome, Judgment)}
    numbers = {
        **about,
        "prompt_version": ", ".join(sorted(versions)),
        "rubrics": {text.rubric.id: text.rubric.hash for text in texts},
        "cost_usd": total_usd(outcome.cost_usd for outcome in everything),
        "audit": result,
        "texts": rows.to_dict("records"),
    }
    judge = about["judge"]
    drawn = {
        "judged_against_measured": figures.judged_against_reference(rows, judge, "measured"),
        "bias": figures.bias_by_group(result, judge, "measured"),
        "distribution": figures.distributions(rows, judge, "measured"),
    }
    parts = _page(result, rows, numbers)
    write_page(out, "audit", parts, numbers, drawn)
    return "\n\n".join(parts[1:])


def _page(result: Audit, rows: pd.DataFrame, about: Mapping[str, Any]) -> list[str]:
    judge, repeats = about["judge"], about["repeats"]
    note = cluster_note(rows["user_prompt_id"].nunique())
    intro = (
        f"Judge `{judge}` (prompt version {about['prompt_version']}) on texts of `{about['source']}` whose score is "
        f"known, since text statistics measure it: rubrics {', '.join(about['rubrics'])}, {repeats} "
        f"judgment{'s' * (repeats > 1)} of each text. {unscored_line(result)}. Intervals: 95%, jackknife of user "
        f"prompts{f'; {note}' if note else ''}."
    )
    scale = (
        "The last column is what the best judge would show: 1 or 0, or what the measured scores of the same texts show."
    )
    bias = (
        "Bias is the mean of judged - measured, in score points, over the texts written for a level or rubric; per "
        "doubling of length within rubric and level, given the measured score. Rank correlation of judged score and "
        f"length given the measured score: {number(result.statistics['length_partial_rho'])}."
    )
    measured = rows.drop_duplicates("text")["measured"]
    near = sum(min(abs(score - cut) for cut in (LOW_MAX, MODERATE_MAX)) <= NEAR_POINTS for score in measured)
    limits = (
        f"{near} of {result.n_texts} texts have a measured score within {NEAR_POINTS} points of a cut "
        "between levels. The fewer they are, the more do correlations and level agreement flatter the judge; the "
        "correlation within levels is the harder test. The measured score is exactly 0 or 100 beyond the ends of its "
        "ramps, where a judge's scale still goes on: a bias of a few points towards the middle at low and extremely "
        "high is no fault."
    )
    noise = (
        "\n".join(f"- {line}" for line in lines_of(result.noise))
        if result.noise
        else "Each text was judged once, so nothing is known of the judge's noise; `--repeats 3` measures it."
    )
    return [
        f"# Audit of `{judge}`",
        intro,
        "## Agreement",
        scale,
        agreement_table(result, judge, MEASURED_SCORES),
        "## Bias",
        bias,
        bias_table(result),
        "## Self-consistency",
        noise,
        "## How to read this",
        limits,
    ]
