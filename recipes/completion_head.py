"""Score only completion tokens on CPU, as TRL already does on GPUs.

trl 1.16 computes log-probabilities with a fused language-model head. On devices with Triton it projects the positions
that carry a label; elsewhere it projects every position, prompt and padding included, and throws those away. With a
vocabulary of 49k that is a large part of a step of a small model. TRL's tiles of 32768 vocabulary entries also outgrow
a CPU's cache. The numbers are the same either way, up to float32 rounding (1e-6 relative).
"""

from __future__ import annotations

import functools
import types
from typing import Any

import trl.trainer.utils as trl_utils

# Vocabulary entries per tile: small enough for a CPU's cache, which TRL's 32768 outgrow.
CPU_TILE = 2048


def score_completions_only(model: Any) -> None:
    """Make `model(..., labels=labels, fused_lm_head=True)` on CPU project labelled positions only, in place.

    Args:
        model: causal language model or PeftModel that a TRL trainer has given its fused head. Calls without
            `fused_lm_head`, on another device, or without any label go TRL's way.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    fused_forward = base.forward

    @functools.wraps(type(base).forward)  # `generate` validates its keyword arguments against the signature
    def forward(self: Any, *args: Any, labels: Any = None, **kwargs: Any) -> Any:
        if not kwargs.get("fused_lm_head") or labels is None or labels.device.type != "cpu":
            return fused_forward(*args, **kwargs) if labels is None else fused_forward(*args, labels=labels, **kwargs)
        targets = labels[:, 1:]
        mask = targets != -100
        if not mask.any():
            return fused_forward(*args, labels=labels, **kwargs)

        def keep_labelled(_module: Any, _args: Any, output: Any) -> Any:
            output.last_hidden_state = output.last_hidden_state[:, :-1][mask][None]
            return output

        hook = self.base_model.register_forward_hook(keep_labelled)
        gpu_tile, trl_utils._CHUNKED_LOGPROB_CHUNK_SIZE = trl_utils._CHUNKED_LOGPROB_CHUNK_SIZE, CPU_TILE
        try:
            output = fused_forward(*args, shift_labels=targets[mask][None], **kwargs)
        finally:
            hook.remove()
            trl_utils._CHUNKED_LOGPROB_CHUNK_SIZE = gpu_tile
        for name in ("log_probs", "entropy", "log_sum_sq_probs", "mean_logits", "is_top1"):
            values = getattr(output, name)
            if values is not None:
                setattr(output, name, values.new_zeros(mask.shape).masked_scatter(mask, values[0]))
        output.label_mask = mask
        return output

    base.forward = types.MethodType(forward, base)
