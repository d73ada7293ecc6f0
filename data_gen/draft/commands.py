"""`cpt rubric draft` and `cpt rubric prompts`: a model writes a rubric and its system prompts, and both are checked.

    cpt rubric draft "How much the text sounds like a ship's log." --model anthropic/claude-sonnet-5-5
    cpt rubric draft --from my_rubric.txt --model anthropic/claude-sonnet-5-5
    cpt rubric prompts ships_log.yaml --model anthropic/claude-sonnet-5-5
    cpt rubric prompts explain_depth --check --model anthropic/claude-sonnet-5-5

The work is done in the other files of this folder, imported when a command is called.
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
from rubrics.schema import MIN_HELDOUT_WORDINGS, MIN_TRAIN_WORDINGS

if TYPE_CHECKING:
    from data_gen.draft.author import Spending
    from data_gen.draft.trial import Round
    from model_calls import CallStore

DEFAULT_STORE = "calls/drafts.sqlite"
SHORTEST_CHECK = 2  # user prompts: one is no evidence
FOLDER = click.Path(file_okay=False, path_type=Path)


def _slug(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[a-z][a-z0-9_]*", value):
        raise click.BadParameter(f"got {value!r}, expected lower-case letters, digits and underscores after a letter")
    return value


def _filled(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise click.BadParameter(f"got {value!r}, expected some text")
    return value.strip() if value else value


def _arguments(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
    arguments = {}
    for argument in given:
        name, equals, value = argument.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"got {argument!r}, expected NAME=VALUE")
        try:
            arguments[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise click.BadParameter(f"got {value!r} for {name}, expected a value as in YAML") from error
    return arguments


def _number(name: str, default: int, least: int, help_text: str) -> Callable[..., Any]:
    return click.option(name, default=default, show_default=True, type=click.IntRange(least), help=help_text)


def _shared_options(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        _number(
            "--attempts",
            3,
            1,
            "Askings of one question, the first included; between them the model reads what is wrong.",
        ),
        click.option("--seed", default=0, show_default=True, help="Another one asks everything anew."),
        click.option("--store", default=DEFAULT_STORE, show_default=True, help="File that the calls are kept in."),
        click.option("--force", is_flag=True, help="Overwrite a rubric file, or the system prompts in it."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command(name="draft")
@click.argument("sentence", required=False, callback=_filled)
@click.option("--from", "file", type=click.Path(dir_okay=False, path_type=Path), help="File with a rubric in prose.")
@click.option("--model", required=True, help="Inspect model that writes, e.g. anthropic/claude-sonnet-5-5.")
@click.option("--id", callback=_slug, help="Id of the rubric and name of its file. Default: the model proposes one.")
@click.option("--family", default="drafted", callback=_slug, show_default=True, help="It decides the user prompts.")
@click.option("--licence", default="not stated", callback=_filled, show_default=True, help="Named in the file.")
@click.option("--out", default=".", show_default=True, type=FOLDER, help="Folder of ID.yaml.")
@_number("--max-calls", 10, 1, "Most requests to send.")
@_shared_options
def draft_command(
    sentence: str | None, file: Path | None, model: str, out: Path, max_calls: int, store: str, **options: Any
) -> None:
    """Draft a rubric from SENTENCE, which says in which direction a text is to go; writes ID.yaml.

    With --from FILE in place of SENTENCE, put a rubric that is written in any prose into that form. The draft passes
    `cpt rubric lint`. Read it before you use it: nothing else is checked.
    """
    import anyio

    from data_gen.draft.author import Author, Spending, author_model
    from data_gen.draft.rubric import draft_rubric
    from rubrics.files import write_whole
    from rubrics.load import rubric_yaml

    if (sentence is None) == (file is None):
        raise click.UsageError("expected either SENTENCE or --from FILE")
    text = sentence or _read(file)
    if options["id"]:
        _require_free(out / f"{options['id']}.yaml", options["force"])
    spending = Spending(max_calls)
    _say(f"asking {model} for a rubric")
    with clear_errors(), _stores(spending, store) as (calls,):
        author = Author(spending.bind(author_model(model)), calls, options["attempts"], options["seed"], _say)
        fields = {name: options[name] for name in ("id", "family", "licence") if options[name]}
        rubric = anyio.run(draft_rubric, author, text, fields, file.name if file else "")
        path = out / f"{rubric.id}.yaml"
        _require_free(path, options["force"])
        write_whole(path, rubric_yaml(rubric))
    click.echo(
        f"{path}: {rubric.title}, {len(rubric.criteria)} criteria; next: cpt rubric prompts {path} --model {model}"
    )


@click.command(name="prompts")
@click.argument("rubric")
@click.option("--model", required=True, help="Inspect model that writes the system prompts.")
@_number("--train", MIN_TRAIN_WORDINGS, MIN_TRAIN_WORDINGS, "Wordings per level in the split train.")
@_number("--heldout", MIN_HELDOUT_WORDINGS, MIN_HELDOUT_WORDINGS, "Wordings per level in the split heldout.")
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
@_number("--revisions", 2, 0, "Times that the system prompts of failed levels are written anew.")
@click.option("--check", "check_only", is_flag=True, help="Write nothing: measure the system prompts that it has.")
@_number("--writer-tokens", 2000, 1, "Most tokens of a text to judge.")
@click.option(
    "--out",
    type=FOLDER,
    help="Folder of ID.yaml and ID.fidelity.json. Default: that of the rubric's file, for one of the library the "
    "working folder; with --check the report is only written if this is given.",
)
@_number("--max-calls", 500, 1, "Most requests to send.")
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
    import anyio

    from data_gen.draft.author import Author, Spending, author_model
    from data_gen.draft.run import bind_trial, put_in_place
    from data_gen.draft.trial import Round, measure_wordings, write_until_faithful
    from judges import DEFAULT_STORE as JUDGE_STORE
    from rubrics import ScoreLevel, load_rubric

    spending = Spending(max_calls)
    with clear_errors():
        loaded = load_rubric(rubric)
        folder = out or (Path(rubric).parent if rubric.endswith(".yaml") else Path())
        path = folder / f"{loaded.id}.yaml"
        if check_only:
            loaded.wordings(ScoreLevel.LOW, "train")  # raises, and says what to do, if there are none
        elif loaded.system_prompts or path.absolute() != Path(rubric).absolute():
            _require_free(path, force)
        with _stores(spending, store, options["judge_store"] or JUDGE_STORE) as stores:
            trial, facts = bind_trial(options, loaded, spending, stores, _say)
            if check_only:
                rounds = [Round(loaded, anyio.run(measure_wordings, trial, loaded), ())]
                _show(rounds[0])
            else:
                counts = options["train"], options["heldout"]
                _say(f"{loaded.id}: writing {counts[0]} + {counts[1]} system prompts for each level")
                model = spending.bind(author_model(options["model"]))
                author = Author(model, stores[0], options["attempts"], options["seed"], _say)
                rounds = anyio.run(write_until_faithful, author, trial, loaded, counts, options["revisions"], _show)
        written = ["report"] if check_only and out else [] if check_only else ["report", "system prompts"]
        outcome = put_in_place(path, rounds, facts, written)
    click.echo(outcome)
    sys.exit(0 if rounds[-1].figures.passed else 1)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _show(done: "Round") -> None:
    click.echo(done.figures.text())


def _read(file: Path | None) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig") if file else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise click.ClickException(f"{file}: cannot be read: {reason}; expected a text file in UTF-8") from error
    if not text.strip():
        raise click.ClickException(f"{file}: is empty, expected a rubric in prose")
    return text


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
