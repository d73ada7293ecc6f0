"""Which questions are asked, and what a teacher reads."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_anthropic import FakeAnthropic, prompt_text
from generating import LEVELS, MODEL, PROMPTS, generate, keys, plan, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from data_gen.generate.questions import questions, read_prompts
from rubrics import ScoreLevel, all_user_prompts, load_rubric, load_rubrics, load_user_prompts


def test_the_plan_has_every_level_of_every_sample_of_every_prompt_side_by_side() -> None:
    two = {"one": "Describe a well.", "two": "Describe a mill."}
    found = keys(plan(prompts=two, levels=(ScoreLevel.LOW, "control"), samples=2))
    assert found == [
        ("broadcast", prompt, level, sample) for prompt in two for sample in (0, 1) for level in ("low", "control")
    ]


def test_each_family_is_asked_its_own_train_prompts_and_no_plan_holds_a_test_prompt() -> None:
    rubrics = load_rubrics("all")
    prompts = read_prompts("train", rubrics)
    assert prompts == {rubric.family: load_user_prompts("train", rubric.family) for rubric in rubrics}
    tests = {" ".join(text.casefold().split()) for text in all_user_prompts("test").values()}
    for question in questions(rubrics, prompts, LEVELS):
        assert question.user_prompt == prompts[question.rubric.family][question.user_prompt_id]
        assert " ".join(question.user_prompt.casefold().split()) not in tests


@settings(max_examples=30)
@given(seed=st.integers(0, 99), small=st.integers(1, 30), more=st.integers(0, 30))
def test_a_larger_limit_keeps_the_questions_of_a_smaller_one(seed: int, small: int, more: int) -> None:
    fewer = keys(plan("broadcast,reverie", samples=2, seed=seed, limit=small))
    found = keys(plan("broadcast,reverie", samples=2, seed=seed, limit=small + more))
    assert len(fewer) == small
    assert set(fewer) <= set(found)
    units = Counter((rubric, prompt, sample) for rubric, prompt, _, sample in fewer)
    assert sum(count < 3 for count in units.values()) <= 1


def test_a_system_prompt_is_a_train_wording_of_the_level_and_samples_take_them_in_turn() -> None:
    rubric = load_rubric("broadcast")
    for question in plan(configured_by="system_prompt", samples=4, levels=(*LEVELS, "control")):
        if question.level == "control":
            assert (question.system_prompt, question.wording) == (None, None)
            continue
        wordings = rubric.wordings(ScoreLevel(question.level), "train")
        assert question.wording is not None
        number = int(question.wording.removeprefix(f"broadcast-{question.level}-train-"))
        assert question.system_prompt == wordings[number]
    asked = [one for one in plan(configured_by="system_prompt", samples=4) if one.level is ScoreLevel.LOW]
    assert len({one.system_prompt for one in asked if one.user_prompt_id == "one"}) == 4


OUR_TEST_PROMPT = load_user_prompts("test")["river_flood"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": {"a": f"  {OUR_TEST_PROMPT.upper()} "}}, "'a' .* is the test prompt 'river_flood'"),
        ({"train": {"river_flood": "Describe a pier."}}, "is the test prompt 'river_flood'"),
        ({"train": {"a": "A pier."}, "test": {"b": "a  PIER."}}, "'a' .* is the test prompt 'b'"),
        ({"test": {"b": "A pier."}}, "mine.yaml: train: Field required; expected the splits train and test"),
        ({"train": {"a": " "}}, "mine.yaml: train.a: String should match pattern"),
        ({"train": {"a": "A pier."}, "dev": {}}, "mine.yaml: dev: Extra inputs are not permitted"),
        ("[", "mine.yaml: not YAML in UTF-8"),
    ],
)
def test_what_is_wrong_with_a_file_of_prompts_is_said(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    with pytest.raises(ValueError, match=message):
        read_prompts(str(path), load_rubrics("broadcast"))
    good = {"train": PROMPTS, "test": {"held": "Describe a pier."}}
    path.write_text("\ufeff" + yaml.safe_dump(good), encoding="utf-8")
    asked = load_rubrics("broadcast,tone_warmth")
    assert read_prompts(str(path), asked) == {rubric.family: PROMPTS for rubric in asked}


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


def test_no_temperature_is_sent_and_no_message_is_written_to_the_providers_cache(
    anthropic_server: FakeAnthropic,
) -> None:
    assert generate("--teacher", MODEL, "--rubrics", "labyrinth", "--limit", 1, "--out", "r.jsonl").exit_code == 0
    [body] = anthropic_server.bodies
    assert (body.get("temperature"), body["max_tokens"]) == (None, 1024)
    assert "cache_control" not in json.dumps(body)
