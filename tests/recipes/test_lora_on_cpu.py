"""The adapter's product added into the base's: numbers of PEFT's own forward, and that forward where it cannot be."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from training.lora_on_cpu import speed_up_lora


def layer_of(**lora: object) -> torch.nn.Module:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(24, 40, bias=False))
    settings = {"r": 4, "lora_alpha": 8, "target_modules": ["0"], "init_lora_weights": False} | lora
    return get_peft_model(network, LoraConfig(**settings))


def output_and_gradients(model: torch.nn.Module) -> list[torch.Tensor]:
    x = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(1), requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(x)
    out.float().square().sum().backward()
    return [out.float(), x.grad, *(p.grad for p in model.parameters() if p.requires_grad)]


def test_output_and_gradients_are_those_of_peft() -> None:
    plain = layer_of()
    fast = copy.deepcopy(plain)
    speed_up_lora(fast)
    for wanted, got in zip(output_and_gradients(plain), output_and_gradients(fast), strict=True):
        assert got.dtype == wanted.dtype
        # bfloat16 has 8 bits: each of a few roundings is at most 1/256 of the largest entry
        torch.testing.assert_close(got, wanted, rtol=0, atol=0.02 * wanted.detach().abs().max().item())


@pytest.mark.parametrize("lora", [{}, {"use_dora": True}, {"lora_dropout": 0.5}])
def test_elsewhere_the_forward_is_peft_s(lora: dict[str, object]) -> None:
    plain = layer_of(**lora)
    fast = copy.deepcopy(plain)
    speed_up_lora(fast)
    x = torch.randn(3, 24)
    for autocast in (False, True) if lora else (False,):
        outputs = []
        for model in (plain, fast):
            torch.manual_seed(2)  # of the dropout
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
                outputs.append(model(x))
        torch.testing.assert_close(*outputs, rtol=0, atol=0)


def test_a_disabled_adapter_and_another_one_are_respected() -> None:
    model = layer_of()
    model.add_adapter("other", LoraConfig(r=4, lora_alpha=8, target_modules=["0"], init_lora_weights=False))
    speed_up_lora(model)
    x = torch.randn(3, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        first = model(x)
        model.set_adapter("other")
        second = model(x)
        with model.disable_adapter():
            base = model(x)
    assert not torch.equal(first, second)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(base, model.base_model.model[0].get_base_layer()(x))
