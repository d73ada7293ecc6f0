"""Makes the preference data: two responses of one user prompt and rubric at two levels give one twin, two rows.

    cpt twins --responses data_gen/seed/responses.jsonl --out data/seed

A twin is (s1, x, y1 > y2) and (s2, x, y2 > y1): the roles of chosen and rejected swap with the system prompt.
Source: arXiv 2506.11702, section 3. The rows train unchanged with TRL's `DPOTrainer`.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import click
import numpy as np
from pydantic import BaseModel, ConfigDict

from data_gen.responses import TeacherResponse, read_responses, write_jsonl
from rubrics import ScoreLevel, all_user_prompts, load_rubric

LEVEL_PAIRS = (
    (ScoreLevel.LOW, ScoreLevel.MODERATE),
    (ScoreLevel.MODERATE, ScoreLevel.EXTREMELY_HIGH),
    (ScoreLevel.LOW, ScoreLevel.EXTREMELY_HIGH),
)
N_EVAL_PROMPTS = 4
DEFAULT_RESPONSES = Path(str(files("data_gen"))) / "seed" / "responses.jsonl"


class Message(BaseModel):
    """One chat turn."""

    model_config = ConfigDict(frozen=True)
    role: str
    content: str


class PreferenceRow(BaseModel):
    """One row of a preference file: half a twin. `level` is what its system prompt asks for; scores are 0-100."""

    model_config = ConfigDict(frozen=True)
    prompt: tuple[Message, Message]
    chosen: tuple[Message]
    rejected: tuple[Message]
    pair_id: str
    rubric: str
    level: ScoreLevel
    rejected_level: ScoreLevel
    score_chosen: float
    score_rejected: float
    prompt_id: str
    teacher: str
    system_prompt_id: str


def make_twins(
    responses: Sequence[TeacherResponse], rng: np.random.Generator, n_wordings: int = 1
) -> list[PreferenceRow]:
    """Both rows of every twin, twins whole and in the order of the responses, rubric by rubric.

    Each twin takes two responses of one (rubric, user prompt, teacher) at a pair of levels, and draws each system
    prompt evenly from the train paraphrases of its level. A (rubric, prompt) that lacks a level gives the pairs it can.
    Every pair of responses gives `n_wordings` twins, each with its own draw of wordings: a student that sees a response
    under one wording only learns the wording, not what it asks for.

    Raises:
        ValueError: If a response is to a test prompt, carries no judgment, was judged by another version of its
            rubric, or lies outside the band of its level.
    """
    _check_responses(responses)
    cells: dict[tuple[str, str, str], dict[ScoreLevel, list[TeacherResponse]]] = defaultdict(lambda: defaultdict(list))
    for response in responses:
        cells[response.rubric, response.prompt_id, response.teacher][response.level].append(response)
    rows: list[PreferenceRow] = []
    for by_level in cells.values():
        for lower, higher in LEVEL_PAIRS:
            for first, second in zip(by_level.get(lower, []), by_level.get(higher, []), strict=False):
                for number in range(n_wordings):
                    rows += _twin(first, second, number, rng)
    return rows


def split_by_prompt(
    rows: Iterable[PreferenceRow], n_eval_prompts: int, rng: np.random.Generator
) -> tuple[list[PreferenceRow], list[PreferenceRow]]:
    """Train rows and eval rows: the eval rows hold every row of `n_eval_prompts` user prompts drawn at random.

    Raises:
        ValueError: If no prompt would be left for training.
    """
    collected = list(rows)
    prompt_ids = sorted({row.prompt_id for row in collected})
    if n_eval_prompts >= len(prompt_ids):
        raise ValueError(f"eval prompts: got {n_eval_prompts}, expected fewer than the {len(prompt_ids)} in the data")
    held = set(rng.choice(prompt_ids, size=n_eval_prompts, replace=False))
    train = [row for row in collected if row.prompt_id not in held]
    return train, [row for row in collected if row.prompt_id in held]


_rubric = cache(load_rubric)


def _twin(
    first: TeacherResponse, second: TeacherResponse, number: int, rng: np.random.Generator
) -> list[PreferenceRow]:
    pair_id = hashlib.sha256(f"{first.id} {second.id} {number}".encode()).hexdigest()[:12]
    return [_row(first, second, pair_id, rng), _row(second, first, pair_id, rng)]


def _row(chosen: TeacherResponse, rejected: TeacherResponse, pair_id: str, rng: np.random.Generator) -> PreferenceRow:
    wordings = _rubric(chosen.rubric).system_prompts[chosen.level].train
    number = int(rng.integers(len(wordings)))
    assert chosen.judgment is not None and rejected.judgment is not None  # _check_responses ran
    return PreferenceRow(
        prompt=(Message(role="system", content=wordings[number]), Message(role="user", content=chosen.prompt)),
        chosen=(Message(role="assistant", content=chosen.response),),
        rejected=(Message(role="assistant", content=rejected.response),),
        pair_id=pair_id,
        rubric=chosen.rubric,
        level=chosen.level,
        rejected_level=rejected.level,
        score_chosen=chosen.judgment.score,
        score_rejected=rejected.judgment.score,
        prompt_id=chosen.prompt_id,
        teacher=chosen.teacher,
        system_prompt_id=f"{chosen.rubric}-{chosen.level}-train-{number}",
    )


def _normalised(text: str) -> str:
    return " ".join(text.casefold().split())


def _check_responses(responses: Sequence[TeacherResponse]) -> None:
    test_prompts = all_user_prompts("test")
    test_texts = {_normalised(text) for text in test_prompts.values()}
    for response in responses:
        where = f"response {response.id}"
        if response.prompt_id in test_prompts or _normalised(response.prompt) in test_texts:
            raise ValueError(
                f"{where}: answers the test prompt {response.prompt!r}, expected a train prompt; remove it"
            )
        rubric = _rubric(response.rubric)
        if response.rubric_hash != rubric.hash:
            raise ValueError(
                f"{where}: judged by rubric {rubric.id!r} with hash {response.rubric_hash}, expected {rubric.hash}; "
                "judge it again"
            )
        if response.judgment is None:
            raise ValueError(f"{where}: has no judgment, expected one; verify the responses first")
        if ScoreLevel.of(response.judgment.score) is not response.level:
            raise ValueError(
                f"{where}: scored {response.judgment.score:g}, expected the band of {response.level.value}"
            )


@click.command(name="twins")
@click.option(
    "--responses",
    "responses_file",
    default=DEFAULT_RESPONSES,
    show_default="the seed responses",
    type=click.Path(path_type=Path),
    help="Responses file (JSONL).",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for train.jsonl and eval.jsonl.")
@click.option("--wordings", default=1, show_default=True, help="Twins per pair of responses, worded differently.")
@click.option("--eval-prompts", default=N_EVAL_PROMPTS, show_default=True, help="User prompts kept for eval.jsonl.")
@click.option("--limit", default=0, show_default=True, help="At most this many twins per file; 0 = all.")
@click.option("--seed", default=42, show_default=True, help="Seed of the split and of the drawn paraphrases.")
def twins_command(responses_file: Path, out: Path, wordings: int, eval_prompts: int, limit: int, seed: int) -> None:
    """Make role-swapped preference pairs, split by user prompt, ready for DPO."""
    rng = np.random.default_rng(seed)
    try:
        rows = make_twins(read_responses(responses_file), rng, wordings)
        splits = dict(zip(("train", "eval"), split_by_prompt(rows, eval_prompts, rng), strict=True))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    for name, split in splits.items():
        chosen = _first_twins(split, limit, rng)
        write_jsonl(out / f"{name}.jsonl", chosen)
        cells = Counter(f"{row.rubric} {row.level}" for row in chosen)
        click.echo(f"{out / name}.jsonl: {len(chosen) // 2} twins, {len(chosen)} rows, {len(cells)} cells")


def _first_twins(rows: list[PreferenceRow], limit: int, rng: np.random.Generator) -> list[PreferenceRow]:
    if not limit:
        return rows
    pair_ids = list(dict.fromkeys(row.pair_id for row in rows))
    kept = set(rng.permutation(pair_ids)[:limit])
    return [row for row in rows if row.pair_id in kept]
