"""Memory and time of a run before it starts, from the shape of the model alone: `dpo_lora.py --estimate true`.

Closed formulas, for dense decoders with gated feed-forward layers. Nothing here was timed on a GPU; take the memory as
good to some 15 %, the time to a factor of two. With h hidden size, f feed-forward size, L layers, a query heads, k key
and value heads, d head size, V vocabulary, r LoRA rank, T = 2 * batch * max_length tokens in a step on one device:

- parameters N = V*h (twice if untied) + L * (2*h*a*d + 2*h*k*d + 3*h*f) + norms and biases
- weights: 2 bytes each in bfloat16, 4 in float32; in 4 bit 0.5 + 4/64 for those of the layers (one float32 scale for 64
  weights), 2 for the embeddings and the head
- adapter: r * (inputs + outputs) of every target module, 16 bytes each (float32 weight, gradient, two of Adam); with a
  4-bit base 8, as TRL casts it to bfloat16; another copy of the weights as reference after an SFT stage
- activations in 2 bytes: L*h*T between checkpoints and one layer's (8*h + 2*a*d + 2*k*d + 4*f) * T inside; without
  checkpointing all L layers'. Attention does not store its matrix (sdpa, flash), the head no logits (TRL's is fused)
- 1.5 GB for CUDA, kernels and fragmentation
- operations in a step: 2N a token for each of policy forward, backward (the base has no weight gradient), recomputing
  (with checkpointing) and reference forward; 40 % of a card's peak
"""

# mypy: disable-error-code="attr-defined"
# trl exports its classes lazily

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairs import RecipeError, load_pairs
from run_files import portable

if TYPE_CHECKING:
    from script_arguments import ScriptArguments
    from trl import ModelConfig
    from twin_trainer import CPTConfig

# The size of the paper's data, for an estimate before there are any: 900 pairs of roughly 700 tokens a row.
PAPER_ROWS, PAPER_TOKENS = 900, 700.0
LETTERS_PER_TOKEN = 4  # about right for English

GIB = 2**30
OVERHEAD_BYTES = 1.5 * GIB
UTILISATION = 0.4
DENSE_DECODERS = frozenset("gemma2 gemma3_text llama mistral phi3 qwen2 qwen3 smollm3".split())


@dataclass(frozen=True)
class Card:
    """A GPU: memory, and dense bfloat16 operations a second by its data sheet."""

    name: str
    gib: int
    peak: float


CARDS = (
    Card("24 GB (RTX 4090)", 24, 165e12),
    Card("48 GB (RTX A6000)", 48, 155e12),
    Card("80 GB (A100)", 80, 312e12),
    Card("80 GB (H100)", 80, 989e12),
)


@dataclass(frozen=True)
class Shape:
    """Sizes of a dense decoder; `extra` counts the weights of norms and biases."""

    hidden: int
    feed_forward: int
    layers: int
    query: int
    key_value: int
    vocabulary: int
    tied: bool
    extra: int

    @property
    def layer_weights(self) -> int:
        """Weights of the linear layers of all blocks."""
        block = 2 * self.hidden * self.query + 2 * self.hidden * self.key_value + 3 * self.hidden * self.feed_forward
        return self.layers * block

    @property
    def parameters(self) -> int:
        """All weights."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2) + self.layer_weights + self.extra

    def adapter_weights(self, rank: int, modules: list[str]) -> int:
        """Weights of LoRA pairs on the named modules of every layer.

        Raises:
            RecipeError: at a module that is not one of Llama's or Phi's names.
        """
        h, f, q, kv = self.hidden, self.feed_forward, self.query, self.key_value
        sides = {"q_proj": h + q, "k_proj": h + kv, "v_proj": h + kv, "o_proj": q + h, "qkv_proj": h + q + 2 * kv}
        sides |= {"gate_proj": h + f, "up_proj": h + f, "gate_up_proj": h + 2 * f, "down_proj": f + h}
        unknown = sorted(set(modules) - set(sides))
        if unknown:
            raise RecipeError(f"--estimate knows no size of the modules {unknown}, expected some of {sorted(sides)}")
        return self.layers * rank * sum(sides[module] for module in modules)


def shape_of(config: Any) -> Shape:
    """Sizes read from a model's configuration in transformers.

    Raises:
        RecipeError: for an architecture that the formulas do not hold for, such as a mixture of experts.
    """
    if config.model_type not in DENSE_DECODERS:
        raise RecipeError(f"--estimate knows {sorted(DENSE_DECODERS)}, got a model of type {config.model_type!r}")
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    query, key_value = heads * size, config.num_key_value_heads * size
    norms = {"gemma2": 4 * config.hidden_size, "gemma3_text": 4 * config.hidden_size + 2 * size}
    norms["qwen3"] = 2 * config.hidden_size + 2 * size
    per_layer = norms.get(config.model_type, 2 * config.hidden_size)
    if config.model_type == "qwen2":
        per_layer += query + 2 * key_value  # the only one with biases
    return Shape(
        hidden=config.hidden_size,
        feed_forward=config.intermediate_size,
        layers=config.num_hidden_layers,
        query=query,
        key_value=key_value,
        vocabulary=config.vocab_size,
        tied=config.tie_word_embeddings,
        extra=config.num_hidden_layers * per_layer + config.hidden_size,
    )


@dataclass(frozen=True)
class Run:
    """What of the settings decides memory and time; `tokens` of a prompt and a response together, on average."""

    batch: int
    max_length: int
    rank: int
    modules: list[str]
    four_bit: bool
    weight_bytes: int
    checkpointing: bool
    sft: bool
    rows: int
    tokens: float


def weight_memory(shape: Shape, run: Run) -> float:
    """Bytes of the base model."""
    if not run.four_bit:
        return shape.parameters * run.weight_bytes
    return shape.layer_weights * (0.5 + 4 / 64) + (shape.parameters - shape.layer_weights) * 2


def adapter_memory(shape: Shape, run: Run) -> float:
    """Bytes of the adapter, its gradient, Adam's moments and its reference copy."""
    size = 2 if run.four_bit else 4
    return shape.adapter_weights(run.rank, run.modules) * size * (5 if run.sft else 4)


def activation_memory(shape: Shape, run: Run, batch: int) -> float:
    """Bytes kept for the backward pass of a step with `batch` pairs, all of max_length tokens."""
    tokens = 2 * batch * run.max_length
    inside = 8 * shape.hidden + 2 * shape.query + 2 * shape.key_value + 4 * shape.feed_forward
    values = shape.layers * shape.hidden + inside if run.checkpointing else shape.layers * inside
    return 2.0 * values * tokens


def needed(shape: Shape, run: Run, batch: int) -> float:
    """Bytes of a training step on one device."""
    fixed = weight_memory(shape, run) + adapter_memory(shape, run) + OVERHEAD_BYTES
    return fixed + activation_memory(shape, run, batch)


def largest_batch(shape: Shape, run: Run, card: Card) -> int:
    """The largest batch of whole twins, a power of two, that fits a card; 0 if not even one twin does."""
    fitting = [batch for batch in (2, 4, 8, 16, 32) if needed(shape, run, batch) <= card.gib * GIB]
    return max(fitting, default=0)


def hours_per_epoch(shape: Shape, run: Run, card: Card) -> float:
    """Hours of one DPO epoch on one card."""
    passes = 4 if run.checkpointing else 3
    return run.rows * 2 * run.tokens * passes * 2 * shape.parameters / (card.peak * UTILISATION) / 3600


def estimate_table(name: str, shape: Shape, run: Run) -> str:
    """The table that `--estimate` prints."""
    parts = {
        "weights" + (" (4 bit)" if run.four_bit else ""): weight_memory(shape, run),
        "adapter and optimiser": adapter_memory(shape, run),
        f"activations ({run.batch} pairs of {run.max_length} tokens)": activation_memory(shape, run, run.batch),
        "CUDA and the rest": OVERHEAD_BYTES,
    }
    adapter = shape.adapter_weights(run.rank, run.modules)
    lines = [f"{name}: {shape.parameters / 1e9:.2f} B parameters, {adapter / 1e6:.1f} M trained", ""]
    lines += [f"{label:<46}{value / GIB:6.1f} GiB" for label, value in parts.items()]
    lines += [f"{'needed on one device':<46}{sum(parts.values()) / GIB:6.1f} GiB", ""]
    lines.append(f"{'card':<20}{'fits':>6}{'largest batch':>15}{'hours per epoch':>17}")
    for card in CARDS:
        fits = "yes" if needed(shape, run, run.batch) <= card.gib * GIB else "no"
        batch = largest_batch(shape, run, card)
        hours = f"{hours_per_epoch(shape, run, card):.2f}" if batch else "-"
        lines.append(f"{card.name:<20}{fits:>6}{batch or '-':>15}{hours:>17}")
    lines += ["", f"An epoch: {run.rows} rows, two responses of {run.tokens:.0f} tokens with their prompt each."]
    lines.append("Estimated from the shape of the model (formulas: recipes/estimate.py), not measured.")
    return "\n".join(lines)


def estimate_run(script: ScriptArguments, dpo: CPTConfig, model: ModelConfig) -> str:
    """The table for these settings; reads the model's config.json and, if they are there, the training data.

    Raises:
        RecipeError: if there is no such model, or its architecture is not covered.
    """
    from transformers import AutoConfig

    name = portable(str(model.model_name_or_path))
    try:
        config = AutoConfig.from_pretrained(str(model.model_name_or_path), revision=model.model_revision)
    except OSError as error:
        raise RecipeError(f"{name}: no config.json in such a folder or on the hub, expected a model") from error
    rows, tokens = PAPER_ROWS, PAPER_TOKENS
    if Path(script.train_file).is_file():
        data = load_pairs(script.train_file)
        letters = [len(row["chosen"][0]["content"]) + sum(len(m["content"]) for m in row["prompt"]) for row in data]
        rows, tokens = len(data), sum(letters) / len(data) / LETTERS_PER_TOKEN
    run = Run(
        batch=dpo.per_device_train_batch_size,
        max_length=dpo.max_length or config.max_position_embeddings,
        rank=model.lora_r,
        modules=list(model.lora_target_modules or []),
        four_bit=model.load_in_4bit,
        weight_bytes=4 if model.dtype == "float32" else 2,
        checkpointing=bool(dpo.activation_checkpointing),
        sft=script.sft_epochs > 0,
        rows=rows,
        tokens=tokens,
    )
    return estimate_table(name, shape_of(config), run)
