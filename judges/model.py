"""The model judge: one call per response to an inspect model bound to the role `grader`.

The rubric is the first block of the message and carries the cache breakpoint, so that a run over one rubric pays for
it once. The score is the weighted total of the criterion scores, computed here and never by the model.
"""

from collections import Counter
from typing import TYPE_CHECKING

from judges.judgment import FailureMode, JudgeFailure, Judgment, is_no_response, no_response, weighted_total
from judges.prompts import PROMPT_VERSION, RESPONSE_BLOCK, RUBRIC_BLOCK, SYSTEM, as_data
from judges.verdict import Verdict, parse_verdict
from rubrics import Rubric

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage, Model, ModelOutput

DEFAULT_JUDGE = "anthropic/claude-sonnet-5-5"
MAX_ATTEMPTS = 3
MAX_TOKENS = 6000  # thinking counts as output on current Claude models; 2000 can be eaten by it
ATTEMPT_TIMEOUT_SECONDS = 180
MAX_TRANSPORT_RETRIES = 8

_STOPPED: dict[str, FailureMode] = {
    "content_filter": "refusal",
    "max_tokens": "truncated",
    "model_length": "truncated",
}


class ModelJudge:
    """A judge made of a language model.

    Args:
        model: Inspect model to ask; None takes the one bound to the role `grader`, or `DEFAULT_JUDGE`. The model under
            test never stands in.
    """

    def __init__(self, model: "Model | None" = None):
        self._model = model

    async def judge(self, rubric: Rubric, user_prompt: str, response: str) -> Judgment:
        """Judgment of one response, with at most three calls.

        A response under 15 words is not sent: score 0, reason "no_response".

        Raises:
            JudgeFailure: If no attempt gave a usable verdict. Transport errors pass through, so a rerun resumes.
        """
        model = self._model or grader_model()
        if is_no_response(response):
            return no_response(str(model), PROMPT_VERSION, rubric)
        usage: Counter[str] = Counter()
        messages = judge_messages(rubric, user_prompt, response)
        for attempt in range(1, MAX_ATTEMPTS + 1):
            output = await _ask(model, messages)
            usage.update(_usage(output))
            try:
                if output.stop_reason in _STOPPED:
                    raise JudgeFailure(_STOPPED[output.stop_reason], f"stop reason {output.stop_reason}")
                criteria, holistic = parse_verdict(rubric, output.completion)
            except JudgeFailure as failure:
                if attempt == MAX_ATTEMPTS:
                    raise JudgeFailure(failure.mode, str(failure), attempt, usage) from failure
                continue
            total = weighted_total(rubric, {criterion.id: criterion.score for criterion in criteria})
            return Judgment(
                total,
                criteria,
                holistic,
                "",
                str(model),
                PROMPT_VERSION,
                rubric.hash,
                output.model,
                attempt,
                dict(usage),
            )
        raise AssertionError("the last attempt returns or raises")


def grader_model() -> "Model":
    """The inspect model bound to the role `grader`, or the default judge. Never the model under test."""
    from inspect_ai.model import GenerateConfig, get_model

    config = GenerateConfig(
        max_tokens=MAX_TOKENS,
        reasoning_effort="low",
        attempt_timeout=ATTEMPT_TIMEOUT_SECONDS,
        max_retries=MAX_TRANSPORT_RETRIES,
    )
    return get_model(role="grader", default=DEFAULT_JUDGE, config=config)


def judge_messages(rubric: Rubric, user_prompt: str, response: str) -> "list[ChatMessage]":
    """The messages of one judge call: system, then one user message with a rubric block and a response block."""
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, ContentText

    criterion_ids = ", ".join(criterion.id for criterion in rubric.criteria)
    rubric_text = RUBRIC_BLOCK.substitute(rubric=rubric.render(), criterion_ids=criterion_ids)
    response_text = RESPONSE_BLOCK.substitute(user_prompt=as_data(user_prompt), response=as_data(response))
    return [
        ChatMessageSystem(content=SYSTEM),
        ChatMessageUser(
            content=[ContentText(text=rubric_text, cache_breakpoint=True), ContentText(text=response_text)]
        ),
    ]


async def _ask(model: "Model", messages: "list[ChatMessage]") -> "ModelOutput":
    from inspect_ai.model import GenerateConfig, ResponseSchema
    from inspect_ai.util import json_schema

    schema = ResponseSchema(name="verdict", json_schema=json_schema(Verdict))
    # a malformed reply in inspect's generation cache would be replayed for ever
    return await model.generate(messages, config=GenerateConfig(response_schema=schema), cache=False)


def _usage(output: "ModelOutput") -> dict[str, int]:
    if output.usage is None:
        return {}
    kinds = (
        "input_tokens",
        "output_tokens",
        "input_tokens_cache_read",
        "input_tokens_cache_write",
        "reasoning_tokens",
    )
    counts = {kind: getattr(output.usage, kind) for kind in kinds}
    return {kind: count for kind, count in counts.items() if count}
