"""`cpt rubric draft` and `cpt rubric prompts`: a model writes a rubric and its system prompts, and both are checked.

    cpt rubric draft "How much the text sounds like a ship's log." --model anthropic/claude-sonnet-5-5
    cpt rubric prompts ships_log.yaml --model anthropic/claude-sonnet-5-5
    cpt rubric prompts explain_depth --check --model anthropic/claude-sonnet-5-5

The work is done in `draft.py` and `prompts_run.py`, imported when a command is called.
"""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from model_calls.errors import clear_errors
from rubrics.schema import MIN_HELDOUT_PARAPHRASES, MIN_TRAIN_PARAPHRASES

if TYPE_CHECKING:
    from data_gen.drafting.calls import Spending
    from model_calls import CallStore

DEFAULT_STORE = "calls/drafts.sqlite"
SHORTEST_CHECK = 2  # user prompts: an interval over one is none


def _slug(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[a-z][a-z0-9_]*", value):
        raise click.BadParameter(f"got {value!r}, expected lower-case letters, digits and underscores after a letter")
    return value


def _filled(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter(f"got {value!r}, expected some text")
    return value.strip()


def _arguments(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    found = {}
    for argument in given:
        name, equals, value = argument.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"got {argument!r}, expected NAME=VALUE")
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise click.BadParameter(f"got {value!r} for {name}, expected a value as in YAML") from error
    return found


def _shared_options(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.option(
            "--attempts",
            default=3,
            show_default=True,
            type=click.IntRange(1),
            help="Askings of one question, the first included; between them the model is told what to mend.",
        ),
        click.option("--seed", default=0, show_default=True, help="Another one asks everything anew."),
        click.option("--store", default=DEFAULT_STORE, show_default=True, help="File that the calls are kept in."),
        click.option("--force", is_flag=True, help="Overwrite a rubric file, or the system prompts in it."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(name="draft")
@click.argument("sentence", callback=_filled)
@click.option("--model", required=True, help="Inspect model that writes, e.g. anthropic/claude-sonnet-5-5.")
@click.option(
    "--id", "rubric_id", callback=_slug, help="Id of the rubric and name of its file. Default: the model proposes one."
)
@click.option(
    "--family",
    default="drafted",
    callback=_slug,
    show_default=True,
    help="Family of the rubric; it decides which user prompts are asked, the general ones if it has none of its own.",
)
@click.option(
    "--licence", default="not stated", callback=_filled, show_default=True, help="Licence that the file names."
)
@click.option(
    "--out", default=".", show_default=True, type=click.Path(file_okay=False, path_type=Path), help="Folder of ID.yaml."
)
@click.option("--max-calls", default=10, show_default=True, type=click.IntRange(1), help="Most requests to send.")
@_shared_options
def draft_command(
    sentence: str,
    model: str,
    rubric_id: str | None,
    family: str,
    licence: str,
    out: Path,
    max_calls: int,
    attempts: int,
    seed: int,
    store: str,
    force: bool,
) -> None:
    """Draft a rubric from SENTENCE, which says in which direction a text is to go; writes ID.yaml.

    The draft passes `cpt rubric lint`. Read it before you use it: nothing else is checked.
    """
    import anyio

    from data_gen.drafting.calls import Author, Spending, author_model
    from data_gen.drafting.draft import DraftFields, draft_rubric
    from rubrics.yaml_text import rubric_yaml

    if rubric_id:
        _require_free(out / f"{rubric_id}.yaml", force)
    spending = Spending(max_calls)
    _say(f"asking {model} for a rubric")
    with clear_errors(), _stores(spending, store) as (calls,):
        author = Author(spending.bind(author_model(model)), calls, attempts, seed, _say)
        rubric = anyio.run(draft_rubric, author, sentence, DraftFields(rubric_id, family, licence))
    path = out / f"{rubric.id}.yaml"
    _require_free(path, force)
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(rubric_yaml(rubric), encoding="utf-8")
    click.echo(
        f"{path}: {rubric.title}, {len(rubric.criteria)} criteria; next: cpt rubric prompts {path} --model {model}"
    )


@click.command(name="prompts")
@click.argument("rubric")
@click.option("--model", required=True, help="Inspect model that writes the system prompts.")
@click.option(
    "--train",
    default=MIN_TRAIN_PARAPHRASES,
    show_default=True,
    type=click.IntRange(MIN_TRAIN_PARAPHRASES),
    help="Wordings per level in the split train.",
)
@click.option(
    "--heldout",
    default=MIN_HELDOUT_PARAPHRASES,
    show_default=True,
    type=click.IntRange(MIN_HELDOUT_PARAPHRASES),
    help="Wordings per level in the split heldout.",
)
@click.option("--writer", help="Inspect model that tries the system prompts, e.g. hf/local. Default: --model.")
@click.option(
    "-M",
    "--writer-arg",
    "writer_args",
    multiple=True,
    callback=_arguments,
    metavar="NAME=VALUE",
    help="Argument of the writer's provider, e.g. model_path=FOLDER of a student.",
)
@click.option(
    "--judge",
    help="Who scores what it writes: measured, or an inspect model. Default: measured where every criterion has a "
    "measure, else the default judge.",
)
@click.option(
    "--check-prompts",
    "n_prompts",
    default=6,
    show_default=True,
    type=click.IntRange(SHORTEST_CHECK),
    help="Train user prompts of the family that are asked at every level; more than once if there are more wordings.",
)
@click.option(
    "--margin",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0, 100, min_open=True),
    help="Score points, 0-100, that the means of adjacent levels must be apart.",
)
@click.option(
    "--revisions",
    default=2,
    show_default=True,
    type=click.IntRange(0),
    help="Times that the system prompts of failed levels are written anew.",
)
@click.option("--check", "check_only", is_flag=True, help="Write nothing: measure the system prompts that are there.")
@click.option(
    "--writer-tokens", default=2000, show_default=True, type=click.IntRange(1), help="Most tokens of a text to judge."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of ID.yaml and ID.fidelity.json. Default: that of the rubric's file, for one of the library the "
    "working folder; with --check the report is only written if this is given.",
)
@click.option("--max-calls", default=500, show_default=True, type=click.IntRange(1), help="Most requests to send.")
@click.option("--judge-store", help="File that judge calls are kept in. Default: that of all judge calls.")
@_shared_options
def prompts_command(
    rubric: str, check_only: bool, out: Path | None, force: bool, max_calls: int, store: str, **options: Any
) -> None:
    """Write the system prompts of RUBRIC, the id of one in the library or the path of a .yaml file.

    Before they are accepted, a model writes texts from the system prompts alone; a judge scores the texts, and levels
    that do not come out in order and apart are revised. Accepted: ID.yaml (comments are not kept) and
    ID.fidelity.json. Else ID.rejected.yaml in place of ID.yaml. Exit status: 0 the levels are apart, 1 they are not.
    """
    from data_gen.drafting.calls import Spending
    from data_gen.drafting.prompts_run import PromptsSettings, bind_check, check_prompts_of, put_in_place, write_prompts
    from judges import DEFAULT_STORE as JUDGE_STORE
    from rubrics import ScoreLevel, load_rubric

    spending, judge_store = Spending(max_calls), options.pop("judge_store") or JUDGE_STORE
    settings = PromptsSettings(**options, say=_say)
    with clear_errors():
        loaded = load_rubric(rubric)
        folder = out or (Path(rubric).parent if rubric.endswith(".yaml") else Path())
        path = folder / f"{loaded.id}.yaml"
        if check_only:
            loaded.wordings(ScoreLevel.LOW, "train")  # raises, and says what to do, if there are none
        elif loaded.system_prompts or not _is_same(path, Path(rubric)):
            _require_free(path, force)
        with _stores(spending, store, judge_store) as (calls, judge_calls):
            check, facts = bind_check(settings, loaded, spending, calls, judge_calls)
            rounds = check_prompts_of(loaded, check) if check_only else write_prompts(settings, loaded, check, spending)
        outcome = put_in_place(
            path, rounds, facts, with_prompts=not check_only, with_report=not check_only or bool(out)
        )
    click.echo(outcome)
    sys.exit(0 if rounds[-1].figures.passed else 1)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _is_same(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)


def _require_free(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise click.ClickException(f"{path}: exists already; pass --force to overwrite it, or another --out")


@contextmanager
def _stores(spending: "Spending", *paths: str) -> "Iterator[list[CallStore]]":
    """The call stores, closed at the end; says then what was spent, however it ended."""
    from model_calls import open_store

    stores: list[CallStore] = []
    try:
        for path in paths:
            stores.append(open_store(path))
        yield stores
    finally:
        for store in stores:
            store.close()
        _say(spending.summary())
