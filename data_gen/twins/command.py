"""`cpt twins`: verified responses in, preference files out.

    cpt twins --responses data_gen/seed/responses.jsonl --out data/seed

The work is done in `make.py`.
"""

import json
import os
import shlex
from importlib.resources import files
from pathlib import Path
from typing import Any

import click

from data_gen.twins.options import FORMATS, LEVEL_PAIRS, N_EVAL_PROMPTS, LevelPair, Options, parse_level_pairs

DEFAULT_RESPONSES = Path(str(files("data_gen"))) / "seed" / "responses.jsonl"


class _TwinsCommand(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.obj = _portable(args)
        return super().parse_args(ctx, args)


def _portable(arguments: list[str]) -> str:
    """The command as it was typed, files without their folders, and without where the result goes."""
    words, typed = ["cpt", "twins"], iter(arguments)
    for word in typed:
        if word.partition("=")[0] in ("--out", "--push-to-hub"):
            if "=" not in word:
                next(typed, None)
        elif word != "--private":
            parts = [Path(part).name if Path(part).exists() else part for part in word.split(",")]
            words.append(shlex.quote(",".join(parts)))
    return " ".join([*words, "--out", "DIR"])


def _parse_kwargs(context: click.Context, parameter: click.Parameter, value: str | None) -> dict[str, Any] | None:
    if value is None:
        return None
    try:
        content = json.loads(value)
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"got {value!r}, expected a JSON object ({error})") from error
    if not isinstance(content, dict) or not content:
        raise click.BadParameter(f'got {value!r}, expected a JSON object such as {{"enable_thinking": false}}')
    return content


def _parse_attributes(context: click.Context, parameter: click.Parameter, value: str | None) -> dict[str, str] | None:
    if value is None:
        return None
    pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
    if not pairs or not all(name and rubric_id for name, _, rubric_id in pairs):
        raise click.BadParameter(f"got {value!r}, expected ATTRIBUTE=RUBRIC, several separated by commas")
    return {name: rubric_id for name, _, rubric_id in pairs}


def _parse_pairs(context: click.Context, parameter: click.Parameter, value: str) -> tuple[LevelPair, ...]:
    try:
        return parse_level_pairs(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_INPUT_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(name="twins", cls=_TwinsCommand)
@click.option(
    "--responses",
    multiple=True,
    type=_INPUT_FILE,
    help="Verified responses (JSONL); may be given several times. Default: the seed responses, if no ratings.",
)
@click.option(
    "--from-ratings",
    multiple=True,
    type=_INPUT_FILE,
    help="Responses rated by people (JSONL or Parquet), to be paired as well; may be given several times.",
)
@click.option(
    "--attributes",
    metavar="NAME=RUBRIC,…",
    callback=_parse_attributes,
    help="Rated attributes and the rubric that each rates. Default: attribute x for each rubric rated_x.",
)
@click.option("--max-rating", default=4.0, show_default=True, help="Top of the scale of ratings, which begins at 0.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the files.")
@click.option(
    "--rubrics",
    multiple=True,
    default=("all",),
    show_default="all of the library",
    help="Whose responses to pair: family, split, ids or paths of .yaml files, separated by commas; may be given "
    "several times.",
)
@click.option(
    "--level-pairs",
    default=",".join(f"{lower}:{higher}" for lower, higher in LEVEL_PAIRS),
    show_default="all three",
    callback=_parse_pairs,
    help="Levels to pair, e.g. low:moderate,low:extremely_high.",
)
@click.option(
    "--pairs-per-cell",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Distinct pairs of responses to draw per (rubric, user prompt, level pair, teacher); 0 pairs them in order, "
    "each response once.",
)
@click.option("--across-teachers", is_flag=True, help="Let the two responses of a twin be of different teachers.")
@click.option(
    "--min-gap",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 100),
    help="Least difference of the two scores of a twin, in score points.",
)
@click.option(
    "--wordings",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Twins per pair of responses, worded differently.",
)
@click.option(
    "--compositions",
    default=0,
    show_default=True,
    type=click.IntRange(0),
    help="Twins that ask for two rubrics at once, at most this many per (user prompt, teacher, rubric pair); needs "
    "responses judged with `cpt verify --also-by`.",
)
@click.option("--balance", "balance", is_flag=True, help="Cut every (rubric, level pair) of a file to the smallest.")
@click.option(
    "--split-by",
    type=click.Choice(["prompt", "rubric", "both"]),
    default="prompt",
    show_default=True,
    help="What eval has and train has not: user prompts, rubrics, or both (twins of neither kind are left out). By "
    "prompt, rubrics kept for measuring (split: heldout) are in no file.",
)
@click.option(
    "--eval-prompts",
    default=N_EVAL_PROMPTS,
    show_default=True,
    type=click.IntRange(0),
    help="User prompts kept for eval, drawn at random, with --split-by prompt or both.",
)
@click.option(
    "--eval-rubrics",
    metavar="IDS",
    help="Rubrics kept for eval, separated by commas, with --split-by rubric or both. Default: those whose split is "
    "heldout.",
)
@click.option(
    "--chat-template-kwargs",
    metavar="JSON",
    callback=_parse_kwargs,
    help="Written into every row for TRL to pass to the chat template, e.g. '{\"enable_thinking\": false}' for Qwen3; "
    "evaluate with the same. Default: none.",
)
@click.option("--format", type=click.Choice(list(FORMATS)), default="jsonl", show_default=True, help="Of the files.")
@click.option(
    "--licence",
    metavar="ID",
    help="For the dataset card, as the hub writes it, e.g. cc-by-4.0. Default: that of the rubrics if all share one.",
)
@click.option("--strict", is_flag=True, help="Write nothing and exit with 1 if any row of the inputs may not train.")
@click.option(
    "--limit", default=0, show_default=True, type=click.IntRange(0), help="At most this many twins per file; 0 = all."
)
@click.option("--seed", default=42, show_default=True, type=click.IntRange(0), help="Seed of every draw.")
@click.option("--push-to-hub", metavar="REPO", help="Upload to this dataset repository of the Hugging Face hub.")
@click.option("--private", is_flag=True, help="Make that repository private, if it is new.")
@click.pass_context
def twins_command(
    context: click.Context,
    /,
    responses: tuple[Path, ...],
    from_ratings: tuple[Path, ...],
    push_to_hub: str | None,
    private: bool,
    **settings: Any,
) -> None:
    """Make role-swapped preference pairs, split into train and eval, ready for DPO.

    Two responses to one user prompt, written for one rubric at two levels, give one twin: two rows, whose roles of
    chosen and rejected swap with the system prompt. OUT gets train and eval files, a dataset card and a manifest.
    """
    if private and not push_to_hub:
        raise click.UsageError("--private: expected it with --push-to-hub")
    # else polars' allocator keeps what was freed for ten seconds: a hundred megabytes with a million responses
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")
    try:
        import pyarrow  # type: ignore[import-untyped]  # noqa: F401  # it has no types

        from data_gen.twins.card import find_hub_token, push_folder
        from data_gen.twins.make import make_preferences
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error}: pip install 'cpt-tasks[data]'") from error
    if push_to_hub:
        find_hub_token()
    if not responses and not from_ratings:
        responses = (DEFAULT_RESPONSES,)
    try:
        names = make_preferences(Options(responses, from_ratings, command=context.obj, **settings))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if push_to_hub:
        click.echo(f"pushed: {push_folder(settings['out'], names, push_to_hub, private)}")
