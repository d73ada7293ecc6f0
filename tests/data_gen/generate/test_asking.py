"""Every answer is paid for once and none is lost, whatever happens on the way."""

import asyncio
import errno
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_anthropic import Config, FakeAnthropic
from generating import ARGUMENTS, CALLS, MODEL, PROMPTS, generate, plan, rows_of

from data_gen.generate.rows import RowFile
from model_calls import ask
from rubrics import load_user_prompts


def test_rows_are_in_the_order_of_the_plan_and_lost_ones_are_written_again_for_nothing(
    anthropic_server: FakeAnthropic,
) -> None:
    anthropic_server.config = Config(latency_seconds=0.01, latency_sigma=1.0)
    assert generate(*ARGUMENTS).exit_code == 0
    whole = Path("r.jsonl").read_bytes()
    asked = plan("broadcast", prompts=load_user_prompts("train"))
    in_plan = [(one.rubric.id, one.user_prompt_id, str(one.level)) for one in asked]
    assert [(row["rubric"], row["user_prompt_id"], row["level"]) for row in rows_of(Path("r.jsonl"))] == in_plan
    lines = whole.splitlines(keepends=True)
    Path("r.jsonl").write_bytes(b"".join(lines[50:] + lines[:20]) + lines[30][:50])  # lost, moved, and a torn one
    assert generate(*ARGUMENTS).exit_code == 0
    assert Path("r.jsonl").read_bytes() == whole
    Path("r.jsonl").unlink()
    assert generate(*ARGUMENTS).exit_code == 0
    assert Path("r.jsonl").read_bytes() == whole
    Path("calls/teacher.sqlite").unlink()  # the rows are there: nothing to ask
    assert generate(*ARGUMENTS).exit_code == 0
    assert anthropic_server.stats.requests == CALLS


def test_rows_of_other_runs_are_kept(mock_teacher: Any) -> None:
    mock_teacher(lambda messages: messages[0].text[-300:])
    for rubric in ("reverie", "broadcast"):
        assert generate("--teacher", "mockllm/t", "--rubrics", rubric, "--limit", 6, "--out", "r.jsonl").exit_code == 0
    assert [row["rubric"] for row in rows_of(Path("r.jsonl"))] == ["reverie"] * 6 + ["broadcast"] * 6


def test_several_teachers_are_asked_the_same_questions(anthropic_server: FakeAnthropic) -> None:
    other = "anthropic/claude-haiku-5-5"
    arguments = ("--teacher", f"{MODEL},{other}", *ARGUMENTS[2:], "--limit", 6)
    for _ in range(2):
        done = generate(*arguments)
        assert done.exit_code == 0, done.output
    rows = rows_of(Path("r.jsonl"))
    assert [row["teacher"] for row in rows] == [MODEL] * 6 + [other] * 6
    assert [row["user_prompt"] for row in rows[:6]] == [row["user_prompt"] for row in rows[6:]]
    assert anthropic_server.stats.requests == 12


IN_FLIGHT = 16


def test_after_a_kill_only_what_was_in_flight_is_asked_again(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.config = Config(latency_seconds=0.05)
    script = "from data_gen.generate.command import generate_command; generate_command()"
    arguments = [*ARGUMENTS, "--max-connections", str(IN_FLIGHT)]
    stats = anthropic_server.stats
    with subprocess.Popen([sys.executable, "-c", script, *arguments], stderr=subprocess.DEVNULL) as process:
        while stats.served.total() < CALLS // 2:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    for _ in range(2):
        done = generate(*arguments)
        assert done.exit_code == 0, done.output
        assert stats.requests <= CALLS + IN_FLIGHT + 32
    assert len(rows_of(Path("r.jsonl"))) == CALLS
    assert "all: 72 whole\n" in done.output


FAULTS = {"rate_429": 0.05, "rate_529": 0.02, "rate_500": 0.01, "rate_reset": 0.01, "rate_truncated": 0.01}


def test_a_mix_of_faults_loses_nothing_and_pays_for_nothing_twice(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.config, stats, samples = Config(**FAULTS, rate_refusal=0.02, seed=3), anthropic_server.stats, 2
    done = generate(*ARGUMENTS, "--samples", samples)
    assert done.exit_code == 0, done.output
    rows = rows_of(Path("r.jsonl"))
    assert len(rows) == len({row["id"] for row in rows}) == CALLS * samples
    refused = [row for row in rows if row["stop_reason"] == "content_filter"]
    assert 0 < len(refused) <= stats.faults["refusal"]  # one may have been cut in transit, and come again
    assert len(refused) % samples == 0  # the same questions are refused each time
    assert sum(row["stop_reason"] == "stop" and bool(row["response"]) for row in rows) + len(refused) == len(rows)
    assert set(stats.faults) == {"429", "529", "500", "reset", "truncated", "refusal"}
    assert stats.requests <= 175
    assert stats.served.total() == CALLS * samples


def test_failed_calls_are_counted_by_kind_and_asked_again_by_the_next_run(mock_teacher: Any) -> None:
    down = True

    def reply(messages: list[Any]) -> str:
        if down and "a well." in messages[0].text:
            raise RuntimeError("the line is down")
        return "A text."

    model = mock_teacher(reply)
    Path("mine.yaml").write_text(yaml.safe_dump({"train": PROMPTS}))
    arguments = ("--teacher", "mockllm/t", "--rubrics", "tone_warmth", "--prompts", "mine.yaml", "--out", "r.jsonl")
    done = generate(*arguments)
    assert done.exit_code == 1
    assert "3 calls failed with RuntimeError: the line is down" in done.output
    assert "Error: 3 of 9 rows are missing; run the same command again" in done.output
    down, before = False, len(model.seen)
    assert generate(*arguments).exit_code == 0
    assert len(model.seen) == before + 3
    assert len(rows_of(Path("r.jsonl"))) == 9


def test_a_run_that_ends_with_an_error_has_written_the_rows_that_it_paid_for(mock_teacher: Any) -> None:
    replies = iter(["A text."] * 5)

    def reply(messages: list[Any]) -> str:
        if (text := next(replies, None)) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return text

    mock_teacher(reply)
    done = generate("--teacher", "mockllm/t", "--rubrics", "broadcast", "--out", "r.jsonl")
    assert (done.exit_code, len(rows_of(Path("r.jsonl")))) == (1, 5)
    assert "No space left on device; what was answered is kept in the call store" in done.output


def test_when_every_call_fails_asking_stops_soon(mock_teacher: Any) -> None:
    def reply(messages: list[Any]) -> str:
        raise RuntimeError("wrong key")

    model = mock_teacher(reply)
    done = generate("--teacher", "mockllm/t", "--rubrics", "broadcast", "--samples", 10, "--out", "r.jsonl")
    assert done.exit_code == 1
    assert "50 calls failed one after another: 720 of 720 rows are missing" in done.output
    assert 50 <= len(model.seen) <= 58


def test_tasks_and_requests_are_bounded_whatever_the_plan(
    anthropic_server: FakeAnthropic, monkeypatch: pytest.MonkeyPatch
) -> None:
    anthropic_server.config = Config(latency_seconds=0.02)
    tasks: list[int] = []

    async def spy(store: Any, call: Any) -> Any:
        tasks.append(len(asyncio.all_tasks()))
        return await ask(store, call)

    monkeypatch.setattr("data_gen.generate.asking.ask", spy)
    # inspect keeps the bounds of a model's connections for the life of the process: a model that no other test asks
    arguments = ("--teacher", "anthropic/claude-opus-4-8", *ARGUMENTS[2:])
    assert generate(*arguments, "--max-connections", 4).exit_code == 0
    assert anthropic_server.stats.peak_in_flight <= 4
    assert len(tasks) == CALLS
    assert max(tasks) <= 2 * 4 + 8


@pytest.mark.parametrize(
    ("content", "is_open", "message"),
    [
        ("", True, "another process is writing it"),
        ('{"id": "a"}\n{"no": 1}\n', False, r"r.jsonl:2: got .*expected a response in one line of JSON"),
    ],
)
def test_a_file_that_cannot_be_added_to_is_refused(tmp_path: Path, content: str, is_open: bool, message: str) -> None:
    (tmp_path / "r.jsonl").write_text(content)
    file = RowFile(tmp_path / "r.jsonl") if is_open else None
    with pytest.raises(ValueError, match=message):
        RowFile(tmp_path / "r.jsonl")
    if file:
        file.close()
