"""`cpt rubric draft` and `cpt rubric prompts`: a model writes a rubric and its system prompts, and both are checked."""

import re
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import click

from data_gen.draft.author import AUTHOR_MAX_TOKENS, PROMPT_VERSION, Author, draft_rubric, write_wordings
from data_gen.generate.teachers import MAX_TOKENS, teacher_name, teacher_of
from judges import DEFAULT_JUDGE, MEASURED, Judge, MeasuredJudge, ModelJudge, check_measurable, judge_model
from model_calls import CallStore, open_store
from model_calls.errors import clear_errors
from rubrics import Rubric, load_rubric, load_user_prompts
from rubrics.files import read_plain, write_whole
from rubrics.load import prompt_pictures, rubric_yaml

DEFAULT_STORE = "calls/drafts.sqlite"
_EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


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
@click.option("--from", "file", type=_EXISTING, help="File with a rubric in prose.")
@click.option("--id", callback=_slug, help="Id of the rubric and name of its file. Default: the model proposes one.")
@click.option("--family", default="drafted", callback=_slug, help="It decides the user prompts.")
@_shared_options
def draft_command(
    sentence: str, file: Path | None, model: str, seed: int, store: str, force: bool, **fields: str | None
) -> None:
    """Draft a rubric from SENTENCE, which says in which direction a text is to go; writes ID.yaml.

    With --from FILE in place of SENTENCE, put a rubric that is written in any prose into that form. The draft passes
    `cpt rubric lint`. Read it before you use it: nothing else is checked.
    """
    if bool(sentence.strip()) == bool(file):
        raise click.UsageError("expected either SENTENCE or --from FILE")
    text = _read(file) if file else sentence.strip()
    if fields["id"]:
        _require_free(Path(f"{fields['id']}.yaml"), force)
    with clear_errors(), closing(open_store(store)) as calls:
        author = Author(teacher_of(model, max_tokens=AUTHOR_MAX_TOKENS), calls, seed)
        fixed = {name: value for name, value in fields.items() if value} | {"licence": "not stated"}
        rubric = anyio.run(draft_rubric, author, text, fixed, file.name if file else "")
        path = Path(f"{rubric.id}.yaml")
        _require_free(path, force)
        write_whole(path, rubric_yaml(rubric))
    click.echo(
        f"{path}: {rubric.title}, {len(rubric.criteria)} criteria; next: cpt rubric prompts {path} --model {model}"
    )


@click.command(name="prompts", context_settings={"show_default": True})
@click.argument("rubric")
@click.option("--writer", help="Inspect model that tries the system prompts, e.g. hf/FOLDER. Default: --model.")
@click.option("--judge", help="measured, or an inspect model. Default: measured if the rubric is, else a model.")
@click.option("--check", is_flag=True, help="Write nothing: try the system prompts that it has.")
@_shared_options
def prompts_command(
    rubric: str, model: str, writer: str | None, judge: str | None, check: bool, seed: int, store: str, force: bool
) -> None:
    """Write the system prompts of RUBRIC into its file; of one in the library, into ID.yaml in this folder.

    Before they are kept, a model writes texts from the system prompts alone, and a judge scores the texts: the levels
    must come out in order and apart. Comments in the file are not kept. Exit status: 0 they do, 1 they do not.
    """
    from data_gen.draft import trial  # with pandas, which `--help` does not wait for

    with clear_errors(), closing(open_store(store)) as calls:
        loaded = load_rubric(rubric)
        if load_user_prompts("train", loaded.family).keys() & prompt_pictures("train").keys():
            raise ValueError(
                f"rubric {loaded.id!r}: the user prompts of its family {loaded.family!r} show pictures, expected user "
                "prompts of text: system prompts are not tried with pictures; write them by hand"
            )
        path = Path(rubric if rubric.endswith(".yaml") else f"{rubric}.yaml")
        if not check and (loaded.system_prompts or path != Path(rubric)):
            _require_free(path, force)
        bound, judge_name = _judge(judge, loaded, calls)
        teacher = teacher_of(writer or model, max_tokens=MAX_TOKENS)
        if judge_name == teacher.name:
            click.echo(f"{judge_name} judges texts that it wrote itself; --judge or --writer names another", err=True)
        tried = loaded
        if not check:
            author = Author(teacher_of(model, max_tokens=AUTHOR_MAX_TOKENS), calls, seed)
            tried = anyio.run(write_wordings, author, loaded)
        texts = anyio.run(trial.try_wordings, tried, teacher, bound, calls, seed)
        passed = trial.passed(texts)
        click.echo(trial.table(texts))
        if passed and not check:
            source = (
                f"{tried.source.partition('; system prompts by ')[0]}; system prompts by {author.teacher.name}, tried "
                f"with {teacher.name} and the judge {judge_name}: {trial.means_text(texts)} (draft prompt "
                f"{PROMPT_VERSION})"
            )
            write_whole(path, rubric_yaml(tried.model_copy(update={"source": source})))
            click.echo(f"system prompts: {path}")
        elif not check:
            click.echo("not kept; the same command with another --seed asks for others", err=True)
    sys.exit(0 if passed else 1)


def _judge(name: str | None, rubric: Rubric, calls: CallStore) -> tuple[Judge, str]:
    name = name or (MEASURED if all(criterion.measure for criterion in rubric.criteria) else DEFAULT_JUDGE)
    if name == MEASURED:
        check_measurable(rubric)
        return MeasuredJudge(), MEASURED
    return ModelJudge(judge_model(name), calls), teacher_name(name, {})


def _read(file: Path) -> str:
    try:
        text = read_plain(file)
    except ValueError as error:
        raise click.ClickException(f"{file}: {error}") from error
    if not text.strip():
        raise click.ClickException(f"{file}: is empty, expected a rubric in prose")
    return text


def _require_free(path: Path, force: bool) -> None:
    if path.exists() and not force:
        raise click.ClickException(f"{path}: exists already; pass --force to overwrite it")
