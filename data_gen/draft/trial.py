"""Tries system prompts: a model writes texts from them alone, and the judged texts must come out in order.

Only train user prompts are asked, of both splits of wordings. The texts stay in the call store and are no training
data: heldout wordings never reach that.
"""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from statistics import fmean

from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser

from data_gen.draft.author import gather
from data_gen.generate.teachers import Teacher
from judges import NO_RESPONSE, Judge, JudgeFailure
from model_calls import Call, CallStore, ask
from model_calls.errors import was_cut_off
from model_calls.inspect_private import local_chat
from rubrics import Rubric, ScoreLevel, load_user_prompts

N_USER_PROMPTS = 6
MIN_GAP = 10.0  # score points between the means of adjacent levels
WRITER_MAX_TOKENS = 2000
_TOLERANCE = 1e-9  # a gap of exactly the least passes, whatever its last bit


@dataclass(frozen=True)
class Sample:
    """A text to be written."""

    level: ScoreLevel
    system_prompt: str
    user_prompt: str


@dataclass(frozen=True)
class Scored:
    """A text and its score, 0-100; None if the writer or the judge failed. `note` says so, or what else to know."""

    level: ScoreLevel
    score: float | None
    note: str = ""


@dataclass(frozen=True)
class Figures:
    """What came of a trial."""

    texts: tuple[Scored, ...]

    def scores(self, level: ScoreLevel) -> list[float]:
        """Scores of the texts of a level, those without one left out."""
        return [text.score for text in self.texts if text.level is level and text.score is not None]

    def gap(self, lower: ScoreLevel, upper: ScoreLevel) -> float | None:
        """Score points from the mean of one level up to that of another; None if one has no score."""
        low, high = self.scores(lower), self.scores(upper)
        return fmean(high) - fmean(low) if low and high else None

    @property
    def passed(self) -> bool:
        """Whether the means of adjacent levels are in order and `MIN_GAP` apart."""
        gaps = [self.gap(*levels) for levels in pairwise(ScoreLevel)]
        return all(gap is not None and gap >= MIN_GAP - _TOLERANCE for gap in gaps)

    def means(self) -> str:
        """`low 12.5, moderate 61.0, extremely_high -`; a level without scores has a dash."""
        rows = [(level, self.scores(level)) for level in ScoreLevel]
        return ", ".join(f"{level} {fmean(scores):.1f}" if scores else f"{level} -" for level, scores in rows)

    def text(self) -> str:
        """A line per level and a line per gap, for a terminal; what was not scored is counted."""
        lines = []
        for level in ScoreLevel:
            scores, notes = self.scores(level), [text.note for text in self.texts if text.level is level]
            mean = f"mean score {fmean(scores):.1f}" if scores else "no score"
            in_band = sum(ScoreLevel.of(score) is level for score in scores)
            counts = "".join(f"; {count} {note}" for note, count in sorted(Counter(filter(None, notes)).items()))
            lines.append(f"{level}: {mean}, {in_band} of {len(notes)} texts in the band{counts}")
        for lower, upper in pairwise(ScoreLevel):
            gap = self.gap(lower, upper)
            shown = "not known" if gap is None else f"{gap:.1f} points"
            lines.append(f"from {lower} to {upper}: {shown}, expected {MIN_GAP:g} or more")
        return "\n".join(lines)


def plan_samples(rubric: Rubric) -> list[Sample]:
    """The texts of a trial, level by level: each wording is used, and each user prompt equally often.

    Within a level, wordings and user prompts advance together, so that no pair of them comes twice: 7 wordings and 6
    user prompts give 12 texts, two per user prompt and one or two per wording.
    """
    asked = list(islice(load_user_prompts("train", rubric.family).values(), N_USER_PROMPTS))
    samples = []
    for level in ScoreLevel:
        wordings = [*rubric.wordings(level, "train"), *rubric.wordings(level, "heldout")]
        texts = -(-len(wordings) // len(asked)) * len(asked)
        samples += [
            Sample(level, wordings[number % len(wordings)], asked[number % len(asked)]) for number in range(texts)
        ]
    return samples


async def try_wordings(rubric: Rubric, writer: Teacher, judge: Judge, store: CallStore, seed: int) -> Figures:
    """Writes and judges the texts of `plan_samples`.

    Raises:
        ValueError: If a local writer's chat template does not show it the system prompt.
    """

    async def score(sample: Sample) -> Scored:
        reply, _ = await ask(store, _call(writer, sample, seed))
        outcome = partial(Scored, sample.level)
        if reply.stop_reason == "content_filter":
            return outcome(None, "refused by the writer")
        if not reply.text.strip():
            return outcome(None, "left empty by the writer")
        try:
            judgment = await judge.judge(rubric, sample.user_prompt, reply.text)
        except JudgeFailure as failure:
            return outcome(None, f"not judged: {failure.mode}")
        if judgment.reason == NO_RESPONSE:
            return outcome(judgment.score, "under 15 words, scored 0")
        return outcome(judgment.score, "cut at the token limit" if was_cut_off(reply.stop_reason) else "")

    samples = plan_samples(rubric)
    _require_system_prompt_is_seen(writer, samples[0])
    return Figures(tuple(await gather(score(sample) for sample in samples)))


def _call(writer: Teacher, sample: Sample, seed: int) -> Call:
    messages: list[ChatMessage] = [
        ChatMessageSystem(content=sample.system_prompt),
        ChatMessageUser(content=sample.user_prompt),
    ]
    return Call(writer.model, messages, replicate=f"fidelity {seed}")


def _require_system_prompt_is_seen(writer: Teacher, sample: Sample) -> None:
    """Some chat templates leave the system turn out without a word; only those of local models can be looked at."""
    rendered = local_chat(writer.model.api, _call(writer, sample, 0).messages)
    if rendered is not None and sample.system_prompt not in rendered:
        raise ValueError(
            f"{writer.name}: the chat template leaves out the system turn, expected one that shows it; take an "
            "adapter folder of recipes/dpo_lora.py, whose template is repaired, or another --writer"
        )
