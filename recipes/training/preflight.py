"""Check what the trainers would really train on, before they do: TRL's own tokenised columns.

TRL keeps the common prefix of the rendered prompt and the rendered prompt + completion. A chat template that prints the
system turn in one and not in the other (Mistral-Nemo, 7B-v0.3, Small-2409) therefore loses it without an error: both
members of a twin get one prompt with opposite labels, and nothing is learnt. `dpo_lora.py` runs it before loading a
model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from jinja2.exceptions import TemplateError
from transformers import GenerationConfig

from training import RecipeError
from training.chat_templates import inference_ids, knows_thinking, thinking_is_set
from training.trainer import tokenise_dpo_rows, tokenise_sft_rows
from training.twins import twin_groups

if TYPE_CHECKING:
    from datasets import Dataset

Problems = defaultdict[str, list[int]]  # rows by what is wrong with them, so that a fault of every row is one sentence


@dataclass(frozen=True)
class PreflightReport:
    """What one stage would train on: counts of rows and twins, lengths in tokens, and what is wrong with them.

    `errors` stop a run; `warnings` are printed and kept. `dropped` rows have prompts of max_length tokens or more,
    `orphaned` rows have lost their twin to that (0 in the SFT stage), `truncated` rows lose the end of a response.
    """

    stage: str
    rows: int
    dropped: int
    truncated: int
    median_tokens: float
    max_tokens: int
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    twins: int
    orphaned: int


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


def tokenise(stage: str, rows: Dataset, tokenizer: Any, args: Any) -> Dataset:
    """The rows as TRL's trainer of a stage, "DPO" or "SFT", tokenises them.

    For DPO `prompt_ids, chosen_ids, rejected_ids`, over-long prompts dropped; for SFT `input_ids, labels`, cut to
    max_length, rows without a label dropped.

    Raises:
        RecipeError: if the template refuses a system turn.
    """
    try:
        return {"DPO": tokenise_dpo_rows, "SFT": tokenise_sft_rows}[stage](rows, tokenizer, args)
    except TemplateError as error:
        raise RecipeError(
            f"chat template: refuses a prompt of a system and a user turn ({error}), expected one that renders both; "
            "use a model or a template with a system turn"
        ) from error


def check_rows(
    stage: str, dataset: Dataset, tokenizer: Any, max_length: int | None, rows_given: int, end_ids: frozenset[int]
) -> PreflightReport:
    """Report on rows tokenised for a stage, "DPO" or "SFT".

    Errors: (a) system text missing from the prompt tokens; (b) prompt tokens other than at inference; (c) two BOS;
    (d) a response without an end-of-turn token among its last three; for SFT a loss on less than the response; for DPO
    twins with one prompt, and a row whose twin is dropped. An empty dataset is an error.

    Args:
        stage: whose trainer the rows are for.
        dataset: what `tokenise` returns.
        tokenizer: with the template used to tokenise.
        max_length: tokens of prompt and response together, None for no limit.
        rows_given: rows before tokenising, to count the dropped.
        end_ids: what `end_of_turn_ids` returns.
    """
    problems: Problems = defaultdict(list)
    lengths, truncated = [], 0
    for number, row in enumerate(dataset):
        prompt, responses = split_row(row)
        lengths.append(len(prompt) + max(len(response) for response in responses))
        for sentence in prompt_problems(prompt, row, tokenizer):
            problems[sentence].append(number)
        if stage == "SFT" and row["labels"][len(prompt) :] != responses[0]:
            problems["the loss leaves out part of the response"].append(number)
        is_open = any(end_ids.isdisjoint(response[-3:]) for response in responses)
        # rows of SFT are cut already, those of DPO when a batch is made
        is_cut = stage == "SFT" and is_open and lengths[-1] == max_length
        truncated += is_cut or lengths[-1] > (max_length or lengths[-1])
        if is_open and not is_cut:
            problems["a response does not end in the end-of-turn token"].append(number)
    groups, prompts = (twin_groups(dataset["pair_id"]), dataset["prompt_ids"]) if stage == "DPO" else ([], [])
    for group in groups:
        if len(group) == 1:
            sentence = f"its twin is dropped, with a prompt of max_length={max_length} or more; drop both"
            problems[sentence].append(group[0])
        elif len({tuple(prompts[row]) for row in group}) < len(group):
            problems["both rows of a twin have one prompt, so that their labels contradict"].append(group[0])
    errors = [
        f"{stage} preflight: row {rows[0]}: {problem} ({len(rows)} of {len(lengths)} rows)"
        for problem, rows in problems.items()
    ]
    if not lengths:
        errors = [f"{stage} preflight: all {rows_given} rows have prompts of max_length={max_length} or more"]
    dropped = rows_given - len(lengths)
    counts = {"are dropped, their prompt fills max_length": dropped, "lose their end": truncated}
    warnings = [
        f"{stage} preflight: {count} of {rows_given} rows {what}; max_length is {max_length} tokens"
        for what, count in counts.items()
        if count
    ]
    return PreflightReport(
        stage=stage,
        rows=len(lengths),
        dropped=dropped,
        truncated=truncated,
        median_tokens=median(lengths) if lengths else 0,
        max_tokens=max(lengths, default=0),
        errors=tuple(errors),
        warnings=(*warnings, *(thinking_warnings(dataset, tokenizer) if stage == "DPO" else ())),
        twins=sum(len(group) == 2 for group in groups),
        orphaned=sum(len(group) == 1 for group in groups),
    )


def split_row(row: dict[str, Any]) -> tuple[list[int], list[list[int]]]:
    """Tokens of the prompt, and of each response, of a row tokenised for DPO or SFT."""
    if "prompt_ids" in row:
        return row["prompt_ids"], [row["chosen_ids"], row["rejected_ids"]]
    start = next(position for position, label in enumerate(row["labels"]) if label != -100)
    return row["input_ids"][:start], [row["input_ids"][start:]]


def thinking_warnings(dataset: Dataset, tokenizer: Any) -> tuple[str, ...]:
    """A sentence if the template has a thinking switch that neither it nor every row sets, else nothing."""
    if not knows_thinking(tokenizer) or thinking_is_set(tokenizer):
        return ()
    settings = dataset["chat_template_kwargs"] if "chat_template_kwargs" in dataset.column_names else [None]
    if all("enable_thinking" in (row or {}) for row in settings):
        return ()
    return (
        "the chat template has a thinking switch that the data leave open; set enable_thinking: false, or put "
        'chat_template_kwargs {"enable_thinking": false} in every row, and evaluate with the same',
    )


def prompt_problems(prompt_ids: Sequence[int], row: dict[str, Any], tokenizer: Any) -> Iterator[str]:
    """What is wrong with the prompt tokens of a row as trained on, checks (a) to (c); nothing for a sound row."""
    system = next(message["content"] for message in row["prompt"] if message["role"] == "system")
    # Whitespace is collapsed: templates strip messages, and some tokenizers add or drop a space when decoding.
    if " ".join(system.split()) not in " ".join(tokenizer.decode(prompt_ids).split()):
        yield "the chat template drops the system prompt, so that both rows of a twin train on one prompt"
        return
    rendered = inference_ids(tokenizer, row)
    if rendered != list(prompt_ids):
        yield (
            f"the chat template renders another prompt in training ({len(prompt_ids)} tokens) than at inference "
            f"({len(rendered)} tokens)"
        )
    if tokenizer.bos_token_id is not None and list(prompt_ids[:2]).count(tokenizer.bos_token_id) > 1:
        yield "the prompt begins with two BOS tokens"
