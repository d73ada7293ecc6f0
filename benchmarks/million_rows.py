"""Speed and memory of `cpt verify` (measured judge) and `cpt twins` on synthetic responses, as a user would run them.

    python benchmarks/data_gen.py                  # a million responses; needs 10 GB of disk
    python benchmarks/data_gen.py --rows 5000      # says whether it works, not how fast it is

Each response is a seed response with its sentences shuffled and most of its words replaced by others of the seed. What
the measures count stays as it was, so every response keeps its score and band, and no two are near duplicates. There
are 12 to a user prompt: 4 measured rubrics, 3 levels. Both commands run in processes of their own, one after the other.
"""

import argparse
import json
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)  # else this file hides the package of its name

from data_gen.responses import TeacherResponse  # noqa: E402
from judges import measure  # noqa: E402
from judges.measures import MEASURES  # noqa: E402
from rubrics import Rubric, load_rubrics  # noqa: E402

SEED_FILE = ROOT / "data_gen" / "seed" / "responses.jsonl"
RESULTS = ROOT / "results" / "benchmarks" / "data_gen.json"
ROWS_CHECKED = 200
SAMPLING_SECONDS = 0.2
PACKAGES = ("numpy", "pydantic", "pyarrow", "rensa", "py3langid", "click")
LONG_WORD_LETTERS = 8  # as the measures count
_WORD = re.compile(r"(?<![\w'])[a-z]{4,}(?![\w'])")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


class Varied:
    """Texts that measure like a seed text and read like no other."""

    def __init__(self, texts: list[str], rng: random.Random):
        self._rng = rng
        words = {word for text in texts for word in _WORD.findall(text) if _is_plain(word)}
        self._short = sorted(word for word in words if len(word) < LONG_WORD_LETTERS)
        self._long = sorted(words - set(self._short))

    def vary(self, text: str) -> str:
        """Sentences (or lines) in another order, plain words replaced by others that the measures count alike."""
        units = text.splitlines() if "\n" in text else _SENTENCE_END.split(text)
        self._rng.shuffle(units)
        return _WORD.sub(self._another, ("\n" if "\n" in text else " ").join(units))

    def _another(self, found: re.Match[str]) -> str:
        word = found.group()
        if not _is_plain(word):
            return word
        return self._rng.choice(self._short if len(word) < LONG_WORD_LETTERS else self._long)


def _is_plain(word: str) -> bool:
    """Whether no measure counts the word itself."""
    statistics = ("second_person_per_100", "similes_per_100", "sensory_per_100")
    return word not in ("like", "though") and not any(MEASURES[name](word) for name in statistics)


def synthetic_rows(n_rows: int, seed: int) -> Iterator[TeacherResponse]:
    """Responses without judgment, prompt by prompt."""
    rng = random.Random(seed)
    seeds = [TeacherResponse.model_validate_json(line) for line in SEED_FILE.read_bytes().splitlines()]
    varied = Varied([row.response for row in seeds], rng)
    kinds: dict[tuple[str, str], list[TeacherResponse]] = {}
    for row in seeds:
        kinds.setdefault((row.rubric, row.level), []).append(row)
    prompts = list({row.prompt_id: row.prompt for row in seeds}.items())
    for number in range(n_rows):
        prompt_number = number // len(kinds)
        prompt_id, prompt = prompts[prompt_number % len(prompts)]
        row = rng.choice(list(kinds.values())[number % len(kinds)])
        yield row.model_copy(
            update={
                "id": f"{number:016x}",
                "prompt_id": f"{prompt_id}_{prompt_number}",
                "prompt": f"{prompt} Let the number {prompt_number} come up.",
                "response": varied.vary(row.response),
                "teacher": "synthetic",
                "judgment": None,
            }
        )


def write_synthetic(path: Path, n_rows: int, seed: int, rubrics: dict[str, Rubric]) -> None:
    """Writes the rows and checks that the first ones score as the seed did: that the data is what it claims to be."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for number, row in enumerate(synthetic_rows(n_rows, seed)):
            file.write(row.model_dump_json(exclude_none=True) + "\n")
            if number < ROWS_CHECKED:
                score = measure(rubrics[row.rubric], row.response).score
                assert type(row.level).of(score) is row.level, f"scored {score} for {row.level}: {row.response}"


def run_process(command: list[str], folder: Path) -> dict[str, Any]:
    """Runs one command and returns wall and CPU seconds and peak memory, all its processes taken together.

    Peak memory is the highest sum of their resident sets, sampled; pages they share count for each.
    """
    import psutil

    print(" ".join(command), file=sys.stderr)
    started, peak = time.monotonic(), 0
    process = subprocess.Popen([str(Path(sys.executable).parent / command[0]), *command[1:]], cwd=folder)
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        peak = max(peak, _resident(psutil.Process(process.pid), psutil))
        time.sleep(SAMPLING_SECONDS)
    seconds = time.monotonic() - started
    if status:
        sys.exit(f"{' '.join(command)} ended with status {status}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return {
        "command": " ".join(command),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_memory_mb": round(max(peak / 2**20, usage.ru_maxrss / unit), 1),
        "peak_memory_largest_process_mb": round(usage.ru_maxrss / unit, 1),
    }


def _resident(process: Any, psutil: Any) -> int:
    total = 0
    for each in (process, *process.children(recursive=True)):
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def count_lines(path: Path) -> int:
    """Lines of a file."""
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def compare(n_rows: int, seed: int, folder: Path) -> dict[str, Any]:
    """Makes the responses and runs both commands on them."""
    rubrics = {rubric.id: rubric for rubric in load_rubrics("measured")}
    responses = folder / "responses.jsonl"
    print(f"making {n_rows} responses", file=sys.stderr)
    write_synthetic(responses, n_rows, seed, rubrics)
    verify = run_process(["cpt", "verify", "responses.jsonl", "--out", "verified"], folder)
    verified = folder / "verified" / "responses.jsonl"
    verify |= {"rows_in": n_rows, "rows_out": count_lines(verified), "rows_per_second": n_rows / verify["seconds"]}
    found: dict[str, Any] = {"verify": verify, "megabytes_in": round(responses.stat().st_size / 1e6, 1)}
    responses.unlink()
    for ending in ("jsonl", "parquet"):
        options = ["--responses", "verified/responses.jsonl", "--format", ending, "--out", f"twins-{ending}"]
        twins = run_process(["cpt", "twins", *options], folder)
        manifest = json.loads((folder / f"twins-{ending}" / "manifest.json").read_text(encoding="utf-8"))
        rows = sum(about["rows"] for about in manifest["files"].values())
        size = sum((folder / f"twins-{ending}" / name).stat().st_size for name in manifest["files"])
        twins |= {"responses_in": verify["rows_out"], "rows_out": rows, "megabytes_out": round(size / 1e6, 1)}
        twins |= {
            "rows_per_second": rows / twins["seconds"],
            "responses_per_second": verify["rows_out"] / twins["seconds"],
        }
        found[f"twins_{ending}"] = twins
    return found


def main() -> None:
    """Runs the benchmark and writes what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="responses to make (default: 1000000)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the responses (default: 0)")
    parser.add_argument("--folder", type=Path, help="where to keep the data (default: a folder that is removed)")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"(default: {RESULTS.relative_to(ROOT)})")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        found = compare(options.rows, options.seed, folder)
    record = {
        "command": f"python benchmarks/data_gen.py --rows {options.rows} --seed {options.seed}",
        "date": datetime.now(UTC).date().isoformat(),
        "conditions": {
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "machine": platform.machine(),
            "python": platform.python_version(),
            "packages": {name: version(name) for name in PACKAGES},
        },
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record | found, indent=1) + "\n", encoding="utf-8")
    print(f"\n{'':<14} {'seconds':>9} {'rows out':>10} {'rows/s':>9} {'peak MB':>9}")
    for name in ("verify", "twins_jsonl", "twins_parquet"):
        about = found[name]
        numbers = (about["seconds"], about["rows_out"], about["rows_per_second"], about["peak_memory_mb"])
        print(f"{name:<14} {numbers[0]:>9.1f} {numbers[1]:>10} {numbers[2]:>9.0f} {numbers[3]:>9.1f}")


if __name__ == "__main__":
    main()
