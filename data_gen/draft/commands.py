"""`cpt rubric draft` and `cpt rubric prompts`: a model writes a rubric and its system prompts, and both are checked.

    cpt rubric draft "How much the text sounds like a ship's log." --model anthropic/claude-sonnet-5-5
    cpt rubric draft --from my_rubric.txt --model anthropic/claude-sonnet-5-5
    cpt rubric prompts ships_log.yaml --model anthropic/claude-sonnet-5-5

The work is done in the other files of this folder, imported when a command is called.
"""

import re
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from model_calls.errors import clear_errors
from rubrics.schema import MIN_HELDOUT_WORDINGS, MIN_TRAIN_WORDINGS

if TYPE_CHECKING:
    from data_gen.draft.author import Author
    from judges import Judge
    from model_calls import CallStore
    from rubrics import Rubric

DEFAULT_STORE = "calls/drafts.sqlite"
FOLDER = click.Path(file_okay=False, path_type=Path)


def _slug(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[a-z][a-z0-9_]*", value):
        raise click.BadParameter(f"got {value!r}, expected lower-case letters, digits and underscores after a letter")
    return value


def _shared_options(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option("--force", is_flag=True, help="Overwrite a rubric file, or its system prompts.")(command)
    command = click.option("--store", default=DEFAULT_STORE, help="Where calls are kept.")(command)
    command = click.option("--seed", default=0, help="Another one asks everything anew.")(command)
    return click.option("--model", required=True, help="Inspect model, e.g. anthropic/claude-sonnet-5-5.")(command)


@click.command(name="draft", context_settings={"show_default": True})
@click.argument("sentence", default="")
@click.option("--from", "file", type=click.Path(dir_okay=False, path_type=Path), help="File with a rubric in prose.")
@click.option("--id", callback=_slug, help="Id of the rubric and name of its file. Default: the model proposes one.")
@click.option("--family", default="drafted", callback=_slug, help="It decides the user prompts.")
@click.option("--licence", default="not stated", help="Named in the file.")
@click.option("--out", default=".", type=FOLDER, help="Folder of ID.yaml.")
@_shared_options
def draft_command(
    sentence: str, file: Path | None, model: str, out: Path, seed: int, store: str, force: bool, **fields: str | None
) -> None:
    """Draft a rubric from SENTENCE, which says in which direction a text is to go; writes ID.yaml.

    With --from FILE in place of SENTENCE, put a rubric that is written in any prose into that form. The draft passes
    `cpt rubric lint`. Read it before you use it: nothing else is checked.
    """
    import anyio

    from data_gen.draft.rubric import draft_rubric
    from model_calls import open_store
    from rubrics.files import write_whole
    from rubrics.load import rubric_yaml

    if bool(sentence.strip()) == bool(file):
        raise click.UsageError("expected either SENTENCE or --from FILE")
    text = _read(file) if file else sentence.strip()
    if fields["id"]:
        _require_free(out / f"{fields['id']}.yaml", force)
    with clear_errors(), closing(open_store(store)) as calls:
        author = _author(model, calls, seed)
        fixed = {name: value for name, value in fields.items() if value}
        rubric = anyio.run(draft_rubric, author, text, fixed, file.name if file else "")
        path = out / f"{rubric.id}.yaml"
        _require_free(path, force)
        write_whole(path, rubric_yaml(rubric))
    click.echo(
        f"{path}: {rubric.title}, {len(rubric.criteria)} criteria; next: cpt rubric prompts {path} --model {model}"
    )


@click.command(name="prompts", context_settings={"show_default": True})
@click.argument("rubric")
@click.option(
    "--train", default=MIN_TRAIN_WORDINGS, type=click.IntRange(MIN_TRAIN_WORDINGS), help="Wordings per level."
)
@click.option("--heldout", default=MIN_HELDOUT_WORDINGS, type=click.IntRange(MIN_HELDOUT_WORDINGS), help="Likewise.")
@click.option("--writer", help="Inspect model that tries the system prompts, e.g. hf/FOLDER. Default: --model.")
@click.option("--judge", help="measured, or an inspect model. Default: measured if the rubric is, else a model.")
@click.option("--check", is_flag=True, help="Write nothing: try the system prompts that it has.")
@click.option("--keep", is_flag=True, help="Write the system prompts even if the levels come out of order.")
@click.option("--out", type=FOLDER, help="Folder of ID.yaml. Default: that of RUBRIC; of a library id, this one.")
@_shared_options
def prompts_command(
    rubric: str,
    model: str,
    writer: str | None,
    judge: str | None,
    check: bool,
    keep: bool,
    out: Path | None,
    seed: int,
    store: str,
    force: bool,
    **counts: int,
) -> None:
    """Write the system prompts of RUBRIC, the id of one in the library or the path of a .yaml file, into ID.yaml.

    Before they are kept, a model writes texts from the system prompts alone, and a judge scores the texts: the levels
    must come out in order and apart. Comments in the file are not kept. Exit status: 0 they do, 1 they do not.
    """
    import anyio

    from data_gen.draft.trial import WRITER_MAX_TOKENS, try_wordings
    from data_gen.draft.wordings import write_wordings
    from data_gen.generate.teachers import TeacherSettings, teacher_of
    from model_calls import open_store
    from rubrics import load_rubric

    with clear_errors(), closing(open_store(store)) as calls:
        loaded = load_rubric(rubric)
        path = (out or (Path(rubric).parent if rubric.endswith(".yaml") else Path())) / f"{loaded.id}.yaml"
        if not check and (loaded.system_prompts or path.absolute() != Path(rubric).absolute()):
            _require_free(path, force)
        bound, judge_name = _judge(judge, loaded, calls)
        teacher = teacher_of(writer or model, TeacherSettings(max_tokens=WRITER_MAX_TOKENS))
        if judge_name == teacher.name:
            _say(f"{teacher.name} judges texts that it wrote itself; --judge or --writer names another model")
        author = _author(model, calls, seed)
        tried = loaded if check else anyio.run(write_wordings, author, loaded, counts)
        figures = anyio.run(try_wordings, tried, teacher, bound, calls, seed)
        click.echo(figures.text())
        if not check and (figures.passed or keep):
            by = f"{author.teacher.name}, tried with {teacher.name} and the judge {judge_name}: {figures.means()}"
            _write(path, tried, by)
        elif not check:
            _say("not kept; the same command with --keep writes them, with another --seed it asks for others")
    sys.exit(0 if figures.passed else 1)


def _author(model: str, calls: "CallStore", seed: int) -> "Author":
    from data_gen.draft.author import AUTHOR_MAX_TOKENS, Author
    from data_gen.generate.teachers import TeacherSettings, teacher_of

    return Author(teacher_of(model, TeacherSettings(max_tokens=AUTHOR_MAX_TOKENS)), calls, seed, _say)


def _judge(name: str | None, rubric: "Rubric", calls: "CallStore") -> "tuple[Judge, str]":
    from data_gen.generate.teachers import teacher_name
    from judges import DEFAULT_JUDGE, MEASURED, MeasuredJudge, ModelJudge, check_measurable, judge_model

    name = name or (MEASURED if rubric.is_measured else DEFAULT_JUDGE)
    if name == MEASURED:
        check_measurable(rubric)
        return MeasuredJudge(), MEASURED
    return ModelJudge(judge_model(name), calls), teacher_name(name, {})


def _write(path: Path, rubric: "Rubric", by: str) -> None:
    """Writes the rubric; its source says who wrote the system prompts, and how texts written from them scored."""
    from data_gen.draft.author import PROMPT_VERSION
    from rubrics.files import write_whole
    from rubrics.load import rubric_yaml

    origin = rubric.source.partition("; system prompts by ")[0]
    source = f"{origin}; system prompts by {by} (draft prompt {PROMPT_VERSION})"
    write_whole(path, rubric_yaml(rubric.model_copy(update={"source": source})))
    click.echo(f"system prompts: {path}")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _read(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise click.ClickException(f"{file}: cannot be read: {reason}; expected a text file in UTF-8") from error
    if not text.strip():
        raise click.ClickException(f"{file}: is empty, expected a rubric in prose")
    return text


def _require_free(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise click.ClickException(f"{path}: exists already; pass --force to overwrite it, or another --out")
