"""`cpt generate`: responses by teachers, for every rubric, user prompt and level.

    cpt generate --teacher anthropic/claude-sonnet-5-5 --rubrics train --samples 4 --out responses.jsonl --forecast
    cpt generate --teacher openai-api/fleet/MODEL --model-base-url http://ADDRESS/v1 --out responses.jsonl

The work is done in `run.py` and the modules it names, imported when the command is called.
"""

from pathlib import Path
from typing import Any

import click
import yaml

from data_gen.generate.plan import Plan, read_levels, read_prompts, read_shard
from model_calls.errors import clear_errors
from rubrics import load_rubrics

DEFAULT_STORE = "calls/teacher.sqlite"
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


@click.command(name="generate")
@click.option("--teacher", "teachers", required=True, help="Inspect model to ask; several separated by commas.")
@click.option("--rubrics", default="train", show_default=True, help="all, core, train, heldout, a family, ids, paths.")
@click.option(
    "--levels",
    default="low,moderate,extremely_high",
    show_default=True,
    help="Levels to ask for; control: the user prompt alone.",
)
@click.option("--prompts", default="train", show_default=True, help="Our train user prompts, or a YAML file of yours.")
@click.option("--samples", default=1, show_default=True, type=click.IntRange(1), help="Responses to each question.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Responses file to add to (JSONL).")
@click.option(
    "--store",
    default=DEFAULT_STORE,
    show_default=True,
    help="File that calls are kept in. Processes of one machine share it; on another machine, one of its own.",
)
@click.option("-M", "--model-arg", "model_args", multiple=True, metavar="NAME=VALUE", help="Argument of the provider.")
@click.option("--model-base-url", help="Address of the model's server.")
@click.option("--temperature", type=click.FloatRange(0), help="Default: none is sent; current Claude models refuse it.")
@click.option("--max-tokens", default=1024, show_default=True, type=click.IntRange(1), help="Per reply, thinking too.")
@click.option("--reasoning-effort", type=click.Choice(EFFORTS), help="How much to think. Default: none is sent.")
@click.option(
    "--configured-by",
    type=click.Choice(["rubric", "system_prompt"]),
    default="rubric",
    show_default=True,
    help="Show the rubric and the level, or one of the level's train wordings as system prompt.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(1),
    help="Requests at a time, at most; of hf/ the batch. Default: 64; for local models their provider's.",
)
@click.option("--batch", is_flag=True, help="Ask through provider batches, at half the price (Anthropic only).")
@click.option("--poll-seconds", default=30.0, show_default=True, help="Time between two looks at the batches.")
@click.option("--forecast", is_flag=True, help="Print calls, tokens and US dollars, and stop.")
@click.option(
    "--expected-tokens",
    type=click.IntRange(1),
    help="Output tokens of a reply, for the forecast. Default: mean in the store, else --max-tokens.",
)
@click.option(
    "--prices", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML of prices. Default: ours."
)
@click.option("--max-cost", type=click.FloatRange(0, min_open=True), help="US dollars that this run may spend.")
@click.option("--accept", type=click.IntRange(1), help="Ask until this many responses to each question are in band.")
@click.option("--max-samples", type=click.IntRange(1), help="With --accept: askings per question. Default: 4 times.")
@click.option("--judge", help="With --accept: `measured`, or an inspect model.")
@click.option("--judge-store", default="calls/judge.sqlite", show_default=True, help="File of the judge's calls.")
@click.option("--limit", type=click.IntRange(1), help="Ask each teacher at most so many questions. Default: all.")
@click.option("--seed", default=0, show_default=True, help="Seed of the questions under a limit and of wordings.")
@click.option("--shard", default="1/1", show_default=True, help="i/n: the i-th of n parts of the plan, from 1.")
@click.option(
    "--questions",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the missing questions to this file (JSONL of a provider's batches), and ask nobody.",
)
@click.option(
    "--questions-format",
    type=click.Choice(["openai", "anthropic"]),
    default="openai",
    show_default=True,
    help="Its form.",
)
@click.option(
    "--answers", type=click.Path(dir_okay=False, path_type=Path), help="Take replies from this file, and ask nobody."
)
def generate_command(teachers: str, rubrics: str, levels: str, prompts: str, shard: str, **options: Any) -> None:
    """Ask teachers for responses to train prompts, at each level of each rubric.

    Started again with the same options, it asks only for what is missing. Exit status: 0 all there, 1 something is
    missing (calls failed, or --max-cost was reached), 2 options that do not go together.
    """
    _check_options(options)
    with clear_errors():
        selected = load_rubrics(rubrics)
        names = [name.strip() for name in teachers.split(",") if name.strip()]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"--teacher {teachers}: expected at least one inspect model, each once")
        plan = Plan(
            rubrics=selected,
            prompts=read_prompts(prompts, selected),
            levels=read_levels(levels),
            samples=options.pop("samples"),
            configured_by=options.pop("configured_by"),
            seed=options.pop("seed"),
            limit=options.pop("limit"),
            shard=read_shard(shard),
        )
        options["model_args"] = _model_args(options["model_args"])
        from data_gen.generate.run import run

        complaint = run(names, plan, options)
    if complaint:
        raise click.ClickException(f"{complaint}; run the same command again to go on, it pays for nothing twice")


def _check_options(options: dict[str, Any]) -> None:
    accept, asks = options["accept"], not (options["forecast"] or options["questions"])
    together = [name for name in ("batch", "accept", "questions", "answers") if options[name]]
    if len(together) > 1:
        raise click.UsageError(f"--{together[0]} and --{together[1]} do not go together, expected one of them")
    if (accept is None) != (options["judge"] is None):
        raise click.UsageError("--accept and --judge need each other: say how many, and who decides")
    if accept and (options["max_samples"] or accept) < accept:
        raise click.UsageError(f"--max-samples {options['max_samples']}: expected at least --accept {accept}")
    if accept and (options["samples"] > 1 or options["limit"]):
        raise click.UsageError("--accept decides how many are asked: leave out --samples and --limit")
    if asks and not options["out"]:
        raise click.UsageError("--out is missing: the responses file (only --forecast and --questions need none)")


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
