"""Real steps of the training recipe on one GPU, by every launch file that fits one card, in bfloat16 and 4 bit.

    python benchmarks/gpu_steps.py                # some 5 minutes on an H100, and 30 GB of disk
    python benchmarks/gpu_steps.py --cpu-smoke    # tiny shapes on the CPU: says whether it works

A case is a shipped configuration under a shipped launch file with one process, started as a user would, and
`--estimate` of the same settings. Models have the shape of a released one and random weights: nothing is downloaded,
nothing worth having is learnt. Every row fills `max_length`, as the estimate assumes (seed responses of one level,
joined), so seconds are those of the longest texts that the configuration takes; the first step, which compiles kernels,
is left out. `peak_memory_gib` is what run_manifest.json has. What fails is a row that says why; the record is written
after every case. 4 bit needs bitsandbytes, zero3.yaml DeepSpeed.
"""

import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from threading import Timer
from typing import Any, NamedTuple

import click
import psutil
import torch
import trl
from transformers import AutoConfig, AutoModelForCausalLM

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "recipes/experiments"))

from small_tokenizer import MARKS, TEMPLATE, make_tokenizer  # noqa: E402
from stage import write_json  # noqa: E402

RECORDS = ("run_manifest", "log_history")
PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "bitsandbytes", "deepspeed")
NEEDS = {"4 bit": "bitsandbytes", "zero3": "deepspeed"}
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONUNBUFFERED": "1"}
SEED_RESPONSES = ROOT / "data_gen/seed/responses.jsonl"
LEVELS = ("low", "extremely_high")
TWINS = 16
STEPS = 3
CASE_SECONDS = 180
CAUSE = re.compile(r"\w(Error|Exception): |dpo_lora: error: ")
FOLLOWS = re.compile(r"CalledProcessError|ChildFailedError")  # what a launcher says of a process that failed
SIZES = "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads head_dim"
TINY = (4096, 64, 128, 2, 4, 2, 16)
# architecture, configuration that trains it, and `SIZES` as in the released config.json
SHAPES = {
    "SmolLM2-135M": ("llama", "smollm2_135m_cpu", (49152, 576, 1536, 30, 9, 3, 64)),
    "Qwen3-4B": ("qwen3", "qwen3_4b_paper", (151936, 2560, 9728, 36, 32, 8, 128)),
    "Mistral-Nemo-12B": ("mistral", "mistral_nemo_12b_paper", (131072, 5120, 14336, 40, 32, 8, 128)),
}
# shape, launch file, weights of the frozen base: those of one shape together, the most valuable first
CASES = [
    ("SmolLM2-135M", "single_gpu", "bfloat16"),
    ("Qwen3-4B", "single_gpu", "bfloat16"),
    ("Qwen3-4B", "single_gpu", "4 bit"),
    ("Qwen3-4B", "fsdp2", "bfloat16"),
    ("Qwen3-4B", "ddp", "bfloat16"),
    ("Qwen3-4B", "zero3", "bfloat16"),
    ("Mistral-Nemo-12B", "single_gpu", "4 bit"),
    ("Mistral-Nemo-12B", "single_gpu", "bfloat16"),
]


class Output(NamedTuple):
    """What a command printed, each line with the seconds of a clock, and why it failed (None: it did not)."""

    lines: list[tuple[float, str]]
    failure: str | None


def run(words: list[str], limit: float) -> Output:
    """Runs a command in the repository; what is not done within `limit` seconds is killed, with all it started."""

    def stop() -> None:
        started = psutil.Process(process.pid)
        for each in [*started.children(recursive=True), started]:  # torchrun's are in sessions of their own
            with suppress(psutil.NoSuchProcess):
                each.kill()

    pipe: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
    with subprocess.Popen(words, cwd=ROOT, env=os.environ | ENVIRONMENT, **pipe) as process:
        timer = Timer(limit, stop)
        timer.start()
        assert process.stdout is not None
        lines = [(time.perf_counter(), line.strip()) for line in process.stdout]
        in_time = timer.is_alive()
        timer.cancel()
    if not in_time:
        return Output(lines, f"not done within {limit:.0f} seconds")
    said = [line for _, line in lines if line] or [f"exit code {process.returncode}"]
    causes = [line for line in said if CAUSE.search(line) and not FOLLOWS.search(line)]
    return Output(lines, (causes or said)[-1][:300] if process.returncode else None)


def make_inputs(name: str, folder: Path, on_cpu: bool) -> None:
    """Writes model, tokenizer and twins of a shape to a folder."""
    architecture, _, sizes = SHAPES[name]
    responses = [json.loads(line) for line in SEED_RESPONSES.read_text("utf-8").splitlines()]
    words = {level: " ".join(row["response"] for row in responses if row["level"] == level).split() for level in LEVELS}
    rows = [json.dumps(row) + "\n" for number in range(TWINS) for row in make_twin(number, words)]
    (folder / "train.jsonl").write_text("".join(rows), "utf-8")
    thinks = Path(trl.__file__).with_name("chat_templates") / "qwen3.jinja"
    template = thinks.read_text("utf-8") if architecture == "qwen3" else TEMPLATE
    tokenizer = make_tokenizer([" ".join(of_level) for of_level in words.values()], 2048, MARKS, template)
    tokenizer.save_pretrained(folder)
    options: dict[str, Any] = dict(zip(SIZES.split(), TINY if on_cpu else sizes, strict=True))
    options |= {"tie_word_embeddings": architecture != "mistral", "sliding_window": None}
    options |= {kind: getattr(tokenizer, kind) for kind in ("bos_token_id", "eos_token_id", "pad_token_id")}
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM  # without types
    with torch.device("cpu" if on_cpu else "cuda"):
        model = auto.from_config(AutoConfig.for_model(architecture, **options), dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="5GB")


def make_twin(number: int, words: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Both rows of a twin; its responses of 2100 words are above the `max_length`, in tokens, of all configurations."""

    def turn(role: str, text: str) -> list[dict[str, str]]:
        return [{"role": role, "content": text}]

    texts = {level: turn("assistant", " ".join(words[level][100 * number :][:2100])) for level in LEVELS}
    prompts = {level: turn("system", f"Style: {level}.") + turn("user", f"Write text {number}.") for level in LEVELS}
    return [
        {"prompt": prompts[level], "chosen": texts[level], "rejected": texts[other]}
        | {"pair_id": number, "user_prompt_id": f"{number}"}
        for level, other in (LEVELS, LEVELS[::-1])
    ]


def measure(case: tuple[str, str, str], folder: Path, on_cpu: bool) -> dict[str, Any]:
    """Estimates and trains one case; its row."""
    shape, launch_file, weights = case
    for need, package in NEEDS.items():
        if need in case and not find_spec(package):
            return {"result": f"not run: {package} is not installed"}
    out = folder / f"{launch_file} {weights}"
    settings: dict[str, Any] = {"model_name_or_path": folder, "train_file": folder / "train.jsonl", "output_dir": out}
    settings |= {"load_in_4bit": weights == "4 bit", "dtype": "bfloat16", "attn_implementation": "sdpa"}
    settings |= {"max_steps": STEPS, "eval_file": "", "eval_strategy": "no", "save_strategy": "no", "sample_prompts": 0}
    settings |= {"use_cpu": on_cpu, "disable_tqdm": True, "logging_steps": 1}
    settings |= {"max_length": 128, "cpu_threads": 1, "cpu_bf16": "off"} if on_cpu else {}
    words = ["recipes/dpo_lora.py", "--config", f"recipes/configs/{SHAPES[shape][1]}.yaml"]
    words += [word for key, value in settings.items() for word in (f"--{key}", f"{value}")]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1"]
    launch += ["--config_file", f"recipes/accelerate/{launch_file}.yaml"]
    with ThreadPoolExecutor() as pool:  # side by side: the estimate needs no GPU
        estimating = pool.submit(run, [sys.executable, *words, "--estimate", "true"], CASE_SECONDS)
        trained, estimated = run([*launch, *words], CASE_SECONDS), estimating.result()
    row: dict[str, Any] = {"result": "ran"}
    for output in (estimated, trained):
        if output.failure:
            print("\n".join(line for _, line in output.lines[-30:]), file=sys.stderr)
            row["result"] = f"failed: {output.failure}"
    for _, line in estimated.lines:
        if line.startswith("needed on one device"):
            row["estimated_gib"] = float(line.split()[-2])
    if trained.failure:
        return row
    manifest, history = (json.loads((out / f"{name}.json").read_text("utf-8")) for name in RECORDS)
    losses = {stage: [entry["loss"] for entry in logged if "loss" in entry] for stage, logged in history.items()}
    if not all(map(math.isfinite, sum(losses.values(), []))):
        row["result"] = "failed: a loss is not finite"
    first, *_, last = [when for when, line in trained.lines if "{'loss'" in line][-STEPS:]
    dpo = manifest["settings"]["dpo"]
    pairs = dpo["per_device_train_batch_size"] * dpo["gradient_accumulation_steps"]
    row |= {
        "seconds_per_step": round((last - first) / (STEPS - 1), 3),
        "tokens_per_step": 2 * pairs * dpo["max_length"],
    }
    return row | {"peak_memory_gib": manifest["peak_memory_gib"], "losses": losses}


@click.command(help=__doc__)
@click.option("--out", default=ROOT / "results/benchmarks/gpu_steps.json", type=click.Path(path_type=Path))
@click.option("--minutes", default=8.0, show_default=True, help="When they are up, no further case begins.")
@click.option("--only", default="", help="Cases with this in their name, as 'Qwen3-4B fsdp2'.")
@click.option("--cpu-smoke", is_flag=True, help="Tiny shapes on the CPU.")
@click.option("--make", nargs=2, hidden=True)
def main(out: Path, minutes: float, only: str, cpu_smoke: bool, make: tuple[str, str] | None) -> None:
    """Runs the cases, or makes the inputs of one shape."""
    if make:
        make_inputs(make[0], Path(make[1]), cpu_smoke)
        return
    if not (cpu_smoke or torch.cuda.is_available()):
        sys.exit("gpu_steps: torch finds no CUDA device here, expected one; --cpu-smoke runs tiny shapes on the CPU")
    record: dict[str, Any] = {"schema": 1, "date": f"{date.today()}"}
    record |= {"command": " ".join(["python benchmarks/gpu_steps.py", *(["--only", repr(only)] if only else [])])}
    record |= {"device": "CPU, tiny shapes" if cpu_smoke else torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    record |= {"packages": {name: version(name) for name in PACKAGES if find_spec(name)}, "steps": STEPS, "cases": []}
    end = time.monotonic() + 60 * minutes
    for shape, cases in groupby((case for case in CASES if only in " ".join(case)), key=lambda case: case[0]):
        with tempfile.TemporaryDirectory() as folder:
            flags = ["--make", shape, folder, *(["--cpu-smoke"] if cpu_smoke else [])]
            late = time.monotonic() > end
            made = Output([], None) if late else run([sys.executable, __file__, *flags], CASE_SECONDS)
            for case in cases:
                begun = time.monotonic()
                row: dict[str, Any] = dict(zip(("shape", "launch_file", "weights"), case, strict=True))
                if made.failure or begun > end:
                    row["result"] = f"failed: {made.failure}" if made.failure else "not run: no time left"
                else:
                    row |= measure(case, Path(folder), cpu_smoke)
                record["cases"].append(row | {"wall_seconds": round(time.monotonic() - begun)})
                print(record["cases"][-1], flush=True)
                write_json(out, record)


if __name__ == "__main__":
    main()
