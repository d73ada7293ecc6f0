"""`cpt generate`: which questions, what a teacher reads, and that every answer is paid for once and none is lost."""

import asyncio
import errno
import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from fake_anthropic import Config, FakeAnthropic, prompt_text
from fake_openai import serving
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.generate.asking import Asking
from data_gen.generate.command import generate_command
from data_gen.generate.plan import Plan, Question, read_prompts
from data_gen.generate.rows import RowFile
from data_gen.generate.teacher_prompts import TEACHER_PROMPT_VERSION, level_block, rubric_block, teacher_messages
from data_gen.generate.teachers import Teacher, row_id, teacher_name
from data_gen.responses import Problems, iter_responses
from model_calls import open_store
from rubrics import ScoreLevel, all_user_prompts, load_rubric, load_rubrics, load_user_prompts

MODEL = "anthropic/claude-sonnet-5-5"
LEVELS = tuple(ScoreLevel)
SEED_FILE = Path(__file__).parents[2] / "data_gen" / "seed" / "responses.jsonl"
PROMPTS = {"one": "Describe a well.", "two": "Describe a mill.", "three": "Describe a barn."}


def plan(rubrics: str = "broadcast", prompts: dict[str, str] | None = None, **options: Any) -> Plan:
    selected = load_rubrics(rubrics)
    by_family = {rubric.family: prompts or PROMPTS for rubric in selected}
    return Plan(**({"rubrics": selected, "prompts": by_family, "levels": LEVELS} | options))


def keys(questions: Iterator[Question]) -> list[tuple[str, str, str, int]]:
    return [(one.rubric.id, one.user_prompt_id, str(one.level), one.sample) for one in questions]


def generate(*arguments: object) -> Result:
    return CliRunner().invoke(generate_command, [str(argument) for argument in arguments])


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # the default call store lies in the working folder


@pytest.fixture
def mock_teacher(mock_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Puts a mock model that answers with `reply(messages)` in the place of every teacher."""

    def put(reply: Callable[[list[Any]], str], **options: Any) -> Any:
        model = mock_model(reply, **options)
        monkeypatch.setattr("data_gen.generate.run.teacher_of", lambda name, _: Teacher(model, name, workers=8))
        return model

    return put


# which questions


def test_the_plan_has_every_level_of_every_sample_of_every_prompt_side_by_side() -> None:
    two = {"one": "Describe a well.", "two": "Describe a mill."}
    found = keys(plan(prompts=two, levels=(ScoreLevel.LOW, "control"), samples=2).questions())
    assert found == [
        ("broadcast", prompt, level, sample) for prompt in two for sample in (0, 1) for level in ("low", "control")
    ]


def test_each_family_is_asked_its_own_train_prompts_and_no_plan_holds_a_test_prompt() -> None:
    rubrics = load_rubrics("all")
    prompts = read_prompts("train", rubrics)
    assert prompts == {rubric.family: load_user_prompts("train", rubric.family) for rubric in rubrics}
    tests = {" ".join(text.casefold().split()) for text in all_user_prompts("test").values()}
    for question in Plan(rubrics, prompts, LEVELS).questions():
        assert question.user_prompt == prompts[question.rubric.family][question.user_prompt_id]
        assert " ".join(question.user_prompt.casefold().split()) not in tests


@settings(max_examples=40)
@given(
    parts=st.integers(1, 6),
    samples=st.integers(1, 3),
    limit=st.none() | st.integers(1, 60),
    rubrics=st.sampled_from(["broadcast", "broadcast,reverie", "labyrinth,reverie,broadcast"]),
)
def test_shards_have_nothing_in_common_and_together_are_the_plan(
    parts: int, samples: int, limit: int | None, rubrics: str
) -> None:
    options: dict[str, Any] = {"samples": samples, "limit": limit, "levels": (*LEVELS, "control")}
    whole = keys(plan(rubrics, **options).questions())
    shards = [keys(plan(rubrics, **options, shard=(part, parts)).questions()) for part in range(1, parts + 1)]
    assert Counter(key for shard in shards for key in shard) == Counter(whole)
    assert len(set(whole)) == len(whole) == min(limit or 10**6, len(rubrics.split(",")) * 3 * samples * 4)
    for shard in shards:  # in the order of the plan; a control never in two parts, or it would be paid for in each
        assert shard == [key for key in whole if key in set(shard)]
    controls = [{key[1:] for key in shard if key[2] == "control"} for shard in shards]
    assert sum(map(len, controls)) == len(set().union(*controls))


@settings(max_examples=30)
@given(seed=st.integers(0, 99), small=st.integers(1, 30), more=st.integers(0, 30))
def test_a_larger_limit_keeps_the_questions_of_a_smaller_one(seed: int, small: int, more: int) -> None:
    fewer = keys(plan("broadcast,reverie", samples=2, seed=seed, limit=small).questions())
    found = keys(plan("broadcast,reverie", samples=2, seed=seed, limit=small + more).questions())
    assert len(fewer) == small
    assert set(fewer) <= set(found)
    units = Counter((rubric, prompt, sample) for rubric, prompt, _, sample in fewer)
    assert sum(count < 3 for count in units.values()) <= 1


def test_a_system_prompt_is_a_train_wording_of_the_level_and_samples_take_them_in_turn() -> None:
    rubric = load_rubric("broadcast")
    for question in plan(configured_by="system_prompt", samples=4, levels=(*LEVELS, "control")).questions():
        if question.level == "control":
            assert (question.system_prompt, question.wording) == (None, None)
            continue
        wordings = rubric.wordings(ScoreLevel(question.level), "train")
        assert question.wording is not None
        number = int(question.wording.removeprefix(f"broadcast-{question.level}-train-"))
        assert question.system_prompt == wordings[number]
    asked = [one for one in plan(configured_by="system_prompt", samples=4).questions() if one.level is ScoreLevel.LOW]
    assert len({one.system_prompt for one in asked if one.user_prompt_id == "one"}) == 4


def test_prompts_of_ones_own_are_asked_for_every_family(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"train": PROMPTS, "test": {"held": "Describe a pier."}}))
    rubrics = load_rubrics("broadcast,tone_warmth")
    assert read_prompts(str(path), rubrics) == {rubric.family: PROMPTS for rubric in rubrics}


OUR_TEST_PROMPT = load_user_prompts("test")["river_flood"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": {"a": f"  {OUR_TEST_PROMPT.upper()} "}}, "'a' .* is the package's test prompt 'river_flood'"),
        ({"train": {"river_flood": "Describe a pier."}}, "is the package's test prompt 'river_flood'"),
        (
            {"train": {"a": "A pier."}, "test": {"b": "a  PIER."}},
            r"'a' .* is mine.yaml's own test prompt 'b'",
        ),
        ({"test": {"b": "A pier."}}, r"got \['test'\], expected the splits train and test"),
        ({"train": {}}, "train: got dict, expected at least one line"),
        ({"train": ["A pier."]}, "train: got list, expected at least one line"),
        ({"train": {"a": 3}}, "'a': got 3, expected a text under an id"),
        ({"train": {"a": "A pier.", "b": "a pier. "}}, "'b' has the text of 'a', expected each text once"),
        ({"train": {"a": "A pier."}, "dev": {}}, r"got \['dev', 'train'\], expected the splits"),
        ("[", "mine.yaml: not YAML in UTF-8"),
    ],
)
def test_what_is_wrong_with_a_file_of_prompts_is_said(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(ValueError, match=message):
        read_prompts(str(path), load_rubrics("broadcast"))


# what a teacher reads


@pytest.mark.parametrize("level", LEVELS)
def test_the_teacher_reads_rubric_level_band_and_prompt_verbatim(level: ScoreLevel) -> None:
    bands = {
        ScoreLevel.LOW: "from 0 to 40",
        ScoreLevel.MODERATE: "above 40 and up to 92.5",
        ScoreLevel.EXTREMELY_HIGH: "above 92.5 and up to 100",
    }
    for rubric in load_rubrics("all"):
        [message] = teacher_messages(rubric_block(rubric), level, "Describe $5 worth of tea.")
        assert rubric.render() in message.text
        assert "Describe $5 worth of tea." in message.text
        assert f'"{level.value.replace("_", " ")}"' in message.text
        assert [band for band in bands.values() if band in message.text] == [bands[level]]
        assert re.search(r"must not\s+mention, quote or hint at the rubric, .*the level, the score", message.text)


def test_a_control_is_the_user_prompt_alone_and_one_call_for_all_rubrics(anthropic_server: FakeAnthropic) -> None:
    arguments = ("--rubrics", "broadcast,reverie,labyrinth", "--levels", "control", "--out", "r.jsonl")
    done = generate("--teacher", MODEL, *arguments)
    assert done.exit_code == 0, done.output
    texts = sorted(prompt_text(body) for body in anthropic_server.bodies)
    assert texts == sorted(load_user_prompts("train").values())
    rows = rows_of(Path("r.jsonl"))
    assert Counter(row["rubric"] for row in rows) == dict.fromkeys(["broadcast", "reverie", "labyrinth"], 24)
    assert len({row["id"] for row in rows}) == 72
    assert {row["level"] for row in rows} == {"control"}
    assert {row["response"] for row in rows} == {f"echo: {text}" for text in texts}


def test_no_temperature_is_sent_and_only_a_rubric_shared_by_many_is_marked_for_the_cache(
    anthropic_server: FakeAnthropic, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_gen.generate.teachers.MIN_CACHED_CHARACTERS", 1200)
    anthropic_server.config = Config(min_cached_tokens=300, latency_seconds=0.01)
    arguments = ("--rubrics", "labyrinth", "--levels", "low,moderate,extremely_high,control", "--limit", 8)
    done = generate("--teacher", MODEL, *arguments, "--out", "r.jsonl")
    assert done.exit_code == 0, done.output
    for body in anthropic_server.bodies:
        assert "temperature" not in body
        assert body["max_tokens"] == 1024
        assert "cache_control" not in body
        blocks = body["messages"][0]["content"]
        marked = [] if isinstance(blocks, str) else [block["text"] for block in blocks if "cache_control" in block]
        assert len(marked) == ("<rubric>" in prompt_text(body))
    assert len(anthropic_server.bodies) == 8
    assert anthropic_server.stats.cache_reads == 5
    assert anthropic_server.stats.cache_writes == 1  # the first call goes ahead


# rows


def test_a_row_says_what_was_asked_and_what_came(anthropic_server: FakeAnthropic) -> None:
    done = generate("--teacher", MODEL, "--rubrics", "broadcast", "--limit", 1, "--out", "r.jsonl")
    assert done.exit_code == 0, done.output
    [row] = rows_of(Path("r.jsonl"))
    [stored] = open_store("calls/teacher.sqlite").replies()
    rubric = load_rubric("broadcast")
    assert row | {"response": "", "usage": {}} == {
        **({"schema": row["schema"]} if "schema" in row else {}),
        "id": row_id(stored.key, "broadcast"),
        "user_prompt_id": row["user_prompt_id"],
        "user_prompt": load_user_prompts("train")[row["user_prompt_id"]],
        "rubric": "broadcast",
        "rubric_hash": rubric.hash,
        "level": "low",
        "response": "",
        "teacher": MODEL,
        "params": {"max_tokens": 1024, "teacher_prompt_version": TEACHER_PROMPT_VERSION},
        "created": stored.created,
        "usage": {},
        "stop_reason": "stop",
    }
    assert row["usage"] == stored.usage
    assert row["response"] == stored.text
    problems = Problems()
    assert len(list(iter_responses([Path("r.jsonl")], {"broadcast": rubric}, problems))) == 1
    assert problems.summary() == ""


@pytest.mark.parametrize(
    ("model", "arguments", "name"),
    [
        ("anthropic/claude-sonnet-5-5", {}, "anthropic/claude-sonnet-5-5"),
        ("hf/local", {"model_path": "/data/models/smol/"}, "hf/smol"),
        ("hf/smol-base", {"model_path": "/data/models/smol"}, "hf/smol-base"),
        ("hf//data/models/smol", {}, "hf/smol"),
        ("vllm/Qwen/Qwen3-4B:/data/adapters/dada", {}, "vllm/Qwen/Qwen3-4B:dada"),
        ("openai-api/fleet/Qwen/Qwen3-32B", {}, "openai-api/fleet/Qwen/Qwen3-32B"),
    ],
)
def test_no_teacher_is_named_by_a_machines_path(model: str, arguments: dict[str, str], name: str) -> None:
    assert teacher_name(model, arguments) == name


def test_configured_by_a_system_prompt_the_teacher_sees_no_rubric(mock_teacher: Any) -> None:
    model = mock_teacher(lambda messages: messages[0].text)
    arguments = ("--rubrics", "broadcast", "--configured-by", "system_prompt", "--limit", 6, "--out", "r.jsonl")
    assert generate("--teacher", "mockllm/t", *arguments).exit_code == 0
    rubric = load_rubric("broadcast")
    for row in rows_of(Path("r.jsonl")):
        number = int(row["wording"].rsplit("-", 1)[1])
        assert row["response"] == rubric.wordings(ScoreLevel(row["level"]), "train")[number]
    assert [[message.role for message in messages] for messages in model.seen] == [["system", "user"]] * 6


@pytest.mark.parametrize(
    ("reply", "stop_reason", "counts"),
    [
        ("Cut sho", "max_tokens", "6 +6 +0 +0 +6 +0"),
        ("", "content_filter", "6 +6 +0 +6 +0 +0"),
        (" ", "stop", "6 +6 +0 +0 +0 +6"),
    ],
)
def test_refused_truncated_and_empty_replies_are_rows_and_counted(
    mock_teacher: Any, reply: str, stop_reason: str, counts: str
) -> None:
    mock_teacher(lambda _: reply, stop_reason=stop_reason)
    done = generate("--teacher", "mockllm/t", "--rubrics", "broadcast", "--limit", 6, "--out", "r.jsonl")
    assert re.search(f"all +{counts}", done.output), done.output
    assert [row["stop_reason"] for row in rows_of(Path("r.jsonl"))] == [stop_reason] * 6


# asked once, paid once, lost never

ARGUMENTS = ("--teacher", MODEL, "--rubrics", "broadcast", "--out", "r.jsonl")
CALLS = 24 * 3


def test_rows_are_in_the_order_of_the_plan_and_lost_ones_are_written_again_for_nothing(
    anthropic_server: FakeAnthropic,
) -> None:
    anthropic_server.config = Config(latency_seconds=0.01, latency_sigma=1.0)
    assert generate(*ARGUMENTS).exit_code == 0
    whole = Path("r.jsonl").read_bytes()
    asked = plan("broadcast", prompts=load_user_prompts("train")).questions()
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


def test_rows_of_other_runs_keep_their_places(mock_teacher: Any) -> None:
    mock_teacher(lambda messages: messages[0].text[-300:])
    for rubric in ("reverie", "broadcast"):
        assert generate("--teacher", "mockllm/t", "--rubrics", rubric, "--limit", 6, "--out", "r.jsonl").exit_code == 0
    before = Path("r.jsonl").read_bytes()
    assert [row["rubric"] for row in rows_of(Path("r.jsonl"))] == ["reverie"] * 6 + ["broadcast"] * 6
    both = ("--rubrics", "broadcast,reverie")
    assert generate("--teacher", "mockllm/t", *both, "--limit", 6, "--out", "r.jsonl").exit_code == 0
    assert set(before.splitlines()) <= set(Path("r.jsonl").read_bytes().splitlines())


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
    assert re.search(r"all +72 +72 +72 +0", done.output)


FAULTS = {"rate_429": 0.05, "rate_529": 0.02, "rate_500": 0.01, "rate_reset": 0.01, "rate_truncated": 0.01}


def through_faults(server: FakeAnthropic, samples: int, most_requests: int) -> None:
    server.config = Config(**FAULTS, rate_refusal=0.02, seed=3)
    done = generate(*ARGUMENTS, "--samples", samples)
    assert done.exit_code == 0, done.output
    rows = rows_of(Path("r.jsonl"))
    assert len(rows) == len({row["id"] for row in rows}) == CALLS * samples
    refused = [row for row in rows if row["stop_reason"] == "content_filter"]
    assert 0 < len(refused) <= server.stats.faults["refusal"]  # one may have been cut in transit, and come again
    assert len(refused) % samples == 0  # the same questions are refused each time
    assert sum(row["stop_reason"] == "stop" and bool(row["response"]) for row in rows) + len(refused) == len(rows)
    assert set(server.stats.faults) == {"429", "529", "500", "reset", "truncated", "refusal"}
    assert server.stats.requests <= most_requests
    assert server.stats.served.total() == CALLS * samples


def test_a_mix_of_faults_loses_nothing_and_pays_for_nothing_twice(anthropic_server: FakeAnthropic) -> None:
    through_faults(anthropic_server, samples=2, most_requests=175)


@pytest.mark.slow
def test_a_thousand_calls_through_a_mix_of_faults_take_at_most_1140_requests(anthropic_server: FakeAnthropic) -> None:
    through_faults(anthropic_server, samples=14, most_requests=1140)  # 1,008 calls


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
    step = Asking.step

    def spy(self: Asking) -> None:
        tasks.append(len(asyncio.all_tasks()))
        step(self)

    monkeypatch.setattr(Asking, "step", spy)
    # inspect keeps the bounds of a model's connections for the life of the process: a model that no other test asks
    arguments = ("--teacher", "anthropic/claude-opus-4-8", *ARGUMENTS[2:])
    assert generate(*arguments, "--max-connections", 4).exit_code == 0
    assert anthropic_server.stats.peak_in_flight <= 4
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


# money


def test_the_forecast_adds_up_by_hand_and_asks_nobody(anthropic_server: FakeAnthropic) -> None:
    done = generate(*ARGUMENTS[:4], "--forecast", "--expected-tokens", 300)
    assert done.exit_code == 0, done.output
    assert "72 rows planned, 0 in the file, 0 in the call store, 72 calls to make" in done.output
    characters = sum(
        len(rubric_block(load_rubric(rubric)) + level_block(level, prompt))
        for rubric in ("broadcast",)
        for level in LEVELS
        for prompt in load_user_prompts("train").values()
    )
    # 72 x 300 = 21,600 tokens out at 10 USD per million, a quarter of the characters in at 2
    assert f"tokens in {characters // 4:,} (characters / 4, without prompt caching), out 21,600" in done.output
    assert f"cost {characters // 4 * 2e-6 + 0.216:.2f} USD" in done.output
    half = generate(*ARGUMENTS[:4], "--forecast", "--expected-tokens", 300, "--batch")
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
    arguments = (*ARGUMENTS, "--max-connections", 4, "--expected-tokens", 1000)
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
    done = generate(*ARGUMENTS, "--batch", "--poll-seconds", 0.02, "--store", "b.jsonl")
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
    arguments = (*ARGUMENTS, "--batch", "--poll-seconds", 0.02, "--expected-tokens", 1000)
    done = generate(*arguments, "--max-cost", 0.3)
    assert done.exit_code == 1
    assert "--max-cost 0.3 reached" in done.output
    # half of 1,000 tokens at 10 USD per million, and some for the input
    assert 30 < anthropic_server.stats.served.total() < 60


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--rubrics", "nope", "--out", "r.jsonl"), 1, "rubric 'nope' not found"),
        (("--levels", "lowest", "--out", "r.jsonl"), 1, "--levels lowest: expected some of low, moderate, extremely"),
        (("--shard", "3/2", "--out", "r.jsonl"), 1, "--shard 3/2: expected i/n with i from 1 to n"),
        (("-M", "dtype", "--out", "r.jsonl"), 1, "-M dtype: expected NAME=VALUE"),
        (("--prompts", "no.yaml", "--out", "r.jsonl"), 1, "--prompts no.yaml: not found, expected 'train' or the path"),
        ((), 2, "--out is missing"),
        (("--accept", 2, "--out", "r.jsonl"), 2, "--accept and --judge need each other"),
        (("--accept", 2, "--judge", "measured", "--samples", 2, "--out", "r.jsonl"), 2, "leave out --samples"),
        (
            ("--accept", 2, "--judge", "measured", "--max-samples", 1, "--out", "r.jsonl"),
            2,
            "expected at least --accept",
        ),
        (("--batch", "--questions", "q.jsonl"), 2, "--batch and --questions do not go together"),
        (("--answers", "a.jsonl", "--out", "r.jsonl"), 1, "--answers a.jsonl: not found"),
        (("--batch", "--limit", 1, "--out", "r.jsonl"), 1, "has no batches here"),
        (("--max-cost", 1, "--out", "r.jsonl"), 1, "--max-cost: no price for mockllm/t as of"),
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


# until enough is good


@pytest.fixture
def seed_texts() -> dict[tuple[str, str], str]:
    """A text of the seed in the band of its level, by (rubric, level)."""
    rows = [json.loads(line) for line in SEED_FILE.read_text(encoding="utf-8").splitlines()]
    return {(row["rubric"], row["level"]): row["response"] for row in rows}


def level_in(text: str) -> str:
    [name] = re.findall(r'This level is called\s+"([a-z ]+)"', text)
    return name.replace(" ", "_")


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


# engines elsewhere


def answer(question: dict[str, Any], **extra: Any) -> dict[str, Any]:
    """What `vllm run-batch` writes."""
    text = "<think>Hm.</think>\n" + question["body"]["messages"][-1]["content"][-200:]
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body = {"model": "served", "choices": [choice | extra], "usage": usage, "created": 1_700_000_000}
    custom_id = question["custom_id"]
    return {"id": "x", "custom_id": custom_id, "response": {"status_code": 200, "body": body}, "error": None}


def test_questions_go_out_and_answers_come_back_as_the_rows_that_asking_would_have_made(mock_teacher: Any) -> None:
    model = mock_teacher(lambda messages: messages[-1].text[-200:])
    arguments = ("--teacher", "mockllm/student", "--rubrics", "broadcast,reverie", "--levels", "low,control")
    done = generate(*arguments, "--questions", "q.jsonl")
    assert done.exit_code == 0, done.output
    questions = rows_of(Path("q.jsonl"))
    assert len(questions) == 24 * 2 + 24  # the controls of both rubrics are the same
    assert "96 rows planned, 0 in the file, 0 in the call store, 72 calls to make" in done.output
    assert model.seen == []
    lines = [json.dumps(answer(question)) for question in reversed(questions)]
    Path("a.jsonl").write_text("\n".join([*lines[:-5], '{"custom_id": "torn']))
    imported = generate(*arguments, "--answers", "a.jsonl", "--out", "r.jsonl")
    assert imported.exit_code == 1
    # of the first five questions two are controls, which stand under both rubrics
    assert "7 of 96 rows are missing" in imported.output
    assert "1 lines skipped: not an answer: no custom_id, or no text" in imported.output
    stranger = json.dumps(answer({**questions[0], "custom_id": "e" * 32}))
    Path("b.jsonl").write_text("\n".join([*lines[-5:], stranger]))
    imported = generate(*arguments, "--answers", "b.jsonl", "--out", "r.jsonl")
    assert imported.exit_code == 0, imported.output
    assert "1 answers to no question that is missing here" in imported.output
    assert generate(*arguments, "--out", "online.jsonl", "--store", "other.sqlite").exit_code == 0
    rows, online = ([row | {"usage": {}} for row in rows_of(Path(name))] for name in ("r.jsonl", "online.jsonl"))
    assert {row["created"] for row in rows} == {"2023-11-14T22:13:20+00:00"}
    assert [row | {"created": ""} for row in rows] == [row | {"created": ""} for row in online]


def test_questions_in_anthropics_format_are_requests_of_its_batches(anthropic_server: FakeAnthropic) -> None:
    arguments = ("--teacher", MODEL, "--rubrics", "broadcast", "--limit", 3)
    done = generate(*arguments, "--questions", "q.jsonl", "--questions-format", "anthropic")
    assert done.exit_code == 0, done.output
    assert generate(*arguments, "--out", "r.jsonl").exit_code == 0
    asked = {question["custom_id"]: question["params"] for question in rows_of(Path("q.jsonl"))}
    assert sorted(asked) == sorted(reply.key for reply in open_store("calls/teacher.sqlite").replies())
    assert sorted(map(str, asked.values())) == sorted(
        str({name: value for name, value in body.items() if name != "stream"}) for body in anthropic_server.bodies
    )


def test_shards_on_one_store_are_together_the_whole_run(mock_teacher: Any) -> None:
    model = mock_teacher(lambda messages: messages[0].text[-100:])
    arguments = ("--teacher", "mockllm/t", "--rubrics", "broadcast,reverie", "--levels", "low,control")
    for part in (1, 2, 3):
        done = generate(*arguments, "--shard", f"{part}/3", "--out", f"r{part}.jsonl")
        assert done.exit_code == 0, done.output
    assert len(model.seen) == len(open_store("calls/teacher.sqlite")) == 72
    merged = "".join(Path(f"r{part}.jsonl").read_text(encoding="utf-8") for part in (1, 2, 3))
    assert generate(*arguments, "--out", "whole.jsonl").exit_code == 0
    assert sorted(merged.splitlines()) == sorted(Path("whole.jsonl").read_text(encoding="utf-8").splitlines())
    assert len(model.seen) == 72


def test_a_lone_surrogate_stops_no_run_and_stands_as_a_replacement_in_the_row(mock_teacher: Any) -> None:
    mock_teacher(lambda messages: "A \ud83d text.")
    arguments = ("--teacher", "mockllm/student", "--rubrics", "broadcast", "--limit", 3)
    for _ in range(2):
        done = generate(*arguments, "--out", "r.jsonl")
        assert done.exit_code == 0, done.output
    assert [row["response"] for row in rows_of(Path("r.jsonl"))] == ["A \ufffd text."] * 3
    assert {reply.text for reply in open_store("calls/teacher.sqlite").replies()} == {"A \ud83d text."}
    assert generate(*arguments, "--questions", "q.jsonl", "--store", "other.sqlite").exit_code == 0
    lines = [
        json.dumps({"custom_id": q["custom_id"], "generated_text": "A \ud83d text."}) for q in rows_of(Path("q.jsonl"))
    ]
    Path("a.jsonl").write_text("\n".join(lines))
    for _ in range(2):
        done = generate(*arguments, "--answers", "a.jsonl", "--out", "s.jsonl", "--store", "other.sqlite")
        assert done.exit_code == 0, done.output
    assert [row["response"] for row in rows_of(Path("s.jsonl"))] == ["A \ufffd text."] * 3


def test_a_fleet_behind_the_openai_interface_can_be_a_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openai")
    with serving("Well then.") as (url, bodies):
        monkeypatch.setenv("FLEET_API_KEY", "none")
        fleet = ("--teacher", "openai-api/fleet/Qwen/Qwen3-32B", "--model-base-url", url)
        done = generate(*fleet, "--rubrics", "broadcast", "--limit", 6, "--temperature", 0.7, "--out", "r.jsonl")
    assert done.exit_code == 0, done.output
    assert {(body["model"], body["temperature"], body["max_tokens"]) for body in bodies} == {
        ("Qwen/Qwen3-32B", 0.7, 1024)
    }
    texts = [body["messages"] for body in bodies]
    assert all(isinstance(messages[0]["content"], str) and len(messages) == 1 for messages in texts)
    rows = rows_of(Path("r.jsonl"))
    assert {(row["teacher"], row["response"], row["usage"]["output_tokens"]) for row in rows} == {
        ("openai-api/fleet/Qwen/Qwen3-32B", "Well then.", 3)
    }
