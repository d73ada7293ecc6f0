"""Check what the trainers would really train on, before they do: TRL's own tokenised columns.

TRL keeps the common prefix of the rendered prompt and the rendered prompt + completion. A chat template that prints the
system turn in one and not in the other (Mistral-Nemo, 7B-v0.3, Small-2409) therefore loses it without an error: both
members of a twin get one prompt with opposite labels, and nothing is learnt. `dpo_lora.py` runs it before loading a
model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from jinja2.exceptions import TemplateError
from transformers import GenerationConfig

from training import RecipeError
from training.chat_templates import inference_ids, knows_thinking, thinking_is_set
from training.trl_private import tokenise_dpo_rows, tokenise_sft_rows
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
    twins: int = 0
    orphaned: int = 0


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


def check_dpo(
    dataset: Dataset, tokenizer: Any, max_length: int | None, rows_given: int, end_ids: frozenset[int]
) -> PreflightReport:
    """Report on rows tokenised for DPO.

    Errors: (a) system text missing from the prompt tokens; (b) prompt tokens other than at inference; (c) two BOS;
    (d) a completion without an end-of-turn token among its last three; (e) twins with one prompt; (f) a row whose
    twin is dropped. An empty dataset is an error. A thinking switch that the rows leave open is a warning.

    Args:
        dataset: what `tokenise` returns.
        tokenizer: with the template used to tokenise.
        max_length: tokens of prompt and completion together, None for no limit.
        rows_given: rows before tokenising, to count the dropped.
        end_ids: what `end_of_turn_ids` returns.
    """
    problems: Problems = defaultdict(list)
    lengths = []
    for number, row in enumerate(dataset):
        for sentence in prompt_problems(row["prompt_ids"], row, tokenizer):
            problems[sentence].append(number)
        for side in ("chosen", "rejected"):
            if end_ids.isdisjoint(row[f"{side}_ids"][-3:]):
                problems[f"the {side} response does not end in the end-of-turn token"].append(number)
        lengths.append(len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])))
    groups = twin_groups(dataset["pair_id"])
    prompts = dataset["prompt_ids"]
    for group in groups:
        if len(group) == 1:
            sentence = f"its twin is dropped, with a prompt of max_length={max_length} or more; drop both"
            problems[sentence].append(group[0])
        elif len({tuple(prompts[row]) for row in group}) < len(group):
            problems["both rows of a twin have one prompt, so that their labels contradict"].append(group[0])
    truncated = sum(length > max_length for length in lengths) if max_length else 0
    report = make_report("DPO", problems, lengths, rows_given, truncated, max_length)
    return replace(
        report,
        twins=sum(len(group) == 2 for group in groups),
        orphaned=sum(len(group) == 1 for group in groups),
        warnings=report.warnings + thinking_warnings(dataset, tokenizer),
    )


def check_sft(
    dataset: Dataset, tokenizer: Any, max_length: int | None, rows_given: int, end_ids: frozenset[int]
) -> PreflightReport:
    """Report on rows tokenised for SFT: the checks (a) to (d) of `check_dpo`, and a loss on exactly the completion.

    Arguments as for `check_dpo`. Rows are cut already, so `truncated` counts the rows that are max_length tokens long
    and do not end in the end-of-turn token.
    """
    problems: Problems = defaultdict(list)
    truncated = 0
    for number, row in enumerate(dataset):
        ids, labels = row["input_ids"], row["labels"]
        start = next(position for position, label in enumerate(labels) if label != -100)
        for sentence in prompt_problems(ids[:start], row, tokenizer):
            problems[sentence].append(number)
        if labels[start:] != ids[start:]:
            problems["the loss leaves out part of the completion"].append(number)
        if end_ids.isdisjoint(ids[-3:]) and max_length and len(ids) >= max_length:
            truncated += 1
        elif end_ids.isdisjoint(ids[-3:]):
            problems["the response does not end in the end-of-turn token"].append(number)
    return make_report("SFT", problems, [len(ids) for ids in dataset["input_ids"]], rows_given, truncated, max_length)


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


def make_report(
    stage: str, problems: Problems, lengths: list[int], rows_given: int, truncated: int, max_length: int | None
) -> PreflightReport:
    """The report of a stage, its twins not counted; `lengths` are tokens of the rows that are left."""
    dropped = rows_given - len(lengths)
    errors = [
        f"{stage} preflight: row {rows[0]}: {problem} ({len(rows)} of {len(lengths)} rows)"
        for problem, rows in problems.items()
    ]
    if not lengths:
        errors = [f"{stage} preflight: all {rows_given} rows have prompts of max_length={max_length} or more"]
    warnings = [
        f"{stage} preflight: {count} of {rows_given} rows {what}; max_length is {max_length} tokens"
        for count, what in ((dropped, "are dropped, their prompt fills max_length"), (truncated, "lose their end"))
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
        warnings=tuple(warnings),
    )
