"""The page of `cpt judge audit`: a judge, under one or several wordings of its question, against measured scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cpt_tasks.judge_logs.compare import write_page
from cpt_tasks.judge_logs.texts import CONTROL, Outcomes, Text
from cpt_tasks.report.text import table
from judges import NO_RESPONSE, Judgment, measure
from judges.audit import BandReach, Wordings, bands, compare_wordings
from judges.cost import total_usd
from judges.counting import words
from judges.interval import NAN, Estimate
from model_calls.questions import so_many


def with_known_score(texts: Sequence[Text]) -> list[Text]:
    """The texts that text statistics can measure: of 15 English words or more.

    Raises:
        ValueError: If there is none.
    """
    known = [text for text in texts if measure(text.rubric, text.response, text.picture).reason != NO_RESPONSE]
    if not known:
        raise ValueError(f"got {len(texts)} texts, none with 15 English words, expected some: only those are measured")
    return known


def write_audit(
    out: Path, texts: Sequence[Text], outcomes: Mapping[str, Outcomes], judge: str, source: str, skipped: int
) -> str:
    """Writes the page of a judge against measured scores of the texts of a file; returns the text to print.

    Args:
        out: Folder for the page.
        texts: Texts that were judged.
        outcomes: What came of them by the name of the wording; the page is of the last one, the others beside it.
        judge: Name of the judge.
        source: Name of the file.
        skipped: Texts of it that were not judged, since their score is not known.

    Raises:
        ValueError: If no text was judged.
    """
    rows = {wording: audit_rows(texts, of_wording) for wording, of_wording in outcomes.items()}
    *_, (name, last) = outcomes.items()
    rubrics = {text.rubric.id: text.rubric.hash for text in texts}
    version = ", ".join(
        sorted({one.prompt_version for of_text in last for one in of_text if isinstance(one, Judgment)})
    )
    everything = [one for of_wording in outcomes.values() for of_text in of_wording for one in of_text]
    reach = {wording: bands(of_wording) for wording, of_wording in rows.items()}
    more = _bands_section(judge, reach)
    numbers: dict[str, Any] = {
        "source": source,
        "skipped": skipped,
        "repeats": len(last[0]),
        "prompt_version": version,
        "rubrics": rubrics,
        "cost_usd": total_usd(outcome.cost_usd for outcome in everything),
        "bands": reach,
        "texts": pd.concat([of.assign(wording=wording) for wording, of in rows.items()]).to_dict("records"),
    }
    if len(rows) > 1:
        compared = compare_wordings(rows)
        more += _wordings_section(compared)
        agreement = [{"first": a, "second": b, **by_name} for (a, b), by_name in compared.agreement.items()]
        numbers["wordings"] = vars(compared) | {"agreement": agreement}
    askings = so_many(len(last[0]), "judgment")
    intro = (
        f"Judge `{judge}` (judge version {version}) on texts of `{source}` whose score is known, since text "
        f"statistics measure it: rubrics {', '.join(sorted(rubrics))}, {askings} of each text."
    )
    if judge.startswith("recorded/"):
        intro += " Its verdicts were recorded elsewhere: no model was asked."
    if skipped:
        intro += (
            f" Not judged: {so_many(skipped, 'text')} under 15 English words, which text statistics do not measure."
        )
    return write_page(out, "audit", rows[name], judge, "measured scores", intro, more, numbers)


def audit_rows(texts: Sequence[Text], outcomes: Outcomes) -> pd.DataFrame:
    """The rows of an audit: one per text and asking.

    The known score is measured anew: the one in the file may be of an older version of the rubric.
    """
    rows = []
    for number, (text, of_text) in enumerate(zip(texts, outcomes, strict=True)):
        row = {
            "text": number,
            "rubric": text.rubric.id,
            "writer": text.writer,
            "level": text.level or CONTROL,
            "user_prompt_id": text.user_prompt_id,
            "words": max(1, len(words(text.response))),
            "reference": measure(text.rubric, text.response, text.picture).score,
            "judged": NAN,
            "failure": "",
        }
        for outcome in of_text:
            result = {"judged": outcome.score} if isinstance(outcome, Judgment) else {"failure": outcome.mode}
            rows.append(row | result)
    return pd.DataFrame(rows)


def _bands_section(judge: str, by_wording: Mapping[str, Sequence[BandReach]]) -> list[str]:
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for wording, reach in by_wording.items():
        for one in reach:
            row = cells.setdefault((one.rubric, one.band), dict.fromkeys(by_wording, ""))
            row[wording] = f"{one.placed} of {one.n}: {one.attainable:.2f}"
    rows = [(*key, *row.values()) for key, row in cells.items()]
    *_, last = by_wording.values()
    return [
        "## Bands",
        f"Texts by the band that their measured score is in, and how many `{judge}` places there, under each wording "
        "of its question. The share is the best accuracy at that level of a student who writes such texts.",
        table(rows, "texts", "known band", *(f"wording {wording}" for wording in by_wording)),
        *(
            f"Out of reach: this judge places {one.placed} of {one.n} texts known to be {one.band.replace('_', ' ')}"
            f"{'' if one.rubric == 'all' else f' by {one.rubric}'} in that band: accuracy at that level can be at most "
            f"{one.attainable:.2f} by this judge."
            for one in last
            if one.is_out_of_reach
        ),
    ]


def _wordings_section(compared: Wordings) -> list[str]:
    rows = []
    for (first, second), by_name in compared.agreement.items():
        pair = f"{first} and {'measured scores' if second == 'reference' else second}"
        rows.append((pair, *(one.text() for one in by_name.values())))
    rates = [
        (key, *(f"{rate:.2f}" for rate in of_wording.values()), f"±{compared.half_range[key]:.2f}")
        for key, of_wording in compared.band_rate.items()
    ]
    return [
        "## Wordings of the judge's question",
        table(rows, "judged under", "Spearman correlation", "same level, share", "mean absolute difference", "bias"),
        f"judge wording: ±{Estimate(compared.half_range.get('all', NAN)).text()}",
        "That is half the range, over the wordings, of the share of judgments in the band that the text was asked for, "
        f"mean over rubrics and levels, on the {compared.n_texts} texts judged under all of them. By level:",
        table(rates, "asked for", *(f"wording {name}" for name in compared.band_rate.get("all", ())), "judge wording"),
    ]
