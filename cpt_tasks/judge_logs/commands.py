"""`cpt judge`, as far as it reads eval logs: people, other judges, cost and batches.

    cpt judge calibrate labels.csv --log logs/LOG.eval
    cpt judge agreement logs/by-one-judge logs/by-another
    cpt judge forecast -T rubrics=measured
    cpt judge batch logs

What needs no log is in `judges.commands`.
"""

from collections.abc import Callable
from pathlib import Path

import click

from judges import DEFAULT_JUDGE, DEFAULT_STORE
from model_calls.errors import clear_errors


def _out_option(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    folder = Path("results") / name
    about = "Folder for page, numbers and figures."
    return click.option("--out", default=folder, show_default=True, type=click.Path(path_type=Path), help=about)


def _count_option(flag: str, default: int, about: str, least: int = 1) -> Callable[..., Callable[..., None]]:
    return click.option(flag, default=default, show_default=True, type=click.IntRange(least), help=about)


_model_option = click.option("--model", default=DEFAULT_JUDGE, show_default=True, help="Inspect model that judges.")
_repeats_option = _count_option("--repeats", 1, "Judgments of each response.")
_limit_option = click.option("--limit", type=click.IntRange(1), help="At most this many responses. Default: all.")


@click.command(name="calibrate")
@click.argument("labels", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--log", required=True, help="The judged .eval log that the labelled responses are in.")
@_out_option("calibration")
def calibrate_command(labels: Path, log: str, out: Path) -> None:
    """Compare the judge of a log with human scores, and correct the model's mean score by them.

    LABELS is a CSV file with the columns sample_id and score (0-100), and optionally epoch (default 1) and rater.
    """
    from cpt_tasks.judge_logs.calibrate import write_calibration
    from cpt_tasks.judge_logs.runs import read_judged_log, read_labels
    from cpt_tasks.report.logs import find_logs

    with clear_errors():
        [path, *more] = find_logs([log])
        if more:
            raise ValueError(f"{log}: got {len(more) + 1} logs, expected one, since labels belong to one log")
        run = read_judged_log(path)
        click.echo(write_calibration(out, run, read_labels(labels, run)))
    click.echo(f"\ncalibration: {out / 'calibration.md'}, numbers: {out / 'calibration.json'}, figures: {out}/*.png")


@click.command(name="agreement")
@click.argument("first")
@click.argument("second")
@click.option("--seed", hidden=True, help="Of version 0.1, when intervals were drawn.")
@_out_option("agreement")
def agreement_command(first: str, second: str, seed: str | None, out: Path) -> None:
    """Compare two judges on the same responses: FIRST and SECOND are a log each, or a folder of logs each.

    Folders hold one log per model, the same models in both; the models are then ranked by either judge. A second judge
    scores the responses of a log with `inspect score LOG --scorer cpt_tasks/rubric_judge --action overwrite
    --output-file OTHER.eval`.
    """
    from cpt_tasks.judge_logs.agreement import pair_runs, write_agreement
    from cpt_tasks.judge_logs.runs import read_judged_log
    from cpt_tasks.report.logs import find_logs

    with clear_errors():
        sides = []
        for side in (first, second):
            paths = find_logs([side])
            click.echo(f"reading {len(paths)} logs of {Path(side).name}", err=True)
            sides.append([read_judged_log(path) for path in paths])
        click.echo(write_agreement(out, pair_runs(*sides)))
    click.echo(f"\nagreement: {out / 'agreement.md'}, numbers: {out / 'agreement.json'}, figures: {out}/*.png")


@click.command(name="forecast")
@click.option("--task", default="rubric_adherence", show_default=True, help="Benchmark whose responses will be judged.")
@click.option(
    "-T", "parameters", multiple=True, metavar="NAME=VALUE", help="Parameter of the task that decides what is judged."
)
@click.option("--log", "logs", multiple=True, help="Judge the responses of this log (or folder) instead of a task's.")
@_model_option
@_repeats_option
@_limit_option
@_count_option("--response-tokens", 300, "Tokens per response, where there is no log.")
@_count_option("--criterion-tokens", 60, "Output tokens per criterion of a verdict.")
@_count_option("--thinking-tokens", 300, "Thinking per verdict, billed as output; a guess for low effort.", least=0)
@click.option("--prices", type=click.Path(exists=True, path_type=Path), help="YAML file of prices. Default: ours.")
def forecast_command(
    task: str,
    parameters: tuple[str, ...],
    logs: tuple[str, ...],
    model: str,
    repeats: int,
    limit: int | None,
    response_tokens: int,
    criterion_tokens: int,
    thinking_tokens: int,
    prices: Path | None,
) -> None:
    """Say what judging will cost, before the first call: calls, tokens and US dollars.

    Tokens are estimated as a quarter of the characters; the provider's tokenizer may count a third more or less.
    """
    from cpt_tasks.judge_logs.spend import forecast_table, judged_texts, planned_texts
    from judges.cost import PRICES_FILE, load_prices

    with clear_errors():
        known = load_prices(prices or PRICES_FILE)
        texts = judged_texts(logs) if logs else planned_texts(parameters, response_tokens, task)
        click.echo(forecast_table(texts[:limit], model, repeats, criterion_tokens, thinking_tokens, known))


@click.command(name="batch")
@click.argument("logs", nargs=-1, required=True)
@_model_option
@_repeats_option
@_limit_option
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
    from cpt_tasks.judge_logs.spend import batch_judgments, judged_texts, score_commands

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
