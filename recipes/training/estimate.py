"""Memory of a run before it starts, from the shape of the model alone: `dpo_lora.py --estimate`.

`accelerate estimate-memory NAME` gives the weights and full training with Adam; this adds what LoRA and DPO make of it.
On one H100 it was 0 to 11 % above what torch allocated, but for FSDP2, 2 % below; torch reserved up to 12 % more than
estimated (`results/benchmarks/gpu_steps.json`). With h hidden size, L layers, T = rows * max_length tokens
in a step on one device, where rows is 2 * batch, or `sft_batch_size` if that is more:

- weights: 2 bytes each in bfloat16, 4 in float32; those of linear layers in 8 bit 1, in 4 bit 0.5 + 4/64 (one float32
  scale for 64 weights). The reference is the same weights with the adapter off, so it takes no memory of its own
- adapter: 16 bytes each (float32 weight, gradient, two of Adam); with a quantised base 8, as TRL casts it to bfloat16;
  one more copy of its weights as the reference after an SFT stage
- activations in 2 bytes: L*h*T between checkpoints, and inside a layer the outputs of its linear layers and 6*h more
  (norms, residuals, rotated queries); without checkpointing inside all L. The head stores no logits (TRL's is fused),
  attention (sdpa, flash) no weights, eager max_length of 8 bytes a head and token: float32 softmax, a copy, a tanh
- 1.5 GB for CUDA, kernels and fragmentation
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
from trl import ModelConfig, get_peft_config

from training import RecipeError
from training.run_files import portable
from training.settings import ScriptArguments
from training.trainer import CPTConfig

GIB = 2**30


def memory_parts(config: Any, model: ModelConfig, dpo: CPTConfig, sft: bool, sft_rows: int = 0) -> dict[str, float]:
    """Bytes on one device by what they hold, of an architecture that is built without memory.

    `sft` says whether DPO has a copy of an adapter as its reference, `sft_rows` is the batch of an SFT stage, if any.

    Raises:
        RecipeError: if the LoRA modules are none of the architecture's.
    """
    from peft import get_peft_model

    with torch.device("meta"):
        kind: Any = AutoModelForImageTextToText if hasattr(config, "vision_config") else AutoModelForCausalLM
        network: Any = kind.from_config(config, trust_remote_code=dpo.trust_remote_code)
        config = config.get_text_config()
        head, layers = network.get_output_embeddings(), config.num_hidden_layers
        modules = [module for module in network.modules() if isinstance(module, torch.nn.Linear) and module is not head]
        parameters = sum(weight.numel() for weight in network.parameters())
        try:
            trained = get_peft_model(network, get_peft_config(model)).get_nb_trainable_parameters()[0]
        except ValueError as error:
            raise RecipeError(f"lora_target_modules: {error}") from error
    length = dpo.max_length or config.max_position_embeddings
    linear = sum(module.weight.numel() for module in modules)
    inside = sum(module.out_features for module in modules) // layers + 6 * config.hidden_size
    if model.attn_implementation == "eager":
        inside += 4 * config.num_attention_heads * length
    per_token = layers * config.hidden_size + inside if dpo.activation_checkpointing else layers * inside
    rows = max(2 * dpo.per_device_train_batch_size, sft_rows)
    tokens = rows * length
    weights, adapter = parameters * (4.0 if model.dtype == "float32" else 2.0), trained * 4
    if model.load_in_4bit or model.load_in_8bit:
        each = 0.5 + 4 / 64 if model.load_in_4bit else 1.0
        weights, adapter = linear * each + (parameters - linear) * 2, trained * 2
    return {
        f"{parameters / 1e9:.2f} B parameters": weights,
        f"{trained / 1e6:.1f} M trained, optimiser": adapter * (5 if sft else 4),
        f"activations of {tokens} tokens": 2.0 * per_token * tokens,
        "CUDA and the rest": 1.5 * GIB,
    }


def estimate_run(script: ScriptArguments, dpo: CPTConfig, model: ModelConfig) -> str:
    """The table for these settings; of the model only its config.json is read.

    Raises:
        RecipeError: if there is no such model, or it has no such modules.
    """
    name = portable(str(model.model_name_or_path))
    try:
        config = AutoConfig.from_pretrained(
            str(model.model_name_or_path), revision=model.model_revision, trust_remote_code=dpo.trust_remote_code
        )
    except OSError as error:
        raise RecipeError(f"{name}: no config.json in such a folder or on the hub, expected a model") from error
    sft_rows = script.sft_batch_size if script.sft_epochs > 0 else 0
    parts = memory_parts(config, model, dpo, sft_rows > 0 or bool(script.init_adapter), sft_rows)
    parts["needed on one device"] = sum(parts.values())
    lines = [f"{part:<46}{size / GIB:6.1f} GiB" for part, size in parts.items()]
    return "\n".join([f"{name}, estimated, not measured:", *lines])
