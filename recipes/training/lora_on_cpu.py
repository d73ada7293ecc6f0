"""LoRA layers on CPU as three products each, without PEFT's casts and copies between them.

PEFT computes `base(x) + scaling * B(A(x))` as modules. Under bfloat16 autocast on a CPU the frozen weight is cast at
every call, and each step between the products is a pass over memory, which costs as much as a product of a small model.
Here the adapter's product is added into the base's. Where this does not apply PEFT's own forward runs.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from peft.tuners.lora.layer import Linear


class _AdaptedProduct(torch.autograd.Function):
    """x W' + (x A') B' with W frozen; gradients of x, A and B. W decides the precision, that of A and B is kept."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """`x` of shape (..., inputs), `weight` (outputs, inputs), `a` (rank, inputs), `b` (outputs, rank)."""
        rows = x.reshape(-1, x.shape[-1]).to(weight.dtype)
        a_low, b_low = a.to(weight.dtype), b.to(weight.dtype)
        inner = rows @ a_low.t()
        ctx.save_for_backward(rows, inner, weight, a_low, b_low)
        ctx.shape, ctx.dtypes = x.shape, (x.dtype, a.dtype, b.dtype)
        return (rows @ weight.t()).addmm_(inner, b_low.t()).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """Gradients of the arguments of `forward`, None for the frozen weight."""
        rows, inner, weight, a, b = ctx.saved_tensors
        of_x, of_a, of_b = ctx.dtypes
        grad = grads[0].reshape(-1, grads[0].shape[-1]).to(weight.dtype)
        grad_inner = grad @ b
        grad_rows = (grad @ weight).addmm_(grad_inner, a)
        return grad_rows.view(ctx.shape).to(of_x), None, (grad_inner.t() @ rows).to(of_a), (grad.t() @ inner).to(of_b)


def speed_up_lora(model: Any) -> None:
    """Let every plain LoRA layer of a model on CPU compute this way under bfloat16 autocast, in place.

    Left to PEFT: layers with a bias, DoRA or quantized weights, more than one active adapter, dropout that is on,
    a disabled or merged adapter, and everything outside autocast.
    """
    for layer in model.modules():
        if type(layer) is not Linear or type(layer.get_base_layer()) is not torch.nn.Linear:
            continue
        if layer.get_base_layer().bias is None and layer.get_base_layer().weight.device.type == "cpu":
            plain: Any = layer
            plain.low_weight = None  # the frozen weight in bfloat16, made at the first call
            plain.forward = types.MethodType(_forward, layer)


def _forward(layer: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    name, *others = layer.active_adapters or [None]
    is_plain = (
        name in layer.lora_A
        and not (args or kwargs or others or layer.disable_adapters or layer.merged)
        and not (layer.lora_bias[name] or layer.use_dora[name])
        and (not layer.training or isinstance(layer.lora_dropout[name], torch.nn.Identity))
    )
    if not is_plain or not torch.is_autocast_enabled("cpu") or torch.get_autocast_dtype("cpu") != torch.bfloat16:
        return Linear.forward(layer, x, *args, **kwargs)
    if layer.low_weight is None:
        layer.low_weight = layer.get_base_layer().weight.detach().to(torch.bfloat16)
    scaled = layer.lora_B[name].weight * layer.scaling[name]
    product: Any = _AdaptedProduct.apply
    return product(x, layer.low_weight, layer.lora_A[name].weight, scaled)
