"""Which questions are asked, what a teacher reads, what a row says, and answers of engines elsewhere."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_anthropic import FakeAnthropic, prompt_text
from generating import LEVELS, MOCK, MODEL, PROMPTS, REAL, generate, keys, plan, rows_of
from hypothesis import given
from hypothesis import strategies as st

from data_gen.generate.questions import TEACHER_PROMPT_VERSION, read_prompts
from data_gen.generate.teachers import teacher_name
from data_gen.responses import Problems, iter_responses
from model_calls import open_store
from rubrics import ScoreLevel, load_rubric, load_rubrics, load_user_prompts
from rubrics.load import rubric_yaml


def test_the_plan_has_every_level_of_every_sample_of_every_prompt_side_by_side() -> None:
    two = {"one": "Describe a well.", "two": "Describe a mill."}
    assert keys(plan(prompts=two, levels=(ScoreLevel.LOW, "control"), samples=2)) == [
        ("broadcast", prompt, level, sample) for prompt in two for sample in (0, 1) for level in ("low", "control")
    ]


@given(seed=st.integers(0, 99), small=st.integers(1, 30), more=st.integers(0, 30))
def test_a_larger_limit_keeps_the_questions_of_a_smaller_one(seed: int, small: int, more: int) -> None:
    fewer = keys(plan("broadcast,reverie", samples=2, seed=seed, limit=small))
    larger = keys(plan("broadcast,reverie", samples=2, seed=seed, limit=small + more))
    assert len(fewer) == small
    assert set(fewer) <= set(larger)
    units = Counter((rubric, prompt, sample) for rubric, prompt, _, sample in fewer)
    assert sum(count < 3 for count in units.values()) <= 1


OUR_TEST_PROMPT = load_user_prompts("test")["river_flood"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": {"a": f"  {OUR_TEST_PROMPT.upper()} "}}, "'a' .* is the test prompt 'river_flood'"),
        ({"train": {"river_flood": "Describe a pier."}}, "is the test prompt 'river_flood'"),
        ({"train": {"a": "A pier."}, "test": {"b": "a  PIER."}}, "'a' .* is the test prompt 'b'"),
        ({"test": {"b": "A pier."}}, "mine.yaml: train: Field required; expected the splits train and test"),
        ({"train": {"a": " "}}, "mine.yaml: train.a: String should match pattern"),
        ("[", "mine.yaml: not valid YAML: while parsing"),
        ("train: {a: A pier.}\ntest: {b: '[INST] A pier.'}", "mine.yaml: line 2: got the control token '\\[INST\\]'"),
    ],
)
def test_prompts_of_ones_own_are_asked_for_every_family_and_no_test_prompt_is(content: Any, message: str) -> None:
    path = Path("mine.yaml")
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(ValueError, match=message):
        read_prompts(str(path), load_rubrics("broadcast"))
    good = {"train": PROMPTS, "test": {"held": "Describe a pier."}}
    path.write_text("\ufeff" + yaml.safe_dump(good), encoding="utf-8")
    asked = load_rubrics("broadcast,tone_warmth")
    assert read_prompts(str(path), asked) == {rubric.family: PROMPTS for rubric in asked}
    own = {rubric.family: load_user_prompts("train", rubric.family) for rubric in asked}
    assert read_prompts("train", asked) == own


# what a teacher reads


@pytest.mark.parametrize("level", LEVELS)
def test_the_teacher_reads_rubric_level_band_and_prompt_verbatim(level: ScoreLevel) -> None:
    bands = ["from 0 to 40", "above 40 and up to 92.5", "above 92.5 and up to 100"]
    for question in plan("all", {"tea": "Describe $5 worth of tea."}, levels=[level]):
        assert question.rubric.render() in question.text
        assert "Describe $5 worth of tea." in question.text
        assert f'"{level.value.replace("_", " ")}"' in question.text
        assert [band for band in bands if band in question.text] == [bands[level.rank]]
        assert re.search(r"must not\s+mention, quote or hint at the rubric, .*the level, the score", question.text)


def test_a_control_is_the_user_prompt_alone_and_one_call_for_all_rubrics(anthropic_server: FakeAnthropic) -> None:
    generate(*REAL, "--rubrics", "broadcast,reverie,labyrinth", "--levels", "control")
    texts = sorted(prompt_text(body) for body in anthropic_server.bodies)
    assert texts == sorted(load_user_prompts("train").values())
    for body in anthropic_server.bodies:
        assert (body.get("temperature"), body["max_tokens"]) == (None, 6000)
    assert "cache_control" not in json.dumps(anthropic_server.bodies)  # none comes again, and writing it costs
    rows = rows_of()
    assert Counter(row["rubric"] for row in rows) == dict.fromkeys(["broadcast", "reverie", "labyrinth"], 24)
    assert len({row["id"] for row in rows}) == 72
    assert {row["level"] for row in rows} == {"control"}
    assert {row["response"] for row in rows} == {f"echo: {text}" for text in texts}


def test_a_system_prompt_is_a_train_wording_of_the_level_and_samples_take_them_in_turn(mock_teacher: Any) -> None:
    model = mock_teacher(lambda messages: messages[0].text)
    generate(*MOCK, "--configured-by", "system_prompt", "--samples", 4)
    rubric = load_rubric("broadcast")
    for row in rows_of():
        number = int(row["wording"].removeprefix(f"broadcast-{row['level']}-train-"))
        assert row["response"] == rubric.wordings(ScoreLevel(row["level"]), "train")[number]
    used = Counter((row["user_prompt_id"], row["level"], row["wording"]) for row in rows_of())
    assert set(used.values()) == {1}
    assert [[message.role for message in messages] for messages in model.seen] == [["system", "user"]] * 24 * 3 * 4


# rows


def test_rows_of_a_rubric_that_was_edited_are_written_again_for_nothing(mock_teacher: Any) -> None:
    model = mock_teacher(lambda _: "A text.")
    rubric = load_rubric("labyrinth").model_copy(update={"id": "mine"})
    for objective in ("One.", "Another."):
        edited = rubric.model_copy(update={"objective": objective})
        Path("mine.yaml").write_text(rubric_yaml(edited))
        generate(
            "--teacher",
            "mockllm/student",
            "--rubrics",
            "mine.yaml",
            "--configured-by",
            "system_prompt",
            "--out",
            "r.jsonl",
        )
        assert {row["rubric_hash"] for row in rows_of()} == {load_rubric("mine.yaml").hash}
    assert len(model.seen) == len(rows_of()) == 72


def test_a_row_says_what_was_asked_and_what_came(anthropic_server: FakeAnthropic) -> None:
    generate(*REAL, "--limit", 1)
    [row] = rows_of()
    [stored] = open_store("calls/teacher.sqlite").replies()
    rubric = load_rubric("broadcast")
    assert row == {
        "schema": 2,
        "id": hashlib.sha256(json.dumps([stored.key, "broadcast"]).encode()).hexdigest()[:16],
        "user_prompt_id": row["user_prompt_id"],
        "user_prompt": load_user_prompts("train")[row["user_prompt_id"]],
        "rubric": "broadcast",
        "rubric_hash": rubric.hash,
        "level": "low",
        "response": stored.text.strip(),
        "teacher": MODEL,
        "params": {"max_tokens": 6000, "teacher_prompt_version": TEACHER_PROMPT_VERSION},
        "created": stored.created,
        "usage": stored.usage,
        "stop_reason": "stop",
    }
    problems = Problems()
    assert len(list(iter_responses([Path("r.jsonl")], {"broadcast": rubric}, problems))) == 1
    assert problems.summary() == ""


@pytest.mark.parametrize(
    ("model", "arguments", "name"),
    [
        ("hf/local", {"model_path": "/data/models/smol/"}, "hf/smol"),
        ("hf/smol-base", {"model_path": "/data/models/smol"}, "hf/smol-base"),
        ("hf//data/models/smol", {}, "hf/smol"),
        ("vllm/Qwen/Qwen3-4B:/data/adapters/dada", {}, "vllm/Qwen/Qwen3-4B:dada"),
    ],
)
def test_no_teacher_is_named_by_a_machines_path(model: str, arguments: dict[str, str], name: str) -> None:
    assert teacher_name(model, arguments) == name


@pytest.mark.parametrize(
    ("reply", "stop_reason", "outcome"),
    [("Cut sho", "max_tokens", "truncated"), ("", "content_filter", "refused"), (" ", "stop", "empty")]
    + [("<think>Hm.", "stop", "empty"), ("<think>Hm.", "max_tokens", "truncated")],
)
def test_refused_truncated_and_empty_replies_are_rows_and_counted(
    mock_teacher: Any, reply: str, stop_reason: str, outcome: str
) -> None:
    mock_teacher(lambda _: reply, stop_reason=stop_reason)
    done = generate(*MOCK, "--limit", 6)
    lines = [f"broadcast {level} mockllm/t: 2 {outcome}" for level in ScoreLevel]
    assert [*lines, f"all: 6 {outcome}"] == done.stdout.splitlines()[:4]
    assert [row["stop_reason"] for row in rows_of()] == [stop_reason] * 6


def test_a_thought_that_the_template_of_a_local_teacher_opened_and_never_ends_is_no_text(mock_teacher: Any) -> None:
    model = mock_teacher(lambda _: "Hm, a well")
    model.api.hf_chat = lambda messages, tools: f"{messages[-1].text}<think>\n"
    assert "all: 6 empty" in generate(*MOCK, "--limit", 6).stdout
    again = mock_teacher(lambda _: "<think>\nHm.</think>\n\nA text.")  # and one that opens it once more
    again.api.hf_chat = model.api.hf_chat
    generate(*MOCK, "--limit", 6, "--store", "other.sqlite", "--out", "other.jsonl")
    assert {row["response"] for row in rows_of("other.jsonl")} == {"A text."}


THOUGHT = "<think>\nHm, a well.\n</think>\n\n"


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """What `vllm run-batch` writes."""
    text = THOUGHT + question["body"]["messages"][-1]["content"][-200:]
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body = {"model": "served", "choices": [choice], "usage": usage, "created": 1_700_000_000}
    custom_id = question["custom_id"]
    return {"id": "x", "custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None}


def test_questions_go_out_and_answers_come_back_as_the_rows_that_asking_would_have_made(mock_teacher: Any) -> None:
    model = mock_teacher(lambda messages: THOUGHT + messages[-1].text[-200:])
    arguments = (*MOCK, "--rubrics", "broadcast,reverie", "--levels", "low,control")
    output = generate(*arguments, "--questions", "q.jsonl").output
    asked = rows_of("q.jsonl")
    assert len(asked) == 24 * 2 + 24  # the controls of both rubrics are the same
    assert "96 rows planned, 0 in the file, 0 in the call store, 72 calls to make" in output
    assert model.seen == []
    lines = [json.dumps(answer(question)) for question in reversed(asked)]
    Path("a.jsonl").write_text("\n".join([*lines[:-5], '{"custom_id": "torn']))
    output = generate(*arguments, "--answers", "a.jsonl", status=1).output
    # of the first five questions two are controls, which stand under both rubrics
    assert "7 of 96 rows are missing" in output
    assert "1 lines skipped: not an answer: no custom_id, or no text" in output
    stranger = json.dumps(answer({**asked[0], "custom_id": "e" * 32}))
    Path("b.jsonl").write_text("\n".join([*lines[-5:], stranger]))
    output = generate(*arguments, "--answers", "b.jsonl").output
    assert "1 answers to no question that is missing here" in output
    generate(*arguments, "--out", "online.jsonl", "--store", "other.sqlite")
    rows, online = ([row | {"usage": {}} for row in rows_of(name)] for name in ("r.jsonl", "online.jsonl"))
    assert {(row["thought_words"], "well" in row["response"]) for row in rows} == {(3, False)}
    assert {row["created"] for row in rows} == {"2023-11-14T22:13:20+00:00"}
    assert [row | {"created": ""} for row in rows] == [row | {"created": ""} for row in online]


def test_a_lone_surrogate_stops_no_run_and_stands_as_a_replacement_in_the_row(mock_teacher: Any) -> None:
    mock_teacher(lambda messages: "A \ud83d text.")
    for _ in range(2):
        generate(*MOCK, "--limit", 3)
    assert [row["response"] for row in rows_of()] == ["A \ufffd text."] * 3
    assert {reply.text for reply in open_store("calls/teacher.sqlite").replies()} == {"A \ud83d text."}
    elsewhere = (*MOCK, "--limit", 3, "--store", "other.sqlite", "--out", "s.jsonl")
    generate(*elsewhere, "--questions", "q.jsonl")
    answers = [{"custom_id": one["custom_id"], "generated_text": "A \ud83d text."} for one in rows_of("q.jsonl")]
    Path("a.jsonl").write_text("\n".join(map(json.dumps, answers)))
    for _ in range(2):
        generate(*elsewhere, "--answers", "a.jsonl")
    assert [row["response"] for row in rows_of("s.jsonl")] == ["A \ufffd text."] * 3
