"""Tries system prompts: writes texts from them alone, has them judged, has the wordings of failed levels revised.

Only train user prompts are asked, of both splits of wordings. The texts stay in the call stores and are no training
data: heldout wordings never reach that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import Any

from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser, Model

from data_gen.draft.author import Author, DraftError, gather
from data_gen.draft.fidelity import Fidelity, Scored, fidelity
from data_gen.draft.prompts import PROMPTS
from data_gen.draft.wordings import wordings_by_id, wordings_hash, write_wordings
from judges import NO_RESPONSE, Judge, JudgeFailure
from model_calls import Call, CallStore, ask
from model_calls.errors import was_cut_off
from rubrics import Rubric, ScoreLevel, load_user_prompts

REPORT_SCHEMA = 1
WRITER_REFUSAL = "writer_refusal"
WRITER_EMPTY = "writer_empty"
_PROGRESS_TEXTS = 12


@dataclass(frozen=True)
class Sample:
    """A text to be written: from a wording, by its id such as "heldout-2" and its text, and a user prompt."""

    level: ScoreLevel
    wording: str
    system_prompt: str
    user_prompt_id: str
    user_prompt: str


@dataclass(frozen=True)
class Trial:
    """Who writes and who judges, and how it is asked.

    Attributes:
        writer: Bound by `Spending.bind`.
        judge: Its model, if it has one, bound likewise.
        store: Where the writer's calls are kept.
        prompts: Train user prompts by id; each is asked at every level.
        margin: Score points that adjacent levels must be apart.
        seed: Another one asks the writer anew.
        say: Takes lines for people.
    """

    writer: Model
    judge: Judge
    store: CallStore
    prompts: Mapping[str, str]
    margin: float
    seed: int
    say: Callable[[str], None]


@dataclass(frozen=True)
class Round:
    """A rubric with its system prompts, what was measured of them, and the levels whose wordings are new in it."""

    rubric: Rubric
    figures: Fidelity
    revised: tuple[ScoreLevel, ...]


def trial_prompts(rubric: Rubric, number: int) -> dict[str, str]:
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
    """The texts of a trial, level by level: each wording is used, and each user prompt equally often.

    Within a level, wordings and user prompts advance together, so that no pair of them comes twice: 7 wordings and 6
    user prompts give 12 texts, two per user prompt and one or two per wording.
    """
    samples, asked = [], list(prompts.items())
    for level in ScoreLevel:
        wordings = list(wordings_by_id(rubric, level).items())
        texts = -(-len(wordings) // len(asked)) * len(asked)
        samples += [
            Sample(level, *wordings[number % len(wordings)], *asked[number % len(asked)]) for number in range(texts)
        ]
    return samples


async def measure_wordings(trial: Trial, rubric: Rubric) -> Fidelity:
    """Figures of a rubric's system prompts.

    Raises:
        ValueError: If a local writer's chat template does not show it the system prompt.
    """
    samples = plan_samples(rubric, trial.prompts)
    _require_system_prompt_is_seen(trial, samples[0])
    counter = count(1)

    async def score(sample: Sample) -> Scored:
        scored = await _score(trial, rubric, sample)
        if (done := next(counter)) % _PROGRESS_TEXTS == 0 or done == len(samples):
            trial.say(f"written and judged: {done} of {len(samples)} texts")
        return scored

    return fidelity(await gather(score(sample) for sample in samples), trial.margin)


async def write_until_faithful(
    author: Author,
    trial: Trial,
    rubric: Rubric,
    counts: tuple[int, int],
    revisions: int,
    show: Callable[[Round], None],
) -> list[Round]:
    """The rounds, the last of them accepted or the last that was to be had.

    Args:
        author: Who writes the system prompts.
        trial: Who tries them.
        rubric: System prompts of its own are not looked at.
        counts: Wordings per level in the splits train and heldout.
        revisions: Most rounds after the first.
        show: Is called with each round as it ends.

    Raises:
        DraftError: If the first wordings could not be written. A revision that cannot be written ends the rounds.
    """
    current = await write_wordings(author, rubric, *counts)
    rounds: list[Round] = []
    revised: tuple[ScoreLevel, ...] = tuple(ScoreLevel)
    while True:
        rounds.append(Round(current, await measure_wordings(trial, current), revised))
        show(rounds[-1])
        revised = tuple(rounds[-1].figures.failed_levels)
        if not revised or len(rounds) > revisions:
            return rounds
        tried = {level: revision_text(rounds[-1], level, counts) for level in revised}
        try:
            current = await write_wordings(author, current, *counts, tried)
        except DraftError as error:
            author.say(str(error))
            return rounds


def revision_text(tried: Round, level: ScoreLevel, counts: tuple[int, int]) -> str:
    """The numbers of a round and the wordings of a level with theirs, as the author reads them."""
    texts, lines = wordings_by_id(tried.rubric, level), []
    for row in tried.figures.levels[level.rank].wordings:
        score = "no score" if row.mean is None else f"mean score {row.mean:.1f}"
        lines.append(f"- {row.wording} ({score}): {texts[row.wording]}")
    numbers, (train, heldout) = tried.figures.text(), counts
    return PROMPTS["revise"].substitute(numbers=numbers, wordings="\n".join(lines), train=train, heldout=heldout)


def fidelity_report(rounds: Sequence[Round], facts: Mapping[str, Any]) -> dict[str, Any]:
    """What goes into ID.fidelity.json: `facts` on models, versions and settings, and every round; the last decides."""
    last = rounds[-1]
    return {
        "schema": REPORT_SCHEMA,
        "rubric": last.rubric.id,
        "accepted": last.figures.passed,
        "rubric_hash": last.rubric.hash,
        "wordings_hash": wordings_hash(last.rubric),
        "margin": last.figures.margin,
        **facts,
        "rounds": [
            {
                "wordings_hash": wordings_hash(tried.rubric),
                "written": list(tried.revised),
                **tried.figures.to_json(),
                "system_prompts": {level.value: wordings_by_id(tried.rubric, level) for level in ScoreLevel},
            }
            for tried in rounds
        ],
    }


async def _score(trial: Trial, rubric: Rubric, sample: Sample) -> Scored:
    reply, _ = await ask(trial.store, _writer_call(trial, sample))
    outcome = partial(Scored, sample.level, sample.wording, sample.user_prompt_id, cut=was_cut_off(reply.stop_reason))
    if reply.stop_reason == "content_filter":
        return outcome(score=None, failure=WRITER_REFUSAL)
    if not reply.text.strip():
        return outcome(score=None, failure=WRITER_EMPTY)
    try:
        judgment = await trial.judge.judge(rubric, sample.user_prompt, reply.text)
    except JudgeFailure as failure:
        return outcome(score=None, failure=failure.mode)
    return outcome(score=judgment.score, short=judgment.reason == NO_RESPONSE)


def _writer_call(trial: Trial, sample: Sample) -> Call:
    """The call that writes a text: the system prompt, the user prompt and nothing else."""
    system, user = ChatMessageSystem(content=sample.system_prompt), ChatMessageUser(content=sample.user_prompt)
    messages: list[ChatMessage] = [system, user]
    return Call(trial.writer, messages, replicate=f"fidelity {trial.seed}")


def _require_system_prompt_is_seen(trial: Trial, sample: Sample) -> None:
    """Some chat templates leave the system turn out without a word; only those of local models can be looked at."""
    api = trial.writer.api
    messages = list(_writer_call(trial, sample).messages)
    if hasattr(api, "hf_chat") and sample.system_prompt not in api.hf_chat(messages, []):
        raise ValueError(
            f"{trial.writer}: the chat template leaves out the system turn, expected one that shows it; take an "
            "adapter folder of recipes/dpo_lora.py, whose template is repaired, or another --writer"
        )
