"""Writes texts from system prompts alone and has them judged: the sample that `fidelity.py` makes figures of.

Only train user prompts are asked, of both splits of wordings. The texts stay in the call stores and are no training
data: heldout wordings never reach that.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import TYPE_CHECKING

from data_gen.drafting.calls import gather
from data_gen.drafting.fidelity import Fidelity, Scored, fidelity
from judges import NO_RESPONSE, Judge, JudgeFailure
from rubrics import Rubric, ScoreLevel, load_user_prompts

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, Model

    from model_calls import Call, CallStore

WRITER_REFUSAL = "writer_refusal"
WRITER_EMPTY = "writer_empty"


@dataclass(frozen=True)
class Sample:
    """A text to be written.

    Attributes:
        level: Level of the system prompt.
        wording: Which wording, e.g. "heldout-2".
        system_prompt: Its text.
        user_prompt_id: Id of the user prompt.
        prompt: Its text.
    """

    level: ScoreLevel
    wording: str
    system_prompt: str
    user_prompt_id: str
    user_prompt: str


@dataclass(frozen=True)
class Check:
    """Who writes and who judges, and how it is asked.

    Attributes:
        writer: Bound by `Spending.bind`.
        judge: Its model, if it has one, bound likewise.
        store: Where the writer's calls are kept.
        prompts: Train user prompts by id; each is asked at every level.
        margin: Score points that adjacent levels must be apart.
        seed: Another one asks the writer anew.
        progress: Is called after each text with how many are done and how many there are.
    """

    writer: "Model"
    judge: Judge
    store: "CallStore"
    prompts: Mapping[str, str]
    margin: float
    seed: int
    progress: Callable[[int, int], None]


def check_prompts(rubric: Rubric, number: int) -> dict[str, str]:
    """The first `number` train user prompts of a rubric's family: id -> text.

    Raises:
        ValueError: If there are fewer.
    """
    prompts = load_user_prompts("train", rubric.family)
    if number > len(prompts):
        raise ValueError(
            f"--check-prompts: got {number}, expected at most the {len(prompts)} of family {rubric.family!r}"
        )
    return dict(islice(prompts.items(), number))


def plan_samples(rubric: Rubric, prompts: Mapping[str, str]) -> list[Sample]:
    """The texts of a check, level by level: each wording is used, and each user prompt equally often.

    Within a level, wordings and user prompts advance together, so that no pair of them comes twice: 7 wordings and 6
    user prompts give 12 texts, two per user prompt and one or two per wording.
    """
    samples = []
    for level in ScoreLevel:
        wordings = [
            (f"{split}-{number}", text)
            for split in ("train", "heldout")
            for number, text in enumerate(getattr(rubric.system_prompts[level], split))
        ]
        asked = list(prompts.items())
        rounds = -(-len(wordings) // len(asked))
        samples += [
            Sample(level, *wordings[number % len(wordings)], *asked[number % len(asked)])
            for number in range(rounds * len(asked))
        ]
    return samples


async def measure_wordings(check: Check, rubric: Rubric) -> Fidelity:
    """Figures of a rubric's system prompts.

    Raises:
        ValueError: If a local writer's chat template does not show it the system prompt.
    """
    samples = plan_samples(rubric, check.prompts)
    _require_system_prompt_is_seen(check, samples[0])
    done = count(1)

    def tick() -> None:
        check.progress(next(done), len(samples))

    scored = await gather([partial(_score, check, rubric, sample, tick) for sample in samples])
    return fidelity(scored, check.margin)


async def _score(check: Check, rubric: Rubric, sample: Sample, tick: Callable[[], None]) -> Scored:
    from model_calls import ask

    reply, _ = await ask(check.store, writer_call(check, sample))
    unscored = partial(Scored, sample.level, sample.wording, sample.user_prompt_id, None)
    cut = reply.stop_reason in ("max_tokens", "model_length")
    try:
        if reply.stop_reason == "content_filter":
            return unscored(WRITER_REFUSAL)
        if not reply.text.strip():
            return unscored(WRITER_EMPTY, cut=cut)
        judgment = await check.judge.judge(rubric, sample.user_prompt, reply.text)
    except JudgeFailure as failure:
        return unscored(failure.mode, cut=cut)
    finally:
        tick()
    short = judgment.reason == NO_RESPONSE
    return Scored(sample.level, sample.wording, sample.user_prompt_id, judgment.score, short=short, cut=cut)


def writer_call(check: Check, sample: Sample) -> "Call":
    """The call that writes a text: the system prompt, the user prompt and nothing else."""
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser

    from model_calls import Call

    messages: list[ChatMessage] = [
        ChatMessageSystem(content=sample.system_prompt),
        ChatMessageUser(content=sample.user_prompt),
    ]
    return Call(check.writer, messages, replicate=f"fidelity {check.seed}")


def _require_system_prompt_is_seen(check: Check, sample: Sample) -> None:
    """Some chat templates leave the system turn out without a word; only those of local models can be looked at."""
    api = check.writer.api
    if hasattr(api, "hf_chat") and sample.system_prompt not in api.hf_chat(
        list(writer_call(check, sample).messages), []
    ):
        raise ValueError(
            f"{check.writer}: the chat template leaves out the system turn, expected one that shows it; take an "
            "adapter folder of recipes/dpo_lora.py, whose template is repaired, or another --writer"
        )
