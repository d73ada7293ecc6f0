"""`cpt judge`: how far a judge can be trusted.

    cpt judge audit --judge-model anthropic/claude-sonnet-5-5 --repeats 3 --out results/audit
    cpt judge texts samples.jsonl --out judged.jsonl
    cpt judge calibrate labels.csv --log logs/LOG.eval
    cpt judge swap logs/by-one-judge logs/by-another
    cpt judge forecast -T rubrics=measured
    cpt judge batch logs

The work is done in `audit.py`, `texts.py`, `calibrate.py`, `swap.py` and `spend.py`, imported when
a command is called.
"""

import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from judges import DEFAULT_JUDGE, DEFAULT_STORE
from model_calls.errors import clear_errors

DEFAULT_RESPONSES = "data_gen/seed/responses.jsonl"


def _out_option(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    folder = Path("results") / name
    about = "Folder for page, numbers and figures."
    return click.option("--out", default=folder, show_default=True, type=click.Path(path_type=Path), help=about)


@click.group(name="judge")
def judge_group() -> None:
    """Audit, calibrate and compare judges; forecast and halve what they cost."""


@judge_group.command(name="audit")
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
@click.option("--seed", default=0, show_default=True, help="Seed of the draw of texts and of the bootstrap.")
@click.option("--responses", type=click.Path(path_type=Path), help=f"Texts to judge. Default: {DEFAULT_RESPONSES}.")
@click.option("--store", default=DEFAULT_STORE, show_default=True, help="File that judge calls are kept in.")
@_out_option("audit")
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
    from cpt_tasks.judging.audit import draw_texts, judge_texts, read_texts, write_audit
    from judges import MEASURED, Judge, MeasuredJudge, ModelJudge
    from judges import judge_model as bind_judge
    from model_calls import open_store
    from rubrics import load_rubrics

    with clear_errors():
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


@judge_group.command(name="texts")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--judge", default="measured", show_default=True, help="`measured`, or an inspect model.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File to write (JSONL).")
@click.option("--limit", type=click.IntRange(1), help="Judge at most this many lines. Default: all.")
@click.option("--store", default=DEFAULT_STORE, show_default=True, help="File that judge calls are kept in.")
def texts_command(file: Path, judge: str, out: Path, limit: int | None, store: str) -> None:
    """Judge the responses of FILE: JSON lines with rubric, response and, where known, level and prompt.

    Writes the same lines with score (0-100, null where the judge failed), judge_failure and in_band.
    """
    from cpt_tasks.judging.texts import judge_rows, read_texts, table, write_rows
    from judges import MEASURED, Judge, MeasuredJudge, ModelJudge, check_measurable
    from judges import judge_model as bind_judge
    from model_calls import open_store

    with clear_errors():
        texts = read_texts(file)[:limit]
        asked: Judge = MeasuredJudge()
        if judge == MEASURED:
            for rubric in {text.rubric.id: text.rubric for text in texts}.values():
                check_measurable(rubric)
        else:
            asked = ModelJudge(bind_judge(judge), open_store(store))
        with click.progressbar(length=len(texts), label="judging", file=sys.stderr) as bar:
            rows = judge_rows(texts, asked, lambda: bar.update(1))
        write_rows(out, rows)
        click.echo(table(rows).to_markdown(index=False, floatfmt=".2f"))


@judge_group.command(name="calibrate")
@click.argument("labels", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--log", required=True, help="The judged .eval log that the labelled responses are in.")
@_out_option("calibration")
def calibrate_command(labels: Path, log: str, out: Path) -> None:
    """Compare the judge of a log with human scores, and correct the model's mean score by them.

    LABELS is a CSV file with the columns sample_id and score (0-100), and optionally epoch (default 1) and rater.
    """
    from cpt_tasks.judging.calibrate import write_calibration
    from cpt_tasks.judging.logs import read_judged_log, read_labels
    from cpt_tasks.runs import find_logs

    with clear_errors():
        [path, *more] = find_logs([log])
        if more:
            raise ValueError(f"{log}: got {len(more) + 1} logs, expected one, since labels belong to one log")
        judged = read_judged_log(path)
        click.echo(write_calibration(out, judged, read_labels(labels, judged)))
    click.echo(f"\ncalibration: {out / 'calibration.md'}, numbers: {out / 'calibration.json'}, figures: {out}/*.png")


@judge_group.command(name="swap")
@click.argument("first")
@click.argument("second")
@click.option("--seed", default=0, show_default=True, help="Seed of the bootstrap.")
@_out_option("swap")
def swap_command(first: str, second: str, seed: int, out: Path) -> None:
    """Compare two judges on the same responses: FIRST and SECOND are a log each, or a folder of logs each.

    Folders hold one log per model, the same models in both; the models are then ranked by either judge. A second judge
    scores the responses of a log with `inspect score LOG --scorer cpt_tasks/rubric_judge --action overwrite
    --output-file OTHER.eval`.
    """
    from cpt_tasks.judging.logs import read_judged_log
    from cpt_tasks.judging.swap import pair_logs, write_swap
    from cpt_tasks.runs import find_logs

    with clear_errors():
        sides = []
        for side in (first, second):
            paths = find_logs([side])
            click.echo(f"reading {len(paths)} logs of {Path(side).name}", err=True)
            sides.append([read_judged_log(path) for path in paths])
        click.echo(write_swap(out, pair_logs(*sides), seed))
    click.echo(f"\nswap: {out / 'swap.md'}, numbers: {out / 'swap.json'}, figures: {out}/*.png")


@judge_group.command(name="forecast")
@click.option(
    "--task",
    type=click.Choice(["rubric_adherence"]),
    default="rubric_adherence",
    show_default=True,
    help="Task whose responses will be judged.",
)
@click.option(
    "-T", "parameters", multiple=True, metavar="NAME=VALUE", help="Parameter of the task that decides what is judged."
)
@click.option("--log", "logs", multiple=True, help="Judge the responses of this log (or folder) instead of a task's.")
@click.option("--model", default=DEFAULT_JUDGE, show_default=True, help="Judge to be forecast.")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1), help="Judgments of each response.")
@click.option("--limit", type=click.IntRange(1), help="At most this many responses. Default: all.")
@click.option(
    "--response-tokens",
    default=300,
    show_default=True,
    type=click.IntRange(1),
    help="Tokens per response, where there is no log.",
)
@click.option(
    "--criterion-tokens",
    default=60,
    show_default=True,
    type=click.IntRange(1),
    help="Output tokens per criterion of a verdict.",
)
@click.option(
    "--thinking-tokens",
    default=300,
    show_default=True,
    type=click.IntRange(0),
    help="Thinking per verdict, billed as output; a guess for low effort.",
)
@click.option("--prices", type=click.Path(exists=True, path_type=Path), help="YAML file of prices. Default: ours.")
def forecast_command(parameters: tuple[str, ...], logs: tuple[str, ...], **options: Any) -> None:
    """Say what judging will cost, before the first call: calls, tokens and US dollars.

    Tokens are estimated as a quarter of the characters; the provider's tokenizer may count a third more or less.
    """
    from cpt_tasks.judging.spend import forecast, judged_texts, planned_texts
    from judges.cost import PRICES_FILE, load_prices

    options.pop("task")
    limit = options.pop("limit")
    with clear_errors():
        prices = load_prices(options.pop("prices") or PRICES_FILE)
        texts = judged_texts(logs) if logs else planned_texts(parameters, options["response_tokens"])
        del options["response_tokens"]
        click.echo(forecast(texts[:limit], prices=prices, **options))


@judge_group.command(name="batch")
@click.argument("logs", nargs=-1, required=True)
@click.option("--model", default=DEFAULT_JUDGE, show_default=True, help="Judge; Anthropic models only.")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1), help="Judgments of each response.")
@click.option("--limit", type=click.IntRange(1), help="At most this many responses. Default: all.")
@click.option("--store", default=DEFAULT_STORE, show_default=True, help="File that judge calls are kept in.")
@click.option("--poll-seconds", default=30.0, show_default=True, help="Time between two looks at the batches.")
def batch_command(
    logs: tuple[str, ...], model: str, repeats: int, limit: int | None, store: str, poll_seconds: float
) -> None:
    """Ask for the judgments of the responses in LOGS through provider batches, at half the price.

    The replies go to the call store. `inspect score`, with the command that is printed at the end, then scores the
    logs from the store and asks online only for what a batch could not answer. Stopped at any time, the same command
    takes its batches up again.
    """
    from cpt_tasks.judging.spend import batch_judgments, judged_texts, score_commands

    with clear_errors():
        outcome = batch_judgments(
            judged_texts(logs)[:limit], model, repeats, store, poll_seconds, lambda line: click.echo(line, err=True)
        )
        commands = score_commands(logs, model, repeats, store)
    click.echo(
        f"answered {outcome.answered}, in the store before {outcome.already_stored}, failed {len(outcome.failed)}"
    )
    for key, reason in outcome.failed.items():
        click.echo(f"  {key}: {reason}", err=True)
    click.echo("\n".join(["now score from the store:", *commands]))
    if outcome.failed:
        raise click.ClickException(
            f"{len(outcome.failed)} judgments are missing; run this again, or let inspect ask online"
        )
