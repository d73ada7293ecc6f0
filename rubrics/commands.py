"""`cpt rubric lint`, `import` and `export`."""

import sys
from collections import Counter
from pathlib import Path

import click

from rubrics.files import write_whole
from rubrics.lint import lint_file
from rubrics.load import LIBRARY, load_rubric, rubric_ids, rubric_yaml
from rubrics.markdown import as_slug, read_rubric_text, rubric_page
from rubrics.schema import Rubric, problem_texts

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
    counts: Counter[str] = Counter()
    for path in paths:
        try:
            findings = lint_file(path)
        except (OSError, ValueError) as error:
            counts["unreadable"] += 1
            click.echo(f"{path}: cannot be read: {_reason(error)}; expected a rubric as a YAML file in UTF-8", err=True)
            continue
        for finding in findings:
            counts[finding.severity] += 1
            click.echo(f"{path}: {finding}")
    totals = f"{counts['error']} errors, {counts['warning']} warnings"
    click.echo(f"{len(paths) - counts['unreadable']} rubrics read: {totals}", err=True)
    sys.exit(2 if counts["unreadable"] else int(counts["error"] > 0 or (strict and counts["warning"] > 0)))


@click.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--id", metavar="ID", help="Id of the rubric. Default: as in the text, or made of the title.")
@click.option("--family", help=f"Its family, which decides the user prompts. Default: as in the text, or {NEW_FAMILY}.")
@click.option("--licence", help=f"Its licence. Default: as in the text, or {UNKNOWN_LICENCE}: to be filled in.")
@click.option("--source", help="Where it comes from. Default: as in the text, or the name of FILE.")
@click.option("--out", default=".", type=click.Path(file_okay=False, path_type=Path), help="Folder of ID.yaml.")
@click.option("--force", is_flag=True, help="Overwrite the file if there is one.")
def import_command(file: Path, out: Path, force: bool, **given: str | None) -> None:
    """Make a rubric file of FILE: a table of criteria, such as `cpt rubric export` writes, or criteria of Prometheus.

    The table has a header with criterion, weight and five grades, parted by tabs or pipes; above it stand title and
    objective, below it rewards and penalties. Any other prose: `cpt rubric draft --from FILE`. Nothing is made up:
    system prompts are written by `cpt rubric prompts`.

    Exit status: 0 a rubric file was written, 2 no rubric can be made.
    """
    try:
        content = read_rubric_text(file.read_text(encoding="utf-8-sig"), file.stem)
        title = str(content.get("title", ""))
        defaults = {"id": as_slug(title), "family": NEW_FAMILY, "licence": UNKNOWN_LICENCE, "source": file.name}
        for name, default in defaults.items():
            if given[name] is None and name not in content:
                click.echo(f"{name}: not in the text, {default!r} is taken; change it with --{name}", err=True)
        rubric = Rubric.model_validate(defaults | content | {name: text for name, text in given.items() if text})
    except (OSError, UnicodeDecodeError) as error:
        raise _Refusal(f"{file}: cannot be read: {_reason(error)}; expected a text file in UTF-8") from error
    except ValueError as error:
        raise _Refusal(f"{file}: no rubric can be made of it: {'; '.join(problem_texts(error))}") from error
    path = out / f"{rubric.id}.yaml"
    if path.exists() and not force:
        raise _Refusal(f"{path} exists; expected another folder with --out, or --force to overwrite it")
    write_whole(path, rubric_yaml(rubric))
    click.echo(f"{path}: {len(rubric.criteria)} criteria")
    if not rubric.system_prompts:
        click.echo(f"no system prompts yet: `cpt rubric prompts {path} --model MODEL` writes them", err=True)


@click.command(name="export")
@click.argument("rubric")
def export_command(rubric: str) -> None:
    """Print RUBRIC, an id of the library or a YAML file, as a Markdown page with everything in it.

    `cpt rubric import` makes an equal rubric of the page.
    """
    try:
        click.echo(rubric_page(load_rubric(rubric)), nl=False)
    except ValueError as error:
        raise _Refusal(str(error)) from error


def _reason(error: OSError | ValueError) -> object:
    return error.strerror if isinstance(error, OSError) else error


class _Refusal(click.ClickException):
    exit_code = 2
