"""Choose the precision of training on CPU by timing one product, since processors differ a hundredfold in bfloat16."""

from __future__ import annotations

import timeit
from dataclasses import dataclass
from typing import Any, Literal

import torch

MIN_SPEEDUP = 1.5  # below this, bfloat16 rounding buys nothing worth having


@dataclass(frozen=True)
class Precision:
    """What the training stages compute in; `cpu_bf16_speedup` is float32 time over bfloat16 time, None if not timed."""

    autocast: Literal["bf16", "fp16", "none"]
    cpu_bf16_speedup: float | None = None


def seconds_of_product(dtype: torch.dtype) -> float:
    """Shortest of six timings of one (512, 576) x (576, 1536) product: a feed-forward layer of SmolLM2-135M."""
    left, right = torch.ones(512, 576, dtype=dtype), torch.ones(576, 1536, dtype=dtype)
    return min(timeit.repeat(lambda: torch.mm(left, right), number=1, repeat=6))


def choose_cpu_precision(setting: str) -> Precision:
    """Precision for a run on CPU.

    Args:
        setting: `on`, `off`, or `auto`: bfloat16 autocast if one product is at least 1.5 times faster in it. Processors
            with AMX or AVX512-BF16 gain; others emulate it and can be many times slower.
    """
    if setting != "auto":
        return Precision("bf16" if setting == "on" else "none")
    speedup = seconds_of_product(torch.float32) / seconds_of_product(torch.bfloat16)
    return Precision("bf16" if speedup >= MIN_SPEEDUP else "none", round(speedup, 3))


def set_precision(dpo: Any, cpu_bf16: str) -> Precision:
    """Settle what to compute in; on CPU this overrules `bf16`, which TRL turns on by default."""
    if dpo.device.type != "cpu":
        return Precision("bf16" if dpo.bf16 else "fp16" if dpo.fp16 else "none")
    chosen = choose_cpu_precision(cpu_bf16)
    dpo.bf16, dpo.fp16 = chosen.autocast == "bf16", False
    dpo.mixed_precision = "bf16" if dpo.bf16 else "no"
    return chosen
