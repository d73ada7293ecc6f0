"""The check of an adapter folder: what it passes, and what it names."""

# ruff: noqa: E402 (imports follow the importorskip and the path that they need)

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("peft")
from click.testing import CliRunner
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_model import make_tokenizer, save_tiny_model
from transformers import AutoModelForCausalLM

from cpt_tasks.check_adapter import ABSOLUTE, check_adapter, check_command


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an adapter with random weights; its base model is `tiny`, beside it."""
    monkeypatch.chdir(tmp_path)
    save_tiny_model(Path("tiny"))
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained("tiny"), lora).save_pretrained("adapter")
    make_tokenizer().save_pretrained("adapter")
    return Path("adapter")


def test_sound_adapter_passes_with_a_command_for_vllm(adapter: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_adapter(adapter, None, skip_logits=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["ok"] * 4
    assert lines[3].endswith(
        "vllm serve tiny --tokenizer adapter --enable-lora --max-lora-rank 8 "
        "--chat-template adapter/chat_template.jinja --lora-modules adapter=adapter"
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('"name": "/srv/a/b.jsonl"', True),
        ("trained from /mnt/disk/x.", True),
        ('"name": "data/srv/b.jsonl"', False),
        ("https://huggingface.co/srv/x", False),
        ("</tmp/x>", False),
    ],
)
def test_absolute_paths_are_told_from_addresses_and_relative_ones(text: str, found: bool) -> None:
    assert bool(ABSOLUTE.search(text)) is found


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no weights", "no adapter_model.safetensors, expected the output folder"),
        ("no tokenizer", "no tokenizer, expected the one trained with"),
        ("other template", "the chat template hides the system turn"),
        ("absolute path", "run_manifest.json names '/srv/someone/rows.jsonl'"),
        ("untrained", "the adapter changes no logit"),
        ("no base", "base model 'nowhere' is neither a folder from here nor on the hub"),
        ("dora", "vLLM serves no adapter with use_dora"),
        ("rank", "rank 1024 is above 512"),
    ],
)
def test_check_names_what_is_wrong(
    adapter: Path, how: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = json.loads((adapter / "adapter_config.json").read_text())
    match how:
        case "no weights":
            (adapter / "adapter_model.safetensors").unlink()
        case "no tokenizer":
            (adapter / "tokenizer_config.json").unlink()
        case "other template":
            (adapter / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }}{% endfor %}")
        case "absolute path":
            (adapter / "run_manifest.json").write_text('{"train_file": "/srv/someone/rows.jsonl"}')
        case "untrained":
            weights = load_file(adapter / "adapter_model.safetensors")
            save_file({name: weight * 0 for name, weight in weights.items()}, adapter / "adapter_model.safetensors")
        case "no base":
            config["base_model_name_or_path"] = "nowhere"
        case "dora":
            config["use_dora"] = True
        case "rank":
            config["r"] = 1024
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    assert not check_adapter(adapter, None, skip_logits=how in ("dora", "rank"))
    failed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAILED")]
    assert len(failed) == 1
    assert message in failed[0]


def test_the_command_ends_with_status_1_if_anything_is_wrong(adapter: Path) -> None:
    done = CliRunner().invoke(check_command, [str(adapter), "--skip-logits"])
    assert done.exit_code == 0, done.output
    assert done.output.count("ok  ") == 3
    (adapter / "tokenizer_config.json").unlink()
    assert CliRunner().invoke(check_command, [str(adapter), "--skip-logits"]).exit_code == 1
