"""The record that a scorer writes: read back through the same type, from this version and from older logs."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from judges import FurtherJudgment, JudgeFailure, JudgeFailureRecord, Judgment, ScoreRecord, read_judgment
from judges.judgment import CriterionJudgment, Rating
from rubrics import load_rubric

ROOT = Path(__file__).parents[2]
RUBRIC = load_rubric("reverie")
JUDGMENT = Judgment(
    score=62.5,
    criteria=(CriterionJudgment(id="comparison", score=80, reason="One simile."),),
    holistic=70,
    judge="anthropic/claude-sonnet-5-5",
    prompt_version="2",
    rubric_hash=RUBRIC.hash,
    served_model="claude-sonnet-5-5",
    attempts=2,
    usage={"input_tokens": 20, "output_tokens": 7},
    protocol="criteria",
    total=62.5,
    prompt_hash="0f" * 6,
    judge_hash="1e" * 6,
    cost_usd=0.5,
    ratings=(Rating(seat=0, judge="a", repeat=0, score=62.5), Rating(seat=0, judge="a", repeat=1, failure_mode="x")),
)
FAILURE = JudgeFailure("truncated", "stop reason max_tokens", 3, {"output_tokens": 9}, 0.25, JUDGMENT.ratings)


def record(judgment: Judgment | JudgeFailureRecord, **more: Any) -> ScoreRecord:
    return ScoreRecord(judgment=judgment, epoch=2, words=40, stop_reason="stop", judge_repeats=2, **more)


@pytest.mark.parametrize(
    "written",
    [
        record(JUDGMENT),
        record(JudgeFailureRecord.of(FAILURE, RUBRIC)),
        record(JUDGMENT, also={"tidy": FurtherJudgment(score=12.5, rubric_hash="abc", cost_usd=0.1)}),
        record(JUDGMENT, also={"tidy": FurtherJudgment.of(FAILURE, RUBRIC)}),
    ],
)
def test_what_goes_into_the_metadata_as_json_comes_out_of_it(written: ScoreRecord) -> None:
    metadata = json.loads(json.dumps(written.to_metadata()))
    assert metadata["schema"] == 1
    assert ScoreRecord.from_metadata(metadata) == written
    # another scorer keeps facts of its own beside it
    assert read_judgment(metadata | {"own_of_a_scorer": [1]}) == written.judgment


def test_the_metadata_is_flat_with_the_keys_that_logs_had_before_it_had_a_type() -> None:
    keys = set(record(JUDGMENT).to_metadata())
    before = "epoch words thought_words stop_reason judge_repeats score criteria holistic reason judge prompt_version "
    before += "rubric_hash served_model attempts usage protocol total prompt_hash judge_hash cost_usd ratings"
    assert keys == {*before.split(), "schema"}
    failed = record(JudgeFailureRecord.of(FAILURE, RUBRIC)).to_metadata()
    assert failed["failure_mode"] == "truncated" and failed["ratings"][1]["failure_mode"] == "x"
    assert failed["failure"] == "truncated: stop reason max_tokens"
    assert "score" not in failed


def test_a_log_of_the_first_version_is_read_with_the_defaults_of_what_it_lacks() -> None:
    old = {"judge": "measured", "prompt_version": "1", "rubric_hash": "abc", "score": 3.0, "epoch": 1, "words": 30}
    read = ScoreRecord.from_metadata(old)
    assert isinstance(read.judgment, Judgment)
    assert (read.judgment.protocol, read.judgment.ratings, read.judge_repeats, read.also) == ("criteria", (), 1, {})


def test_a_committed_log_is_read_and_written_again_without_a_loss() -> None:
    from inspect_ai.log import read_eval_log

    samples = read_eval_log(str(ROOT / "results" / "smollm2-135m" / "logs" / "curve" / "base.eval")).samples
    assert samples
    for sample in samples:
        metadata = dict((sample.scores or {})["rubric_judge"].metadata or {})
        metadata.pop("usage_paid")  # not written any more: it was wrong where an asking had failed
        again = ScoreRecord.from_metadata(metadata).to_metadata()
        assert json.loads(json.dumps({key: again[key] for key in metadata})) == metadata


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "judgment: schema: Input should be less than or equal to 1, got 2, expected what the scorer"),
        ({"score": math.nan}, "judgment: score: Input should be less than or equal to 100"),
        ({"score": 100.5}, "judgment: score: Input should be less than or equal to 100, got 100.5"),
        ({"score": -1}, "judgment: score: Input should be greater than or equal to 0, got -1"),
        ({"score": None}, "judgment: score: Input should be a valid number"),
        ({"words": None}, "judgment: words: Input should be a valid integer"),
    ],
)
def test_a_record_that_cannot_be_read_is_refused_in_one_sentence(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="schema 1 or older") as error:
        ScoreRecord.from_metadata(record(JUDGMENT).to_metadata() | change)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)
