"""Speed and memory of `cpt verify` (measured judge) and `cpt twins` on synthetic responses, as a user would run them.

    python benchmarks/million_rows.py                  # a million responses; needs 10 GB of disk
    python benchmarks/million_rows.py --rows 5000      # says whether it works, not how fast it is

Each response is a seed response with its sentences shuffled and most of its words replaced by others of the seed. What
the measures count stays as it was, so every response keeps its score and band, and no two are near duplicates. There
are 12 to a user prompt: 4 measured rubrics, 3 levels. Memory is the peak of the resident sets of all processes.
"""

import contextlib
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import psutil

ROOT = Path(__file__).parent.parent
sys.path[0] = str(ROOT)

from judges.measures import MEASURES  # noqa: E402
from rubrics.files import read_jsonl, write_jsonl, write_whole  # noqa: E402

WORD = re.compile(r"(?<![\w'])[a-z]{4,}(?![\w'])")
COUNTED = ("second_person_per_100", "similes_per_100", "sensory_per_100")  # measures that count single words


def synthetic_rows(n_rows: int, seed: int) -> Iterator[dict[str, Any]]:
    """Responses without judgment, prompt by prompt."""
    rng = random.Random(seed)
    seeds = [row for _, row in read_jsonl(ROOT / "data_gen" / "seed" / "responses.jsonl")]
    words = sorted({word for row in seeds for word in WORD.findall(row["response"])} - {"like", "though"})
    plain = [word for word in words if not any(MEASURES[name](word) for name in COUNTED)]
    is_long = MEASURES["long_word_share"]  # of a single word: 1 or 0
    by_length = {share: [word for word in plain if is_long(word) == share] for share in (0.0, 1.0)}
    alike = {word: by_length[is_long(word)] for word in plain}
    kinds: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in seeds:
        kinds.setdefault((row["rubric"], row["level"]), []).append(row)
    prompts = list({row["user_prompt_id"]: row["user_prompt"] for row in seeds}.items())
    for number in range(n_rows):
        group = number // len(kinds)
        row = rng.choice(list(kinds.values())[number % len(kinds)])
        joint = "\n" if "\n" in row["response"] else " "
        units = re.split("\n" if joint == "\n" else r"(?<=[.!?])\s+", row["response"])
        rng.shuffle(units)
        text = WORD.sub(lambda word: rng.choice(alike.get(word[0], [word[0]])), joint.join(units))
        name, prompt = prompts[group % len(prompts)]
        changes = {"id": f"{number:016x}", "user_prompt_id": f"{name}_{group}", "response": text}
        changes |= {"user_prompt": f"{prompt} Let the number {group} come up.", "teacher": "synthetic"}
        yield {key: value for key, value in (row | changes).items() if key != "judgment"}


def timed(folder: Path, *command: str) -> dict[str, Any]:
    """Runs `cpt ...` in the folder: wall and CPU seconds and peak memory."""
    started, peak = time.monotonic(), 0
    process = psutil.Popen([str(Path(sys.executable).with_name("cpt")), *command], cwd=folder)
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        with contextlib.suppress(psutil.NoSuchProcess):
            peak = max(peak, sum(one.memory_info().rss for one in (process, *process.children(recursive=True))))
        time.sleep(0.1)
    if ended[1]:
        sys.exit(f"cpt {' '.join(command)} ended with status {ended[1]}")
    seconds = {"seconds": time.monotonic() - started, "cpu_seconds": ended[2].ru_utime + ended[2].ru_stime}
    return {"command": f"cpt {' '.join(command)}", **seconds, "peak_memory_mb": peak / 2**20}


@click.command(help=__doc__)
@click.option("--rows", default=1_000_000, show_default=True, help="Responses to make.")
@click.option("--seed", default=0, show_default=True, help="Seed of the responses.")
@click.option("--out", default=ROOT / "results" / "benchmarks" / "data_gen.json", type=click.Path(path_type=Path))
def main(rows: int, seed: int, out: Path) -> None:
    """Makes the responses, runs both commands on them and writes the record."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_jsonl(folder / "responses.jsonl", synthetic_rows(rows, seed))
        runs = {"verify": timed(folder, "verify", "responses.jsonl", "--out", "verified") | {"rows_out": rows}}
        for ending in ("jsonl", "parquet"):
            options = ("--responses", "verified/responses.jsonl", "--format", ending, "--out", ending)
            runs[f"twins_{ending}"] = timed(folder, "twins", *options)
            manifest = json.loads((folder / ending / "manifest.json").read_text(encoding="utf-8"))
            runs[f"twins_{ending}"]["rows_out"] = sum(about["rows"] for about in manifest["files"].values())
            assert manifest["inputs"][0]["rows"] == rows, "verification dropped rows that score as the seed does"
    record: dict[str, Any] = {"schema": 2, "command": f"python benchmarks/million_rows.py --rows {rows} --seed {seed}"}
    conditions = {"cores": os.cpu_count(), "python": sys.version.split()[0], "polars": version("polars")}
    record |= {"date": f"{date.today()}", "conditions": conditions, **runs}
    write_whole(out, json.dumps(record, indent=1) + "\n")
    for name, run in runs.items():
        click.echo(f"{name:<14} {run['seconds']:>8.1f} s {run['rows_out']:>9} rows {run['peak_memory_mb']:>7.0f} MB")


if __name__ == "__main__":
    main()
