"""The rows of preference files: what a twin becomes. They train unchanged with TRL's `DPOTrainer` and `trl dpo`."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from data_gen.pairing.twins import Twins
from data_gen.responses import ResponseJudgment, TeacherResponse
from rubrics import Rubric, ScoreLevel, joint_system_prompt

_TWINS_AT_A_TIME = 10_000


class Message(BaseModel):
    """One chat turn."""

    model_config = ConfigDict(frozen=True)
    role: str
    content: str


class PreferenceRow(BaseModel):
    """One row of a preference file: half a twin. Scores are 0-100.

    Attributes:
        prompt: System prompt and user prompt.
        chosen: The response that fits the system prompt.
        rejected: The response that fits that of the other half.
        pair_id: Shared by the two halves of a twin, and by no other row.
        rubric: Rubric that the system prompt asks for.
        level: Level that it asks for, which is that of `chosen`.
        rejected_level: Level of `rejected`.
        score_chosen: Score of `chosen` by `rubric`.
        score_rejected: Score of `rejected` by `rubric`.
        user_prompt_id: Id of the user prompt.
        teacher: Who wrote `chosen`, and `rejected` too unless there is `rejected_teacher`.
        wording: Rubric, level and number of the wording.
        chat_template_kwargs: Passed to the chat template by TRL.
        rejected_teacher: Who wrote `rejected`, in data whose twins may be of two teachers.
        with_rubric: Second rubric that the system prompt asks for, in the rows of compositions.
        with_level: As `level`, of the second rubric; so with all that begin with `with_`.
        with_rejected_level: See there.
        with_score_chosen: See there.
        with_score_rejected: See there.
        with_wording: See there.
    """

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
    user_prompt_id: str
    teacher: str
    wording: str
    chat_template_kwargs: dict[str, Any] | None = None
    rejected_teacher: str | None = None
    with_rubric: str | None = None
    with_level: ScoreLevel | None = None
    with_rejected_level: ScoreLevel | None = None
    with_score_chosen: float | None = None
    with_score_rejected: float | None = None
    with_wording: str | None = None


class _Twin(NamedTuple):
    """One entry of an array of type `TWIN`."""

    first: int
    second: int
    rubric: int
    with_rubric: int
    prompt: int
    levels: int
    repeat: int
    wordings: list[int]
    swapped: list[bool]


class PairIds:
    """Gives every twin of a data set its id: the beginning of a hash, as long as it must be to be the only one."""

    def __init__(self) -> None:
        self._given: set[int] = set()

    def new(self, *parts: object) -> str:
        """First 12 hex digits of the SHA-256 of the parts joined by spaces; 24 where those are given already.

        Raises:
            AssertionError: If these parts were given an id before.
        """
        digest = hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()
        for pair_id in (digest[:12], digest[:24]):
            if int(pair_id, 16) not in self._given:
                self._given.add(int(pair_id, 16))
                return pair_id
        raise AssertionError(f"the twin {parts} was made twice")


@dataclass(frozen=True)
class RowMaker:
    """Turns twins into rows.

    Attributes:
        read: Gives a response by its number.
        rubrics: Rubrics by the numbers that twins hold.
        pair_ids: Ids given so far.
        chat_template_kwargs: For every row, or None for none.
    """

    read: Callable[[int], TeacherResponse]
    rubrics: Sequence[Rubric]
    pair_ids: PairIds
    chat_template_kwargs: dict[str, Any] | None = None

    def rows(self, twins: Twins) -> Iterator[PreferenceRow]:
        """Both rows of every twin, next to each other, the one that chooses the first response first."""
        for start in range(0, len(twins), _TWINS_AT_A_TIME):
            for values in twins[start : start + _TWINS_AT_A_TIME].tolist():
                yield from self._halves(_Twin(*values))

    def _halves(self, twin: _Twin) -> Iterator[PreferenceRow]:
        first, second = self.read(twin.first), self.read(twin.second)
        rubric_ids = [self.rubrics[number].id for number in (twin.rubric, twin.with_rubric) if number >= 0]
        asked = rubric_ids if twin.with_rubric >= 0 else []
        pair_id = self.pair_ids.new(first.id, second.id, *asked, twin.repeat)
        yield self._half(twin, 0, first, second, pair_id)
        yield self._half(twin, 1, second, first, pair_id)

    def _half(
        self, twin: _Twin, side: int, chosen: TeacherResponse, rejected: TeacherResponse, pair_id: str
    ) -> PreferenceRow:
        wording, columns = self._asked(self.rubrics[twin.rubric], twin.wordings[side], chosen, rejected)
        if twin.with_rubric >= 0:
            other, more = self._asked(self.rubrics[twin.with_rubric], twin.wordings[2 + side], chosen, rejected)
            wording = joint_system_prompt([other, wording] if twin.swapped[side] else [wording, other])
            columns |= {f"with_{name}": value for name, value in more.items()}
        return PreferenceRow(
            prompt=(Message(role="system", content=wording), Message(role="user", content=chosen.user_prompt)),
            chosen=(Message(role="assistant", content=chosen.response),),
            rejected=(Message(role="assistant", content=rejected.response),),
            pair_id=pair_id,
            user_prompt_id=chosen.user_prompt_id,
            teacher=chosen.teacher,
            chat_template_kwargs=self.chat_template_kwargs,
            rejected_teacher=rejected.teacher,
            **columns,
        )

    def _asked(
        self, rubric: Rubric, number: int, chosen: TeacherResponse, rejected: TeacherResponse
    ) -> tuple[str, dict[str, Any]]:
        """A wording that asks for what the chosen response is, and the columns that say so."""
        scores = [judgment_by(rubric.id, response).score for response in (chosen, rejected)]
        level, rejected_level = (ScoreLevel.of(score) for score in scores)
        return rubric.wordings(level, "train")[number], {
            "rubric": rubric.id,
            "level": level,
            "rejected_level": rejected_level,
            "score_chosen": scores[0],
            "score_rejected": scores[1],
            "wording": f"{rubric.id}-{level}-train-{number}",
        }


def judgment_by(rubric_id: str, response: TeacherResponse) -> ResponseJudgment:
    """The judgment of a response by a rubric, its own or another.

    Raises:
        KeyError: If that rubric did not judge it.
    """
    if response.rubric == rubric_id and response.judgment:
        return response.judgment
    return (response.also or {})[rubric_id]
