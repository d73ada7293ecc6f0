"""Local models: an adapter folder is checked, and chats that a template mangles are not benchmarked."""

# ruff: noqa: E402 (imports follow the importorskip and the path that they need)

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("peft")
from command_runs import ran
from harness_rendering import set_day
from inspect_ai import eval as inspect_eval
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, get_model
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_model import CHATML, make_tokenizer, save_tiny_model
from transformers import AutoModelForCausalLM

from cpt_tasks.benchmarks.drift.report import SECTION, intro
from cpt_tasks.benchmarks.drift.task import drift
from cpt_tasks.benchmarks.multi_turn.task import multi_turn
from cpt_tasks.check_adapter import ABSOLUTE, check_command
from cpt_tasks.rendering import rendering_notes, rendering_problem
from cpt_tasks.report.logs import read_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model `tiny` and an `adapter` of it with random weights."""
    folder = tmp_path_factory.mktemp("made")
    lora = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # so that no file of it names an absolute path
        save_tiny_model(Path("tiny"))
        get_peft_model(AutoModelForCausalLM.from_pretrained("tiny"), lora).save_pretrained("adapter")
        make_tokenizer().save_pretrained("adapter")
    return folder


@pytest.fixture
def adapter(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(copytree(made, tmp_path / "copy"))
    return Path("adapter")


def test_sound_adapter_passes_with_a_command_for_vllm(adapter: Path) -> None:
    lines = ran(check_command, adapter).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["ok"] * 4
    assert lines[3].endswith(
        "vllm serve tiny --tokenizer adapter --enable-lora --max-lora-rank 8 "
        "--chat-template adapter/chat_template.jinja --lora-modules adapter=adapter"
    )


def test_absolute_paths_are_told_from_addresses_and_relative_ones() -> None:
    absolute = ['"name": "/srv/a/b.jsonl"', "trained from /mnt/disk/x."]
    others = ['"name": "data/srv/b.jsonl"', "https://huggingface.co/srv/x", "</tmp/x>"]
    assert [text for text in absolute + others if ABSOLUTE.search(text)] == absolute


def _edit(name: str, **values: Any) -> Callable[[Path], None]:
    def edit(adapter: Path) -> None:
        path = adapter / name
        path.write_text(json.dumps(json.loads(path.read_text() if path.exists() else "{}") | values))

    return edit


def _without(name: str) -> Callable[[Path], None]:
    return lambda adapter: (adapter / name).unlink()


def _untrained(adapter: Path) -> None:
    weights = load_file(adapter / "adapter_model.safetensors")
    save_file({name: weight * 0 for name, weight in weights.items()}, adapter / "adapter_model.safetensors")


def _hide_system_turn(adapter: Path) -> None:
    (adapter / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }}{% endfor %}")


def _template(text: str) -> Callable[[Path], None]:
    return lambda adapter: make_tokenizer(text).save_pretrained(adapter)


# the head that older versions wrote, of a model that thinks unless it is told not to
OLD_SWITCH = (
    "{%- if enable_thinking is not defined %}{%- set enable_thinking = false %}{%- endif %}"
    + CHATML
    + "{{ '<think></think>' if enable_thinking is defined and enable_thinking is false }}"
)
CONFIG, MANIFEST = "adapter_config.json", "run_manifest.json"


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (_without("adapter_model.safetensors"), "no adapter_model.safetensors, expected the output folder"),
        (_without("tokenizer_config.json"), "no tokenizer, expected the one trained with"),
        (_hide_system_turn, "the chat template hides the system turn"),
        (_template(OLD_SWITCH), "another prompt for enable_thinking=None, which inspect and lm-eval with vLLM pass"),
        (_template("{{ strftime_now('%Y') }}" + CHATML), "the chat template prints today's date"),
        (_edit(MANIFEST, train_file="/srv/someone/rows.jsonl"), f"{MANIFEST} names '/srv/someone/rows.jsonl'"),
        (_untrained, "the adapter changes no logit"),
        (_edit(CONFIG, base_model_name_or_path="nowhere"), "base model 'nowhere' is neither a folder from here nor"),
        (_edit(CONFIG, use_dora=True), "vLLM serves no adapter with use_dora"),
        (_edit(CONFIG, base_model_name_or_path=None), "adapter_config.json names no rank `r` or no base model"),
        (lambda adapter: (adapter / CONFIG).write_text('{"base_model_name_or_path": "tiny"}'), "names no rank `r`"),
        (_edit(CONFIG, r=1024), "vLLM serves no adapter with a rank above 512"),
    ],
)
def test_check_names_what_is_wrong_and_the_command_fails(
    adapter: Path, break_it: Callable[[Path], None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    break_it(adapter)
    skip = [] if "logit" in message or "base model" in message else ["--skip-logits"]
    done = ran(check_command, adapter, *skip, code=1)
    [failed] = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert message in failed


CHAT = [ChatMessageSystem(content="Write in short sentences. "), ChatMessageUser(content="Describe a storm.")]
DROPS_SYSTEM = CHATML.replace("in messages %}", "in messages if message.role != 'system' %}")
# as Mistral's template: the text goes into the user's turn
FOLDS_SYSTEM = "[INST]{{ messages[0]['content'] }}\n\n{{ messages[1]['content'] }}[/INST]"


def api(template: str, adds_bos: bool = False, **arguments: Any) -> Any:
    tokenizer = make_tokenizer(template)
    if adds_bos:
        from tokenizers.processors import TemplateProcessing

        bos = (tokenizer.bos_token, tokenizer.bos_token_id)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single=f"{bos[0]} $A", special_tokens=[bos])

    def hf_chat(messages: list[Any], tools: list[Any]) -> str:
        turns = [{"role": message.role, "content": message.text} for message in messages]
        return str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    return SimpleNamespace(hf_chat=hf_chat, tokenizer=tokenizer, tokenizer_call_args=arguments)


@pytest.mark.parametrize(
    ("template", "options", "message"),
    [
        (CHATML, {}, ""),
        (FOLDS_SYSTEM, {}, ""),
        (DROPS_SYSTEM, {}, "leaves out the system turn"),
        (CHATML, {"adds_bos": True}, "two beginning-of-sequence tokens"),
        (CHATML, {"adds_bos": True, "add_special_tokens": False}, ""),
    ],
)
def test_a_template_that_loses_a_turn_or_doubles_bos_is_named(
    template: str, options: dict[str, Any], message: str
) -> None:
    problem = rendering_problem(api(template, **options), CHAT)
    assert message in problem
    assert bool(message) == bool(problem)


def test_a_conversation_stops_at_the_turn_that_the_template_forgets_the_system_turn(tmp_path: Path) -> None:
    folder = save_tiny_model(
        tmp_path / "tiny", "{% if messages|length > 2 %}" + DROPS_SYSTEM + "{% else %}" + CHATML + "{% endif %}"
    )
    model = get_model("hf/tiny", model_path=folder, tokenizer_path=folder, memoize=False)
    task = multi_turn("reverie", levels="low", judge="measured", turns=2, limit_per_cell=2)
    [log] = inspect_eval(task, model=model, display="none", max_tokens=4, max_connections=1)
    assert log.error is not None
    assert "leaves out the system turn" in log.error.message


DATED = "{{ 'Today: ' ~ strftime_now('%d %b %Y') ~ '.' if messages[0].role == 'system' }}" + CHATML
SMOLLM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


@pytest.mark.parametrize(
    ("template", "chat", "notes"),
    [
        (CHATML, CHAT, {}),
        (CHATML + "<think>\n", CHAT, {"thought_opened": "by the template"}),
        (CHATML, CHAT[1:], {"template_head": f"<|im_start|>system\n{SMOLLM}<|im_end|>\n<|im_start|>user\n"}),
        (DATED, CHAT, {"template_date": "26 Nov 2026"}),
        (DATED.replace(SMOLLM, ""), CHAT[1:], {"template_head": "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n"}),
    ],
)
def test_what_a_template_adds_is_noted(
    template: str, chat: list[Any], notes: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_day(monkeypatch, "2026-11-26")
    assert rendering_notes(api(template), chat) == notes


def test_drift_says_what_the_template_adds(tmp_path: Path) -> None:
    folder = save_tiny_model(tmp_path / "tiny")
    model = get_model("hf/tiny", model_path=folder, tokenizer_path=folder, memoize=False)
    task = drift("broadcast", judge="measured", limit_per_family=1)
    [log] = inspect_eval(task, model=model, display="none", max_tokens=4, log_dir=str(tmp_path / "logs"))
    run = read_run(log.location)
    head = f"<|im_start|>system\\n{SMOLLM}<|im_end|>\\n<|im_start|>user\\n"
    said = f'Without a system prompt the template of tiny writes, before the user prompt: `"{head}"`'
    assert said in intro([run])
    assert SECTION.summarise(run, 0)["template_head"] == json.loads(f'"{head}"')
