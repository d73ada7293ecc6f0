"""Estimates of memory and time: parameter counts of known models, and the sums by hand."""

# ruff: noqa: E402 (imports follow the importorskip and the path that they need)

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
RECIPES = Path(__file__).parents[2] / "recipes"

import torch
from dpo_lora import main
from tiny_model import make_rows, write_rows
from training import RecipeError
from training.estimate import (
    CARDS,
    Run,
    Shape,
    activation_memory,
    adapter_memory,
    estimate_table,
    hours_per_epoch,
    largest_batch,
    shape_of,
    weight_memory,
)
from transformers import AutoConfig, AutoModelForCausalLM

SEVEN = "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj".split()

# hidden, feed-forward, layers, query heads, key-value heads, head size, vocabulary, tied; then the published count.
MODELS: dict[str, tuple[str, int, int, int, int, int, int, int, bool, float]] = {
    "SmolLM2-135M": ("llama", 576, 1536, 30, 9, 3, 64, 49152, True, 134_515_008),
    "Llama-3.2-3B": ("llama", 3072, 8192, 28, 24, 8, 128, 128256, True, 3_212_749_824),
    "Llama-3.1-8B": ("llama", 4096, 14336, 32, 32, 8, 128, 128256, False, 8_030_261_248),
    "Qwen2.5-7B": ("qwen2", 3584, 18944, 28, 28, 4, 128, 152064, False, 7_615_616_512),
    "Qwen3-4B": ("qwen3", 2560, 9728, 36, 32, 8, 128, 151936, True, 4_022_468_096),
    "Qwen3-8B": ("qwen3", 4096, 12288, 36, 32, 8, 128, 151936, False, 8_190_735_360),
    "Gemma-2-9B": ("gemma2", 3584, 14336, 42, 16, 8, 256, 256000, True, 9_241_705_984),
    "Gemma-3-1B": ("gemma3_text", 1152, 6912, 26, 4, 1, 256, 262144, True, 999_885_952),
    "Phi-4": ("phi3", 5120, 17920, 40, 40, 10, 128, 100352, False, 14_659_507_200),
    "Mistral-Nemo-12B": ("mistral", 5120, 14336, 40, 32, 8, 128, 131072, False, 12_247_782_400),
    "Mistral-Small-24B": ("mistral", 5120, 32768, 40, 32, 8, 128, 131072, False, 23_572_403_200),
}


def model_config(name: str) -> Any:
    kind, hidden, feed_forward, layers, heads, key_value, size, vocabulary, tied, _ = MODELS[name]
    return AutoConfig.for_model(
        kind,
        hidden_size=hidden,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_value,
        head_dim=size,
        vocab_size=vocabulary,
        tie_word_embeddings=tied,
        pad_token_id=0,
    )


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_those_published_and_those_of_transformers(name: str) -> None:
    config = model_config(name)
    shape = shape_of(config)
    assert shape.parameters == MODELS[name][-1]
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert shape.parameters == sum(weight.numel() for weight in model.parameters())


@pytest.mark.parametrize("name", ["SmolLM2-135M", "Phi-4"])
def test_adapter_weights_are_those_of_peft(name: str) -> None:
    from peft import LoraConfig, get_peft_model

    modules = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"] if name == "Phi-4" else SEVEN
    config = model_config(name)
    with torch.device("meta"):
        model = get_peft_model(AutoModelForCausalLM.from_config(config), LoraConfig(r=16, target_modules=modules))
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert shape_of(config).adapter_weights(16, modules) == trained


SMALL = Shape(hidden=10, feed_forward=20, layers=2, query=10, key_value=5, vocabulary=100, tied=True, extra=50)
RUN = Run(
    batch=2,
    max_length=8,
    rank=2,
    modules=["q_proj", "down_proj"],
    four_bit=False,
    weight_bytes=2,
    checkpointing=True,
    sft=False,
    rows=100,
    tokens=6.0,
)


def test_memory_worked_by_hand() -> None:
    # layers: 2 * (2*10*10 + 2*10*5 + 3*10*20) = 1800; all: 100*10 + 1800 + 50 = 2850
    assert (SMALL.layer_weights, SMALL.parameters) == (1800, 2850)
    assert weight_memory(SMALL, RUN) == 5700
    # 4 bit: 1800 * 0.5625 = 1012.5, the other 1050 in 2 bytes
    assert weight_memory(SMALL, replace(RUN, four_bit=True)) == 3112.5
    # LoRA: 2 layers * rank 2 * (q 10+10, down 20+10) = 200; 16 bytes each, 20 with a reference copy, 8 on 4 bit
    assert adapter_memory(SMALL, RUN) == 3200
    assert adapter_memory(SMALL, replace(RUN, sft=True)) == 4000
    assert adapter_memory(SMALL, replace(RUN, four_bit=True)) == 1600
    # 32 tokens * 2 bytes * (2*10 checkpoints + 8*10 + 2*10 + 2*5 + 4*20 = 190 inside a layer)
    assert activation_memory(SMALL, RUN, 2) == 64 * 210
    assert activation_memory(SMALL, replace(RUN, checkpointing=False), 2) == 64 * 380


def test_time_worked_by_hand() -> None:
    # 100 rows * 2 * 6 tokens * 8 * 2850 operations, at 40 % of 165e12 a second
    expected = 1200 * 8 * 2850 / (165e12 * 0.4) / 3600
    assert hours_per_epoch(SMALL, RUN, CARDS[0]) == pytest.approx(expected)
    assert hours_per_epoch(SMALL, replace(RUN, checkpointing=False), CARDS[0]) == pytest.approx(expected * 3 / 4)


def test_students_of_the_paper_fit_where_their_configurations_say() -> None:
    run = replace(RUN, rank=16, modules=SEVEN, max_length=2048)
    four_bit = replace(run, four_bit=True)
    by_name = {name: shape_of(model_config(name)) for name in MODELS}
    for name in ("Qwen3-4B", "Mistral-Nemo-12B"):
        assert largest_batch(by_name[name], four_bit, CARDS[0]) >= 2
    assert largest_batch(by_name["Mistral-Small-24B"], four_bit, CARDS[1]) >= 2
    assert largest_batch(by_name["Mistral-Small-24B"], run, CARDS[1]) == 0
    assert largest_batch(by_name["Mistral-Small-24B"], run, CARDS[2]) >= 2


def test_other_architectures_are_refused() -> None:
    with pytest.raises(RecipeError, match="got a model of type 'mixtral'"):
        shape_of(AutoConfig.for_model("mixtral"))
    with pytest.raises(RecipeError, match="knows no size of the modules .'w1'."):
        SMALL.adapter_weights(16, ["q_proj", "w1"])


def test_table_names_every_card() -> None:
    table = estimate_table("tiny", SMALL, RUN)
    assert all(card.name in table for card in CARDS)
    assert "100 rows" in table


def test_command_prints_the_estimate_without_weights_or_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model_config("Qwen3-4B").save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    config = str(RECIPES / "configs/qwen3_4b_paper.yaml")
    monkeypatch.setattr(sys, "argv", ["dpo_lora.py", "--config", config, "--model_name_or_path", "model", "--estimate"])
    main()
    printed = capsys.readouterr().out
    assert "model: 4.02 B parameters, 33.0 M trained" in printed
    assert "An epoch: 900 rows" in printed
    write_rows(tmp_path / "rows.jsonl", make_rows(3))
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--train_file", "rows.jsonl"])
    main()
    assert "An epoch: 6 rows, two responses of" in capsys.readouterr().out
    assert not (tmp_path / "outputs").exists()
