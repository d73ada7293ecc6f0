"""`cpt judge`: how far a judge can be trusted, what it says of texts in a file, and what judging costs.

cpt judge audit --judge-model anthropic/claude-sonnet-5-5 --repeats 3
cpt judge agreement logs/by-one-judge logs/by-another
cpt judge agreement logs/LOG.eval --labels labels.csv
cpt judge texts samples.jsonl --out judged.jsonl
cpt judge forecast -T rubrics=measured
cpt judge batch logs
cpt judge questions logs --out questions.jsonl
cpt judge answers answers.jsonl logs
"""

from collections.abc import Callable, Sequence
from functools import wraps
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from judges import DEFAULT_JUDGE, DEFAULT_STORE, PROMPT_VERSION, JudgeSettings, PromptVersion, prompt_version_of
from judges.prompts import SCALES
from model_calls.errors import clear_errors
from model_calls.questions import FORMATS, QuestionFormat, so_many

SEED_RESPONSES = "data_gen/seed/responses.jsonl"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER: dict[str, Any] = {
    "show_default": True,
    "type": click.Path(path_type=Path),
    "help": "Folder for page, numbers and figure.",
}
_model_option = click.option("--model", default=DEFAULT_JUDGE, show_default=True, help="Inspect model that judges.")
_repeats_option = click.option(
    "--repeats", default=1, show_default=True, type=click.IntRange(1), help="Judgments of each response."
)
_store_option = click.option(
    "--store", default=DEFAULT_STORE, show_default=True, help="File that judge calls are kept in."
)
_version_option = click.option(
    "--prompt-version",
    default=PROMPT_VERSION,
    show_default=True,
    type=click.Choice(list(SCALES)),
    help="Wording of the judge's question.",
)


def _judge_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command --model, --repeats, --store and --prompt-version, as its `settings`."""

    @_model_option
    @_repeats_option
    @_store_option
    @_version_option
    @wraps(command)
    def with_settings(model: str, repeats: int, store: str, prompt_version: PromptVersion, **others: Any) -> None:
        command(settings=JudgeSettings(model, repeats, store, prompt_version), **others)

    return with_settings


def _say_how_to_score(commands: Sequence[str], missing: int, how_to_go_on: str) -> None:
    """Prints the commands that score from the store; raises if judgments are missing there."""
    click.echo("\n".join(["now score from the store:", *commands]))
    if missing:
        raise click.ClickException(
            f"missing: {so_many(missing, 'judgment')}; run {how_to_go_on}, or let inspect ask online"
        )


@click.command(name="audit")
@click.option("--judge-model", help="Inspect model to audit as a judge, e.g. anthropic/claude-sonnet-5-5.")
@click.option("--measured", is_flag=True, help="Audit the measured judge: against itself, so it must be perfect.")
@_repeats_option
@click.option("--limit", type=click.IntRange(1), help="Only the first user prompts of each rubric. Default: all.")
@click.option("--responses", type=_FILE, help=f"Texts to judge. Default: {SEED_RESPONSES}.")
@_store_option
@click.option(
    "--prompt-variants",
    default=PROMPT_VERSION,
    show_default=True,
    help="Wordings of the judge's question, e.g. 2,3; the page is of the last one, beside the others.",
)
@click.option("--out", default="results/audit", **_FOLDER)
def audit_command(
    judge_model: str | None,
    measured: bool,
    repeats: int,
    limit: int | None,
    responses: Path | None,
    store: str,
    prompt_variants: str,
    out: Path,
) -> None:
    """Compare a judge with scores that are known because they were measured."""
    if bool(judge_model) == measured:
        raise click.UsageError("expected either --judge-model MODEL or --measured")
    from cpt_tasks.judge_logs.audit import with_known_score, write_audit
    from cpt_tasks.judge_logs.texts import check_measured, first_prompts, judge_texts, judges_of, read_texts

    judge = judge_model or "measured"
    with clear_errors():
        texts = read_texts(responses or Path(str(files("data_gen"))) / "seed" / "responses.jsonl")
        check_measured(texts)
        texts = first_prompts(texts, limit or len(texts))
        known = with_known_score(texts)
        versions = list(dict.fromkeys(prompt_version_of(name.strip()) for name in prompt_variants.split(",")))
        if measured and len(versions) > 1:
            raise ValueError(f"--prompt-variants {prompt_variants}: the measured judge is asked nothing, expected one")
        # in one loop of events, which the client of a model belongs to
        settings = [JudgeSettings(judge, repeats, store, version) for version in versions]
        askings = [asking for of_version in settings for asking in judges_of(of_version)]
        judged = judge_texts(known, askings)
        outcomes = {
            str(version): [of_text[start : start + repeats] for of_text in judged]
            for version, start in zip(versions, range(0, len(askings), repeats), strict=True)
        }
        source = responses.name if responses else SEED_RESPONSES
        click.echo(write_audit(out, known, outcomes, judge, source, skipped=len(texts) - len(known)))


@click.command(name="texts")
@click.argument("file", type=_FILE)
@click.option("--judge", default="measured", show_default=True, help="`measured`, or an inspect model.")
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File to write (JSONL).")
@click.option("--rubrics", help="Rubrics of your own that lines name by their ids: YAML files, separated by commas.")
@_store_option
@_version_option
def texts_command(
    file: Path, judge: str, out: Path, rubrics: str | None, store: str, prompt_version: PromptVersion
) -> None:
    """Judge the responses of FILE: JSON lines with rubric, response and, where known, level and user_prompt.

    Writes the same lines with score (0-100, null where the judge failed), judge_failure and in_band.
    """
    from cpt_tasks.judge_logs.texts import check_measured, judge_texts, judged_row, judges_of, read_texts, score_table
    from rubrics.files import write_jsonl

    with clear_errors():
        texts = read_texts(file, rubrics)
        if judge == "measured":
            check_measured(texts)
        settings = JudgeSettings(judge, store=store, prompt_version=prompt_version)
        outcomes = judge_texts(texts, judges_of(settings))
        rows = [judged_row(text, outcome) for text, [outcome] in zip(texts, outcomes, strict=True)]
        write_jsonl(out, rows)
        click.echo(score_table(rows).to_markdown(index=False, floatfmt=".2f"))


@click.command(name="agreement")
@click.argument("first")
@click.argument("second", required=False)
@click.option("--labels", type=_FILE, help="Scores by people of the responses in FIRST (CSV), instead of SECOND.")
@click.option("--out", default="results/agreement", **_FOLDER)
def agreement_command(first: str, second: str | None, labels: Path | None, out: Path) -> None:
    """Compare two judges on the same responses: FIRST and SECOND are a log each, or a folder of logs each.

    Folders hold one log per model, the same models in both; the models are then ranked by either judge. A second judge
    scores the responses of a log with `inspect score LOG --scorer cpt_tasks/rubric_judge --action overwrite
    --output-file OTHER.eval`.

    With --labels people take the place of a second judge, as the reference: a CSV file with the columns sample_id and
    score (0-100), and optionally epoch (default 1) and rater; the mean of several raters counts.
    """
    if bool(second) == bool(labels):
        raise click.UsageError("expected either a SECOND log or --labels FILE")
    from cpt_tasks.judge_logs.compare import write_agreement, write_people
    from cpt_tasks.judge_logs.logs import pair_runs, read_judged_logs, read_labels

    with clear_errors():
        runs = read_judged_logs(first)
        if second:
            click.echo(write_agreement(out, pair_runs(runs, read_judged_logs(second))))
        elif labels:
            if len(runs) > 1:
                raise ValueError(f"{first}: got {len(runs)} logs, expected one, since labels belong to one log")
            click.echo(write_people(out, runs[0], read_labels(labels, runs[0])))


@click.command(name="forecast")
@click.option("--task", default="rubric_adherence", show_default=True, help="Benchmark whose responses will be judged.")
@click.option(
    "-T", "parameters", multiple=True, metavar="NAME=VALUE", help="Parameter of the task that decides what is judged."
)
@click.option("--log", "logs", multiple=True, help="Judge the responses of this log (or folder) instead of a task's.")
@_model_option
@_repeats_option
@click.option("--prices", type=click.Path(exists=True, path_type=Path), help="YAML file of prices. Default: ours.")
def forecast_command(
    task: str, parameters: tuple[str, ...], logs: tuple[str, ...], model: str, repeats: int, prices: Path | None
) -> None:
    """Say what judging will cost, before the first call: calls, tokens and US dollars.

    Tokens are estimated as a quarter of the characters; the provider's tokenizer may count a third more or less. The
    responses of a task are taken to be 300 tokens long.
    """
    from cpt_tasks.judge_logs.spend import forecast_table, judged_texts, planned_texts
    from judges.cost import PRICES_FILE, load_prices

    if logs and parameters:
        raise click.UsageError("--log and -T: give one of them; the parameters of a log's task are in the log")
    with clear_errors():
        known = load_prices(prices or PRICES_FILE)
        texts = judged_texts(logs) if logs else planned_texts(parameters, task)
        click.echo(forecast_table(texts, model, repeats, known))


@click.command(name="batch")
@click.argument("logs", nargs=-1, required=True)
@_judge_options
def batch_command(logs: tuple[str, ...], settings: JudgeSettings) -> None:
    """Ask for the judgments of the responses in LOGS through provider batches, at half the price.

    The replies go to the call store. `inspect score`, with the command that is printed at the end, then scores the
    logs from the store and asks online only for what a batch could not answer. Stopped at any time, the same command
    takes its batches up again.
    """
    from cpt_tasks.judge_logs.spend import batch_judgments, judged_texts, score_commands

    with clear_errors():
        commands = score_commands(logs, settings)
        outcome = batch_judgments(judged_texts(logs), settings)
    click.echo(
        f"answered {outcome.answered}, in the store before {outcome.already_stored}, failed {len(outcome.failed)}"
    )
    for key, reason in outcome.failed.items():
        click.echo(f"  {key}: {reason}", err=True)
    _say_how_to_score(commands, len(outcome.failed), "this again")


@click.command(name="questions")
@click.argument("judged", metavar="LOG...", nargs=-1, required=True)
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path), help="File to write (JSONL).")
@click.option("--format", type=click.Choice(FORMATS), default="openai", show_default=True, help="Whose batches.")
@_judge_options
def questions_command(judged: tuple[str, ...], out: Path, format: QuestionFormat, settings: JudgeSettings) -> None:
    """Write what the judge would be asked about the responses in LOGs, for any engine, and ask nobody.

    LOG is an .eval log, a folder of them, or a .jsonl file of texts as for `cpt judge texts`. Only what the call store
    has no reply to is written; where a reply holds no verdict that can be read, the next attempt, up to the third.
    """
    from cpt_tasks.judge_logs.exchange import judging_commands, write_judge_questions

    with clear_errors():
        judging_commands(judged, settings)  # what could not be scored is not asked
        written = write_judge_questions(out, judged, settings, format)
    click.echo(f"{out}, for {settings.model}: {written}; bring the answers back with `cpt judge answers`")


@click.command(name="answers")
@click.argument("file", type=_FILE)
@click.argument("judged", metavar="LOG...", nargs=-1, required=True)
@_judge_options
def answers_command(file: Path, judged: tuple[str, ...], settings: JudgeSettings) -> None:
    """Put the answers in FILE to the questions about LOGs into the call store, and print how to score from there.

    FILE is in OpenAI's or Anthropic's batch format. Give the LOGs, --model, --repeats and
    --prompt-version of `cpt judge questions`.
    """
    from cpt_tasks.judge_logs.exchange import judging_commands, read_judge_answers

    with clear_errors():
        answered, unusable = read_judge_answers(file, judged, settings)
        commands = judging_commands(judged, settings)
    skipped = answered.problems.total()
    click.echo(
        f"{file}: {so_many(answered.answered, 'answer')} read, {answered.unknown} to no question of these, "
        f"{so_many(skipped, 'line')} skipped; {so_many(answered.missing, 'question')} without an answer"
    )
    for problem, count in answered.problems.most_common():
        click.echo(f"{file}: {so_many(count, 'line')} skipped: {problem}", err=True)
    if unusable:
        click.echo(
            f"{so_many(unusable, 'verdict')} cannot be used; `cpt judge questions` writes the next attempt", err=True
        )
    _say_how_to_score(commands, answered.missing + unusable, "`cpt judge questions` again")
