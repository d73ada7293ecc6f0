"""A Llama of 1.7 million parameters, trained from random weights on the chosen responses of a preference file.

It writes no English worth reading, but it trains in a minute, so that an ablation can be run over many seeds.

    python recipes/experiments/prepare_tiny.py --train-file data/ablation/train.jsonl --seed 0 --out models/tiny-0
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

SIZES = {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 3, "num_attention_heads": 4}
MARKS = ("<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_tokenizer(texts: Iterable[str], vocabulary: int, marks: tuple[str, ...], template: str) -> Any:
    """A byte-level BPE tokenizer learnt from the texts; the first two marks begin and end a turn."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    core = ByteLevelBPETokenizer()
    options: dict[str, Any] = {"min_frequency": 0, "show_progress": False, "special_tokens": list(marks)}
    core.train_from_iterator(texts, vocab_size=vocabulary, **options)
    ends = {"bos_token": marks[0], "eos_token": marks[1], "pad_token": marks[1]}
    build: Any = PreTrainedTokenizerFast  # without types
    return build(tokenizer_object=core._tokenizer, chat_template=template, **ends)


def make_model(tokenizer: Any, **sizes: int) -> Any:
    """A Llama with random weights, by torch's seed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    options: dict[str, Any] = {"vocab_size": len(tokenizer), "tie_word_embeddings": True, **sizes, **ids}
    return LlamaForCausalLM(LlamaConfig(max_position_embeddings=2048, **options))


def prepare(train_file: str, seed: int, out: Path) -> None:
    """Train on the chosen responses of a preference file, prompts unscored, and write model and tokenizer to `out`."""
    sys.path.insert(0, str(Path(__file__).parents[1]))  # where `training` is
    from training.pairs import load_pairs, sft_rows
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    rows = sft_rows(load_pairs(train_file))
    messages = [message["content"] for row in rows for message in (*row["prompt"], *row["completion"])]
    tokenizer = make_tokenizer(messages, 2048, MARKS, TEMPLATE)
    set_seed(seed)
    options: dict[str, Any] = {"num_train_epochs": 3, "per_device_train_batch_size": 8, "max_length": 640}
    options |= {"learning_rate": 3e-3, "lr_scheduler_type": "cosine", "warmup_steps": 0.1, "completion_only_loss": True}
    options |= {"use_cpu": True, "bf16": False, "gradient_checkpointing": False}
    options |= {"logging_steps": 20, "save_strategy": "no", "report_to": "none"}
    config = SFTConfig(output_dir=str(out), seed=seed, **options)
    model = make_model(tokenizer, num_key_value_heads=4, **SIZES)
    trainer = SFTTrainer(model=model, args=config, train_dataset=rows, processing_class=tokenizer)
    trainer.train()
    trainer.save_model()


@click.command(help=__doc__)
@click.option("--train-file", required=True, help="Preference pairs, .jsonl or .parquet.")
@click.option("--seed", default=0, show_default=True, help="Of weights and order.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder to write.")
def main(train_file: str, seed: int, out: Path) -> None:
    """Command line entry."""
    prepare(train_file, seed, out)


if __name__ == "__main__":
    main()
