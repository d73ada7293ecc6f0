"""`cpt generate`: responses by teachers, for every rubric, user prompt and level.

    cpt generate --teacher anthropic/claude-sonnet-5-5 --rubrics train --samples 4 --out responses.jsonl --forecast
    cpt generate --teacher openai-api/fleet/MODEL -M base_url=http://ADDRESS/v1 --out responses.jsonl

The work is done in `run.py` and the modules it names, imported when the command is called.
"""

from pathlib import Path
from typing import Any

import click
import yaml

from data_gen.generate.plan import Plan, read_levels, read_prompts
from model_calls.errors import clear_errors
from rubrics import load_rubrics

DEFAULT_STORE = "calls/teacher.sqlite"
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
LEVELS_HELP = "Levels to ask for; control: the user prompt alone."
ARGUMENT_HELP = "Argument of the model: of its provider, or base_url, the address of its server."
CONNECTIONS_HELP = "Requests at a time, at most; of hf/ the batch. Default: 64; for local models their provider's."
_FILE = click.Path(dir_okay=False, path_type=Path)
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)
_COUNT = click.IntRange(1)


@click.command(name="generate", context_settings={"show_default": True})
@click.option("--teacher", "teachers", required=True, help="Inspect model to ask; several separated by commas.")
@click.option("--rubrics", default="train", help="all, core, train, heldout, a family, ids, paths.")
@click.option("--levels", default="low,moderate,extremely_high", help=LEVELS_HELP)
@click.option("--prompts", default="train", help="Our train user prompts, or a YAML file of yours.")
@click.option("--samples", default=1, type=_COUNT, help="Responses to each question.")
@click.option("--out", type=_FILE, help="Responses file to add to (JSONL).")
@click.option("--store", default=DEFAULT_STORE, help="File that calls are kept in. Processes of one machine share it.")
@click.option("-M", "--model-arg", "model_args", multiple=True, metavar="NAME=VALUE", help=ARGUMENT_HELP)
@click.option("--temperature", type=click.FloatRange(0), help="Default: none is sent; current Claude models refuse it.")
@click.option("--max-tokens", default=1024, type=_COUNT, help="Per reply, thinking too.")
@click.option("--reasoning-effort", type=click.Choice(EFFORTS), help="How much to think. Default: none is sent.")
@click.option(
    "--configured-by",
    type=click.Choice(["rubric", "system_prompt"]),
    default="rubric",
    help="Show the rubric and the level, or one of the level's train wordings as system prompt.",
)
@click.option("--max-connections", type=_COUNT, help=CONNECTIONS_HELP)
@click.option("--batch", is_flag=True, help="Ask through provider batches, at half the price (Anthropic only).")
@click.option("--forecast", is_flag=True, help="Print calls, tokens and US dollars, and stop.")
@click.option("--prices", type=_EXISTING, help="YAML of prices. Default: ours.")
@click.option("--max-cost", type=click.FloatRange(0, min_open=True), help="US dollars that this run may spend.")
@click.option("--limit", type=_COUNT, help="Ask each teacher at most so many questions. Default: all.")
@click.option("--seed", default=0, help="Seed of the questions under a limit and of wordings.")
@click.option("--questions", type=_FILE, help="Write the missing questions here (JSONL of OpenAI's batches).")
@click.option("--answers", type=_EXISTING, help="Take replies from this file, and ask nobody.")
def generate_command(teachers: str, rubrics: str, levels: str, prompts: str, **options: Any) -> None:
    """Ask teachers for responses to train prompts, at each level of each rubric.

    Started again with the same options, it asks only for what is missing. Exit status: 0 all there, 1 something is
    missing (calls failed, or --max-cost was reached), 2 options that do not go together.
    """
    together = [name for name in ("batch", "questions", "answers") if options[name]]
    if len(together) > 1:
        raise click.UsageError(f"--{together[0]} and --{together[1]} do not go together, expected one of them")
    if not (options["forecast"] or options["questions"] or options["out"]):
        raise click.UsageError("--out is missing: the responses file (only --forecast and --questions need none)")
    with clear_errors():
        selected = load_rubrics(rubrics)
        names = [name.strip() for name in teachers.split(",") if name.strip()]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"--teacher {teachers}: expected at least one inspect model, each once")
        of_plan = {name: options.pop(name) for name in ("samples", "configured_by", "seed", "limit")}
        plan = Plan(selected, read_prompts(prompts, selected), read_levels(levels), **of_plan)
        options["model_args"] = _model_args(options["model_args"])
        from data_gen.generate.run import run

        complaint = run(names, plan, options)
    if complaint:
        raise click.ClickException(f"{complaint}; run the same command again to go on, it pays for nothing twice")


def _model_args(given: tuple[str, ...]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for argument in given:
        name, equals, value = argument.partition("=")
        if not name or not equals:
            raise ValueError(f"-M {argument}: expected NAME=VALUE")
        try:
            arguments[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"-M {argument}: {value!r} is not YAML") from error
    return arguments
