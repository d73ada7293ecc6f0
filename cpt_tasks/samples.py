"""Samples of the benchmarks: what is asked, under which system prompt, and what the scorer needs to know of it."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import product, zip_longest
from typing import Any, Literal, TypeVar

from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser

from model_calls.call import content_of, user_message
from rubrics import Rubric, ScoreLevel
from rubrics.pictures import picture_of
from rubrics.schema import WordingSplit as WordingSplit

Prompting = Literal["system_prompt", "full_rubric"]
PictureShown = Literal["own", "wrong", "none"]
_Row = TypeVar("_Row")
# the level of a sample without a system prompt
NO_LEVEL = "none"
# kinds of requests that one log may hold: two rubrics at once, one alone, none
TOGETHER, ALONE, UNPROMPTED = "together", "alone", "unprompted"

FULL_RUBRIC_SYSTEM = """\
You will be graded by the rubric below, on a scale from 0 to 100. Write your answer so that its grade is {target}.

{rubric}
Answer the user with the text only."""

_TARGETS = {
    ScoreLevel.LOW: "low: 40 or less, closest to the descriptors called Unsatisfactory",
    ScoreLevel.MODERATE: "moderate: above 40 and at most 92.5, closest to the descriptors called Fair and Good",
    ScoreLevel.EXTREMELY_HIGH: "extremely high: above 92.5, closest to the descriptors called Excellent",
}


def adherence_samples(
    rubrics: Sequence[Rubric],
    levels: Sequence[ScoreLevel],
    user_prompts: Mapping[str, Mapping[str, str]],
    wording_split: WordingSplit = "heldout",
    prompting: Prompting = "system_prompt",
    wordings: int = 1,
    picture: PictureShown = "own",
) -> MemoryDataset:
    """One sample per (rubric, level, user prompt, wording), `spread` over rubrics and levels.

    The user prompts of a cell, by rubric id and id, take the wordings in turn, so that each is used equally often up to
    one; each is asked under so many `wordings`. With `prompting` "full_rubric" the whole rubric and the target level
    stand in the system turn, in one wording: the untrained baseline that a user would try first. With `picture` "wrong"
    a user prompt shows the picture of the next one of another kind, with "none" none; it is judged by its own.

    Raises:
        ValueError: If a rubric has fewer wordings than `wordings`, or that is below 1.
    """
    samples = []
    for rubric, level in product(rubrics, levels):
        n_wordings = len(rubric.wordings(level, wording_split))
        if prompting == "system_prompt" and not 1 <= wordings <= n_wordings:
            raise ValueError(
                f"wordings: got {wordings}, expected 1 to {n_wordings}, the {wording_split} wordings that rubric "
                f"{rubric.id!r} has of {level.value}"
            )
        whole = ("full_rubric", FULL_RUBRIC_SYSTEM.format(target=_TARGETS[level], rubric=rubric.render()))
        shown = _shown(list(user_prompts[rubric.id]), picture)
        for position, (user_prompt_id, text) in enumerate(user_prompts[rubric.id].items()):
            prompts = [wording_at(rubric, level, wording_split, position + further) for further in range(wordings)]
            for wording, system in [whole] if prompting == "full_rubric" else prompts:
                turns = (text, system, wording)
                samples.append(sample_of(rubric, level, user_prompt_id, *turns, shows=shown[position]))
    return MemoryDataset(spread(samples), name="rubric_adherence")


def _shown(user_prompt_ids: list[str], picture: PictureShown) -> list[str]:
    """Of each user prompt, the id of that whose picture it shows."""
    if picture == "own":
        return user_prompt_ids
    files = [picture.file for picture in map(picture_of, user_prompt_ids) if picture]
    if len(files) < max(2, len(user_prompt_ids)):
        raise ValueError(
            f"picture: got {picture!r}, expected two user prompts or more that show pictures; give family=pictures"
        )
    if picture == "none":
        return [""] * len(user_prompt_ids)
    # the next one of another kind, with which it has few things in common
    kinds = [file.partition("_")[0] for file in files]
    orders = [[*range(place + 1, len(kinds)), *range(place)] for place in range(len(kinds))]
    places = [next((k for k in order if kinds[k] != kind), order[0]) for order, kind in zip(orders, kinds, strict=True)]
    return [user_prompt_ids[place] for place in places]


def spread(samples: Iterable[Sample], *names: str) -> list[Sample]:
    """The first sample of every cell (rubric, target and the metadata named), then the second ones, and so on.

    `--limit N` of inspect takes the first N samples: so it takes all levels of several rubrics.
    """
    cells: dict[tuple[str, ...], list[Sample]] = defaultdict(list)
    for sample in samples:
        cells[str(sample.target), *((sample.metadata or {})[name] for name in ("rubric", *names))].append(sample)
    return interleaved(cells.values())


def interleaved(groups: Iterable[Iterable[_Row]]) -> list[_Row]:
    """The first row of every group, then the second ones, and so on; no row is None."""
    return [row for rows in zip_longest(*groups) for row in rows if row is not None]


def sample_of(
    rubric: Rubric,
    level: ScoreLevel,
    user_prompt_id: str,
    user_prompt: str,
    system_prompt: str,
    wording: str,
    *,
    asked: str | None = None,
    suffix: str = "",
    digest: str | None = None,
    shows: str | None = None,
    **metadata: Any,
) -> Sample:
    """A sample that asks for a rubric by a system prompt, and is judged by the picture of its user prompt, if any.

    Its id ends in a hash of what is asked and of the rubric, because inspect reuses answers by id when a run is
    resumed; `digest` is that hash, where more than the turns tells samples apart, and `suffix` stands before it.
    `asked` stands for the level in id and target. `shows` is the id of the user prompt whose picture is shown, "" for
    none, by default its own. `metadata` is what else statistics tell samples apart by.
    """
    asked = level.value if asked is None else asked
    turn = user_turn(user_prompt, user_prompt_id if shows is None else shows)
    digest = content_hash(rubric.hash, system_prompt, content_of(turn)) if digest is None else digest
    return Sample(
        id=f"{rubric.id}-{asked}-{user_prompt_id}-{suffix}{digest}",
        input=[ChatMessageSystem(content=system_prompt), turn],
        target=asked,
        metadata={
            "rubric": rubric.id,
            "rubric_hash": rubric.hash,
            "rubric_version": rubric.version,
            "level": level.value,
            "user_prompt_id": user_prompt_id,
            "wording": wording,
        }
        | _about_picture(user_prompt_id)
        | metadata,
    )


def user_turn(text: str, user_prompt_id: str) -> ChatMessageUser:
    """A user's turn, with the picture that the user prompt of the id shows, if any."""
    picture = picture_of(user_prompt_id)
    return user_message(text, picture.data_uri if picture else "")


def _about_picture(user_prompt_id: str) -> dict[str, str]:
    """What the scorer finds the picture by, in a sample whose user prompt shows one."""
    picture = picture_of(user_prompt_id)
    return {"picture": picture.file} if picture else {}


def wording_at(rubric: Rubric, level: ScoreLevel, wording_split: WordingSplit, position: int) -> tuple[str, str]:
    """Id and text of the wording that falls to a user prompt at a position, where prompts take them in turn."""
    texts = rubric.wordings(level, wording_split)
    return f"{wording_split}-{position % len(texts)}", texts[position % len(texts)]


def unprompted_sample(user_prompt_id: str, user_prompt: str, rubrics: Sequence[Rubric]) -> Sample:
    """A sample without a system prompt, judged by all the rubrics; the first counts as its own."""
    first, *others = rubrics
    turn = user_turn(user_prompt, user_prompt_id)
    digest = content_hash([rubric.hash for rubric in rubrics], content_of(turn))
    return Sample(
        id=f"{user_prompt_id}-unprompted-{digest}",
        input=[turn],
        target=NO_LEVEL,
        metadata={
            "rubric": first.id,
            "rubric_hash": first.hash,
            "level": NO_LEVEL,
            "user_prompt_id": user_prompt_id,
            "also": [rubric.id for rubric in others],
            "cell": UNPROMPTED,
        }
        | _about_picture(user_prompt_id),
    )


def content_hash(*parts: object) -> str:
    """The end of a sample's id: 8 hex digits of what is asked and how it is judged."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]
