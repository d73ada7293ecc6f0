"""`--accept`: asking until enough responses are in the band of their level."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from generating import PROMPTS, SEED_FILE, generate, level_in, rows_of

from rubrics import ScoreLevel


@pytest.fixture
def seed_texts() -> dict[tuple[str, str], str]:
    """A text of the seed in the band of its level, by (rubric, level)."""
    rows = [json.loads(line) for line in SEED_FILE.read_text(encoding="utf-8").splitlines()]
    return {(row["rubric"], row["level"]): row["response"] for row in rows}


@pytest.fixture
def aiming_teacher(mock_teacher: Any, seed_texts: dict[tuple[str, str], str]) -> Callable[..., Any]:
    """Hits the level with the askings that `hits` names, by level; the others are far off, or too short."""

    def put(hits: dict[str, set[int]]) -> Any:
        asked: Counter[str] = Counter()

        def reply(messages: list[Any]) -> str:
            text = messages[0].text
            level = level_in(text)
            asked[text] += 1
            if asked[text] in hits[level]:
                return seed_texts["broadcast", level]
            return "Too short." if level == "low" else seed_texts["broadcast", "low"]

        return mock_teacher(reply)

    return put


ACCEPT = ("--teacher", "mockllm/t", "--rubrics", "broadcast", "--prompts", "mine.yaml", "--judge", "measured")


def test_accepting_asks_until_exactly_enough_are_in_band_and_lists_what_stays_short(
    aiming_teacher: Callable[..., Any],
) -> None:
    Path("mine.yaml").write_text(yaml.safe_dump({"train": {"one": PROMPTS["one"]}}))
    model = aiming_teacher({"low": {1, 2, 3, 4}, "moderate": {2, 3, 5}, "extremely_high": {4}})
    arguments = (*ACCEPT, "--accept", 2, "--max-samples", 5, "--out", "r.jsonl")
    done = generate(*arguments)
    assert done.exit_code == 0, done.output
    # low: 2 at once; moderate: 1 of 2, then 1 more; extremely high: 0 of 2, 1 of 2 more, 0 of 1, and no more
    rows = rows_of(Path("r.jsonl"))
    assert [row["level"] for row in rows] == ["low"] * 2 + ["moderate"] * 3 + ["extremely_high"] * 5
    accepted = [row["level"] for row in rows if ScoreLevel.of(row["judgment"]["score"]) == row["level"]]
    assert accepted == ["low"] * 2 + ["moderate"] * 2 + ["extremely_high"]
    assert {(row["judgment"]["judge"], row["judgment"]["prompt_version"]) for row in rows} == {("measured", "1")}
    assert "short: broadcast extremely_high one mockllm/t: 1 of 2 in 5 askings" in done.output
    assert "1 cells are short of 2 accepted responses" in done.output
    whole, asked = Path("r.jsonl").read_bytes(), len(model.seen)
    assert asked == 10
    assert generate(*arguments).exit_code == 0
    Path("r.jsonl").unlink()
    assert generate(*arguments).exit_code == 0
    assert (Path("r.jsonl").read_bytes(), len(model.seen)) == (whole, asked)


def test_what_is_too_short_or_cut_off_is_never_accepted(aiming_teacher: Callable[..., Any], mock_teacher: Any) -> None:
    # a text under 15 words would score 0, and that is in the band of low
    Path("mine.yaml").write_text(yaml.safe_dump({"train": {"one": PROMPTS["one"]}}))
    aiming_teacher({"low": set()})
    done = generate(*ACCEPT, "--levels", "low", "--accept", 1, "--out", "r.jsonl")
    assert "broadcast low one mockllm/t: 0 of 1 in 4 askings" in done.output
    assert [row.get("judgment") for row in rows_of(Path("r.jsonl"))] == [None] * 4
    text = "Wind came. It rained. Men ran. A boat sank. We went home and slept all night."
    mock_teacher(lambda _: text, stop_reason="max_tokens")
    done = generate(*ACCEPT, "--levels", "low", "--accept", 1, "--out", "cut.jsonl", "--store", "cut-calls.jsonl")
    assert "broadcast low one mockllm/t: 0 of 1 in 4 askings" in done.output


def test_responses_that_were_written_without_a_judge_are_judged_and_not_asked_again(
    aiming_teacher: Callable[..., Any],
) -> None:
    Path("mine.yaml").write_text(yaml.safe_dump({"train": {"one": PROMPTS["one"]}}))
    model = aiming_teacher({"low": {1, 2, 3}, "moderate": {1, 2, 3}, "extremely_high": {2, 3}})
    assert generate(*ACCEPT[:6], "--samples", 2, "--out", "r.jsonl").exit_code == 0
    assert not any("judgment" in row for row in rows_of(Path("r.jsonl")))
    done = generate(*ACCEPT, "--accept", 2, "--out", "r.jsonl")
    assert done.exit_code == 0, done.output
    rows = rows_of(Path("r.jsonl"))
    assert len(rows) == len({row["id"] for row in rows}) == len(model.seen) == 7
    assert all("judgment" in row for row in rows)


def test_a_judge_that_fails_accepts_nothing_and_is_counted(
    aiming_teacher: Callable[..., Any], mock_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    grader = mock_model(lambda _: "no", name="grader", stop_reason="content_filter")
    monkeypatch.setattr("data_gen.generate.run.judge_model", lambda name: grader)
    Path("mine.yaml").write_text(yaml.safe_dump({"train": {"one": PROMPTS["one"]}}))
    aiming_teacher({"moderate": {1, 2, 3, 4}})
    arguments = (*ACCEPT[:6], "--judge", "mockllm/grader", "--levels", "moderate", "--accept", 1, "--out", "r.jsonl")
    done = generate(*arguments, "--judge-store", "judge.jsonl")
    assert "4 responses without a judgment, not accepted: refusal" in done.output
    assert "0 of 1 in 4 askings" in done.output
    assert [row.get("judgment") for row in rows_of(Path("r.jsonl"))] == [None] * 4
    assert len(grader.seen) == 1  # the four texts are the same, and so is the verdict
