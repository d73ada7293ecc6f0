"""`cpt rubric`: work on rubric files.

cpt rubric lint my_rubric.yaml --strict
cpt rubric import my_rubric.md --family poems --licence CC0-1.0
cpt rubric export labyrinth --out labyrinth.md
"""

import sys
from pathlib import Path

import click

from rubrics.free_text import parse_rubric_text
from rubrics.lint import lint_file
from rubrics.load import LIBRARY, load_rubric, rubric_ids
from rubrics.markdown import rubric_markdown
from rubrics.tables import as_slug
from rubrics.yaml_text import rubric_yaml

NEW_FAMILY = "imported"
UNKNOWN_LICENCE = "unknown"


@click.command(name="lint")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
def lint_command(files: tuple[Path, ...], strict: bool) -> None:
    """Find what is wrong with rubric FILES; without one, with the library.

    Exit status: 0 nothing wrong, 1 errors (or warnings, with --strict), 2 a file cannot be read.
    """
    paths = list(files) or [LIBRARY / f"{rubric_id}.yaml" for rubric_id in rubric_ids()]
    severities, unreadable = [], 0
    for path in paths:
        try:
            findings = lint_file(path)
        except (OSError, ValueError) as error:
            unreadable += 1
            reason = error.strerror if isinstance(error, OSError) else error
            click.echo(f"{path}: cannot be read: {reason}; expected a rubric as a YAML file in UTF-8", err=True)
            continue
        name = path.name if path.parent == LIBRARY else path
        for finding in findings:
            severities.append(finding.severity)
            click.echo(f"{name}: {finding}")
    errors, warnings = severities.count("error"), severities.count("warning")
    click.echo(f"{len(paths) - unreadable} rubrics read: {errors} errors, {warnings} warnings", err=True)
    sys.exit(2 if unreadable else int(errors > 0 or (strict and warnings > 0)))


@click.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--id", "rubric_id", metavar="ID", help="Id of the rubric. Default: as in the text, or made of the title."
)
@click.option("--family", help=f"Its family, which decides the user prompts. Default: as in the text, or {NEW_FAMILY}.")
@click.option("--licence", help=f"Its licence. Default: as in the text, or {UNKNOWN_LICENCE}: to be filled in.")
@click.option("--source", help="Where it comes from. Default: as in the text, or the name of FILE.")
@click.option("--out", type=click.Path(path_type=Path), help="File ID.yaml, or a folder for it. Default: ID.yaml here.")
@click.option("--force", is_flag=True, help="Overwrite the file if there is one.")
def import_command(file: Path, rubric_id: str | None, out: Path | None, force: bool, **given: str | None) -> None:
    """Make a rubric file of FILE: a rubric as people write it, in Markdown or plain text.

    Reads title, objective, principles, a table of criteria (tabs, pipes, Markdown), scoring notes, and what `cpt rubric
    export` writes. What has no place in a rubric is told line by line. Nothing is made up: system prompts are written
    by `cpt rubric prompts`.

    Exit status: 0 all placed, 1 something unplaced or system prompts not complete, 2 no rubric can be made.
    """
    parsed = parse_rubric_text(_read(file))
    made = {"id": as_slug(parsed.title or ""), "family": NEW_FAMILY, "licence": UNKNOWN_LICENCE, "source": file.name}
    fields: dict[str, str] = {}
    for name, default in made.items():
        found = (rubric_id if name == "id" else given[name]) or getattr(parsed, name)
        fields[name] = found or default
        if not found:
            remedy = "fill it in" if name == "licence" else f"change it with --{name}"
            click.echo(f"{name}: not in the text, {default!r} is taken; {remedy}", err=True)
    for note in (*parsed.notes, *parsed.missing_prompts(), *(f"unplaced: {line}" for line in parsed.unplaced)):
        click.echo(note, err=True)
    try:
        rubric = parsed.rubric(**fields)
    except ValueError as error:
        raise _Refusal(f"{file}: no rubric can be made of it: {error}") from error
    path = _writable(out / f"{rubric.id}.yaml" if out and out.is_dir() else out or Path(f"{rubric.id}.yaml"), force)
    if path.name != f"{rubric.id}.yaml":
        raise _Refusal(
            f"{path}: expected the name {rubric.id}.yaml, since the id is {rubric.id!r}; or set it with --id"
        )
    path.write_text(rubric_yaml(rubric), encoding="utf-8", newline="\n")
    click.echo(f"{path}: {len(rubric.criteria)} criteria, {len(parsed.unplaced)} lines or cells unplaced")
    if not rubric.system_prompts:
        click.echo(f"no system prompts yet: `cpt rubric prompts {path} --model MODEL` writes them", err=True)
    sys.exit(int(bool(parsed.unplaced or parsed.missing_prompts())))


@click.command(name="export")
@click.argument("rubric")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write. Default: standard output.")
@click.option("--force", is_flag=True, help="Overwrite the file if there is one.")
def export_command(rubric: str, out: Path | None, force: bool) -> None:
    """Write RUBRIC, an id of the library or a YAML file, as a Markdown page with everything in it.

    `cpt rubric import` makes an equal rubric of the page.
    """
    try:
        page = rubric_markdown(load_rubric(rubric))
    except ValueError as error:
        raise _Refusal(str(error)) from error
    if out is None:
        click.echo(page, nl=False)
    else:
        _writable(out, force).write_text(page, encoding="utf-8", newline="\n")
        click.echo(f"written: {out}", err=True)


class _Refusal(click.ClickException):
    exit_code = 2


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise _Refusal(f"{file}: cannot be read: {reason}; expected a text file in UTF-8") from error


def _writable(path: Path, force: bool) -> Path:
    if path.exists() and not force:
        raise _Refusal(f"{path} exists; expected another file with --out, or --force to overwrite it")
    if not path.parent.is_dir():
        raise _Refusal(f"{path.parent}: no such folder; make it, or choose another with --out")
    return path
