"""What a run will cost, how it is held to a budget, and what cannot be done."""

import re
from pathlib import Path
from typing import Any

import pytest
from fake_anthropic import Config, FakeAnthropic
from generating import ARGUMENTS, CALLS, generate, plan, rows_of

from rubrics import load_user_prompts


def test_the_forecast_adds_up_by_hand_and_asks_nobody(anthropic_server: FakeAnthropic) -> None:
    done = generate(*ARGUMENTS[:4], "--forecast", "--max-tokens", 300)
    assert done.exit_code == 0, done.output
    assert "72 rows planned, 0 in the file, 0 in the call store, 72 calls to make" in done.output
    characters = sum(len(question.text) for question in plan(prompts=load_user_prompts("train")))
    # 72 x 300 = 21,600 tokens out at 10 USD per million, a quarter of the characters in at 2
    assert f"tokens in {characters // 4:,} (characters / 4, without prompt caching), out 21,600" in done.output
    assert f"cost {characters // 4 * 2e-6 + 0.216:.2f} USD" in done.output
    half = generate(*ARGUMENTS[:4], "--forecast", "--max-tokens", 300, "--batch")
    assert f"cost {(characters // 4 * 2e-6 + 0.216) / 2:.2f} USD" in half.output
    assert anthropic_server.stats.requests == 0
    assert not Path("r.jsonl").exists()


def test_the_forecast_leaves_out_what_is_stored_and_takes_the_length_of_replies_from_the_store(
    mock_teacher: Any,
) -> None:
    mock_teacher(lambda _: "A text.")
    arguments = ("--teacher", "mockllm/student", "--rubrics", "broadcast", "--out", "r.jsonl")
    assert generate(*arguments, "--limit", 30).exit_code == 0
    done = generate(*arguments, "--forecast")
    assert "72 rows planned, 30 in the file, 0 in the call store, 42 calls to make" in done.output
    # the mock's replies have 5 tokens each
    assert "out 210 (5 a reply: mean of 30 replies in the call store)" in done.output
    assert "no price for mockllm/student" in done.output
    Path("r.jsonl").unlink()
    assert "72 rows planned, 0 in the file, 30 in the call store, 42 calls" in generate(*arguments, "--forecast").output


def test_max_cost_stops_in_time_and_keeps_what_was_paid(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.config = Config(latency_seconds=0.005)
    arguments = (*ARGUMENTS, "--max-connections", 4)
    done = generate(*arguments, "--max-cost", 0.3)
    assert done.exit_code == 1
    assert "--max-cost 0.3 reached: " in done.output
    tokens = anthropic_server.stats.tokens
    spent = (
        tokens["input_tokens"] * 2
        + tokens["output_tokens"] * 10
        + tokens["cache_creation_input_tokens"] * 2.5
        + tokens["cache_read_input_tokens"] * 0.2
    ) / 1e6
    assert 0.15 < spent <= 0.3
    assert f"{spent:.4f} USD spent now" in done.output
    rows = rows_of(Path("r.jsonl"))
    assert 0 < len(rows) == anthropic_server.stats.served.total() < CALLS
    assert generate(*arguments, "--max-cost", 50).exit_code == 0
    assert anthropic_server.stats.served.total() == CALLS


def test_batches_give_the_same_rows_at_half_the_price(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.config = Config(rate_batch_errored=0.05)
    done = generate(*ARGUMENTS, "--batch", "--store", "b.jsonl")
    assert done.exit_code == 0, done.output
    assert (anthropic_server.stats.requests, anthropic_server.stats.served.total()) == (0, CALLS)
    batched = rows_of(Path("r.jsonl"))
    cost = float(re.findall(r"([\d.]+) USD spent now", done.output)[0])
    assert generate(*ARGUMENTS[:-1], "online.jsonl").exit_code == 0
    online = rows_of(Path("online.jsonl"))
    for first, second in zip(batched, online, strict=True):
        assert (first["id"], first["response"]) == (second["id"], second["response"])
    assert 0 < cost < CALLS * 0.01
    assert generate(*ARGUMENTS, "--batch", "--store", "b.jsonl").exit_code == 0
    assert anthropic_server.stats.served.total() == 2 * CALLS


def test_a_batch_is_cut_to_what_may_be_spent(anthropic_server: FakeAnthropic) -> None:
    arguments = (*ARGUMENTS, "--batch")
    done = generate(*arguments, "--max-cost", 0.3)
    assert done.exit_code == 1
    assert "--max-cost 0.3 reached" in done.output
    # half of 1,000 tokens at 10 USD per million, and some for the input
    assert 30 < anthropic_server.stats.served.total() < 60


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--rubrics", "nope", "--out", "r.jsonl"), 1, "rubric 'nope' not found"),
        (("--levels", "lowest", "--out", "r.jsonl"), 2, "--levels lowest: expected some of low, moderate, extremely"),
        (("--levels", "low,low", "--out", "r.jsonl"), 2, "got 'low,low', expected one or several names"),
        (("-M", "dtype", "--out", "r.jsonl"), 2, "got dtype, expected NAME=VALUE"),
        (("--prompts", "no.yaml", "--out", "r.jsonl"), 1, "--prompts no.yaml: not found, expected 'train' or the path"),
        ((), 2, "--out is missing"),
        (("--batch", "--questions", "q.jsonl"), 2, "--batch and --questions do not go together"),
        (("--teacher", "a/b,c/d", "--questions", "q.jsonl"), 2, "--questions: got 2 teachers, expected one"),
        (("--answers", "a.jsonl", "--out", "r.jsonl"), 2, "File 'a.jsonl' does not exist"),
        (("--batch", "--limit", 1, "--out", "r.jsonl"), 1, "has no batches here"),
        (("--max-cost", 1, "--out", "r.jsonl"), 2, "--max-cost: no price for mockllm/t as of"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    mock_teacher: Any, arguments: tuple[object, ...], status: int, message: str
) -> None:
    model = mock_teacher(lambda _: "A text.")
    done = generate("--teacher", "mockllm/t", *arguments)
    assert message in done.output
    assert done.exit_code == status
    assert "Traceback" not in done.output
    assert model.seen == []
