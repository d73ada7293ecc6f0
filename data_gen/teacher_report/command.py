"""`cpt teachers`: what teachers wrote, as the judge saw it, and what is odd about it besides the score.

    cpt verify responses.jsonl --keep all --near 0 --out data/judged
    cpt teachers data/judged/responses.jsonl --out results/teachers
    cpt teachers data/judged/responses.jsonl --student logs/tuned.eval --base logs/base.eval --out results/teachers

The work is done in `teacher_rows.py`, `teacher_numbers.py` and `teacher_report.py`, imported when it is called.
"""

import hashlib
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from data_gen.teacher_report.rows import Progress

PROGRESS_STEPS = 200
READ_BYTES = 1 << 20


@click.command(name="teachers")
@click.argument("responses", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for tables, numbers and figures.")
@click.option(
    "--rubrics", default="all", show_default=True, help="Family, ids or paths: where the rubrics of the rows are found."
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
@click.option(
    "--resamples", default=1000, show_default=True, type=click.IntRange(1), help="Bootstrap draws of the user prompts."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the bootstrap.")
def teachers_command(
    responses: tuple[Path, ...],
    out: Path,
    rubrics: str,
    students: tuple[Path, ...],
    base: Path | None,
    limit: int | None,
    resamples: int,
    seed: int,
) -> None:
    """Report judged scores and biases of teachers from RESPONSES files, and what students took over.

    Scores: mean per level asked for, share in its band, range from low to extremely high. Biases: length, lexical
    diversity, phrases and openings shared by topics, sentiment. Rows must be judged: `cpt verify --keep all`.
    """
    if base and not students:
        raise click.UsageError("--base needs --student, expected the log of a trained model to compare it with")
    if base in students:
        raise click.UsageError(f"{base} is given with --student and --base, expected two different logs")
    try:
        printed = _report(responses, out, rubrics, [*students, *([base] if base else [])], base, limit, resamples, seed)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(printed)
    click.echo(
        f"\nreport: {out / 'teachers.md'}, numbers: {out / 'teachers.json'} and {out / 'teachers.csv'}, "
        f"figures: {out / 'scores.png'}, {out / 'bias.png'}"
    )


def _report(
    responses: Sequence[Path],
    out: Path,
    rubrics: str,
    logs: Sequence[Path],
    base: Path | None,
    limit: int | None,
    resamples: int,
    seed: int,
) -> str:
    from data_gen.responses import Problems
    from data_gen.teacher_report.bias import load_compound
    from data_gen.teacher_report.logs import read_log
    from data_gen.teacher_report.numbers import summarise
    from data_gen.teacher_report.report import Source, write_report
    from data_gen.teacher_report.rows import check_names, read_teachers
    from rubrics import load_rubrics

    by_id = {rubric.id: rubric for rubric in load_rubrics(rubrics)}
    problems, compound = Problems(), load_compound()
    files = {path: _digest_and_lines(path) for path in dict.fromkeys([*responses, *logs])}
    lines = sum(files[path][1] for path in dict.fromkeys(responses))
    teachers = read_teachers(responses, by_id, problems, compound, limit, lines, _progress("responses"))
    prompts: dict[str, int] = {}
    models = [
        read_log(
            log, "base" if log == base else "student", sorted(by_id), teachers, prompts, compound, _progress(log.name)
        )
        for log in logs
    ]
    writers = check_names([*teachers.writers, *models])
    click.echo(f"bootstrapping: {resamples} draws of user prompts", err=True)
    summaries, topics = summarise(writers, seed, resamples)
    source = Source(
        files=[{"name": path.name, "sha256": digest} for path, (digest, _) in files.items()],
        judge=teachers.protocol.judge,
        prompt_version=teachers.protocol.prompt_version,
        rubrics=teachers.rubric_hashes,
        left_out=dict(problems.counts),
        seed=seed,
        n_resamples=resamples,
        topics=topics,
        command=shlex.join(["cpt", *map(_without_folder, sys.argv[1:])]),
    )
    return write_report(out, source, summaries)


def _progress(label: str) -> "Progress":
    def pass_on(rows: Iterable[Any], total: int | None) -> Iterator[Any]:
        with click.progressbar(
            rows, total, f"reading {label}", file=sys.stderr, update_min_steps=PROGRESS_STEPS
        ) as bar:
            yield from bar

    return pass_on


def _digest_and_lines(path: Path) -> tuple[str, int]:
    if not path.is_file():
        raise ValueError(f"{path}: not found, expected a responses file in JSONL or an .eval log")
    digest, lines = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
            lines += block.count(b"\n")
    return digest.hexdigest(), lines


def _without_folder(argument: str) -> str:
    # an absolute path says where things are on this machine
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return f"{option}{equals}{Path(value).name}" if Path(value).is_absolute() else argument
