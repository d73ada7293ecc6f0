"""Speed, CPU, memory and input cost of asking through the call store, beside an aiohttp floor and inspect's own eval.

    python benchmarks/model_calls.py            # about 6 minutes on 2 cores
    python benchmarks/model_calls.py --quick    # under 1 minute; says whether it works, not how fast it is

The server is the tests' fake Anthropic server in a process of its own; each client runs in a process of its own as
well and makes 10 calls before the clock starts, so imports and connections count for nobody. Loopback, no TLS. CPU
seconds are of the client's process, all threads. Every client meets the same latencies.
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspect_ai.model import Content, GenerateConfig

ROOT = Path(__file__).parent.parent
SERVER = ROOT / "tests" / "fakes" / "fake_anthropic.py"
RESULTS = ROOT / "results" / "benchmarks" / "model_calls.json"

MODEL = "claude-sonnet-5-5"
CONNECTIONS = 64
RUBRICS = 5
WARM_UP = range(10**6, 10**6 + 10)
LOGNORMAL = {"latency_seconds": 2.0, "latency_sigma": 0.6}
FIXED = {"latency_seconds": 0.1}
# of the price of an input token; Anthropic's price list
CACHE_WRITE, CACHE_READ = 1.25, 0.1

AIMS = {
    "lognormal_seconds_over_floor": 1.05,
    "fixed_cpu_seconds_per_1000": 12.0,
    "peak_memory_10k_over_1k": 1.1,
    "input_cost_over_uncached": 0.40,
}


def prompt(number: int) -> tuple[str, str]:
    """A rubric of 1,500 tokens, as the fake server counts them, and a response of 600."""
    ids = "\nThe criterion ids, in this order: imagery, diction, rhythm, voice\n"
    rubric = (f"Rubric {number % RUBRICS}. " + "The text shows, does not tell. " * 200)[: 6000 - len(ids)] + ids
    text = (f"Text {number}. " + "Rain fell on the wet stones. " * 100)[:2376]
    return rubric, f"<response>\n{text}\n</response>"


# clients, each in a process of its own


async def floor(url: str, numbers: range) -> None:
    """Bare requests with aiohttp, nothing kept."""
    import aiohttp

    async def worker(session: aiohttp.ClientSession, rest: Iterator[int]) -> None:
        for number in rest:
            content = [{"type": "text", "text": text} for text in prompt(number)]
            body = {"model": MODEL, "max_tokens": 1000, "messages": [{"role": "user", "content": content}]}
            async with session.post("/v1/messages", json=body) as response:
                assert "holistic_score" in (await response.json())["content"][0]["text"]

    rest = iter(numbers)
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(url, connector=connector, timeout=aiohttp.ClientTimeout()) as session:
        await asyncio.gather(*(worker(session, rest) for _ in range(CONNECTIONS)))


async def through_store(store_path: Path, numbers: range, config: "GenerateConfig") -> None:
    """Our own: `ask`, each reply synced to disk."""
    from inspect_ai.model import ChatMessageUser, get_model

    from model_calls import Call, ask, open_store

    store, model = open_store(store_path), get_model(f"anthropic/{MODEL}", config=config)

    async def worker(rest: Iterator[int]) -> None:
        for number in rest:
            reply, _ = await ask(store, Call(model, [ChatMessageUser(content=content(number))]))
            assert "holistic_score" in reply.text

    rest = iter(numbers)
    await asyncio.gather(*(worker(rest) for _ in range(2 * CONNECTIONS)))


def through_eval(log_dir: Path, numbers: range, config: "GenerateConfig") -> None:
    """Inspect's `eval` of a task without a scorer, with inspect's defaults."""
    from inspect_ai import Task, eval
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ChatMessageUser, get_model
    from inspect_ai.solver import generate

    samples = [Sample(id=number, input=[ChatMessageUser(content=content(number))]) for number in numbers]
    model = get_model(f"anthropic/{MODEL}", config=config)
    [log] = eval(Task(dataset=samples, solver=generate()), model=model, log_dir=str(log_dir), display="none")
    assert log.status == "success"


def content(number: int) -> "list[Content]":
    """The prompt as two blocks, the rubric marked for caching."""
    from inspect_ai.model import ContentText

    rubric, response = prompt(number)
    return [ContentText(text=rubric, cache_breakpoint=True), ContentText(text=response)]


def run_client(kind: str, url: str, calls: int) -> None:
    """Makes calls in this process and prints what that took."""
    os.environ |= {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "fake"}
    sys.path[0] = str(ROOT)  # else this file hides the package of its name
    if kind != "floor":
        from inspect_ai.model import GenerateConfig

        adaptive, uncached = kind.endswith("-adaptive"), kind.endswith("-uncached")
        connections = {"adaptive_connections": CONNECTIONS} if adaptive else {"max_connections": CONNECTIONS}
        config = GenerateConfig(max_tokens=1000, cache_prompt=False if uncached else None, **connections)
    with tempfile.TemporaryDirectory() as folder:

        def run(numbers: range) -> None:
            if kind == "floor":
                asyncio.run(floor(url, numbers))
            elif kind.startswith("ask"):
                asyncio.run(through_store(Path(folder) / "calls.jsonl", numbers, config))
            else:
                through_eval(Path(folder), numbers, config)

        for number in WARM_UP if kind.startswith("ask") else ():  # one by one, so that each rubric is written once
            run(range(number, number + 1))
        if not kind.startswith("ask"):
            run(WARM_UP)
        cpu, start = time.process_time(), time.monotonic()
        run(range(calls))
        cpu, seconds = time.process_time() - cpu, time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    print(json.dumps({"calls": calls, "seconds": seconds, "cpu_seconds": cpu, "peak_memory_mb": peak}))


# the comparison


@contextlib.contextmanager
def server(config: dict[str, Any]) -> Iterator[str]:
    """URL of a fake server in a process of its own."""
    command = [sys.executable, str(SERVER), "--port", "0", "--config", json.dumps(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.terminate()


def measure(kind: str, calls: int, config: dict[str, Any]) -> dict[str, Any]:
    """What a client took for a number of calls, and what the server counted."""
    with server(config) as url:
        command = [sys.executable, __file__, "--client", kind, "--url", url, "--calls", str(calls)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        with urllib.request.urlopen(f"{url}/_stats") as response:
            stats = json.load(response)
    taken: dict[str, Any] = {"client": kind} | json.loads(output.splitlines()[-1])
    taken |= {"peak_in_flight": stats["peak_in_flight"], "tokens": stats["tokens"]}
    taken |= {"cache_writes": stats["cache_writes"], "cache_reads": stats["cache_reads"]}
    report = "{client:<14} {calls:>6} calls {seconds:>8.1f} s {cpu_seconds:>7.1f} CPU-s {peak_memory_mb:>6.0f} MB"
    print(report.format(**taken), f"{taken['peak_in_flight']:>4} in flight", file=sys.stderr)
    return taken


def input_cost(taken: dict[str, Any]) -> float:
    """In prices of an uncached input token."""
    tokens = taken["tokens"]
    written, read = tokens["cache_creation_input_tokens"], tokens["cache_read_input_tokens"]
    return float(tokens["input_tokens"] + CACHE_WRITE * written + CACHE_READ * read)


def compare(calls: int, lognormal: dict[str, float], memory_calls: tuple[int, int]) -> dict[str, Any]:
    """All measurements, and the four numbers that have an aim."""
    kinds = ("floor", "ask", "ask-adaptive", "eval", "eval-adaptive")
    print(f"\nlatency lognormal, median {lognormal['latency_seconds']} s", file=sys.stderr)
    slow = {kind: measure(kind, calls, lognormal) for kind in kinds}
    print("\nlatency 0.1 s", file=sys.stderr)
    fixed = {kind: measure(kind, calls, FIXED) for kind in ("floor", "ask", "eval")}
    print("\nwithout prompt caching", file=sys.stderr)
    uncached = measure("ask-uncached", calls, FIXED)
    print("\nmemory", file=sys.stderr)
    memory = [measure("ask", count, {}) for count in memory_calls]
    return {
        "lognormal": slow,
        "fixed": fixed,
        "uncached": uncached,
        "memory": memory,
        "reached": {
            "lognormal_seconds_over_floor": slow["ask"]["seconds"] / slow["floor"]["seconds"],
            "fixed_cpu_seconds_per_1000": fixed["ask"]["cpu_seconds"] / calls * 1000,
            "peak_memory_10k_over_1k": memory[1]["peak_memory_mb"] / memory[0]["peak_memory_mb"],
            "input_cost_over_uncached": input_cost(fixed["ask"]) / input_cost(uncached),
        },
    }


def main() -> None:
    """Runs the comparison, or one client of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="calls per client (default: 1000)")
    parser.add_argument("--quick", action="store_true", help="100 calls, a tenth of the latency, 200 and 1000 calls")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"(default: {RESULTS.relative_to(ROOT)})")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        run_client(options.client, options.url, options.calls)
        return
    found = compare(100, LOGNORMAL | {"latency_seconds": 0.2}, (200, 1000)) if options.quick else None
    found = found or compare(options.calls, LOGNORMAL, (1000, 10_000))
    packages = {name: version(name) for name in ("inspect-ai", "anthropic", "aiohttp")}
    machine = {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    conditions = {"quick": options.quick, "connections": CONNECTIONS, "rubrics": RUBRICS} | machine
    record = {"date": datetime.now(UTC).date().isoformat(), "packages": packages, "conditions": conditions}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record | {"aims": AIMS} | found, indent=1) + "\n")
    print(f"\n{'':<34} {'reached':>8} {'at most':>8}")
    for name, aim in AIMS.items():
        print(f"{name:<34} {found['reached'][name]:>8.3f} {aim:>8.2f}")


if __name__ == "__main__":
    main()
