"""Checks that an adapter folder works elsewhere: `cpt adapter check outputs/smollm2-135m`."""

import json
import re
import shlex
from functools import partial
from pathlib import Path
from typing import Any

import click

MAX_LOGIT_DIFFERENCE = 1e-5  # of the largest logit
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the values of vLLM's --max-lora-rank
# A path from the root of a machine, wherever it stands in a text; not part of an address or of a relative path.
ABSOLUTE = re.compile(
    r"(?<![\w.:/\\<-])/(?:home|root|Users|mnt|media|tmp|var|opt|data|scratch|workspace|work|srv)/[\w./-]+"
)
MESSAGES = [
    {"role": "system", "content": "Write in a flat, plain register."},
    {"role": "user", "content": "Write about a harbour."},
]


def check_tokenizer(folder: Path) -> str:
    """Say that the tokenizer is there and its template renders what was trained; ValueError if not."""
    from jinja2.exceptions import TemplateError
    from transformers import AutoTokenizer

    if not (folder / "tokenizer_config.json").is_file():
        raise ValueError("no tokenizer, expected the one trained with: evaluations would render another prompt")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    parts = [message | {"content": [{"type": "text", "text": message["content"]}]} for message in MESSAGES]
    shown = parts if (folder / "processor_config.json").is_file() else MESSAGES  # of some processors' templates
    render = partial(tokenizer.apply_chat_template, shown, tokenize=False, add_generation_prompt=True)
    try:
        rendered = render()
    except (TemplateError, ValueError):  # the latter for no template at all
        rendered = ""
    if MESSAGES[0]["content"] not in rendered:
        raise ValueError("the chat template hides the system turn; train again with repair_chat_template: true")
    if render(enable_thinking=None) != rendered:
        raise ValueError(
            "the chat template renders another prompt for enable_thinking=None, which inspect and lm-eval with vLLM "
            "pass, than without it; at the head of chat_template.jinja, write `if enable_thinking is not defined or "
            "enable_thinking is none` in place of `if enable_thinking is not defined`"
        )
    if "strftime_now(" in str(tokenizer.chat_template):
        raise ValueError(
            "the chat template prints today's date, so it renders another prompt every day; in chat_template.jinja, "
            "write the day of training in place of strftime_now(...)"
        )
    return "tokenizer: chat template shows the system turn, on every day and in every harness alike"


def check_paths(folder: Path) -> str:
    """Say that no readable file names a path of this machine; ValueError at the first that does."""
    paths = sorted([*folder.glob("*.json"), *folder.glob("*.md")])
    for path in paths:
        if path.name != "tokenizer.json" and (match := ABSOLUTE.search(path.read_text(encoding="utf-8"))):
            raise ValueError(f"{path.name} names {match.group()!r}, a path of one machine; train from a relative path")
    return "paths: none absolute"


def check_logits(folder: Path, base: str) -> str:
    """Say how far merged and unmerged logits are apart; ValueError if too far, or if the adapter changes nothing."""
    import torch
    from peft import PeftModel
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder)(MESSAGES[1]["content"], return_tensors="pt")["input_ids"]
    try:
        sees = hasattr(AutoConfig.from_pretrained(base), "vision_config")
        kind: Any = AutoModelForImageTextToText if sees else AutoModelForCausalLM
        plain: Any = kind.from_pretrained(base, dtype=torch.float32)  # in evaluation mode
    except OSError as error:
        raise ValueError(f"base model {base!r} is neither a folder from here nor on the hub; give --base") from error
    with torch.no_grad():
        before = plain(ids).logits
        model: Any = PeftModel.from_pretrained(plain, folder)
        adapted = model(ids).logits
        merged = model.merge_and_unload()(ids).logits
    difference = float((merged - adapted).abs().max() / adapted.abs().max())
    if difference > MAX_LOGIT_DIFFERENCE:
        raise ValueError(f"merged logits differ by {difference:.1e} of the largest, expected {MAX_LOGIT_DIFFERENCE}")
    moved = float((adapted - before).abs().max())
    if moved == 0:
        raise ValueError("the adapter changes no logit, expected a trained one")
    return f"logits: merged differ by {difference:.1e} of the largest, the adapter moves them by up to {moved:.2g}"


def vllm_command(folder: Path, config: dict[str, Any], base: str) -> str:
    """The command that serves the adapter; ValueError for what vLLM's LoRA does not do."""
    refused = [name for name in ("use_dora", "modules_to_save") if config.get(name)]
    refused += [f"a rank above {VLLM_RANKS[-1]}"] if config["r"] > VLLM_RANKS[-1] else []
    if refused:
        raise ValueError(f"vLLM serves no adapter with {refused[0]}; merge it (merge: true)")
    rank = min(rank for rank in VLLM_RANKS if rank >= config["r"])
    words = ["vllm", "serve", base, "--tokenizer", str(folder), "--enable-lora", "--max-lora-rank", str(rank)]
    template = folder / "chat_template.jinja"
    words += ["--chat-template", str(template)] if template.is_file() else []
    return "vLLM: " + shlex.join([*words, "--lora-modules", f"{folder.resolve().name}={folder}"])


def check_adapter(folder: Path, base: str | None, skip_logits: bool) -> bool:
    """Run every check, print one line for each, and say whether all passed."""
    missing = [name for name in ("adapter_config.json", "adapter_model.safetensors") if not (folder / name).is_file()]
    if missing:
        print(f"FAILED  no {missing[0]}, expected the output folder of a finished run")
        return False
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    base = base or config.get("base_model_name_or_path")
    if not base or "r" not in config:
        print("FAILED  adapter_config.json names no rank `r` or no base model, expected a LoRA adapter (and --base)")
        return False
    checks = [partial(check_tokenizer, folder), partial(check_paths, folder)]
    checks += [] if skip_logits else [partial(check_logits, folder, base)]
    passed = True
    for check in [*checks, partial(vllm_command, folder, config, base)]:
        try:
            print(f"ok      {check()}")
        except (ValueError, OSError, RuntimeError, ImportError) as error:
            print(f"FAILED  {error}")
            passed = False
    return passed


@click.command(name="check")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--base", help="Base model. Default: where adapter_config.json says.")
@click.option("--skip-logits", is_flag=True, help="Load no model.")
def check_command(folder: Path, base: str | None, skip_logits: bool) -> None:
    """Check that the adapter in FOLDER works elsewhere: transformers and PEFT, merging, chat template, paths, vLLM.

    The models are loaded in float32, 4 bytes a parameter. Exit status 1 if anything is wrong.
    """
    if not check_adapter(folder, base, skip_logits):
        raise SystemExit(1)
