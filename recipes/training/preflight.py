"""Check what the trainers would really train on, before they do: TRL's own tokenised columns.

TRL keeps the common prefix of the rendered prompt and the rendered prompt + completion. A chat template that prints the
system turn in one and not in the other (Mistral-Nemo, 7B-v0.3, Small-2409) therefore loses it without an error: both
members of a twin get one prompt with opposite labels, and nothing is learnt. `dpo_lora.py` runs it before loading a
model, on DPO's tokens; those of SFT are the same prompt and chosen response.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from statistics import median
from typing import Any

from datasets import Dataset
from jinja2.exceptions import TemplateError
from transformers import GenerationConfig

from training import RecipeError
from training.chat_templates import inference_ids, leaves_thinking_open, reads_images, tokenizer_in
from training.pairs import text_of
from training.trainer import CPTConfig, tokenise_dpo_rows
from training.twins import twin_groups, twin_index_of


def end_of_turn_ids(tokenizer: Any, model: str, revision: str | None) -> frozenset[int]:
    """Tokens that end a response at inference: the tokenizer's EOS and those of the model's generation settings.

    Gemma's turns end in `<end_of_turn>` and Llama 3's in `<|eot_id|>`, which only the latter list.
    """
    try:
        listed = GenerationConfig.from_pretrained(model, revision=revision or "main").eos_token_id
    except OSError:  # a model without such a file
        listed = None
    ends = [tokenizer_in(tokenizer).eos_token_id, *(listed if isinstance(listed, list) else [listed])]
    return frozenset(end for end in ends if end is not None)


def check_rows(rows: Dataset, tokenizer: Any, config: CPTConfig, end_ids: frozenset[int]) -> dict[str, Any]:
    """Counts, lengths in tokens and warnings of the rows as DPOTrainer tokenises them with this tokenizer.

    `dropped` rows have prompts of max_length tokens or more, `truncated` ones lose the end of a response; `end_ids` is
    what `end_of_turn_ids` returns.

    Raises:
        RecipeError: for a template that refuses a system turn, a system text missing from the prompt tokens, prompt
            tokens other than at inference, two BOS, a response without an end-of-turn token among its last three, a
            special token in a text, an image that is left out or cut, a row whose twin is dropped, or no rows left.
    """
    max_length = config.max_length
    try:
        tokens = tokenise_dpo_rows(rows.add_column("file_row", list(range(len(rows)))), tokenizer, config)
    except TemplateError as error:
        raise RecipeError(
            f"chat template: refuses a prompt of a system and a user turn ({error}), expected one that renders both; "
            "use a model or a template with a system turn"
        ) from error
    if not len(tokens):
        raise RecipeError(f"preflight: all {len(rows)} rows have prompts of max_length={max_length} or more")
    words = tokenizer_in(tokenizer)
    added = (token.content for token in words.added_tokens_decoder.values() if token.special)
    special = sorted({*words.all_special_tokens, *added})
    problems = defaultdict(list)  # rows by what is wrong with them, so that a fault of every row is one sentence
    lengths = []
    for row in tokens:
        lengths.append(len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"])))
        for sentence in row_problems(row, tokenizer, special, end_ids):
            problems[sentence].append(row["file_row"])
        if reads_images(tokenizer) and max_length and len(row["prompt_ids"]) >= max_length:
            problems[f"its prompt with the image fills max_length={max_length}; raise it"].append(row["file_row"])
    index = twin_index_of(tokens) if "pair_id" in tokens.column_names else []
    for group in twin_groups(index):
        if len(group) == 1 and index[group[0]] >= 0:
            sentence = f"its twin is dropped, with a prompt of max_length={max_length} or more; drop both"
            problems[sentence].append(tokens[group[0]]["file_row"])
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
        "warnings": [*warnings, *template_warnings(tokens, tokenizer)],
    }


def template_warnings(dataset: Dataset, tokenizer: Any) -> Iterator[str]:
    """What training and evaluation may render in two ways: today's date, and a thinking switch that is left open."""
    if "strftime_now(" in tokenizer.chat_template:
        yield "the chat template prints today's date where it could not be pinned; train and evaluate on one day"
    rows = dataset["chat_template_kwargs"] if "chat_template_kwargs" in dataset.column_names else [{}]
    if leaves_thinking_open(tokenizer) and not all("enable_thinking" in row for row in rows):
        yield (
            "the chat template has a thinking switch that the data leave open; set enable_thinking: false, or put "
            'chat_template_kwargs {"enable_thinking": false} in every row, and evaluate with the same'
        )


def row_problems(row: dict[str, Any], tokenizer: Any, special: list[str], end_ids: frozenset[int]) -> Iterator[str]:
    """What is wrong with a row as trained on; its texts must not hold the tokens that the template steers with."""
    for part in ("prompt", "chosen", "rejected"):
        for message in row[part]:
            for token in special:
                if token in text_of(message):
                    text = "a response" if part != "prompt" else f"its {message['role']} turn"
                    yield f"{text} holds {token!r}, a special token that the model reads as control; take it out"
    yield from prompt_problems(row, tokenizer)
    if any(end_ids.isdisjoint(row[side][-3:]) for side in ("chosen_ids", "rejected_ids")):
        yield "a response does not end in the end-of-turn token"


def plain(text: str) -> str:
    """What is left of a text by every tokenizer: some normalise, templates strip, decoding adds or drops a space."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def prompt_problems(row: dict[str, Any], tokenizer: Any) -> Iterator[str]:
    """What is wrong with the prompt tokens of a row as trained on."""
    tokens = row["prompt_ids"]
    read = plain(tokenizer.decode(tokens, clean_up_tokenization_spaces=False))
    if plain(text_of(row["prompt"][0])) not in read:
        yield "the chat template drops the system prompt, so that both rows of a twin train on one prompt"
        return
    if not all(plain(text_of(message)) in read for message in row["prompt"][:-1]):
        yield "the chat template drops an earlier turn of the prompt"
        return
    if row.get("images") and tokenizer.image_token_id not in tokens:
        yield "the chat template drops the image"
        return
    rendered = inference_ids(tokenizer, row)
    if rendered != tokens and any(text_of(row[side][0])[:1].isspace() for side in ("chosen", "rejected")):
        yield "a response begins with white space, which joins the last token of the prompt; strip it"
    elif rendered != tokens:
        yield (
            f"the chat template renders another prompt in training ({len(tokens)} tokens) than at inference "
            f"({len(rendered)} tokens)"
        )
    begin = tokenizer_in(tokenizer).bos_token_id
    if begin is not None and tokens[:2].count(begin) > 1:
        yield "the prompt begins with two BOS tokens"
