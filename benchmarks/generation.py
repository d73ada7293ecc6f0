"""Teacher responses by `cpt generate`, beside distilabel: time, CPU, what is lost or paid twice, resuming.

    python -m venv VENV
    VENV/bin/pip install 'distilabel[anthropic]==1.5.3' 'anthropic<1' requests beautifulsoup4
    python benchmarks/generation.py --distilabel-python VENV/bin/python    # about 15 minutes on 2 cores
    python benchmarks/generation.py --distilabel-python VENV/bin/python --quick    # says whether it works, not how fast

Why these packages: distilabel asks for no upper bound of anthropic and passes it a temperature, which the SDK has no
more since 1.0; `requests` and `beautifulsoup4` it imports without asking for them.

The server is the tests' fake Anthropic server in a process of its own. Both clients are whole processes, started as a
user would, and ask the same questions with the same model, 64 at a time, so that they meet the same latencies and, as
faults are seeded by question and attempt, the same faults. Seconds are of the whole process, imports included, and CPU
seconds of it and its children; asking seconds from the first request to the last reply. Loopback, no TLS.
"""

import argparse
import contextlib
import json
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SERVER = ROOT / "tests" / "fakes" / "fake_anthropic.py"
RESULTS = ROOT / "results" / "benchmarks" / "generation.json"

MODEL = "claude-sonnet-4-5"  # the newest that both clients' SDKs and the tools themselves know
AT_A_TIME = 64
MAX_RETRIES = 8
LATENCY = {"latency_seconds": 2.0, "latency_sigma": 0.6}
FAULTS = {"rate_429": 0.05, "rate_529": 0.02, "rate_500": 0.01, "rate_reset": 0.01, "rate_truncated": 0.01}
SAY_VERSIONS = "import importlib.metadata as m, sys; print(*map(m.version, sys.argv[1:]))"
OTHERS = ("distilabel", "anthropic")
CONDITIONS = ("latency", "latency_and_faults", "kill_and_resume")


# clients, each a command in a folder of its own


def cpt_command(calls: int, *more: str) -> list[str]:
    """`cpt generate`, as a user types it."""
    cpt = str(Path(sys.executable).parent / "cpt")
    plan = ["--rubrics", "all", "--limit", str(calls), "--max-connections", str(AT_A_TIME)]
    return [cpt, "generate", "--teacher", f"anthropic/{MODEL}", *plan, *(more or ("--out", "responses.jsonl"))]


def distilabel_command(python: str, calls: int) -> list[str]:
    """A script of distilabel's users, in its own environment."""
    return [python, "-W", "ignore", str(Path(__file__).resolve()), "--client", "distilabel", "--calls", str(calls)]


def run_distilabel() -> None:
    """Asks the questions of questions.jsonl in this process, and writes how many have an answer to found.json."""
    from distilabel.models import AnthropicLLM  # type: ignore[import-not-found]  # lives in an environment of its own
    from distilabel.pipeline import Pipeline  # type: ignore[import-not-found]
    from distilabel.steps import LoadDataFromDicts  # type: ignore[import-not-found]
    from distilabel.steps.tasks import TextGeneration  # type: ignore[import-not-found]

    questions = [json.loads(line) for line in Path("questions.jsonl").read_text(encoding="utf-8").splitlines()]
    data = [{"instruction": question["body"]["messages"][-1]["content"]} for question in questions]
    with Pipeline("teacher-responses", cache_dir="cache") as pipeline:
        load = LoadDataFromDicts(data=data, batch_size=AT_A_TIME)
        llm = AnthropicLLM(model=MODEL, max_retries=MAX_RETRIES, generation_kwargs={"max_tokens": 1024})
        load >> TextGeneration(llm=llm, input_batch_size=AT_A_TIME)
    rows = pipeline.run(use_cache=True)["default"]["train"]
    Path("found.json").write_text(json.dumps(sum(bool(row["generation"]) for row in rows)))


def responses_of_cpt(folder: Path) -> int:
    """Whole responses in the file."""
    path = folder / "responses.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return sum(bool(json.loads(line)["response"]) for line in lines)


def responses_of_distilabel(folder: Path) -> int:
    """Responses in its data set; it has none until it ends well."""
    path = folder / "found.json"
    return int(path.read_text()) if path.exists() else 0


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


def stats_of(url: str) -> dict[str, Any]:
    """What the server counted."""
    with urllib.request.urlopen(f"{url}/_stats") as response:
        found: dict[str, Any] = json.load(response)
    return found


def run_command(
    command: list[str], folder: Path, url: str, timeout_seconds: float, kill_at: int | None = None
) -> dict[str, Any]:
    """Runs a client to its end, to the timeout, or until the server has served so many replies and it is killed."""
    environment = os.environ | {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "fake", "HF_HUB_OFFLINE": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with (folder / "client.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        ended = ""
        while process.poll() is None and not ended:
            time.sleep(0.05)
            if time.monotonic() - start > timeout_seconds:
                ended = f"still running after {timeout_seconds:.0f} s, killed"
            elif kill_at is not None and sum(stats_of(url)["served"].values()) >= kill_at:
                ended = "killed"
        if ended:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    outcome = ended or ("ended well" if process.returncode == 0 else f"ended with status {process.returncode}")
    return {"outcome": outcome, "seconds": time.monotonic() - start, "cpu_seconds": cpu}


def measure(
    name: str,
    command: list[str],
    responses: Callable[[Path], int],
    calls: int,
    config: dict[str, Any],
    timeout_seconds: float,
    is_killed: bool,
) -> dict[str, Any]:
    """What a client took, and what came of it; if killed half way, also what the same command did after it."""
    with server(config) as url, tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        if name == "distilabel":
            write_questions(calls, folder)
        found: dict[str, Any] = {}
        if is_killed:
            found["killed"] = run_command(command, folder, url, timeout_seconds, kill_at=calls // 2)
            found["killed"]["replies"] = sum(stats_of(url)["served"].values())
        found |= run_command(command, folder, url, timeout_seconds)
        stats = stats_of(url)
        got = responses(folder)
        if got < calls:
            sys.stderr.write((folder / "client.log").read_text(encoding="utf-8", errors="replace")[-1500:])
    found |= {"calls": calls, "responses": got, "lost": calls - got, "requests": stats["requests"]}
    found["asking_seconds"] = stats["last_reply"] - stats["first_request"]
    found |= {"paid": sum(stats["served"].values()), "paid_twice": stats["paid_twice"], "faults": stats["faults"]}
    report = (
        "{responses:>5} of {calls} {seconds:>7.1f} s, {asking_seconds:>5.1f} of them asking, {cpu_seconds:>6.1f} CPU-s "
        "{paid_twice:>4} paid twice, {outcome}"
    )
    print(f"{name:<11}", report.format(**found), file=sys.stderr)
    return found


def write_questions(calls: int, folder: Path) -> None:
    """The questions that `cpt generate` asks, for the other client."""
    environment = os.environ | {"ANTHROPIC_API_KEY": "fake"}
    command = cpt_command(calls, "--questions", "questions.jsonl")
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)


def compare(
    calls: int, latency: dict[str, float], python: str | None, timeout_seconds: float, chosen: Sequence[str]
) -> dict[str, Any]:
    """All runs of the chosen conditions, by condition and client."""
    clients = {"cpt": (cpt_command(calls), responses_of_cpt)}
    if python:
        clients["distilabel"] = (distilabel_command(python, calls), responses_of_distilabel)
    conditions: dict[str, tuple[dict[str, Any], bool]] = {
        "latency": (latency, False),
        "latency_and_faults": (latency | FAULTS | {"retry_after": "1"}, False),
        "kill_and_resume": (latency, True),
    }
    found: dict[str, Any] = {}
    for condition in chosen:
        config, is_killed = conditions[condition]
        print(f"\n{condition}", file=sys.stderr)
        found[condition] = {
            name: measure(name, command, responses, calls, config, timeout_seconds, is_killed)
            for name, (command, responses) in clients.items()
        }
    return found


def main() -> None:
    """Runs the comparison, or one client of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1000, help="calls per client and condition (default: 1000)")
    parser.add_argument("--distilabel-python", help="Python with distilabel 1.5.3 (default: leave it out)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds per client (default: 600)")
    parser.add_argument("--only", choices=CONDITIONS, help="one condition; the others of the record stay as they are")
    parser.add_argument("--quick", action="store_true", help="100 calls, a tenth of the latency")
    parser.add_argument("--out", type=Path, default=RESULTS, help=f"(default: {RESULTS.relative_to(ROOT)})")
    parser.add_argument("--client", choices=["distilabel"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        run_distilabel()
        return
    calls, latency = (100, LATENCY | {"latency_seconds": 0.2}) if options.quick else (options.calls, LATENCY)
    # not resolved: the Python of an environment is a link to another one
    python = options.distilabel_python and os.path.abspath(options.distilabel_python)
    before = json.loads(options.out.read_text(encoding="utf-8")) if options.only and options.out.exists() else {}
    chosen = (options.only,) if options.only else CONDITIONS
    found = compare(calls, latency, python, options.timeout, chosen)
    packages = {name: version(name) for name in ("cpt-tasks", "inspect-ai", "anthropic")}
    say_versions = [python, "-c", SAY_VERSIONS, *OTHERS]
    others = subprocess.check_output(say_versions, text=True).split() if python else []
    conditions = {"calls": calls, "at_a_time": AT_A_TIME, "model": MODEL, "latency": latency, "faults": FAULTS}
    conditions |= {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    command = "python benchmarks/generation.py" + " --distilabel-python PYTHON" * bool(python)
    command += " --quick" if options.quick else f" --calls {calls}" if calls != 1000 else ""
    record = {"date": datetime.now(UTC).date().isoformat(), "command": command, "conditions": conditions}
    record |= {"packages": {"cpt": packages, "distilabel": dict(zip(OTHERS, others, strict=False))}}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    kept = {condition: before[condition] for condition in CONDITIONS if condition in before}
    options.out.write_text(json.dumps(record | kept | found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
