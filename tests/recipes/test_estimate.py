"""Estimates of memory and time: parameter counts of known models, and the sums by hand."""

# ruff: noqa: E402 (imports follow the importorskip and the path that they need)

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("trl")
RECIPES = Path(__file__).parents[2] / "recipes"

from dpo_lora import main
from tiny_model import make_rows, write_rows
from training import RecipeError
from training.estimate import GIB, Shape, memory_parts, shape_of
from transformers import AutoConfig
from trl import ModelConfig

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


def lora(modules: list[str], **options: Any) -> ModelConfig:
    return ModelConfig(use_peft=True, lora_r=16, lora_target_modules=modules, **options)


@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_those_published(name: str) -> None:
    assert shape_of(model_config(name), lora(["o_proj", "down_proj"])).parameters == MODELS[name][-1]


def test_counts_of_a_small_model_worked_by_hand() -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 20, "num_hidden_layers": 2, "head_dim": 4, "vocab_size": 100}
    config = AutoConfig.for_model(
        "llama", num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=False, **sizes
    )
    shape = shape_of(config, lora(["q_proj", "down_proj"]))
    # a layer: q and o 8*8, k and v 8*4, three of 8*20 = 672; head and embeddings 100*8 each; norms 2*2*8 + 8
    assert (shape.linear, shape.parameters) == (2 * 672, 2 * 672 + 2 * 800 + 40)
    assert shape.inside == 8 + 4 + 4 + 8 + 20 + 20 + 8  # outputs of q k v o gate up down
    assert shape.adapter == 2 * 16 * ((8 + 8) + (20 + 8))


def parts(sft: bool = False, checkpointing: bool = True, **options: Any) -> list[float]:
    shape = Shape(parameters=2850, linear=1800, adapter=200, layers=2, hidden=10, inside=130)
    dpo: Any = SimpleNamespace(activation_checkpointing=checkpointing)
    return memory_parts(shape, lora(["q_proj"], **{"dtype": "bfloat16"} | options), dpo, 2, 8, sft)


def test_memory_worked_by_hand() -> None:
    # 2 bytes a weight, 16 an adapter's; 32 tokens of 2 bytes: 2*10 checkpoints and 130 + 6*10 inside one layer
    assert parts() == [5700, 3200, 64 * (20 + 190), 1.5 * GIB]
    assert parts(dtype="float32")[0] == 11400
    assert parts(checkpointing=False)[2] == 64 * 2 * 190
    assert parts(sft=True)[1] == 4000  # a copy of the adapter as the reference
    # 4 bit: 1800 * 0.5625 = 1012.5, the other 1050 in 2 bytes; the adapter in bfloat16
    assert parts(load_in_4bit=True)[:2] == [3112.5, 1600]


def test_modules_the_model_does_not_have_are_refused() -> None:
    with pytest.raises(RecipeError, match="lora_target_modules: .*w[12]"):
        shape_of(model_config("SmolLM2-135M"), lora(["w1", "w2"]))


@pytest.mark.parametrize("asked", [["--estimate"], ["--estimate=true"], ["--estimate", "true"], "yaml"])
def test_command_prints_the_estimate_without_weights_or_gpu(
    asked: list[str] | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model_config("Qwen3-4B").save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    config = (RECIPES / "configs/qwen3_4b_paper.yaml").read_text(encoding="utf-8")
    Path("config.yaml").write_text(config + ("estimate: true\n" if asked == "yaml" else ""))
    flags = asked if isinstance(asked, list) else []
    argv = ["dpo_lora.py", "--config", "config.yaml", "--model_name_or_path", "model", *flags]
    monkeypatch.setattr(sys, "argv", argv)
    main()
    printed = capsys.readouterr().out
    assert "model: 4.02 B parameters, 33.0 M trained" in printed
    assert "An epoch: 900 rows" in printed
    assert all(card in printed for card in ("RTX 4090", "RTX A6000", "A100", "H100"))
    if asked == ["--estimate"]:
        write_rows(tmp_path / "rows.jsonl", make_rows(3))
        monkeypatch.setattr(sys, "argv", [*argv, "--train_file", "rows.jsonl"])
        main()
        assert "An epoch: 6 rows, two responses of" in capsys.readouterr().out
    assert not (tmp_path / "outputs").exists()
