"""Memory and time of a run before it starts, from the shape of the model alone: `dpo_lora.py --estimate`.

`accelerate estimate-memory NAME` gives the weights and full training with Adam; this adds what LoRA and DPO make of it.
Nothing was timed on a GPU: take the memory as good to some 15 %, the time to a factor of two. With N parameters, A of
the adapter, h hidden size, L layers, T = 2 * batch * max_length tokens in a step on one device:

- weights: 2 bytes each in bfloat16, 4 in float32; in 4 bit 0.5 + 4/64 for those of linear layers (one float32 scale for
  64 weights), 2 for the rest. The reference is the same weights with the adapter off, so it takes no memory of its own
- adapter: 16 bytes each (float32 weight, gradient, two of Adam); with a 4-bit base 8, as TRL casts it to bfloat16; one
  more copy of its weights as the reference after an SFT stage
- activations in 2 bytes: L*h*T between checkpoints, and inside a layer the outputs of its linear layers and 6*h more
  (norms, residuals, rotated queries); without checkpointing inside all L. Attention stores no matrix (sdpa, flash), the
  head no logits (TRL's is fused)
- 1.5 GB for CUDA, kernels and fragmentation
- operations in a step: 2N a token for each of policy forward, backward (the base has no weight gradient), recomputing
  (with checkpointing) and reference forward; 40 % of a card's peak
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM
from trl import ModelConfig, get_peft_config

from training import RecipeError
from training.pairs import load_pairs
from training.run_files import portable
from training.settings import ScriptArguments
from training.trainer import CPTConfig

# The size of the paper's data, for an estimate before there are any: 900 pairs of roughly 700 tokens a row.
PAPER_ROWS, PAPER_TOKENS = 900, 700.0
LETTERS_PER_TOKEN = 4  # about right for English
GIB = 2**30
# Name, memory in GiB, dense bfloat16 operations a second by the data sheet.
CARDS = (
    ("24 GB (RTX 4090)", 24, 165e12),
    ("48 GB (RTX A6000)", 48, 155e12),
    ("80 GB (A100)", 80, 312e12),
    ("80 GB (H100)", 80, 989e12),
)
BATCHES = (2, 4, 8, 16, 32)  # of whole twins


@dataclass(frozen=True)
class Shape:
    """Counts of a model with its adapter: weights, those of linear layers, the adapter's, and sizes of a layer."""

    parameters: int
    linear: int
    adapter: int
    layers: int
    hidden: int
    inside: int  # outputs of the linear layers of one layer, a token


def shape_of(config: Any, model: ModelConfig) -> Shape:
    """Counts of the architecture built without memory; LoRA as `model` asks for it.

    Raises:
        RecipeError: if the LoRA modules are none of the architecture's.
    """
    from peft import get_peft_model

    with torch.device("meta"):
        build: Any = AutoModelForCausalLM.from_config  # without types
        network = build(config)
        head = network.get_output_embeddings()
        linear = [module for module in network.modules() if isinstance(module, torch.nn.Linear) and module is not head]
        sizes = {
            "parameters": sum(weight.numel() for weight in network.parameters()),
            "linear": sum(module.weight.numel() for module in linear),
            "inside": sum(module.out_features for module in linear) // config.num_hidden_layers,
        }
        try:
            adapted = get_peft_model(network, get_peft_config(model))
        except ValueError as error:
            raise RecipeError(f"lora_target_modules: {error}") from error
    trained = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    return Shape(adapter=trained, layers=config.num_hidden_layers, hidden=config.hidden_size, **sizes)


def memory_parts(
    shape: Shape, model: ModelConfig, dpo: CPTConfig, batch: int, max_length: int, sft: bool
) -> list[float]:
    """Bytes on one device in a step of `batch` pairs: weights, adapter and optimiser, activations, the rest."""
    four_bit = model.load_in_4bit
    weights: float = shape.parameters * (4 if model.dtype == "float32" else 2)
    if four_bit:
        weights = shape.linear * (0.5 + 4 / 64) + (shape.parameters - shape.linear) * 2
    adapter = shape.adapter * (2 if four_bit else 4) * (5 if sft else 4)
    inside = shape.inside + 6 * shape.hidden
    values = shape.layers * shape.hidden + inside if dpo.activation_checkpointing else shape.layers * inside
    return [weights, adapter, 2.0 * values * 2 * batch * max_length, 1.5 * GIB]


def size_of_data(train_file: str) -> tuple[int, float]:
    """Rows, and tokens of a prompt with one response on average; the paper's where there is no such file yet."""
    if not Path(train_file).is_file():
        return PAPER_ROWS, PAPER_TOKENS
    data = load_pairs(train_file)
    letters = [len(row["chosen"][0]["content"]) + sum(len(m["content"]) for m in row["prompt"]) for row in data]
    return len(data), sum(letters) / len(data) / LETTERS_PER_TOKEN


def estimate_run(script: ScriptArguments, dpo: CPTConfig, model: ModelConfig) -> str:
    """The table for these settings; reads the model's config.json and, if they are there, the training data.

    Raises:
        RecipeError: if there is no such model, or it has no such modules.
    """
    name = portable(str(model.model_name_or_path))
    try:
        config = AutoConfig.from_pretrained(str(model.model_name_or_path), revision=model.model_revision)
    except OSError as error:
        raise RecipeError(f"{name}: no config.json in such a folder or on the hub, expected a model") from error
    rows, tokens = size_of_data(script.train_file)
    shape = shape_of(config, model)
    batch, max_length = dpo.per_device_train_batch_size, dpo.max_length or config.max_position_embeddings
    sft = script.sft_epochs > 0
    parts = {size: memory_parts(shape, model, dpo, size, max_length, sft) for size in (batch, *BATCHES)}
    needed = {size: sum(values) / GIB for size, values in parts.items()}
    labels = ["weights" + (" (4 bit)" if model.load_in_4bit else ""), "adapter and optimiser"]
    labels += [f"activations ({batch} pairs of {max_length} tokens)", "CUDA and the rest", "needed on one device"]
    lines = [f"{name}: {shape.parameters / 1e9:.2f} B parameters, {shape.adapter / 1e6:.1f} M trained", ""]
    for label, value in zip(labels, [*parts[batch], sum(parts[batch])], strict=True):
        lines.append(f"{label:<46}{value / GIB:6.1f} GiB")
    lines += ["", f"{'card':<20}{'fits':>6}{'largest batch':>15}{'hours per epoch':>17}"]
    operations = rows * 2 * tokens * (4 if dpo.activation_checkpointing else 3) * 2 * shape.parameters
    for card, gib, peak in CARDS:
        largest = max((size for size in BATCHES if needed[size] <= gib), default=0)
        hours = "-" if not largest else f"{operations / (peak * 0.4) / 3600:.2f}"
        lines.append(f"{card:<20}{'yes' if needed[batch] <= gib else 'no':>6}{largest or '-':>15}{hours:>17}")
    lines += ["", f"An epoch: {rows} rows, two responses of {tokens:.0f} tokens with their prompt each."]
    lines.append("Estimated from the shape of the model (formulas: recipes/training/estimate.py), not measured.")
    return "\n".join(lines)
