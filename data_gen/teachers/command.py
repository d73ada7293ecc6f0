"""`cpt teachers`: how well teachers hit the levels, what else tells levels apart, and what students took over.

cpt verify responses.jsonl --keep all --near 0 --out data/judged
cpt teachers data/judged/responses.jsonl --out results/teachers
cpt teachers data/judged/responses.jsonl --student logs/tuned.eval --base logs/base.eval --out results/teachers
"""

import hashlib
import shlex
import sys
from pathlib import Path

import click


@click.command(name="teachers")
@click.argument("responses", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for tables, numbers and figures.")
@click.option(
    "--rubrics", default="all", show_default=True, help="Family, ids or paths: where the rubrics of the rows are."
)
@click.option(
    "--student",
    "students",
    multiple=True,
    type=click.Path(path_type=Path),
    help="An .eval log of rubric_adherence, of a model trained on the responses; may be given several times.",
)
@click.option(
    "--base",
    type=click.Path(path_type=Path),
    help="The same of the model before training: shows what was carried over.",
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    help="User prompts per teacher, the first ones in the files, at all levels. Default: all.",
)
# intervals need neither draws nor a seed; accepted for one release
@click.option("--resamples", type=int, hidden=True, expose_value=False)
@click.option("--seed", type=int, hidden=True, expose_value=False)
def teachers_command(
    responses: tuple[Path, ...],
    out: Path,
    rubrics: str,
    students: tuple[Path, ...],
    base: Path | None,
    limit: int | None,
) -> None:
    """Report judged scores and biases of teachers from RESPONSES files, and what students took over.

    Scores: mean per level asked for, accuracy, tau-b and rho, as in Table 2 of the paper. Biases: length, and phrases
    shared by topics. Rows must be judged: `cpt verify --keep all`.
    """
    if base and not students:
        raise click.UsageError("--base needs --student, expected the log of a trained model to compare it with")
    if base in students:
        raise click.UsageError(f"{base} is given with --student and --base, expected two different logs")
    try:
        click.echo(_report(responses, out, rubrics, students, base, limit))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"\nreport: {out / 'teachers.md'}, numbers: {out / 'teachers.json'} and {out / 'teachers.csv'}, "
        f"figures: {out / 'scores.png'}, {out / 'bias.png'}"
    )


def _report(
    responses: tuple[Path, ...],
    out: Path,
    rubrics: str,
    students: tuple[Path, ...],
    base: Path | None,
    limit: int | None,
) -> str:
    from data_gen.responses import Problems
    from data_gen.teachers.figures import draw_figures
    from data_gen.teachers.numbers import carried, measure_responses, numbers
    from data_gen.teachers.report import write_report
    from data_gen.teachers.rows import add_log, read_teachers
    from rubrics import load_rubrics

    report = read_teachers(responses, {rubric.id: rubric for rubric in load_rubrics(rubrics)}, Problems(), limit)
    logs = [(log, "student") for log in students] + ([(base, "base")] if base else [])
    for log, kind in logs:
        add_log(report, log, kind)
    rows = measure_responses(report.rows)
    table = numbers(rows)
    names = {kind: rows.loc[rows["kind"] == kind, "writer"].unique() for kind in ("teacher", "student", "base")}
    shares = {
        (teacher, student): carried(rows, teacher, student, of_base)
        for of_base in names["base"]
        for teacher in names["teacher"]
        for student in names["student"]
    }
    files = [
        {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in [*responses, *(log for log, _ in logs)]
    ]
    run = {"files": files, "command": shlex.join(["cpt", *map(_without_folder, sys.argv[1:])])}
    scores = write_report(out, report, table, shares, run)
    draw_figures(rows, table, out)
    return scores


def _without_folder(argument: str) -> str:
    # an absolute path says where things are on this machine
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return f"{option}{equals}{Path(value).name}" if Path(value).is_absolute() else argument
