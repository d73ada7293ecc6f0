"""`cpt judge`: how far a judge can be trusted, what it says of texts in a file, and what judging costs.

cpt judge audit --judge-model anthropic/claude-sonnet-5-5 --repeats 3
cpt judge texts samples.jsonl --out judged.jsonl
cpt judge calibrate labels.csv --log logs/LOG.eval
cpt judge agreement logs/by-one-judge logs/by-another
cpt judge forecast -T rubrics=measured
cpt judge batch logs
"""

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import click

from judges.model import DEFAULT_JUDGE, DEFAULT_STORE, JudgeProtocol
from model_calls.errors import clear_errors

SEED_RESPONSES = "data_gen/seed/responses.jsonl"


def _out_option(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    folder = Path("results") / name
    about = "Folder for page, numbers and figures."
    return click.option("--out", default=folder, show_default=True, type=click.Path(path_type=Path), help=about)


_model_option = click.option("--model", default=DEFAULT_JUDGE, show_default=True, help="Inspect model that judges.")
_repeats_option = click.option(
    "--repeats", default=1, show_default=True, type=click.IntRange(1), help="Judgments of each response."
)
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
@_repeats_option
@click.option("--limit", type=click.IntRange(1), help="Only the first user prompts of each rubric. Default: all.")
@click.option("--responses", type=click.Path(path_type=Path), help=f"Texts to judge. Default: {SEED_RESPONSES}.")
@_store_option
@_out_option("audit")
def audit_command(
    judge_model: str | None,
    measured: bool,
    protocol: JudgeProtocol,
    rubrics: str,
    repeats: int,
    limit: int | None,
    responses: Path | None,
    store: str,
    out: Path,
) -> None:
    """Compare a judge with scores that are known because they were measured."""
    if bool(judge_model) == measured:
        raise click.UsageError("expected either --judge-model MODEL or --measured")
    import anyio

    from cpt_tasks.judge_logs.compare import write_audit
    from cpt_tasks.judge_logs.texts import first_prompts, judge_texts, judges_of, read_texts
    from judges import MEASURED, check_measurable
    from rubrics import load_rubrics

    with clear_errors():
        selected = load_rubrics(rubrics)
        for rubric in selected:
            check_measurable(rubric)
        texts = read_texts(responses or Path(str(files("data_gen"))) / "seed" / "responses.jsonl", selected)
        texts = first_prompts(texts, limit or len(texts))
        outcomes = anyio.run(judge_texts, texts, judges_of(judge_model or MEASURED, store, repeats, protocol))
        judge = f"{judge_model or MEASURED}{' (holistic)' * (protocol == 'holistic')}"
        click.echo(write_audit(out, texts, outcomes, judge, responses.name if responses else SEED_RESPONSES))


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
    import anyio

    from cpt_tasks.judge_logs.texts import judge_texts, judged_row, judges_of, read_texts, score_table
    from judges import MEASURED, check_measurable
    from rubrics.files import write_jsonl

    with clear_errors():
        texts = read_texts(file)[:limit]
        if judge == MEASURED:
            for rubric in {text.rubric.id: text.rubric for text in texts}.values():
                check_measurable(rubric)
        outcomes = anyio.run(judge_texts, texts, judges_of(judge, store))
        rows = [judged_row(text, outcome) for text, [outcome] in zip(texts, outcomes, strict=True)]
        write_jsonl(out, rows)
        click.echo(score_table(rows).to_markdown(index=False, floatfmt=".2f"))


@click.command(name="calibrate")
@click.argument("labels", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--log", required=True, help="The judged .eval log that the labelled responses are in.")
@_out_option("calibration")
def calibrate_command(labels: Path, log: str, out: Path) -> None:
    """Compare the judge of a log with human scores, and correct the model's mean score by them.

    LABELS is a CSV file with the columns sample_id and score (0-100), and optionally epoch (default 1) and rater.
    """
    from cpt_tasks.judge_logs.compare import write_calibration
    from cpt_tasks.judge_logs.logs import read_judged_logs, read_labels

    with clear_errors():
        [run, *more] = read_judged_logs(log)
        if more:
            raise ValueError(f"{log}: got {len(more) + 1} logs, expected one, since labels belong to one log")
        click.echo(write_calibration(out, run, read_labels(labels, run)))


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
    from cpt_tasks.judge_logs.compare import write_agreement
    from cpt_tasks.judge_logs.logs import pair_runs, read_judged_logs

    with clear_errors():
        click.echo(write_agreement(out, pair_runs(read_judged_logs(first), read_judged_logs(second))))


@click.command(name="forecast")
@click.option("--task", default="rubric_adherence", show_default=True, help="Benchmark whose responses will be judged.")
@click.option(
    "-T", "parameters", multiple=True, metavar="NAME=VALUE", help="Parameter of the task that decides what is judged."
)
@click.option("--log", "logs", multiple=True, help="Judge the responses of this log (or folder) instead of a task's.")
@_model_option
@_repeats_option
@click.option(
    "--response-tokens",
    default=300,
    show_default=True,
    type=click.IntRange(1),
    help="Tokens per response, where there is no log.",
)
@click.option("--prices", type=click.Path(exists=True, path_type=Path), help="YAML file of prices. Default: ours.")
def forecast_command(
    task: str,
    parameters: tuple[str, ...],
    logs: tuple[str, ...],
    model: str,
    repeats: int,
    response_tokens: int,
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
        click.echo(forecast_table(texts, model, repeats, known))


@click.command(name="batch")
@click.argument("logs", nargs=-1, required=True)
@_model_option
@_repeats_option
@_store_option
@click.option("--poll-seconds", default=30.0, show_default=True, help="Time between two looks at the batches.")
def batch_command(logs: tuple[str, ...], model: str, repeats: int, store: str, poll_seconds: float) -> None:
    """Ask for the judgments of the responses in LOGS through provider batches, at half the price.

    The replies go to the call store. `inspect score`, with the command that is printed at the end, then scores the
    logs from the store and asks online only for what a batch could not answer. Stopped at any time, the same command
    takes its batches up again.
    """
    from cpt_tasks.judge_logs.spend import batch_judgments, judged_texts, score_commands

    with clear_errors():
        outcome = batch_judgments(judged_texts(logs), model, repeats, store, poll_seconds)
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
