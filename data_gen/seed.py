"""Imports teacher responses written elsewhere into the project's format, each re-checked by the measured judge.

    cpt seed data_gen/raw/*.jsonl --out data_gen/seed/responses.jsonl --teacher NAME

Input rows are `{rubric, prompt, level, response}`, level one of low, moderate, high or extremely_high.
"""

from pathlib import Path

import click

from data_gen.responses import ResponseJudgment, TeacherResponse, content_id
from judges import measure
from judges.judgment import MIN_RESPONSE_WORDS
from model_calls.errors import clear_errors
from rubrics import ScoreLevel, load_rubrics, load_user_prompts
from rubrics.files import read_jsonl, write_jsonl

_LEVELS = {"high": ScoreLevel.EXTREMELY_HIGH} | {level.value: level for level in ScoreLevel}


def import_responses(paths: list[Path], teacher: str) -> tuple[list[TeacherResponse], list[str]]:
    """Responses whose measured score lies in the band of their level, and one line on each that does not.

    Raises:
        ValueError: If a line holds no JSON object, names an unknown rubric, level or train prompt, or has no response.
    """
    prompt_ids = {text: user_prompt_id for user_prompt_id, text in load_user_prompts("train").items()}
    rubrics = {rubric.id: rubric for rubric in load_rubrics("measured,measured_more")}
    known = {"rubric": sorted(rubrics), "level": sorted(_LEVELS), "prompt": sorted(prompt_ids)}
    kept: list[TeacherResponse] = []
    dropped: list[str] = []
    seen: set[str] = set()
    for where, row in ((f"{path.name}:{number}", row) for path in paths for number, row in read_jsonl(path)):
        for key, values in known.items():
            if row.get(key) not in values:
                raise ValueError(f"{where}: {key} is {row.get(key)!r}, expected one of {values}")
        if not isinstance(row.get("response"), str):
            raise ValueError(f"{where}: response is {row.get('response')!r}, expected a text")
        rubric, level = rubrics[row["rubric"]], _LEVELS[row["level"]]
        response = TeacherResponse(
            id=content_id(rubric.id, level.value, row["prompt"], teacher, row["response"]),
            user_prompt_id=prompt_ids[row["prompt"]],
            user_prompt=row["prompt"],
            rubric=rubric.id,
            rubric_hash=rubric.hash,
            level=level,
            response=row["response"],
            teacher=teacher,
        )
        judgment = measure(rubric, response.response)
        if response.id in seen:
            dropped.append(f"{where}: stands there twice")
        elif judgment.reason:  # no response scores 0, which is in the band of low
            dropped.append(f"{where}: under {MIN_RESPONSE_WORDS} English words")
        elif ScoreLevel.of(judgment.score) is level:
            kept.append(response.model_copy(update={"judgment": ResponseJudgment.of(judgment)}))
        else:
            dropped.append(f"{where}: scored {judgment.score:.1f}, outside the band of {level.value}")
        seen.add(response.id)
    return kept, dropped


@click.command(name="seed")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Responses file to write (JSONL).")
@click.option("--teacher", required=True, help="Who wrote the responses.")
@clear_errors()
def seed_command(files: tuple[Path, ...], out: Path, teacher: str) -> None:
    """Import responses to train prompts and keep those that the measured judge finds in their band."""
    kept, dropped = import_responses(list(files), teacher)
    write_jsonl(out, kept)
    click.echo(f"{out}: {len(kept)} responses kept, {len(dropped)} dropped")
    for reason in dropped:
        click.echo(f"  dropped {reason}", err=True)
