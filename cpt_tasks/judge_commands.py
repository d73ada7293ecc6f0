"""`cpt judge`: how far a judge can be trusted.

    cpt judge audit --judge-model anthropic/claude-sonnet-5-5 --repeats 3 --out results/audit
    cpt judge calibrate labels.csv --log logs/LOG.eval --out results/calibration
    cpt judge swap logs/by-one-judge logs/by-another --out results/swap

The work is done in `judge_audit.py`, `judge_calibrate.py` and `judge_swap.py`, imported when a command is called.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import click

DEFAULT_RESPONSES = "data_gen/seed/responses.jsonl"


@click.group(name="judge")
def judge_group() -> None:
    """Audit, calibrate and compare judges; each command takes --out, the folder for its page and figures."""


@judge_group.command(name="audit")
@click.option("--judge-model", help="Inspect model to audit as a judge, e.g. anthropic/claude-sonnet-5-5.")
@click.option("--measured", is_flag=True, help="Audit the measured judge: against itself, so it must be perfect.")
@click.option("--protocol", type=click.Choice(["criteria", "holistic"]), default="criteria", show_default=True)
@click.option("--rubrics", default="measured", show_default=True, help="Family, ids or paths; all with measures.")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1), help="Judgments of each text.")
@click.option("--limit", type=click.IntRange(1), help="At most this many texts per (rubric, level). Default: all.")
@click.option("--seed", default=0, show_default=True, help="Seed of the draw of texts and of the bootstrap.")
@click.option("--responses", type=click.Path(path_type=Path), help=f"Texts to judge. Default: {DEFAULT_RESPONSES}.")
@click.option("--store", default="calls/judge.jsonl", show_default=True, help="File that judge calls are kept in.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for page, numbers and figures.")
def audit_command(
    judge_model: str | None,
    measured: bool,
    protocol: str,
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
    from cpt_tasks.judge_audit import draw_texts, judge_texts, read_texts, write_audit
    from judges import MEASURED, Judge, MeasuredJudge, ModelJudge
    from judges import judge_model as bind_judge
    from model_calls import open_store
    from rubrics import load_rubrics

    with _clear_errors():
        selected = load_rubrics(rubrics)
        texts = read_texts(responses or Path(str(files("data_gen"))) / "seed" / "responses.jsonl", selected)
        if limit:
            texts = draw_texts(texts, limit, seed)
        askings: list[Judge] = [MeasuredJudge()] * repeats
        if judge_model:
            model, calls = bind_judge(judge_model), open_store(store)
            askings = [ModelJudge(model, calls, protocol, repeat) for repeat in range(repeats)]  # type: ignore[arg-type]  # click checks the choice
        judge = f"{judge_model or MEASURED}{' (holistic)' * (protocol == 'holistic' and not measured)}"
        with click.progressbar(length=len(texts) * repeats, label="judging", file=sys.stderr) as bar:
            judged = judge_texts(texts, selected, askings, lambda: bar.update(1))
        source = responses.name if responses else DEFAULT_RESPONSES
        click.echo(write_audit(out, judge, selected, judged, source, repeats, seed))
    click.echo(f"\naudit: {out / 'audit.md'}, numbers: {out / 'audit.json'}, figures: {out}/*.png")


@contextmanager
def _clear_errors() -> Iterator[None]:
    from inspect_ai._util.error import PrerequisiteError  # no public name; raised for a missing key

    from model_calls import StoreLockedError

    try:
        yield
    except (ValueError, StoreLockedError) as error:
        raise click.ClickException(str(error)) from error
    except PrerequisiteError as error:
        raise click.ClickException(str(error.message)) from error
    except ExceptionGroup as group:
        first = group.exceptions[0]
        raise click.ClickException(
            f"{len(group.exceptions)} calls failed, the first with {type(first).__name__}: {first}; what was answered "
            "is kept in the call store, so the same command asks only for the rest"
        ) from group
