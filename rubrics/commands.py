"""`cpt rubric lint`, `import` and `export`."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click

from rubrics.files import read_plain, write_whole
from rubrics.lint import Finding, lint_rubric
from rubrics.load import load_rubric, rubric_ids, rubric_yaml
from rubrics.markdown import as_slug, read_rubric_text, rubric_page
from rubrics.schema import Rubric, problem_texts

NEW_FAMILY = "imported"
UNKNOWN_LICENCE = "unknown"


@click.command(name="lint")
@click.argument("rubrics", nargs=-1)
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@click.option(
    "--responses",
    type=click.Path(path_type=Path),
    help="Judged responses (JSONL), of cpt verify with --keep all: also say which wordings they miss the band of.",
)
def lint_command(rubrics: tuple[str, ...], strict: bool, responses: Path | None) -> None:
    """Find what is wrong with RUBRICS, files or ids of the library; without one, with all of the library.

    With --responses a table shows, for each wording and for each level's wordings together, how many responses there
    are, their mean score and the share in band. A wording (or level) misses if it has at least two scored responses and
    at least two of three are out of band: that is a warning. Whether the wording is at fault or the writer, a reader
    decides. Responses to an earlier version of a rubric are shown, and miss nothing.

    Exit status: 0 nothing wrong, 1 errors (or warnings, with --strict).
    """
    misses = _show_judged(responses, rubrics) if responses else lambda _: []
    counts = Counter(error=0, warning=0)
    for name in rubrics or rubric_ids():
        try:
            rubric = load_rubric(name)
            findings = [(finding.severity, str(finding)) for finding in (*lint_rubric(rubric), *misses(rubric))]
        except (ValueError, OSError) as error:
            findings = [("error", f"error: {error}")]
        for severity, text in findings:
            counts[severity] += 1
            click.echo(f"{name}: {text}")
    click.echo(
        f"{len(rubrics or rubric_ids())} rubrics: {counts['error']} errors, {counts['warning']} warnings", err=True
    )
    sys.exit(int(counts["error"] > 0 or (strict and counts["warning"] > 0)))


def _show_judged(path: Path, rubrics: Sequence[str]) -> Callable[[Rubric], list[Finding]]:
    """Prints the table of judged responses, and gives what finds the wordings of a rubric that miss in it."""
    from rubrics.judged import judged_wordings, misses, read_judged  # with pandas, which `--help` does not wait for

    try:
        table = judged_wordings(read_judged(path))
    except ValueError as error:
        raise _Refusal(str(error)) from error
    table = table[table["rubric"].isin([Path(name).stem for name in rubrics or rubric_ids()])]
    click.echo(table.to_markdown(index=False, floatfmt=".2f"))
    return partial(misses, table)


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
        content = read_rubric_text(read_plain(file), file.stem)
        title = str(content.get("title", ""))
        defaults = {"id": as_slug(title), "family": NEW_FAMILY, "licence": UNKNOWN_LICENCE, "source": file.name}
        for name, default in defaults.items():
            if given[name] is None and name not in content:
                click.echo(f"{name}: not in the text, {default!r} is taken; change it with --{name}", err=True)
        rubric = Rubric.model_validate(defaults | content | {name: text for name, text in given.items() if text})
    except OSError as error:
        raise _Refusal(f"{file}: cannot be read: {error.strerror}; expected a text file") from error
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
    except (ValueError, OSError) as error:
        raise _Refusal(str(error)) from error


class _Refusal(click.ClickException):
    exit_code = 2
