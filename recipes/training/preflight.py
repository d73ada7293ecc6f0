"""Check what the trainers would really train on, before they do: TRL's own tokenised columns.

TRL keeps the common prefix of the rendered prompt and the rendered prompt + completion. A chat template that prints the
system turn in one and not in the other (Mistral-Nemo, 7B-v0.3, Small-2409) therefore loses it without an error: both
members of a twin get one prompt with opposite labels, and nothing is learnt. `dpo_lora.py` runs it before loading a
model, on DPO's tokens; those of SFT are the same prompt and chosen response.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from statistics import median
from typing import Any

from datasets import Dataset
from jinja2.exceptions import TemplateError
from transformers import GenerationConfig

from training import RecipeError
from training.chat_templates import inference_ids, leaves_thinking_open
from training.trainer import CPTConfig, tokenise_dpo_rows
from training.twins import twin_groups


def end_of_turn_ids(tokenizer: Any, model: str, revision: str | None) -> frozenset[int]:
    """Tokens that end a response at inference: the tokenizer's EOS and those of the model's generation settings.

    Gemma's turns end in `<end_of_turn>` and Llama 3's in `<|eot_id|>`, which only the latter list.
    """
    try:
        listed = GenerationConfig.from_pretrained(model, revision=revision or "main").eos_token_id
    except OSError:  # a model without such a file
        listed = None
    ends = [tokenizer.eos_token_id, *(listed if isinstance(listed, list) else [listed])]
    return frozenset(end for end in ends if end is not None)


def check_rows(rows: Dataset, tokenizer: Any, config: CPTConfig, end_ids: frozenset[int]) -> dict[str, Any]:
    """Counts, lengths in tokens and warnings of the rows as DPOTrainer tokenises them with this tokenizer.

    `dropped` rows have prompts of max_length tokens or more, `truncated` ones lose the end of a response; `end_ids` is
    what `end_of_turn_ids` returns.

    Raises:
        RecipeError: for a template that refuses a system turn, a system text missing from the prompt tokens, prompt
            tokens other than at inference, two BOS, a response without an end-of-turn token among its last three, a row
            whose twin is dropped, or no rows left.
    """
    max_length = config.max_length
    try:
        tokens = tokenise_dpo_rows(rows, tokenizer, config)
    except TemplateError as error:
        raise RecipeError(
            f"chat template: refuses a prompt of a system and a user turn ({error}), expected one that renders both; "
            "use a model or a template with a system turn"
        ) from error
    if not len(tokens):
        raise RecipeError(f"preflight: all {len(rows)} rows have prompts of max_length={max_length} or more")
    problems = defaultdict(list)  # rows by what is wrong with them, so that a fault of every row is one sentence
    lengths = []
    for number, row in enumerate(tokens):
        responses = row["chosen_ids"], row["rejected_ids"]
        lengths.append(len(row["prompt_ids"]) + max(len(response) for response in responses))
        for sentence in prompt_problems(row, tokenizer):
            problems[sentence].append(number)
        if any(end_ids.isdisjoint(response[-3:]) for response in responses):
            problems["a response does not end in the end-of-turn token"].append(number)
    for group in twin_groups(tokens["pair_id"]):
        if len(group) == 1:
            sentence = f"its twin is dropped, with a prompt of max_length={max_length} or more; drop both"
            problems[sentence].append(group[0])
    if problems:
        problem, numbers = next(iter(problems.items()))
        raise RecipeError(f"preflight: row {numbers[0]}: {problem} ({len(numbers)} of {len(lengths)} rows)")
    dropped = len(rows) - len(lengths)
    truncated = sum(length > max_length for length in lengths) if max_length else 0
    counts = {"are dropped, their prompt fills max_length": dropped, "lose their end": truncated}
    warnings = [f"{n} of {len(rows)} rows {what}; max_length is {max_length} tokens" for what, n in counts.items() if n]
    return {
        "rows": len(lengths),
        "dropped": dropped,
        "truncated": truncated,
        "median_tokens": median(lengths),
        "max_tokens": max(lengths),
        "warnings": [*warnings, *thinking_warnings(tokens, tokenizer)],
    }


def thinking_warnings(dataset: Dataset, tokenizer: Any) -> Iterator[str]:
    """A sentence if the template has a thinking switch that neither `enable_thinking` nor every row sets."""
    rows = dataset["chat_template_kwargs"] if "chat_template_kwargs" in dataset.column_names else [{}]
    if leaves_thinking_open(tokenizer) and not all("enable_thinking" in row for row in rows):
        yield (
            "the chat template has a thinking switch that the data leave open; set enable_thinking: false, or put "
            'chat_template_kwargs {"enable_thinking": false} in every row, and evaluate with the same'
        )


def prompt_problems(row: dict[str, Any], tokenizer: Any) -> Iterator[str]:
    """What is wrong with the prompt tokens of a row as trained on."""
    tokens = row["prompt_ids"]
    # Whitespace is collapsed: templates strip messages, and some tokenizers add or drop a space when decoding.
    if " ".join(row["prompt"][0]["content"].split()) not in " ".join(tokenizer.decode(tokens).split()):
        yield "the chat template drops the system prompt, so that both rows of a twin train on one prompt"
        return
    rendered = inference_ids(tokenizer, row)
    if rendered != tokens:
        yield (
            f"the chat template renders another prompt in training ({len(tokens)} tokens) than at inference "
            f"({len(rendered)} tokens)"
        )
    if tokenizer.bos_token_id is not None and tokens[:2].count(tokenizer.bos_token_id) > 1:
        yield "the prompt begins with two BOS tokens"
