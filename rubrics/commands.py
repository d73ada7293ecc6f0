"""`cpt rubric`: work on rubric files.

cpt rubric lint my_rubric.yaml --strict
"""

import sys
from pathlib import Path

import click

from rubrics.lint import lint_file
from rubrics.load import LIBRARY, rubric_ids


@click.group(name="rubric")
def rubric_group() -> None:
    """Check rubric files."""


@rubric_group.command(name="lint")
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
