"""`cpt teachers`: how well teachers hit the levels, how long and alike they write.

cpt verify responses.jsonl --keep all --near 0 --out data/judged
cpt teachers data/judged/responses.jsonl --out results/teachers
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


@click.command(name="teachers", context_settings={"show_default": True})
@click.argument("responses", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for table, numbers and figure.")
@click.option("--rubrics", default="all", help="Family, ids or paths: where the rubrics of the rows are.")
@clear_errors()
def teachers_command(responses: tuple[Path, ...], out: Path, rubrics: str) -> None:
    """Report judged scores and biases of teachers from RESPONSES files.

    Scores: mean per level asked for, as in Table 2 of the paper, accuracy, order, tau-b and rho. Biases: length, and
    phrases shared by topics. Rows must be judged: `cpt verify --keep all`.
    """
    read, left_out = read_rows(responses, {rubric.id: rubric for rubric in load_rubrics(rubrics)})
    rows = measure_responses(read)
    files = [{"name": path.name, "sha256": sha256_of(path)} for path in responses]
    run = {"files": files, "command": running_command()}
    click.echo(write_report(out, rows, left_out, numbers(rows), run))
    click.echo(f"\nteachers.md, teachers.csv, teachers.json and scores.png are in {out}")
