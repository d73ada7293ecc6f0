"""`cpt quickstart`: the main benchmark at its smallest, from the cost to the page.

cpt quickstart --model anthropic/claude-haiku-5-5
"""

import os
import sys
import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from judges import DEFAULT_JUDGE, DEFAULT_STORE
from judges.cost import forecast, load_prices, total_usd
from model_calls.call import IN_PROCESS, provider_of
from model_calls.commands import model_args
from model_calls.errors import clear_errors

if TYPE_CHECKING:
    from inspect_ai.model import Model

RUBRICS = "explain_examples,film_rococo,persona_old_sailor"  # what is said, how, and as whom
MEASURED, MEASURED_RUBRICS = "measured", "broadcast,field_notes,labyrinth"
USER_PROMPTS = 2  # of each rubric and level
LOCAL_MAX_TOKENS = 300  # of a response, as in the forecast; inspect's default is 2048


@click.command(name="quickstart", context_settings={"show_default": True})
@click.option("--model", required=True, help="Inspect model to benchmark, e.g. anthropic/claude-haiku-5-5.")
@click.option("--judge", default=DEFAULT_JUDGE, help="Inspect model that judges; `measured` needs no key.")
@click.option("-M", "arguments", multiple=True, metavar="NAME=VALUE", callback=model_args, help="Argument of --model.")
@click.option("--out", default="quickstart", type=click.Path(file_okay=False, path_type=Path), help="Folder to write.")
@click.option("--yes", is_flag=True, help="Do not ask before it starts; needed where nobody can answer.")
@click.option("--no-open", is_flag=True, help="Do not open the page in the browser.")
def quickstart_command(model: str, judge: str, arguments: dict[str, Any], out: Path, yes: bool, no_open: bool) -> None:
    """A first benchmark of a model: 18 responses, 18 judgments, a table and a page.

    Runs `rubric_adherence` on 3 rubrics x 3 levels x 2 user prompts; says what it will cost (US dollars) and asks
    before it starts. Started again with the same options it asks only for what is missing.
    """
    from inspect_ai import eval_set

    with clear_errors():
        student, grader = _models(model, arguments, judge)
        rubrics = RUBRICS if grader else MEASURED_RUBRICS
        known = f"what an earlier run left in {out / 'logs'} or {DEFAULT_STORE} is not paid for again"
        click.echo("\n".join([*_cost_lines(model, judge, rubrics), known]), err=True)
        if not yes:
            if not sys.stdin.isatty():
                raise click.UsageError("nobody can be asked here whether to go on: add --yes")
            click.confirm("Go on?", abort=True, err=True)
        started = datetime.now(UTC)
        _, [log] = eval_set(
            "cpt_tasks/rubric_adherence",
            task_args={"rubrics": rubrics, "limit_per_cell": USER_PROMPTS, "judge": "model" if grader else MEASURED},
            model=student,
            model_roles={"grader": grader} if grader else None,
            log_dir=str(out / "logs"),
            log_dir_allow_dirty=True,
            log_buffer=1,  # every response is kept as soon as it is judged
            max_tokens=LOCAL_MAX_TOKENS if provider_of(model) in IN_PROCESS else None,
            retry_attempts=1,
        )
        if log.status != "success":
            why = log.error.message if log.error else log.status
            raise ValueError(f"{why}; the same command goes on from here, what was answered is kept")
        page = _report(str(out / "logs" / Path(log.location).name), out, started)
    # a browser in the terminal would take it over
    has_windows = sys.platform in ("darwin", "win32") or any(map(os.environ.get, ("BROWSER", "DISPLAY")))
    if page.is_file() and has_windows and not no_open:
        webbrowser.open(page.absolute().as_uri())


def _models(model: str, arguments: dict[str, Any], judge: str) -> "tuple[Model, Model | None]":
    """The model to benchmark, and the one that judges, if one does."""
    from inspect_ai.model import get_model

    from judges import judge_model
    from model_calls.inspect_private import PrerequisiteError

    try:
        student = get_model(model, **arguments)
    except OSError as error:  # a local model that is not there
        raise ValueError(f"--model {model}: {' '.join(str(error).split())}") from error
    try:
        return student, None if judge == MEASURED else judge_model(judge)
    except PrerequisiteError as error:
        raise PrerequisiteError(f"--judge {judge}: {error.message}; --judge measured needs no key for it") from error


def _cost_lines(model: str, judge: str, rubrics: str) -> list[str]:
    """Calls, tokens and US dollars of the model, of its judge and of both."""
    from cpt_tasks.benchmarks.rubric_adherence.task import adherence_grid
    from cpt_tasks.judge_logs.spend import RESPONSE_TOKENS, judging_forecast, planned_texts

    samples = adherence_grid(rubrics, limit_per_cell=USER_PROMPTS)
    characters = sum(len(turn.text) for sample in samples for turn in sample.input if not isinstance(turn, str))
    parts = {f"responses by {model}": forecast(len(samples), characters, len(samples) * RESPONSE_TOKENS, model)}
    if judge != MEASURED:
        texts = planned_texts([f"rubrics={rubrics}", f"limit_per_cell={USER_PROMPTS}"])
        parts[f"judgments by {judge}"] = judging_forecast(texts, judge)
    lines = [
        f"{calls} {what}: about {used['input_tokens']:,} tokens in, {used['output_tokens']:,} out, {_usd(usd)}"
        for what, (calls, used, usd) in parts.items()
    ]
    together = f"{_usd(total_usd(part.cost_usd for part in parts.values()))}, at prices of {load_prices().as_of}"
    guess = f"tokens are a guess: {RESPONSE_TOKENS} a response, without what a model thinks before it"
    return [*lines, f"together {together}; {guess}"]


def _usd(cost: float | None) -> str:
    return "cost not known" if cost is None else f"{cost:.2f} USD"


def _report(path: str, out: Path, started: datetime) -> Path:
    """Writes the report, and prints what a beginner asks for; returns where the page is, if it could be made."""
    import pandas as pd

    from cpt_tasks.benchmarks.rubric_adherence.report import HEADLINE, POINTS
    from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS, chance_accuracy
    from cpt_tasks.report.logs import read_log_file, read_run
    from cpt_tasks.report.page import PAGE
    from cpt_tasks.report.report import MISSING, write_report
    from cpt_tasks.report.text import number
    from judges.interval import cluster_note

    samples = read_log_file(path).samples or []
    kept = sum(datetime.fromisoformat(one.completed_at) < started for one in samples if one.completed_at)
    run = read_run(path)
    write_report([run], out)
    rows = []
    for rubric, part in [*run.asked.groupby("rubric"), ("all", run.asked)]:
        shown = {name: number(STATISTICS[one](part), 1 if one in POINTS else 2) for one, name in HEADLINE.items()}
        rows.append({"rubric": rubric, "n": len(part)} | shown)
    click.echo(
        f"{kept} of {len(samples)} responses and their judgments are of an earlier run, not asked for again\n\n"
        f"{pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)}\n\n"
        f"{run.name}, judged by {run.protocol['judge']}, {run.unscored.total()} unscored\n"
        f"accuracy: share of scores in the band asked for; ignoring the level gives {chance_accuracy(run.asked):.2f}\n"
        "order: 1 is best, ignoring the level gives 0; calibration: points away from the band, 0 is best\n"
        f"each rubric has {cluster_note(USER_PROMPTS)}\n\n"
        f"log: {path}\nreport: {out / 'report.md'}"
    )
    click.echo(f"page: {out / PAGE}, opens in a browser without a network" if (out / PAGE).is_file() else MISSING)
    return out / PAGE
