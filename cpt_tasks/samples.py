"""The grid of `rubric_adherence`: rubric x level x user prompt, one system prompt each, as inspect samples."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Literal

from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser

from rubrics import Rubric, ScoreLevel

ParaphraseSplit = Literal["train", "heldout"]
Prompting = Literal["system_prompt", "full_rubric"]
# the level of a sample without a system prompt
NO_LEVEL = "none"

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
    paraphrases: ParaphraseSplit = "heldout",
    prompting: Prompting = "system_prompt",
    wordings: int = 1,
) -> MemoryDataset:
    """One sample per (rubric, level, user prompt, wording), rubric by rubric in the order given.

    The user prompts of a cell take the paraphrases in turn, so that each is used equally often up to one. A sample's
    id ends in a hash of what is asked and of the rubric, because inspect reuses answers by id when a run is resumed.

    Args:
        rubrics: Rubrics to cover.
        levels: Levels to ask for.
        user_prompts: Rubric id -> id -> text.
        paraphrases: Which wordings of the system prompts; has no effect on `full_rubric`.
        prompting: "system_prompt" asks with the rubric's own short system prompt; "full_rubric" is the untrained
            baseline that a user would try first: the whole rubric and the target level in the system turn.
        wordings: Under how many paraphrases each user prompt is asked; `full_rubric` has one.

    Raises:
        ValueError: If a rubric has fewer paraphrases than `wordings`, or that is below 1.
    """
    return MemoryDataset(
        [
            _sample(rubric, level, prompt_id, text, paraphrase_id, system)
            for rubric in rubrics
            for level in levels
            for position, (prompt_id, text) in enumerate(user_prompts[rubric.id].items())
            for paraphrase_id, system in _system_prompts(rubric, level, position, paraphrases, prompting, wordings)
        ],
        name="rubric_adherence",
    )


def unprompted_sample(prompt_id: str, user_prompt: str, rubrics: Sequence[Rubric]) -> Sample:
    """A sample without a system prompt, judged by all the rubrics; the first counts as its own."""
    first, *others = rubrics
    digest = content_hash([rubric.hash for rubric in rubrics], user_prompt)
    return Sample(
        id=f"{prompt_id}-unprompted-{digest}",
        input=[ChatMessageUser(content=user_prompt)],
        target=NO_LEVEL,
        metadata={
            "rubric": first.id,
            "rubric_hash": first.hash,
            "level": NO_LEVEL,
            "prompt_id": prompt_id,
            "also": [rubric.id for rubric in others],
            "cell": "unprompted",
        },
    )


def content_hash(*parts: object) -> str:
    """The end of a sample's id: 8 hex digits of what is asked and how it is judged."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]


def _system_prompts(
    rubric: Rubric,
    level: ScoreLevel,
    position: int,
    paraphrases: ParaphraseSplit,
    prompting: Prompting,
    wordings: int,
) -> list[tuple[str, str]]:
    """The system prompts, with their ids, that the user prompt at a position of its cell is asked under."""
    if prompting == "full_rubric":
        return [("full_rubric", FULL_RUBRIC_SYSTEM.format(target=_TARGETS[level], rubric=rubric.render()))]
    found = rubric.wordings(level, paraphrases)
    if not 1 <= wordings <= len(found):
        raise ValueError(
            f"wordings: got {wordings}, expected 1 to {len(found)}, the {paraphrases} paraphrases that rubric "
            f"{rubric.id!r} has of {level.value}"
        )
    numbers = [(position + further) % len(found) for further in range(wordings)]
    return [(f"{paraphrases}-{number}", found[number]) for number in numbers]


def _sample(
    rubric: Rubric, level: ScoreLevel, prompt_id: str, user_prompt: str, paraphrase_id: str, system: str
) -> Sample:
    digest = content_hash(rubric.hash, system, user_prompt)
    return Sample(
        id=f"{rubric.id}-{level}-{prompt_id}-{digest}",
        input=[ChatMessageSystem(content=system), ChatMessageUser(content=user_prompt)],
        target=level.value,
        metadata={
            "rubric": rubric.id,
            "rubric_hash": rubric.hash,
            "level": level.value,
            "prompt_id": prompt_id,
            "paraphrase": paraphrase_id,
        },
    )
