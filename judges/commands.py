"""`cpt judge`, as far as it needs no log: how far a judge can be trusted, and what it says of texts in a file.

cpt judge audit --judge-model anthropic/claude-sonnet-5-5 --repeats 3 --out results/audit
cpt judge texts samples.jsonl --out judged.jsonl
"""

import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from judges.model import DEFAULT_STORE, JudgeProtocol
from model_calls.errors import clear_errors

if TYPE_CHECKING:
    from judges.judgment import Judge, JudgeFailure, Judgment
    from judges.texts import Text

DEFAULT_RESPONSES = "data_gen/seed/responses.jsonl"
_store_option = click.option(
    "--store", default=DEFAULT_STORE, show_default=True, help="File that judge calls are kept in."
)


@click.command(name="audit")
@click.option("--judge-model", help="Inspect model to audit as a judge, e.g. anthropic/claude-sonnet-5-5.")
@click.option("--measured", is_flag=True, help="Audit the measured judge: against itself, so it must be perfect.")
@click.option(
    "--protocol",
    type=click.Choice(["criteria", "holistic"]),
    default="criteria",
    show_default=True,
    help="Headline score: weighted total of the criteria, or the judge's own overall score.",
)
@click.option("--rubrics", default="measured", show_default=True, help="Family, ids or paths; all with measures.")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1), help="Judgments of each text.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="Texts of at most this many user prompts per rubric, at all levels. Default: all.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the draw of texts.")
@click.option("--responses", type=click.Path(path_type=Path), help=f"Texts to judge. Default: {DEFAULT_RESPONSES}.")
@_store_option
@click.option(
    "--out",
    default=Path("results/audit"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for page, numbers and figures.",
)
def audit_command(
    judge_model: str | None,
    measured: bool,
    protocol: JudgeProtocol,
    rubrics: str,
    repeats: int,
    limit: int | None,
    seed: int,
    responses: Path | None,
    store: str,
    out: Path,
) -> None:
    """Compare a judge with scores that are known because they were measured."""
    if bool(judge_model) == measured:
        raise click.UsageError("expected either --judge-model MODEL or --measured")
    from judges import MEASURED, check_measurable
    from judges.audit_page import write_audit
    from judges.texts import draw_texts, read_texts
    from rubrics import load_rubrics

    with clear_errors():
        selected = load_rubrics(rubrics)
        for rubric in selected:
            check_measurable(rubric)
        texts = read_texts(responses or Path(str(files("data_gen"))) / "seed" / "responses.jsonl", selected)
        if limit:
            texts = draw_texts(texts, limit, seed)
        outcomes = _judged(texts, judge_model or MEASURED, store, repeats, protocol)
        about: dict[str, Any] = {
            "judge": f"{judge_model} (holistic)" if protocol == "holistic" and judge_model else judge_model or MEASURED,
            "source": responses.name if responses else DEFAULT_RESPONSES,
            "repeats": repeats,
        }
        click.echo(write_audit(out, texts, outcomes, about))
    click.echo(f"\naudit: {out / 'audit.md'}, numbers: {out / 'audit.json'}, figures: {out}/*.png")


@click.command(name="texts")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--judge", default="measured", show_default=True, help="`measured`, or an inspect model.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File to write (JSONL).")
@click.option("--limit", type=click.IntRange(1), help="Judge at most this many lines. Default: all.")
@_store_option
def texts_command(file: Path, judge: str, out: Path, limit: int | None, store: str) -> None:
    """Judge the responses of FILE: JSON lines with rubric, response and, where known, level and user_prompt.

    Writes the same lines with score (0-100, null where the judge failed), judge_failure and in_band.
    """
    import pandas as pd

    from judges import MEASURED, check_measurable
    from judges.texts import judged_row, read_texts, score_table
    from rubrics.files import write_jsonl

    with clear_errors():
        texts = read_texts(file)[:limit]
        if judge == MEASURED:
            for rubric in {text.rubric.id: text.rubric for text in texts}.values():
                check_measurable(rubric)
        outcomes = _judged(texts, judge, store)
        rows = [judged_row(text, outcome) for text, [outcome] in zip(texts, outcomes, strict=True)]
        write_jsonl(out, rows)
        click.echo(score_table(pd.DataFrame(rows)).to_markdown(index=False, floatfmt=".2f"))


def _judged(
    texts: "list[Text]", judge: str, store: str, repeats: int = 1, protocol: JudgeProtocol = "criteria"
) -> "list[list[Judgment | JudgeFailure]]":
    """What the measured judge or an inspect model makes of the texts, with a progress bar on stderr."""
    from judges import MEASURED, MeasuredJudge, ModelJudge, judge_model
    from judges.texts import judge_texts
    from model_calls import open_store

    askings: list[Judge] = [MeasuredJudge()] * repeats
    if judge != MEASURED:
        model, calls = judge_model(judge), open_store(store)
        askings = [ModelJudge(model, calls, protocol, repeat) for repeat in range(repeats)]
    with click.progressbar(length=len(texts) * repeats, label="judging", file=sys.stderr) as bar:
        return anyio.run(judge_texts, texts, askings, lambda: bar.update(1))
