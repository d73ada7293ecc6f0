"""A tokenizer learnt from a few texts, for models with random weights that steps are timed and tested on."""

from __future__ import annotations

from typing import Any

MARKS = ("<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_tokenizer(texts: list[str], vocabulary: int, marks: tuple[str, ...], template: str) -> Any:
    """A byte-level BPE tokenizer learnt from the texts; the first two marks begin and end a turn."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    core = ByteLevelBPETokenizer()
    options: dict[str, Any] = {"min_frequency": 0, "show_progress": False, "special_tokens": list(marks)}
    core.train_from_iterator(texts, vocab_size=vocabulary, **options)
    ends = {"bos_token": marks[0], "eos_token": marks[1], "pad_token": marks[1]}
    build: Any = PreTrainedTokenizerFast  # without types
    return build(tokenizer_object=core._tokenizer, chat_template=template, **ends)
