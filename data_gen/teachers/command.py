"""`cpt teachers`: how well teachers hit the levels, how long and alike they write, and what students took over.

cpt verify responses.jsonl --keep all --near 0 --out data/judged
cpt teachers data/judged/responses.jsonl --out results/teachers
cpt teachers data/judged/responses.jsonl --student logs/tuned.eval --base logs/base.eval --out results/teachers
"""

from pathlib import Path

import click

from data_gen.responses import sha256_of
from data_gen.teachers.numbers import measure_responses, numbers
from data_gen.teachers.report import write_report
from data_gen.teachers.rows import read_rows
from model_calls.errors import clear_errors
from rubrics import load_rubrics
from rubrics.files import running_command

_LOG = click.Path(path_type=Path)


@click.command(name="teachers", context_settings={"show_default": True})
@click.argument("responses", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for table, numbers and figure.")
@click.option("--rubrics", default="all", help="Family, ids or paths: where the rubrics of the rows are.")
@click.option("--student", "students", multiple=True, type=_LOG, help="Log of rubric_adherence of a trained model.")
@click.option("--base", type=_LOG, help="The same of the model before training: carried shares.")
@clear_errors()
def teachers_command(
    responses: tuple[Path, ...], out: Path, rubrics: str, students: tuple[Path, ...], base: Path | None
) -> None:
    """Report judged scores and biases of teachers from RESPONSES files, and what students took over.

    Scores: mean per level asked for, as in Table 2 of the paper, accuracy, order, tau-b and rho. Biases: length, and
    phrases shared by topics. Rows must be judged: `cpt verify --keep all`.
    """
    if base and not students:
        raise click.UsageError("--base needs --student, expected the log of a trained model to compare it with")
    logs = [(path, "student") for path in students] + ([(base, "base")] if base else [])
    by_id = {rubric.id: rubric for rubric in load_rubrics(rubrics)}
    read, left_out = read_rows(responses, logs, by_id)
    rows = measure_responses(read)
    paths = [*responses, *(path for path, _ in logs)]
    files = [{"name": path.name, "sha256": sha256_of(path)} for path in paths]
    run = {"files": files, "command": running_command()}
    click.echo(write_report(out, rows, left_out, numbers(rows), run))
    click.echo(f"\nteachers.md, teachers.csv, teachers.json and scores.png are in {out}")
