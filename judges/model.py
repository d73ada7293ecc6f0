"""The model judge: one call, at most three where replies are unusable, for all criteria of a response.

It goes to the inspect model bound to the role `grader`. `prompts.py` is what the judge reads, `verdict.py` how its
reply becomes the score of each criterion. The rubric is the first block of the message and carries the cache
breakpoint, so that a run over one long rubric pays for it once. Every call goes through the call store, so a judgment
is paid for once. The weighted total is computed here and never by the model.
"""

import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

import anyio

from judges.cost import cost_usd, total_usd
from judges.judgment import NO_RESPONSE, FailureMode, JudgeFailure, Judgment, is_no_response, weighted_total
from judges.prompts import PROMPT_VERSION, PromptVersion, judge_messages, prompt_hash
from judges.scale import ScaleWatch
from judges.verdict import Scores, Verdict, parse_verdict
from model_calls.call import name_of
from model_calls.errors import was_cut_off
from rubrics import Rubric
from rubrics.pictures import Picture

if TYPE_CHECKING:
    from inspect_ai.model import GenerateConfig, Model

    from model_calls import Call, CallStore, Reply

JudgeProtocol = Literal["criteria", "holistic"]

DEFAULT_JUDGE = "anthropic/claude-sonnet-5-5"
DEFAULT_STORE = "calls/judge.sqlite"
MAX_ATTEMPTS = 3
WARM_SECONDS = 240.0  # a provider's cache entry lives five minutes after its last use; a call may take one of them


@dataclass(frozen=True)
class JudgeSettings:
    """A judge as the commands are told of it: "measured" or an inspect model, with at least 1 judgment of each text."""

    model: str
    repeats: int = 1
    store: str = DEFAULT_STORE
    prompt_version: PromptVersion = PROMPT_VERSION


@dataclass(frozen=True)
class ModelJudge:
    """A judge made of a language model.

    Attributes:
        model: Inspect model to ask; None takes that of `grader_models`.
        store: Where calls are kept and looked up; None opens `DEFAULT_STORE` in the working directory.
        protocol: Which score is the headline: "criteria", the weighted total computed by us, or "holistic", the
            judge's own overall score (the paper's protocol). Both are kept.
        repeat: Which asking this is, from 0; another number asks the same question anew.
        prompt_version: Wording of the question, see `prompts.SCALES`; scores under two are not comparable.
        sees_picture: Whether it is shown the picture that a user prompt shows; the model must read pictures.
    """

    model: "Model | None" = None
    store: "CallStore | None" = None
    protocol: JudgeProtocol = "criteria"
    repeat: int = 0
    prompt_version: PromptVersion = PROMPT_VERSION
    sees_picture: bool = False

    async def judge(self, rubric: Rubric, user_prompt: str, response: str, picture: Picture | None = None) -> Judgment:
        """Judgment of one response, from at most three replies.

        A response under 15 words is not sent: score 0, reason "no_response". A refusal is final; a truncated or
        unusable reply is asked for again. All replies, the unusable ones too, are kept, so a rerun sends nothing; those
        of a response that got no verdict are marked, for `cpt calls forget`.

        Raises:
            JudgeFailure: If no reply gave a usable verdict. Transport errors pass through, so a rerun resumes.
            PrerequisiteError: If the judge grades on another scale, see `ScaleWatch`.
        """
        from model_calls import open_store

        model = self.model or grader_models()[0]
        about: dict[str, Any] = {
            "judge": name_of(model),
            "judge_hash": judge_hash(model),
            "prompt_version": self.prompt_version,
            "prompt_hash": prompt_hash(self.prompt_version, self.sees_picture and picture is not None),
            "protocol": self.protocol,
            "rubric_hash": rubric.hash,
        }
        if is_no_response(response):
            return Judgment(score=0, reason=NO_RESPONSE, cost_usd=0, **about)
        store = self.store if self.store is not None else open_store(DEFAULT_STORE)  # an empty store is falsy
        replies: list[Reply] = []
        usage: Counter[str] = Counter()
        costs: list[float | None] = []
        for attempt in range(1, MAX_ATTEMPTS + 1):
            call = self.call(rubric, user_prompt, response, attempt, picture)
            reply = await self._ask(store, call, rubric)
            replies.append(reply)
            usage.update(reply.usage)
            costs.append(cost_usd(name_of(model), reply.usage, batch=reply.batch))
            try:
                criteria, holistic = _read(reply, rubric, response)
            except JudgeFailure as failure:
                if attempt == MAX_ATTEMPTS or failure.mode == "refusal":
                    await _mark(store, replies, failure.mode)
                    raise JudgeFailure(failure.mode, failure.detail, attempt, usage, total_usd(costs)) from failure
                continue
            await _mark(store, replies, "")
            total = weighted_total(rubric, {criterion.id: criterion.score for criterion in criteria})
            watch = _WATCHES.setdefault(store, {}).setdefault(about["judge_hash"], ScaleWatch(name_of(model)))
            watch.look(hash((rubric.hash, response)), [criterion.score for criterion in criteria], total, holistic)
            return Judgment(
                score=total if self.protocol == "criteria" else holistic,
                criteria=criteria,
                holistic=holistic,
                total=total,
                served_model=reply.served_model,
                attempts=attempt,
                usage=usage,
                cost_usd=total_usd(costs),
                **about,
            )
        raise AssertionError("the last attempt returns or raises")

    def call(
        self, rubric: Rubric, user_prompt: str, response: str, attempt: int = 1, picture: Picture | None = None
    ) -> "Call":
        """The call that asks for a verdict; attempts, from 1, are kept apart, so no bad reply is replayed for ever."""
        from model_calls import Call

        return Call(
            model=self.model or grader_models()[0],
            messages=judge_messages(
                rubric, user_prompt, response, self.prompt_version, picture if self.sees_picture else None
            ),
            config=_verdict_config(),
            replicate=f"{self.repeat}.{attempt}",
        )

    def calls_so_far(self, store: "CallStore", rubric: Rubric, user_prompt: str, response: str) -> "list[Call]":
        """Every attempt that the store has a reply to, and the one that would be made next, if any.

        There is none after a usable verdict, a refusal or the last attempt.
        """
        calls: list[Call] = []
        for attempt in range(1, MAX_ATTEMPTS + 1):
            calls.append(self.call(rubric, user_prompt, response, attempt))
            reply = store.get(calls[-1].key)
            if reply is None:
                break
            try:
                _read(reply, rubric, response)
                break
            except JudgeFailure as failure:
                if failure.mode == "refusal":
                    break
        return calls

    async def _ask(self, store: "CallStore", call: "Call", rubric: Rubric) -> "Reply":
        from model_calls import ask

        if call.key in store:
            return (await ask(store, call))[0]
        async with _WARMERS.setdefault(store, PrefixWarmer()).turn(
            f"{call.model}\0{self.prompt_version}\0{rubric.hash}"
        ):
            return (await ask(store, call))[0]


class PrefixWarmer:
    """Of calls that share a prompt prefix lets one go alone, then all others: the provider's cache is written once."""

    def __init__(self) -> None:
        self._used: dict[str, float] = {}
        self._locks: dict[str, anyio.Lock] = {}

    @asynccontextmanager
    async def turn(self, prefix: str) -> AsyncIterator[None]:
        """Waits while another call warms the same prefix; the body is the call.

        The first call of a prefix, or the first after it was unused for four minutes, is the one that warms it. If it
        fails, the others go at once, or each would wait for the retries of the one before.
        """
        async with self._locks.setdefault(prefix, anyio.Lock()):
            if time.monotonic() - self._used.get(prefix, float("-inf")) >= WARM_SECONDS:
                try:
                    yield
                finally:
                    self._used[prefix] = time.monotonic()
                return
        self._used[prefix] = time.monotonic()
        yield


# all judges that ask through one store take turns with one another, and are watched over all its samples
_WARMERS: "WeakKeyDictionary[CallStore, PrefixWarmer]" = WeakKeyDictionary()
_WATCHES: "WeakKeyDictionary[CallStore, dict[str, ScaleWatch]]" = WeakKeyDictionary()  # by `judge_hash`


async def _mark(store: "CallStore", replies: "list[Reply]", mode: FailureMode | Literal[""]) -> None:
    """Keeps with replies how no verdict came of them; "" for one that did, which an older version could not read."""
    changed = [replace(reply, unusable=mode) for reply in replies if reply.unusable != mode]
    if changed:
        await store.put(*changed)


def _read(reply: "Reply", rubric: Rubric, response: str) -> Scores:
    """As `parse_verdict`; a refused or cut reply is not read, even if it could be."""
    if reply.stop_reason == "content_filter" or was_cut_off(reply.stop_reason):
        mode: FailureMode = "truncated" if was_cut_off(reply.stop_reason) else "refusal"
        raise JudgeFailure(mode, f"stop reason {reply.stop_reason}")
    return parse_verdict(rubric, reply.text, response)


@cache
def _verdict_config() -> "GenerateConfig":
    from inspect_ai.model import GenerateConfig, ResponseSchema
    from inspect_ai.util import json_schema

    return GenerateConfig(response_schema=ResponseSchema(name="verdict", json_schema=json_schema(Verdict)))


def judge_hash(model: "Model") -> str:
    """Hash of the model, its arguments and settings, 12 hex digits: that of the call that asks it nothing."""
    from model_calls import Call

    return Call(model, []).key[:12]


def grader_models() -> "list[Model]":
    """Every model bound to the role `grader`, in order; without one the default judge, never the model under test."""
    from inspect_ai.model import get_model, model_roles

    bound = model_roles().get("grader")
    if isinstance(bound, list):
        return [judge_model(model) for model in bound]
    return [judge_model(get_model(role="grader", default=DEFAULT_JUDGE, config=_config()))]


def judge_model(model: "Model | str") -> "Model":
    """A model with the settings of a judge, where it has none of its own."""
    from inspect_ai.model import get_model

    if isinstance(model, str):
        return get_model(model, config=_config())
    configured = copy(model)
    configured.config = _config().merge(model.config)
    return configured


def _config() -> "GenerateConfig":
    from inspect_ai.model import GenerateConfig

    # thinking counts as output on current Claude models, and can eat 2000 tokens
    return GenerateConfig(max_tokens=6000, reasoning_effort="low")
