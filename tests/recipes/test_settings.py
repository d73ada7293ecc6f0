"""Settings of the recipe: what is refused with which sentence, what tells two runs apart, what memory a run takes."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from dpo_lora import main
from dpo_lora import parse as parse_words
from peft import LoraConfig, get_peft_model
from recipe_runs import SETTINGS, make_workspace, parse
from safetensors.torch import load_file, save_file
from tiny_model import CHATML, make_rows, make_tokenizer, write_rows
from training import RecipeError
from training.estimate import GIB, memory_parts
from training.plan import Plan, stage_keys
from training.run_files import last_checkpoint, write_json
from training.settings import (
    BEST_KEYS,
    MODEL_KEYS,
    STAGE_KEYS,
    check_settings,
    seconds_of_product,
    set_precision,
    set_threads,
)
from training.trainer import CPTConfig
from transformers import AutoConfig, AutoModelForCausalLM
from trl import ModelConfig

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with models and data, good and bad."""
    folder = tmp_path_factory.mktemp("recipe")
    make_workspace(folder)
    drops_system = CHATML.replace("in messages %}", "in messages if message.role != 'system' %}")
    make_tokenizer(drops_system).save_pretrained(folder / "tiny-drops")
    shutil.copytree(folder / "tiny", folder / "other")
    weights = {name: weight * 2 for name, weight in load_file(folder / "tiny/model.safetensors").items()}
    save_file(weights, folder / "other/model.safetensors", {"format": "pt"})
    write_rows(folder / "other.jsonl", make_rows(5))
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(folder / "tiny"), lora)
    for name in ("adapter", "hashed"):
        adapted.save_pretrained(folder / name)
    write_json(folder / "hashed/run_manifest.json", {"base_model": {"name": "tiny", "weight_sha256": {"a": "0"}}})
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_peft": False}, "use_peft is false, expected true"),
        ({"per_device_train_batch_size": 3}, "per_device_train_batch_size is 3, expected an even number"),
        ({"sft_epochs": 0, "num_train_epochs": 0}, "there is nothing to train"),
        ({"eval_file": None}, "eval_strategy is 'steps' without eval_file"),
        ({"enable_thinking": False}, "enable_thinking is set, but the chat template has no such switch"),
        ({"train_file": "none.jsonl"}, "none.jsonl: no such file"),
        ({"eval_file": "train.jsonl"}, "share 6 values of pair_id (first: '0')"),
        ({"model_name_or_path": "./none"}, "none: no tokenizer in such a folder or on the hub"),
        ({"model_name_or_path": "tiny-drops"}, "preflight: row 0: the chat template drops the system"),
        ({"merge": True, "load_in_4bit": True}, "merge is true with a quantised base model"),
        ({"cpu_threads": 0}, "cpu_threads is '0', expected auto or a number above 0"),
        ({"init_adapter": "tiny"}, "init_adapter tiny: holds no LoRA adapter, expected adapter_config.json"),
        ({"init_adapter": "adapter", "lora_target_modules": ["q_proj"]}, "target_modules is ['q_proj', 'v_proj'],"),
        ({"init_adapter": "adapter", "model_name_or_path": "other"}, "adapter: trained on tiny, expected on other"),
        ({"init_adapter": "hashed"}, "init_adapter hashed: trained on tiny, expected on tiny"),
        ({"resume_from_checkpoint": "a"}, "resume_from_checkpoint is set, expected none: a run goes on from the last"),
        ({"sync_ref_model": True}, "sync_ref_model is True, expected another value: TRL moves no reference"),
        ({"save_only_model": True}, "save_only_model is True, expected another value: a run that goes on"),
        ({"truncation_mode": "keep_end"}, "truncation_mode is 'keep_end', expected another value: it cuts"),
        ({"train_sampling_strategy": "group_by_length"}, "train_sampling_strategy is 'group_by_length'"),
        ({"ld_alpha": 0.5, "precompute_ref_log_probs": True}, "ld_alpha with precompute_ref_log_probs"),
        ({"init_adapter": "adapter", "lora_dropout": 0.1}, "adapter: lora_dropout is 0.0, expected 0.1"),
        ({"lora_rank": 4}, "lora_rank"),
    ],
)
def test_what_cannot_work_is_one_sentence_before_anything_is_written(
    here: Path, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = {"output_dir": "bad", "repair_chat_template": False} | changes
    Path("bad.yaml").write_text(yaml.safe_dump(SETTINGS | bad))
    monkeypatch.setattr(sys, "argv", ["dpo_lora.py", "--config", "bad.yaml"])
    with pytest.raises(SystemExit, match=f"dpo_lora: error: .*{re.escape(message)}"):
        main()
    assert not Path("bad").exists()


@pytest.mark.parametrize(("given", "processes", "cards"), [("", "1", "0"), ("2,3", "1", "2"), ("2,3", "2", "2,3")])
def test_one_process_takes_one_card(
    given: str, processes: str, cards: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", processes)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    if not given:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(sys, "argv", ["dpo_lora.py", "--config", "nowhere.yaml"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ.get("CUDA_VISIBLE_DEVICES", "") == cards


def test_deepspeed_trains_one_stage_from_a_new_adapter(here: Path) -> None:
    script, dpo, model = parse()
    dpo.deepspeed_plugin = object()
    with pytest.raises(RecipeError, match="DeepSpeed with sft_epochs"):
        check_settings(script, dpo, model)
    script.sft_epochs = 0
    check_settings(script, dpo, model)


def test_a_configuration_that_is_no_yaml_is_an_error_in_words(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("bad.yaml").write_text("seed: [")
    monkeypatch.setattr(sys, "argv", ["dpo_lora.py", "--config", "bad.yaml"])
    with pytest.raises(SystemExit, match="dpo_lora: error: while parsing (?s:.*)bad.yaml"):
        main()


# one other value of everything that must, and that must not, tell two runs apart
CHANGES_THE_RUN: dict[str, Any] = {
    **{"beta": 0.2, "seed": 1, "lora_r": 8, "learning_rate": 2e-2, "sft_learning_rate": 2e-2, "sft_epochs": 2},
    **{"max_length": 200, "twin_batching": False, "train_file": "other.jsonl"},
    "init_adapter": "adapter",
    **{"eval_file": None, "eval_strategy": "no", "weight_decay": 0.1, "model_name_or_path": "other"},
}
SAYS_MORE: dict[str, Any] = {
    **{"sample_prompts": 4, "sample_tokens": 9, "save_steps": 3, "logging_steps": 5, "report_to": "tensorboard"},
    **{"merge": True, "output_dir": "elsewhere", "eval_steps": 1, "run_name": "x"},
    "cpu_threads": 2,
    **{"per_device_eval_batch_size": 2, "hub_model_id": "me/x", "dataloader_num_workers": 1, "save_total_limit": 1},
}


def test_what_changes_the_result_changes_the_key_and_nothing_else_does(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key_of(**changes: Any) -> str:
        return stage_keys(Plan(*parse(**changes)))[1]

    assert key_of() == key_of(**SAYS_MORE)
    single = {name: {name: value} for name, value in CHANGES_THE_RUN.items() if name != "eval_strategy"}
    single["eval_file"]["eval_strategy"] = "no"
    assert [name for name, changes in single.items() if key_of(**changes) == key_of()] == []
    # evaluation counts where it picks the checkpoint
    best = {"load_best_model_at_end": True, "save_steps": 3}
    keys, plan = {key_of(), key_of(**best), key_of(**best, eval_steps=1)}, Plan(*parse())
    # two processes share the data, so that they have other batches and half the steps of an epoch
    monkeypatch.setattr(CPTConfig, "world_size", 2)
    assert len({*keys, stage_keys(plan)[1]}) == 4


def test_the_lists_of_what_changes_a_run_name_fields_that_are_there() -> None:
    fields = {item.name for item in dataclasses.fields(CPTConfig)}
    assert {*STAGE_KEYS, *BEST_KEYS} <= fields
    assert set(MODEL_KEYS) <= {item.name for item in dataclasses.fields(ModelConfig)}


def test_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    for step, state in ((2, "{}"), (10, '{"log_history": ['), (4, "{}")):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-12").mkdir()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-4")


@pytest.mark.parametrize(
    ("written", "speedup", "autocast"),
    [("on", None, "bf16"), ("off", None, "none"), ("auto", 2.0, "bf16"), ("auto", 1.25, "none")],
)
def test_cpu_precision_is_timed_only_when_asked_and_yaml_booleans_are_read(
    here: Path, written: str, speedup: float | None, autocast: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert seconds_of_product(torch.float32) > 0
    seconds = {torch.float32: speedup, torch.bfloat16: 1.0}
    monkeypatch.setattr("training.settings.seconds_of_product", seconds.__getitem__)
    Path("precision.yaml").write_text(yaml.safe_dump(SETTINGS) + f"cpu_bf16: {written}\n")  # YAML: on is true
    script, dpo, _ = parse_words(["--config", "precision.yaml"])
    assert set_precision(dpo, script.cpu_bf16) == {"autocast": autocast, "cpu_bf16_speedup": speedup}


@pytest.mark.parametrize(("asked", "processes", "threads"), [("auto", 1, 6), ("auto", 4, 1), ("3", 2, 3)])
def test_threads_are_the_physical_cores_whatever_the_launcher_set(
    here: Path, asked: str, processes: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 12 if logical else 6)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(12), raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    before = torch.get_num_threads()
    try:
        assert set_threads(parse()[1], asked) == torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def parts(
    modules: str = "q_proj down_proj", sft: bool = False, checkpointing: bool = True, rows: int = 0, **options: Any
) -> dict[str, float]:
    sizes = {"hidden_size": 8, "intermediate_size": 20, "num_hidden_layers": 2, "head_dim": 4, "vocab_size": 100}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "tie_word_embeddings": False}
    lora: dict[str, Any] = {"use_peft": True, "lora_r": 16, "lora_target_modules": modules.split()}
    given: dict[str, Any] = {"output_dir": "x", "use_cpu": True, "bf16": False, "report_to": "none"}
    given |= {"per_device_train_batch_size": 2, "max_length": 8, "activation_checkpointing": checkpointing}
    config = AutoConfig.for_model("llama", **sizes, **heads)
    return memory_parts(config, ModelConfig(**{"dtype": "bfloat16"} | options, **lora), CPTConfig(**given), sft, rows)


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
    # 8 weights of each of 2 heads, 8 bytes each
    assert list(parts(attn_implementation="eager").values())[2] == 64 * (2 * 8 + inside) + 32 * 2 * 8 * 8
    assert list(parts(rows=8).values())[2] == 128 * (2 * 8 + inside)  # of an SFT stage
    assert list(parts(sft=True).values())[1] == 20 * adapter  # a copy of the adapter as the reference
    assert list(parts(load_in_4bit=True).values())[:2] == [linear * 0.5625 + others * 2, 8 * adapter]
    with pytest.raises(RecipeError, match="lora_target_modules: .*w[12]"):
        parts("w1 w2")


@pytest.mark.parametrize("asked", ["--estimate", "yaml"])
def test_estimate_needs_neither_weights_nor_gpu(
    asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = {"hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32}
    sizes |= {"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": True}
    AutoConfig.for_model("qwen3", **sizes).save_pretrained("model")
    config = (RECIPES / "configs/qwen3_4b_paper.yaml").read_text(encoding="utf-8")
    Path("config.yaml").write_text(config + ("estimate: true\n" if asked == "yaml" else ""))
    command = "dpo_lora.py --config config.yaml --model_name_or_path model " + asked.removeprefix("yaml")
    monkeypatch.setattr(sys, "argv", command.split())
    main()
    printed = capsys.readouterr().out
    assert "4.02 B parameters" in printed  # as published
    assert "33.0 M trained" in printed
    assert "needed on one device" in printed
    assert not Path("outputs").exists()
