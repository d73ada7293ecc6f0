"""Estimates of memory: sums by hand, and the command."""

# ruff: noqa: E402 (imports follow the importorskip and the path that they need)

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("trl")
RECIPES = Path(__file__).parents[2] / "recipes"

from dpo_lora import main
from training import RecipeError
from training.estimate import GIB, memory_parts
from training.trainer import CPTConfig
from transformers import AutoConfig
from trl import ModelConfig


def parts(
    modules: str = "q_proj down_proj", sft: bool = False, checkpointing: bool = True, **options: Any
) -> dict[str, float]:
    sizes = {"hidden_size": 8, "intermediate_size": 20, "num_hidden_layers": 2, "head_dim": 4, "vocab_size": 100}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": False}
    model = ModelConfig(
        **{"dtype": "bfloat16"} | options, use_peft=True, lora_r=16, lora_target_modules=modules.split()
    )
    dpo = CPTConfig(
        output_dir="x",
        per_device_train_batch_size=2,
        max_length=8,
        activation_checkpointing=checkpointing,
        use_cpu=True,
        bf16=False,
        report_to="none",
    )
    return memory_parts(AutoConfig.for_model("llama", **sizes, **heads), model, dpo, sft)


def test_memory_worked_by_hand() -> None:
    # a layer: q and o 8*8, k and v 8*4, three of 8*20 = 672; head and embeddings 100*8 each; norms 2*2*8 + 8
    linear, others = 2 * 672, 2 * 800 + 40
    adapter = 2 * 16 * ((8 + 8) + (20 + 8))
    inside = 8 + 4 + 4 + 8 + 20 + 20 + 8 + 6 * 8  # outputs of q k v o gate up down, and six more of the hidden size
    # 2 bytes a weight, 16 an adapter's; 32 tokens of 2 bytes: 2*8 checkpoints and inside one layer
    expected = [2 * (linear + others), 16 * adapter, 64 * (2 * 8 + inside), 1.5 * GIB]
    assert list(parts().values()) == expected
    assert next(iter(parts(dtype="float32").values())) == 2 * expected[0]
    assert list(parts(checkpointing=False).values())[2] == 64 * 2 * inside
    assert list(parts(sft=True).values())[1] == 20 * adapter  # a copy of the adapter as the reference
    assert list(parts(load_in_4bit=True).values())[:2] == [linear * 0.5625 + others * 2, 8 * adapter]
    with pytest.raises(RecipeError, match="lora_target_modules: .*w[12]"):
        parts("w1 w2")


@pytest.mark.parametrize("asked", [["--estimate"], ["--estimate", "true"], "yaml"])
def test_command_prints_the_estimate_without_weights_or_gpu(
    asked: list[str] | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32}
    sizes |= {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": True}
    AutoConfig.for_model("qwen3", **sizes).save_pretrained("model")
    config = (RECIPES / "configs/qwen3_4b_paper.yaml").read_text(encoding="utf-8")
    Path("config.yaml").write_text(config + ("estimate: true\n" if asked == "yaml" else ""))
    flags = asked if isinstance(asked, list) else []
    monkeypatch.setattr(
        sys, "argv", ["dpo_lora.py", "--config", "config.yaml", "--model_name_or_path", "model", *flags]
    )
    main()
    printed = capsys.readouterr().out
    assert "4.02 B parameters" in printed  # as published
    assert "33.0 M trained" in printed
    assert "needed on one device" in printed
    assert not Path("outputs").exists()
