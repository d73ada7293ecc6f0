"""`cpt rubric prompts`: system prompts are kept only if texts written from them come out in order and apart."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result
from fake_anthropic import Config, FakeAnthropic, prompt_text

from data_gen.draft.author import TARGETS, Author, wording_problems, write_wordings
from data_gen.draft.commands import prompts_command
from data_gen.draft.trial import means_text, passed, plan_texts, table, try_wordings
from data_gen.generate.teachers import Teacher
from judges import MeasuredJudge
from model_calls import open_store
from rubrics import Rubric, ScoreLevel, Wordings, load_rubric, load_user_prompts
from rubrics.files import write_whole
from rubrics.lint import all_wordings
from rubrics.load import rubric_yaml

LOW, MODERATE, HIGH = ScoreLevel
AUTHOR = "anthropic/claude-sonnet-5-5"
BROADCAST = load_rubric("broadcast")  # exclamations 40 %, second person 30 %, words per sentence 30 %
BARE = BROADCAST.model_copy(update={"system_prompts": {}})
GOOD = load_rubric("explain_depth").system_prompts  # at least 5 + 3 wordings per level
SEVEN = {level: Wordings(train=GOOD[level].train[:4], heldout=GOOD[level].heldout[:3]) for level in ScoreLevel}
GOOD_TRAIN, GOOD_HELDOUT = list(SEVEN[MODERATE].train), list(SEVEN[MODERATE].heldout)
TRIED = BROADCAST.model_copy(update={"system_prompts": SEVEN})
LEVEL_OF = {
    text: ScoreLevel(where.split(".")[1])
    for rubric in (BROADCAST, load_rubric("explain_depth"))
    for where, text in all_wordings(rubric)
}

# 20 words in one sentence (0 points of 100 for brevity), nobody addressed (0), no exclamation (0)
TEXT_0 = "The procession moved along the road in good order while the mayor and all his aides watched it go by."
# 16 words in 3 sentences: under 9 words each (100 x 30 %); one you in 16 words is 6.25 per 100 (100 x 30 %)
TEXT_60 = "The band came by. You saw a fine day. People stood and looked on for long."
# the same, and every sentence is exclaimed (100 x 40 %)
TEXT_100 = TEXT_60.replace(".", "!")
TEXTS = {LOW: TEXT_0, MODERATE: TEXT_60, HIGH: TEXT_100}


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_rubric(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    changed = {"id": "crowd", "title": "Crowd noise", "source": "Us"}
    write_whole(Path("mine/crowd.yaml"), rubric_yaml(BARE.model_copy(update=changed)))


# writing


def answer(level: ScoreLevel, **changed: list[str]) -> str:
    return json.dumps({"train": list(SEVEN[level].train), "heldout": list(SEVEN[level].heldout)} | changed)


def level_of(messages: list[Any]) -> ScoreLevel:
    return next(level for level, target in TARGETS.items() if target in messages[0].text)


def write(model: Any) -> Rubric:
    with closing(open_store("calls")) as store:
        author = Author(Teacher(model, "mockllm"), store, 0)
        return asyncio.run(write_wordings(author, BARE))


def test_each_level_is_asked_with_the_whole_rubric_and_only_a_bad_answer_goes_back(
    mock_model: Callable[..., Any],
) -> None:
    def reply(messages: list[Any]) -> str:
        level = level_of(messages)
        is_first = len(messages) == 1 and level is MODERATE
        return answer(level, train=GOOD_TRAIN[:3], heldout=GOOD_HELDOUT[:2]) if is_first else answer(level)

    model = mock_model(reply)
    assert write(model).system_prompts == SEVEN
    assert all(BARE.render() in messages[0].text for messages in model.seen)
    assert sorted(level_of(messages) for messages in model.seen) == sorted([*ScoreLevel, MODERATE])
    [correction] = [messages[-1].text for messages in model.seen if len(messages) > 1]
    assert "- train: Tuple should have at least 4 items" in correction
    assert "- heldout: Tuple should have at least 3 items" in correction


def test_wordings_that_are_never_good_or_stand_at_two_levels_are_refused(mock_model: Callable[..., Any]) -> None:
    short = {MODERATE: {"train": ["Be a little excited.", *GOOD_TRAIN[1:]]}}
    model = mock_model(lambda messages: answer(level_of(messages), **short.get(level_of(messages), {})))
    with pytest.raises(ValueError, match=r"system prompts, moderate: .* in 3 attempts; last problems: .*got 1 in"):
        write(model)
    assert len(model.seen) == 5
    with pytest.raises(ValueError, match=r"system prompts: .*expected every text once"):
        write(mock_model(lambda _: answer(LOW), name="other"))


@pytest.mark.parametrize(
    ("wording", "problem"),
    [
        ("Show medium excitement. Speak to people now and then.", "got 'medium' in 'Show medium"),
        ("Be a little excited.", "expected 2 or 3 sentences, got 1 in"),
        ("One. Two... Three! 4.5 is no end", "expected 2 or 3 sentences, got 4 in"),
        ("Keep an audible excitement. Say you once.", "got the title 'Audible excitement' in"),
        ("This is a live broadcast. Cheer a bit.", "got the title 'Live broadcast' in"),
        ("Follow the rubric loosely. Cheer a bit.", "got 'rubric' in"),
        (GOOD_HELDOUT[0], "expected every text once"),
        (GOOD_HELDOUT[0].replace("word", "remark"), "it would test memory"),
    ],
)
def test_what_is_wrong_with_a_wording(wording: str, problem: str) -> None:
    wordings = Wordings.model_construct(train=(wording, *GOOD_TRAIN[1:]), heldout=tuple(GOOD_HELDOUT))
    problems = wording_problems(BARE.model_copy(update={"system_prompts": {MODERATE: wordings}}))
    assert problem in problems[0]


# trying


def frame_of(low: list[Any], moderate: list[Any], high: list[Any]) -> pd.DataFrame:
    scores = zip(ScoreLevel, (low, moderate, high), strict=True)
    rows = [
        (level, score, "" if score is not None else "not judged: refusal") for level, own in scores for score in own
    ]
    return pd.DataFrame(rows, columns=["level", "score", "note"]).astype({"score": float})


@pytest.mark.parametrize(
    ("low", "moderate", "is_passed"),
    [
        ([20.0, 30.0], [30.0, 40.0], True),  # exactly 10
        ([20.0, 30.0], [30.0, 39.9], False),  # 9.95
        ([0.1, 0.1], [10.1, 10.1], True),  # 10 up to the last bit
        ([60.0, 60.0], [20.0, 20.0], False),  # out of order
        ([20.0, None], [None, None], False),  # what is not scored is no 0
    ],
)
def test_the_levels_pass_in_order_and_ten_points_apart(low: list[Any], moderate: list[Any], is_passed: bool) -> None:
    assert passed(frame_of(low, moderate, [95])) is is_passed


def test_the_table_says_every_number_a_reader_decides_by() -> None:
    frame = frame_of([30, 44, None, None], [60, 50], [None])
    words = [line.split() for line in table(frame).splitlines()]
    assert words[2:5] == [
        ["low", "4", "2", "37.0"],
        ["moderate", "2", "2", "55.0"],
        ["extremely_high", "1", "0", "NaN"],
    ]
    assert "3 texts not judged: refusal\nexpected: the mean scores in order and 10 points apart" in table(frame)
    assert means_text(frame) == "low 37.0, moderate 55.0, extremely_high -"


@pytest.mark.parametrize(("rubric", "wordings", "texts"), [(TRIED, 7, 12), (BROADCAST, 27, 30)])
def test_each_wording_is_used_each_train_prompt_equally_often_and_no_pair_twice(
    rubric: Rubric, wordings: int, texts: int
) -> None:
    for level in ScoreLevel:
        own = [pair for pair_level, *pair in plan_texts(rubric) if pair_level is level]
        assert len({system_prompt for system_prompt, _ in own}) == wordings
        times = Counter(user_prompt for _, user_prompt in own)
        assert times == dict.fromkeys([*load_user_prompts("train").values()][:6], texts // 6)
        assert len(set(map(tuple, own))) == len(own) == texts


def tried(writer: Any) -> pd.DataFrame:
    with closing(open_store("calls")) as store:
        return asyncio.run(try_wordings(TRIED, Teacher(writer, "mockllm"), MeasuredJudge(), store, 0))


@pytest.mark.parametrize(("reply", "stop_reason"), [(TEXT_0, "content_filter"), (" ", "stop")])
def test_a_refused_or_empty_text_has_no_score(reply: str, stop_reason: str, mock_model: Callable[..., Any]) -> None:
    frame = tried(mock_model(lambda _: reply, stop_reason=stop_reason))
    assert frame.score.isna().all()
    assert set(frame.note) == {"refused or left empty by the writer"}


def test_a_local_writer_that_is_not_shown_its_system_prompt_is_refused(mock_model: Callable[..., Any]) -> None:
    writer = mock_model(lambda _: TEXT_0)
    writer.api.hf_chat = lambda messages, tools: messages[-1].text
    with pytest.raises(ValueError, match="the chat template leaves out the system turn"):
        tried(writer)
    assert writer.seen == []


# the command


def cpt_prompts(*arguments: object, rubric: str = "mine/crowd.yaml") -> Result:
    done = CliRunner().invoke(prompts_command, [rubric, "--model", AUTHOR, *map(str, arguments)])
    assert "Traceback" not in done.output
    return done


def scripted(texts: Mapping[ScoreLevel, str]) -> Callable[[dict[str, Any]], str]:
    """An author that answers with good wordings, and a writer whose text depends on the level of what it got."""

    def reply(body: dict[str, Any]) -> str:
        asked = prompt_text(body)
        level = next((level for level, target in TARGETS.items() if target in asked), None)
        return answer(level) if level else next(texts[level] for w, level in LEVEL_OF.items() if w in asked)

    return reply


def test_good_system_prompts_are_written_into_the_users_file_and_a_rerun_sends_nothing(
    anthropic_server: FakeAnthropic,
) -> None:
    anthropic_server.reply = scripted(TEXTS)
    done = cpt_prompts()
    assert done.exit_code == 0, done.output
    assert anthropic_server.stats.requests == 3 + 36
    for body in anthropic_server.bodies[3:]:  # the writer sees a wording and a user prompt, and no more
        assert body["system"][0]["text"] in LEVEL_OF and len(body["messages"]) == 1
        assert BROADCAST.objective not in prompt_text(body)
    path = Path("mine/crowd.yaml")
    rubric = load_rubric(path)
    assert rubric.system_prompts == SEVEN
    assert rubric.source == (
        f"Us; system prompts by {AUTHOR}, tried with {AUTHOR} and the judge measured: low 0.0, moderate 60.0, "
        "extremely_high 100.0 (draft prompt 1)"
    )
    first = path.read_bytes()
    assert "crowd.yaml: exists already; pass --force to overwrite it" in cpt_prompts().output
    again = cpt_prompts("--force")
    assert (again.exit_code, path.read_bytes()) == (0, first), again.output
    assert anthropic_server.stats.requests == 3 + 36


def test_system_prompts_out_of_order_are_reported_and_not_kept(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.reply = scripted({LOW: TEXT_60, MODERATE: TEXT_0, HIGH: TEXT_100})
    before = Path("mine/crowd.yaml").read_bytes()
    done = cpt_prompts()
    assert done.exit_code == 1
    assert re.search(r"low +12 +12 +60.0\nmoderate +12 +12 +0.0\nextremely_high +12 +12 +100.0\n", done.output)
    assert "not kept; the same command with another --seed" in done.output
    assert Path("mine/crowd.yaml").read_bytes() == before


def test_texts_of_a_named_writer_that_a_named_judge_fails_on_are_counted_and_never_scores(
    anthropic_server: FakeAnthropic,
) -> None:
    good = {"criteria": [{"id": c.id, "reason": "r", "score": 50} for c in BROADCAST.criteria], "holistic_score": 1}

    def reply(body: dict[str, Any]) -> str:
        if "opus" not in body["model"]:
            return scripted(TEXTS)(body)
        return "nonsense" if TEXT_60 in prompt_text(body) else json.dumps(good)

    anthropic_server.reply = reply
    done = cpt_prompts("--writer", "anthropic/claude-haiku-5-5", "--judge", "anthropic/claude-opus-5-5")
    assert done.exit_code == 1
    assert re.search(r"low +12 +12 +50.0\nmoderate +12 +0 +NaN\n", done.output)
    assert "12 texts not judged: malformed_json" in done.output
    assert any("haiku" in body["model"] for body in anthropic_server.bodies)


def test_check_tries_the_prompts_of_a_library_rubric_and_writes_nothing(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.reply = scripted(TEXTS)
    assert cpt_prompts("--check", rubric="broadcast").exit_code == 0
    assert anthropic_server.stats.requests == 3 * 30
    assert list(Path().rglob("*.yaml")) == [Path("mine/crowd.yaml")]


@pytest.mark.parametrize(
    ("rubric", "arguments", "message"),
    [
        ("mine/crowd.yaml", ["--check"], "rubric 'crowd' has no system prompts, expected some for each level"),
        ("explain_depth", ["--judge", "measured"], "has no measure, expected one on every criterion"),
    ],
)
def test_bad_options_are_one_sentence_and_nothing_is_sent(
    rubric: str, arguments: list[str], message: str, anthropic_server: FakeAnthropic
) -> None:
    done = cpt_prompts(*arguments, rubric=rubric)
    assert done.exit_code != 0
    assert message in " ".join(done.output.split())
    assert anthropic_server.stats.requests == 0


def test_a_model_that_judges_itself_is_said_and_its_refusal_is_one_sentence(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.config = Config(rate_refusal=1.0)
    output = cpt_prompts("--judge", AUTHOR).output
    assert f"{AUTHOR} judges texts that it wrote itself; --judge or --writer names another" in output
    assert "refuses to write this" in output
