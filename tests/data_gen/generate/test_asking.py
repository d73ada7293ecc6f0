"""Every answer is paid for once and none is lost, whatever happens on the way; what it costs, and what is refused."""

import errno
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_anthropic import MIX, Config, FakeAnthropic
from generating import CALLS, MOCK, MODEL, PROMPTS, REAL, generate, plan, rows_of

from data_gen.generate.rows import lines_of
from rubrics import load_user_prompts


def test_rows_are_in_the_order_of_the_plan_and_lost_ones_are_written_again_for_nothing(
    anthropic_server: FakeAnthropic,
) -> None:
    anthropic_server.config = Config(latency_seconds=0.01, latency_sigma=1.0)
    generate(*REAL)
    whole = Path("r.jsonl").read_bytes()
    in_plan = [(one.user_prompt_id, str(one.level)) for one in plan(prompts=load_user_prompts("train"))]
    assert [(row["user_prompt_id"], row["level"]) for row in rows_of()] == in_plan
    lines = whole.splitlines(keepends=True)
    # lost, moved, and a torn one; none at all
    for left in (b"".join(lines[50:] + lines[:20]) + lines[30][:50], b""):
        Path("r.jsonl").write_bytes(left)
        generate(*REAL)
        assert Path("r.jsonl").read_bytes() == whole
    Path("calls/teacher.sqlite").unlink()  # the rows are there: nothing to ask
    generate(*REAL)
    assert anthropic_server.stats.requests == CALLS


def test_rows_of_other_runs_are_kept(mock_teacher: Any) -> None:
    mock_teacher(lambda messages: messages[0].text[-300:])
    for rubric in ("reverie", "broadcast"):
        generate(*MOCK, "--rubrics", rubric, "--limit", 6)
    assert [row["rubric"] for row in rows_of()] == ["reverie"] * 6 + ["broadcast"] * 6


def test_several_teachers_are_asked_the_same_questions(anthropic_server: FakeAnthropic) -> None:
    other = "anthropic/claude-haiku-5-5"
    for _ in range(2):
        generate(*REAL, "--teacher", f"{MODEL},{other}", "--limit", 6)
    rows = rows_of()
    assert [row["teacher"] for row in rows] == [MODEL] * 6 + [other] * 6
    assert [row["user_prompt"] for row in rows[:6]] == [row["user_prompt"] for row in rows[6:]]
    assert anthropic_server.stats.requests == 12


IN_FLIGHT = 4


def test_after_a_kill_only_what_was_in_flight_is_asked_again(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.config = Config(latency_seconds=0.05)
    script = "from data_gen.generate.command import generate_command; generate_command()"
    arguments = [*REAL, "--max-connections", str(IN_FLIGHT)]
    stats = anthropic_server.stats
    with subprocess.Popen([sys.executable, "-c", script, *arguments], stderr=subprocess.DEVNULL) as process:
        while stats.served.total() < CALLS // 2:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    for _ in range(2):
        done = generate(*arguments)
        assert stats.requests <= CALLS + 3 * IN_FLIGHT  # with those of the second start
    assert len(rows_of()) == CALLS
    assert "all: 72 whole\n" in done.output


def test_a_mix_of_faults_loses_nothing_and_pays_for_nothing_twice(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.config, stats, samples = Config(**MIX, rate_refusal=0.02, seed=3), anthropic_server.stats, 2
    generate(*REAL, "--samples", samples)
    rows = rows_of()
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
    arguments = (*MOCK, "--rubrics", "tone_warmth", "--prompts", "mine.yaml")
    output = generate(*arguments, status=1).output
    assert output.count("RuntimeError: the line is down") == 1
    assert "3 calls failed with RuntimeError" in output
    assert "Error: 3 of 9 rows are missing; run the same command again" in output
    down, before = False, len(model.seen)
    generate(*arguments)
    assert len(model.seen) == before + 3
    assert len(rows_of()) == 9


def test_a_run_that_ends_with_an_error_has_written_the_rows_that_it_paid_for(mock_teacher: Any) -> None:
    replies = iter(["A text."] * 5)

    def reply(messages: list[Any]) -> str:
        if (text := next(replies, None)) is None:
            raise OSError(errno.ENOSPC, "No space left on device", "calls.sqlite")
        return text

    mock_teacher(reply)
    done = generate(*MOCK, status=1)
    assert len(rows_of()) == 5
    assert "No space left on device" in done.output and "what was answered is kept in the call store" in done.output


def test_when_every_call_fails_asking_stops_soon(mock_teacher: Any) -> None:
    def reply(messages: list[Any]) -> str:
        raise RuntimeError("wrong key")

    model = mock_teacher(reply)
    done = generate(*MOCK, "--samples", 10, status=1)
    assert "50 calls failed one after another: 720 of 720 rows are missing" in done.output
    assert 50 <= len(model.seen) <= 58


@pytest.mark.parametrize(
    ("bad", "stop_reason", "warnings"), [(3, "stop", 1), (2, "stop", 0), (0, "max_tokens", 1), (9, "content_filter", 0)]
)
def test_after_ten_replies_it_is_said_once_if_more_than_a_few_are_cut_or_all_thought(
    mock_teacher: Any, bad: int, stop_reason: str, warnings: int
) -> None:
    replies = iter(["<think>Hm, hm."] * bad + ["A text."] * 100)
    mock_teacher(lambda _: next(replies), stop_reason=stop_reason)
    # one at a time, or the first ten to come would not be the first ten asked
    output = generate(*MOCK, "--limit", 30, "--max-connections", 1).output
    count = 10 if stop_reason == "max_tokens" else bad
    message = f"mockllm/t: {count} of the first 10 replies were cut or hold no response; a thought counts in --max-tok"
    assert (output.count("of the first 10 replies"), output.count(message)) == (warnings, warnings)


def test_no_more_requests_are_in_flight_than_max_connections(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.config = Config(latency_seconds=0.02)
    # inspect keeps the bounds of a model's connections for the life of the process: a model that no other test asks
    generate(*REAL, "--teacher", "anthropic/claude-opus-4-8", "--max-connections", 4, "--limit", 24)
    assert anthropic_server.stats.peak_in_flight <= 4


# money


def test_the_forecast_adds_up_by_hand_and_asks_nobody(anthropic_server: FakeAnthropic) -> None:
    arguments = (*REAL, "--out", "folder/r.jsonl", "--forecast", "--max-tokens", 300)
    output = generate(*arguments).output
    assert "72 rows planned, 0 in the file, 0 in the call store, 72 calls to make" in output
    characters = sum(len(question.text) for question in plan(prompts=load_user_prompts("train")))
    # 72 x 300 = 21,600 tokens out at 10 USD per million, a quarter of the characters in at 2
    assert f"tokens in {characters // 4:,} (characters / 4, without prompt caching), out 21,600" in output
    assert f"cost {characters // 4 * 2e-6 + 0.216:.2f} USD" in output
    assert f"cost {(characters // 4 * 2e-6 + 0.216) / 2:.2f} USD" in generate(*arguments, "--batch").output
    assert (anthropic_server.stats.requests, Path("folder").exists()) == (0, False)


def test_the_forecast_leaves_out_what_is_stored_and_takes_the_length_of_replies_from_the_store(
    mock_teacher: Any,
) -> None:
    mock_teacher(lambda _: "A text.")
    generate(*MOCK, "--limit", 30)
    output = generate(*MOCK, "--forecast").output
    assert "72 rows planned, 30 in the file, 0 in the call store, 42 calls to make" in output
    # the mock's replies have 5 tokens each
    assert "out 210 (5 a reply: mean of 30 replies in the call store)" in output
    assert "no price for mockllm/student" in output
    Path("r.jsonl").unlink()
    assert "72 rows planned, 0 in the file, 30 in the call store, 42 calls" in generate(*MOCK, "--forecast").output


def test_a_forecast_and_files_of_questions_need_no_key_and_know_what_was_asked_with_one(
    anthropic_server: FakeAnthropic, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate(*REAL, "--limit", 30)
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    assert "72 rows planned, 30 in the file, 0 in the call store, 42" in generate(*REAL, "--forecast").output
    generate(*REAL, "--questions", "q.jsonl")
    assert len(Path("q.jsonl").read_text().splitlines()) == 42
    assert "ANTHROPIC_API_KEY" in generate(*REAL, status=1).output


def test_max_cost_stops_in_time_and_keeps_what_was_paid(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.config = Config(latency_seconds=0.005)
    stats = anthropic_server.stats
    done = generate(*REAL, "--max-connections", 4, "--max-cost", 0.3, status=1)
    assert "--max-cost 0.3 reached: " in done.output
    spent = (stats.tokens["input_tokens"] * 2 + stats.tokens["output_tokens"] * 10) / 1e6
    assert 0.15 < spent <= 0.3
    assert f"{spent:.4f} USD spent now" in done.output
    assert 0 < len(rows_of()) == stats.served.total() < CALLS
    generate(*REAL, "--max-connections", 4, "--max-cost", 50)
    assert stats.served.total() == CALLS
    # under other settings replies have other lengths
    assert "(77 a reply: --max-tokens, the upper bound)" in generate(*REAL, "--forecast", "--max-tokens", 77).output


def test_batches_give_the_same_rows_at_half_the_price_and_are_cut_to_what_may_be_spent(
    anthropic_server: FakeAnthropic,
) -> None:
    anthropic_server.config = Config(rate_batch_errored=0.05)
    stats, real = anthropic_server.stats, (*REAL, "--max-tokens", 1024)
    generate(*real, "--out", "online.jsonl", "--store", "online.sqlite")
    output = generate(*real, "--batch", "--max-cost", 0.3, status=1).output
    assert "--max-cost 0.3 reached" in output
    # half of 1,000 tokens at 10 USD per million, and some for the input
    assert 30 < stats.served.total() - CALLS < 60
    assert float(re.findall(r"([\d.]+) USD spent now", output)[0]) <= 0.3
    for _ in range(2):
        generate(*real, "--batch")
        assert (stats.requests, stats.served.total()) == (CALLS, 2 * CALLS)
    same = ("id", "response", "level", "user_prompt", "params")
    assert [[row[name] for name in same] for row in rows_of()] == [
        [row[name] for name in same] for row in rows_of("online.jsonl")
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--rubrics", "nope", "--out", "r.jsonl"), 1, "rubric 'nope' not found"),
        (("--levels", "lowest", "--out", "r.jsonl"), 2, "--levels lowest: expected some of low, moderate, extremely"),
        (("--levels", "low,low", "--out", "r.jsonl"), 2, "got 'low,low', expected one or several names"),
        (("--format", "anthropic", "--out", "r.jsonl"), 2, "--format anthropic goes with --questions"),
        (("-M", "dtype", "--out", "r.jsonl"), 2, "got dtype, expected NAME=VALUE"),
        (("--prompts", "no.yaml", "--out", "r.jsonl"), 1, "--prompts no.yaml: not found, expected 'train', one of"),
        ((), 2, "--out is missing"),
        (("--forecast", "--questions", "q.jsonl"), 2, "--forecast and --questions do not go together"),
        (("--batch", "--questions", "q.jsonl"), 2, "--batch and --questions do not go together"),
        (("--teacher", "a/b,c/d", "--questions", "q.jsonl"), 2, "--questions: got 2 teachers, expected one"),
        (("--batch", "--limit", 1, "--out", "r.jsonl"), 1, "has no batches here"),
        (("--max-cost", 1, "--out", "r.jsonl"), 2, "--max-cost: no price for mockllm/t as of"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    mock_teacher: Any, arguments: tuple[object, ...], status: int, message: str
) -> None:
    model = mock_teacher(lambda _: "A text.")
    assert message in generate("--teacher", "mockllm/t", *arguments, status=status).output
    assert model.seen == []


def test_a_file_that_cannot_be_added_to_is_refused(mock_teacher: Any) -> None:
    model = mock_teacher(lambda _: "A text.")
    with lines_of(Path("r.jsonl")):
        assert "r.jsonl: another process is writing it" in generate(*MOCK, status=1).output
    Path("r.jsonl").write_text('{"id": "a"}\n{"no": 1}\n')
    assert "r.jsonl:2: got b'{\"no\": 1}\\n', expected a response in one" in generate(*MOCK, status=1).output
    assert model.seen == []
