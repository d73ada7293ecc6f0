"""A two-layer Llama with its own 512-token vocabulary and a few twins, made at test time: nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import small_tokenizer

STYLES = {
    "low": "Write in a flat, plain register. Keep sentences short and literal.",
    "high": "Write in a florid register. Break syntax and pile up images.",
}
PLAIN = ["The man opened the door.", "He looked at the room.", "There was a table.", "He sat down and waited."]
FLORID = ["Door, a mouth of rust exhaling clocks;", "the room unbuttoned itself, velvet, hive-lit;"]
TOPICS = ["a storm", "a harbour", "a letter", "a kettle", "a garden", "a train", "a mirror", "a market"]

# SmolLM2's template, as its tokenizer ships it.
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}"
    "{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def make_twin(number: int, pair_id: int | None = None) -> list[dict[str, Any]]:
    """Both rows of one twin; `number` decides user prompt and responses, and is the pair id unless one is given."""
    user = message("user", f"Write passage {number} about {TOPICS[number % len(TOPICS)]}.")
    plain = [message("assistant", " ".join(PLAIN[(number + i) % len(PLAIN)] for i in range(2 + number % 2)))]
    florid = [message("assistant", " ".join(FLORID[(number + i) % len(FLORID)] for i in range(1 + number % 2)))]
    rows = []
    for level, other, chosen, rejected in (("low", "high", plain, florid), ("high", "low", florid, plain)):
        rows.append(
            {
                "prompt": [message("system", STYLES[level]), user],
                "chosen": chosen,
                "rejected": rejected,
                "pair_id": number if pair_id is None else pair_id,
                "user_prompt_id": f"prompt-{number}",
                "rubric": "noir",
                "level": level,
                "rejected_level": other,
                "score_chosen": 10.0 if level == "low" else 95.0,
                "score_rejected": 95.0 if level == "low" else 10.0,
                "teacher": "test",
            }
        )
    return rows


def make_same_level_row(number: int) -> dict[str, Any]:
    """Half of twin `number` as a same-level pair: its rejected response was written for the same level."""
    row = make_twin(number, pair_id=1000 + number)[number % 2]
    return row | {"rejected_level": row["level"], "kind": "same_level"}


def make_rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    """`count` twins, two rows each, adjacent."""
    return [row for number in range(start, start + count) for row in make_twin(number)]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


MARKS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>", "[INST]", "[/INST]")


def make_tokenizer(chat_template: str = CHATML, marks: tuple[str, ...] = MARKS) -> Any:
    texts = [*STYLES.values(), *PLAIN, *FLORID, *(row["prompt"][1]["content"] for row in make_rows(16))]
    return small_tokenizer.make_tokenizer(texts, 512, marks, chat_template)


def save_tiny_model(folder: Path, chat_template: str = CHATML) -> str:
    """Write model and tokenizer to `folder`; the weights are the same every time."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer(chat_template)
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": len(tokenizer)}
    sizes |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048}
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(tie_word_embeddings=True, **sizes, **ids)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)
