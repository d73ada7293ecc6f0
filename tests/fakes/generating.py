"""What the tests of `cpt generate` share: a small plan, the command, its rows."""

from pathlib import Path
from typing import Any

from click.testing import Result
from command_runs import ran, read_rows

from data_gen.generate.command import generate_command
from data_gen.generate.questions import Question, questions
from rubrics import ScoreLevel, load_rubrics

MODEL = "anthropic/claude-sonnet-5-5"
LEVELS = tuple(ScoreLevel)
PROMPTS = {"one": "Describe a well.", "two": "Describe a mill.", "three": "Describe a barn."}
MOCK = ("--teacher", "mockllm/t", "--rubrics", "broadcast", "--out", "r.jsonl")
REAL = ("--teacher", MODEL, "--rubrics", "broadcast", "--out", "r.jsonl")
CALLS = 24 * 3


def plan(rubrics: str = "broadcast", prompts: dict[str, str] = PROMPTS, **options: Any) -> list[Question]:
    selected = load_rubrics(rubrics)
    by_family = {rubric.family: prompts for rubric in selected}
    return list(questions(selected, by_family, **({"levels": LEVELS} | options)))


def keys(asked: list[Question]) -> list[tuple[str, str, str, int]]:
    return [(one.rubric.id, one.user_prompt_id, str(one.level), one.sample) for one in asked]


def generate(*arguments: object, status: int = 0) -> Result:
    return ran(generate_command, *arguments, code=status)


def rows_of(path: str = "r.jsonl") -> list[dict[str, Any]]:
    return read_rows(Path(path))
