"""`cpt twins`: verified responses in, preference files out.

    cpt twins --responses data_gen/seed/responses.jsonl --out data/seed

The work is done in `make.py`.
"""

import shlex
from pathlib import Path
from typing import Any

import click

from model_calls.errors import clear_errors
from rubrics import ScoreLevel

DEFAULT_RESPONSES = Path(__file__).parents[1] / "seed" / "responses.jsonl"
LOW, MODERATE, HIGH = ScoreLevel
LEVEL_PAIRS = {f"{low}:{high}": (low, high) for low, high in ((LOW, MODERATE), (MODERATE, HIGH), (LOW, HIGH))}


class _TwinsCommand(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.obj = list(args)
        return super().parse_args(ctx, args)


def _portable(arguments: list[str], out: Path) -> str:
    """The command as it was typed, files without their folders, and without where the result goes."""
    words = []
    for word in arguments:
        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        parts = [Path(part).name if Path(part).exists() else part for part in value.split(",")]
        words.append(flag + equals + ("DIR" if value and Path(value) == out else ",".join(parts)))
    return shlex.join(["cpt", "twins", *words])


def _parse_pairs(context: click.Context, parameter: click.Parameter, value: str) -> list[tuple[ScoreLevel, ScoreLevel]]:
    names = list(dict.fromkeys(name.strip() for name in value.split(",")))
    if unknown := [name for name in names if name not in LEVEL_PAIRS]:
        raise click.BadParameter(f"got {unknown[0]!r}, expected some of {', '.join(LEVEL_PAIRS)}")
    return [LEVEL_PAIRS[name] for name in names]


_INPUTS: dict[str, Any] = {"multiple": True, "type": click.Path(exists=True, dir_okay=False, path_type=Path)}
_RATINGS = click.FloatRange(0, 1e6, min_open=True)


@click.command(name="twins", cls=_TwinsCommand, context_settings={"show_default": True})
@click.option(
    "--responses", **_INPUTS, help="Verified responses (JSONL), repeatable. Without ratings: those of the seed."
)
@click.option("--from-ratings", **_INPUTS, help="Responses rated by people (JSONL), to be paired as well, repeatable.")
@click.option("--max-rating", default=4.0, type=_RATINGS, help="Top of the scale of ratings, which begins at 0.")
@click.option("--out", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for the files.")
@click.option(
    "--rubrics", multiple=True, default=("all",), help="Rubrics to pair: family, split, ids or paths, repeatable."
)
@click.option("--level-pairs", default=",".join(LEVEL_PAIRS), callback=_parse_pairs, help="Levels to pair.")
@click.option(
    "--min-gap", default=0.0, type=click.FloatRange(0, 100), help="Least difference of a twin's scores, in points."
)
@click.option("--wordings", default=1, type=click.IntRange(1), help="Twins per pair of responses, worded differently.")
@click.option("--eval-prompts", default=4, type=click.IntRange(0), help="User prompts kept for eval, drawn at random.")
@click.option("--format", type=click.Choice(["jsonl", "parquet", "both"]), default="jsonl", help="Of the files.")
@click.option("--licence", metavar="ID", help="For the dataset card, e.g. cc-by-4.0. Default: that of the rubrics.")
@click.option("--strict", is_flag=True, help="Write nothing and exit with 1 if any row of the inputs may not train.")
@click.option("--limit", default=0, type=click.IntRange(0), help="At most this many twins per file; 0 = all.")
@click.option("--seed", default=42, type=click.IntRange(0), help="Seed of every draw.")
@click.pass_context
def twins_command(context: click.Context, /, responses: tuple[Path, ...], out: Path, **options: Any) -> None:
    """Make role-swapped preference pairs, split into train and eval, ready for DPO.

    Two responses to one user prompt, written for one rubric at two levels, give one twin: two rows, whose roles of
    chosen and rejected swap with the system prompt. OUT gets train and eval files, a dataset card and a manifest.
    """
    if not responses and not options["from_ratings"]:
        responses = (DEFAULT_RESPONSES,)
    with clear_errors():
        try:
            from data_gen.twins.make import make_preferences
        except ModuleNotFoundError as error:
            raise ValueError(f"{error}: pip install 'cpt-tasks[data]'") from error
        make_preferences(responses=responses, out=out, command=_portable(context.obj, out), **options)
