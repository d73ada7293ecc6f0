"""`cpt rubric draft` and `prompts`: what goes back to the model, when asking ends, and what is kept."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from command_runs import fails, ran
from fake_anthropic import FakeAnthropic, prompt_text
from students import verdict

from data_gen.draft.author import (
    TARGETS,
    Author,
    draft_rubric,
    json_object,
    wording_problems,
    write_wordings,
)
from data_gen.draft.commands import draft_command, prompts_command
from data_gen.draft.trial import means_text, passed, try_wordings
from data_gen.generate.teachers import Teacher
from judges import MeasuredJudge
from model_calls import CallStore
from rubrics import Rubric, ScoreLevel, Wordings, load_rubric
from rubrics.files import write_whole
from rubrics.lint import all_wordings, lint_rubric
from rubrics.load import rubric_yaml

pytestmark = pytest.mark.usefixtures("in_own_folder")
SENTENCE = "How much the text sounds like a ship's log."
AUTHOR = "anthropic/claude-sonnet-5-5"
DRAFT = load_rubric("tone_formality").model_dump(mode="json", include={"title", "objective", "criteria"})
DRAFT |= {"id": "ships_log", "rewards_and_penalties": ""}
for criterion in DRAFT["criteria"]:
    del criterion["measure"]


def draft(change: Callable[[dict[str, Any]], Any] = lambda content: None) -> str:
    content = json.loads(json.dumps(DRAFT))
    change(content)
    return json.dumps(content)


REPEATED_ID = draft(lambda content: content["criteria"][2].update(id="courtesy"))
GRADE_NAMED = draft(lambda c: c["criteria"][1]["descriptors"].update(good="A high score for noting the wind."))


@pytest.fixture
def author(mock_model: Callable[..., Any], store: CallStore) -> Callable[..., tuple[Author, Any]]:
    """Builds an author that answers with these replies in turn, the last one for ever."""

    def build(*replies: str, stop_reason: str = "stop") -> tuple[Author, Any]:
        left = list(replies)
        model = mock_model(lambda _: left.pop(0) if len(left) > 1 else left[0], stop_reason=stop_reason)
        return Author(Teacher(model, "mockllm/student"), store, 0), model

    return build


def run_draft(author: Author, text: str = SENTENCE) -> Rubric:
    return asyncio.run(draft_rubric(author, text, {"family": "drafted", "licence": "CC0-1.0"}))


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        (draft(lambda c: c["criteria"][0].update(weight=20)), "weights sum to 90, expected 100"),
        (GRADE_NAMED, "criteria.written_out_forms.descriptors.good: got 'high score'"),
        (draft(lambda content: content.pop("objective")), "objective: Field required"),
        (draft(lambda content: content.update(mood="fine")), "mood: Extra inputs are not permitted"),
        (draft()[:300], "Invalid JSON"),
        ("", "Invalid JSON"),
    ],
)
def test_what_is_wrong_with_a_draft_goes_back_and_the_corrected_one_counts(
    first: str, problem: str, author: Callable[..., Any]
) -> None:
    writer, model = author(first, draft())
    assert run_draft(writer).id == "ships_log"
    assert len(model.seen) == 2
    assert problem in model.seen[1][-1].text
    assert model.seen[1][0].text == model.seen[0][0].text


def test_an_asking_ends_after_three_attempts_or_a_refusal_and_only_the_last_answer_is_shown(
    author: Callable[..., Any],
) -> None:
    writer, model = author(REPEATED_ID, GRADE_NAMED)
    with pytest.raises(ValueError, match=r"no usable answer in 3 attempts; last problems: .*high score.*--seed"):
        run_draft(writer)
    roles = [[message.role for message in messages] for messages in model.seen]
    assert roles == [["user"], ["user", "assistant", "user"], ["user", "assistant", "user"]]
    assert "high score" in model.seen[2][1].text
    writer, model = author("{}", stop_reason="max_tokens")
    with pytest.raises(ValueError, match="cut after 16000 tokens"):
        run_draft(writer, "Another sentence.")
    writer, model = author(draft(), stop_reason="content_filter")
    with pytest.raises(ValueError, match="refuses to write this"):
        run_draft(writer, "A third.")
    assert len(model.seen) == 1


THOUGHT = '<think>Perhaps {"train": []}?</think>\n'


@pytest.mark.parametrize(
    "around", ["{}", "Here it is:\n```json\n{}\n```\nDone.", "Sure. {} I hope it helps.", THOUGHT + "{}"]
)
def test_an_answer_is_read_alone_in_a_fence_or_among_words(around: str) -> None:
    answer = {"train": ["a"], "heldout": [{"b": "}"}]}
    assert json_object(around.replace("{}", json.dumps(answer))) == answer


def cpt(command: Any, *arguments: object, code: int = 0) -> str:
    return ran(command, "--model", AUTHOR, *arguments, code=code).output


def test_the_command_writes_a_file_of_the_library_kind_and_a_rerun_sends_nothing(
    anthropic_server: FakeAnthropic,
) -> None:
    anthropic_server.reply = lambda body: REPEATED_ID if "problems" not in prompt_text(body) else draft()
    cpt(draft_command, SENTENCE)
    path = Path("ships_log.yaml")
    rubric = load_rubric(path)
    assert (rubric.title, rubric.family, rubric.licence) == ("Formality", "drafted", "not stated")
    assert rubric.source == f"Drafted by {AUTHOR} (draft prompt 1) from: {SENTENCE}"
    assert not [finding for finding in lint_rubric(rubric) if finding.severity == "error"]
    assert list(yaml.safe_load(path.read_text())) == "id title family objective criteria licence source".split()

    first = path.read_text()
    assert "ships_log.yaml: exists already; pass --force" in cpt(draft_command, SENTENCE, code=1)
    cpt(draft_command, SENTENCE, "--force")
    assert path.read_text() == first
    assert anthropic_server.stats.requests == 2


def test_another_seed_or_a_file_asks_anew_and_the_users_id_wins(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.reply = lambda body: draft()
    Path("log.txt").write_text("\ufeffA log. Half for dates, half for $weather.", encoding="utf-8")
    for number, asked in enumerate(([SENTENCE], [SENTENCE, "--seed", 1], ["--from", "log.txt"])):
        cpt(draft_command, *asked, "--id", f"log_{number}")
    assert anthropic_server.stats.requests == 3
    assert "<rubric>\nA log. Half for dates, half for $weather.\n</rubric>" in prompt_text(anthropic_server.bodies[2])
    source = load_rubric("log_2.yaml").source
    assert source == f"Put into this form by {AUTHOR} (draft prompt 1) from log.txt (SHA-256 aec5c751d49f)"


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (draft_command, [SENTENCE, "--id", "taken"], "taken.yaml: exists already; pass --force to overwrite it"),
        (draft_command, [SENTENCE, "--id", "Ship's log"], 'got "Ship\'s log", expected lower-case letters'),
        (draft_command, [SENTENCE, "--from", "taken.yaml"], "expected either SENTENCE or --from FILE"),
        (draft_command, ["--from", "latin.txt"], "latin.txt: not UTF-8 ("),
        (draft_command, ["--from", "empty.txt"], "empty.txt: is empty, expected a rubric in prose"),
        (prompts_command, ["crowd.yaml", "--check"], "'crowd' has no system prompts, expected some for each level"),
        (prompts_command, ["picture_coverage", "--check"], "the user prompts of its family 'pictures' show pictures"),
        (prompts_command, ["explain_depth", "--judge", "measured"], "has no measure, expected one on every criterion"),
    ],
)
def test_bad_options_are_refused_before_anything_is_sent(
    command: Any, arguments: list[str], message: str, anthropic_server: FakeAnthropic
) -> None:
    put_crowd()
    for name, content in (("taken.yaml", b"mine"), ("latin.txt", b"\xe9"), ("empty.txt", b" ")):
        Path(name).write_bytes(content)
    assert message in fails(command, "--model", AUTHOR, *arguments)
    assert (anthropic_server.stats.requests, Path("taken.yaml").read_text()) == (0, "mine")


# system prompts

LOW, MODERATE, HIGH = ScoreLevel
BROADCAST = load_rubric("broadcast")  # exclamations 40 %, second person 30 %, words per sentence 30 %
BARE = BROADCAST.model_copy(update={"system_prompts": {}})
GOOD = load_rubric("explain_depth").system_prompts  # at least 5 + 3 wordings per level
SEVEN = {level: Wordings(train=GOOD[level].train[:4], heldout=GOOD[level].heldout[:3]) for level in ScoreLevel}
TRAIN, HELDOUT = list(SEVEN[MODERATE].train), list(SEVEN[MODERATE].heldout)
TRIED = BROADCAST.model_copy(update={"system_prompts": SEVEN})
LEVEL_OF = {
    text: ScoreLevel(where.split(".")[1]) for rubric in (BROADCAST, TRIED) for where, text in all_wordings(rubric)
}

# 20 words in one sentence (0 points of 100 for brevity), nobody addressed (0), no exclamation (0)
TEXT_0 = "The procession moved along the road in good order while the mayor and all his aides watched it go by."
# 16 words in 3 sentences: under 9 words each (100 x 30 %); one you in 16 words is 6.25 per 100 (100 x 30 %)
TEXT_60 = "The band came by. You saw a fine day. People stood and looked on for long."
# the same, and every sentence is exclaimed (100 x 40 %)
TEXT_100 = TEXT_60.replace(".", "!")
TEXTS = {LOW: TEXT_0, MODERATE: TEXT_60, HIGH: TEXT_100}


def put_crowd() -> Path:
    path = Path("crowd.yaml")
    changed = {"id": "crowd", "title": "Crowd noise", "source": "Us"}
    write_whole(path, rubric_yaml(BARE.model_copy(update=changed)))
    return path


def answer(level: ScoreLevel, **changed: list[str]) -> str:
    return json.dumps({"train": list(SEVEN[level].train), "heldout": list(SEVEN[level].heldout)} | changed)


def level_of(text: str) -> ScoreLevel | None:
    return next((level for level, target in TARGETS.items() if target in text), None)


def test_each_level_is_asked_with_the_whole_rubric_and_only_a_bad_answer_goes_back(
    mock_model: Callable[..., Any], store: CallStore
) -> None:
    def write(reply: Callable[[ScoreLevel, bool], str], name: str, bare: Rubric = BARE) -> tuple[Rubric, Any]:
        model = mock_model(lambda messages: reply(level_of(messages[0].text) or LOW, len(messages) == 1), name=name)
        return asyncio.run(write_wordings(Author(Teacher(model, "mockllm"), store, 0), bare)), model

    few = answer(MODERATE, train=TRAIN[:3], heldout=HELDOUT[:2])
    rubric, model = write(lambda level, is_first: few if is_first and level is MODERATE else answer(level), "a")
    assert (rubric.system_prompts, rubric.version) == (SEVEN, 1)
    rewritten, _ = write(lambda level, is_first: answer(level), "a", BROADCAST)
    assert (rewritten.system_prompts, rewritten.version) == (SEVEN, 2)
    assert all(BARE.render() in messages[0].text for messages in model.seen)
    assert Counter(level_of(messages[0].text) for messages in model.seen) == {LOW: 1, MODERATE: 2, HIGH: 1}
    [correction] = [messages[-1].text for messages in model.seen if len(messages) > 1]
    assert "- train: Tuple should have at least 4 items" in correction
    assert "- heldout: Tuple should have at least 3 items" in correction
    with pytest.raises(ValueError, match=r"system prompts: .*expected every text once"):
        write(lambda level, is_first: answer(LOW), "b")


@pytest.mark.parametrize(
    ("wording", "problem"),
    [
        ("Keep an audible excitement. Say you once.", "got the title 'Audible excitement' in"),
        ("This is a live broadcast. Cheer a bit.", "got the title 'Live broadcast' in"),
        ("Follow the rubric loosely. Cheer a bit.", "got 'rubric' in"),
        (HELDOUT[0].replace("word", "remark"), "it would test memory"),
    ],
)
def test_what_is_wrong_with_a_wording(wording: str, problem: str) -> None:
    wordings = Wordings(train=(wording, *TRAIN[1:]), heldout=tuple(HELDOUT))
    problems = wording_problems(BARE.model_copy(update={"system_prompts": {MODERATE: wordings}}))
    assert problem in problems[0]


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
    assert means_text(frame_of(low, moderate, [None, None])).endswith("extremely_high -")


REFUSED = "refused or left empty by the writer"


@pytest.mark.parametrize(
    ("reply", "stop_reason", "note"),
    [
        (TEXT_0, "content_filter", REFUSED),
        (" ", "stop", REFUSED),
        (f"<think>{TEXT_0}", "stop", REFUSED),
        ("Too short.", "stop", "not read: no_response"),
    ],
)
def test_a_refused_empty_or_short_text_has_no_score_and_a_writer_sees_its_system_prompt(
    reply: str, stop_reason: str, note: str, mock_model: Callable[..., Any], store: CallStore
) -> None:
    writer = mock_model(lambda _: reply, stop_reason=stop_reason)
    frame = asyncio.run(try_wordings(TRIED, Teacher(writer, "mockllm"), MeasuredJudge(), store, 0))
    assert frame.score.isna().all()
    assert set(frame.note) == {note}
    asked = len(writer.seen)
    writer.api.hf_chat = lambda messages, tools: messages[-1].text
    with pytest.raises(ValueError, match="the chat template leaves out the system turn"):
        asyncio.run(try_wordings(TRIED, Teacher(writer, "mockllm"), MeasuredJudge(), store, 1))
    assert len(writer.seen) == asked


def scripted(texts: Mapping[ScoreLevel, str]) -> Callable[[dict[str, Any]], str]:
    """An author that answers with good wordings, and a writer whose text depends on the level of what it got."""

    def reply(body: dict[str, Any]) -> str:
        asked = prompt_text(body)
        level = level_of(asked)
        return answer(level) if level else next(texts[level] for w, level in LEVEL_OF.items() if w in asked)

    return reply


def test_good_system_prompts_are_written_into_the_users_file_and_a_rerun_sends_nothing(
    anthropic_server: FakeAnthropic,
) -> None:
    anthropic_server.reply = scripted(TEXTS)
    path = put_crowd()
    cpt(prompts_command, path)
    assert anthropic_server.stats.requests == 3 + 36
    for body in anthropic_server.bodies[3:]:  # the writer sees a wording and a user prompt, and no more
        assert body["system"][0]["text"] in LEVEL_OF and len(body["messages"]) == 1
        assert BROADCAST.objective not in prompt_text(body)
    rubric = load_rubric(path)
    assert rubric.system_prompts == SEVEN
    assert rubric.source == (
        f"Us; system prompts by {AUTHOR}, tried with {AUTHOR} and the judge measured: low 0.0, moderate 60.0, "
        "extremely_high 100.0 (draft prompt 1)"
    )
    first = path.read_bytes()
    assert "crowd.yaml: exists already; pass --force to overwrite it" in cpt(prompts_command, path, code=1)
    cpt(prompts_command, path, "--force")
    assert path.read_bytes() == first
    assert anthropic_server.stats.requests == 3 + 36


def test_system_prompts_out_of_order_are_reported_and_not_kept(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.reply = scripted({LOW: TEXT_60, MODERATE: TEXT_0, HIGH: TEXT_100})
    path = put_crowd()
    before = path.read_bytes()
    output = cpt(prompts_command, path, code=1)
    assert re.search(r"low +12 +12 +60.0\nmoderate +12 +12 +0.0\nextremely_high +12 +12 +100.0\n", output)
    assert "not kept; the same command with another --seed" in output
    assert path.read_bytes() == before


def test_texts_of_a_named_writer_that_a_named_judge_fails_on_are_counted_and_never_scores(
    anthropic_server: FakeAnthropic,
) -> None:
    def reply(body: dict[str, Any]) -> str:
        if "opus" not in body["model"]:
            return scripted(TEXTS)(body)
        return "nonsense" if TEXT_60 in prompt_text(body) else verdict(50)

    anthropic_server.reply = reply
    models = ("--writer", "anthropic/claude-haiku-5-5", "--judge", "anthropic/claude-opus-5-5")
    output = cpt(prompts_command, put_crowd(), *models, code=1)
    assert re.search(r"low +12 +12 +50.0\nmoderate +12 +0 +NaN\n", output)
    assert "12 texts not judged: malformed_json" in output
    assert any("haiku" in body["model"] for body in anthropic_server.bodies)


def test_check_tries_the_prompts_of_a_library_rubric_and_writes_nothing(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.reply = scripted(TEXTS)
    cpt(prompts_command, "broadcast", "--check")
    assert anthropic_server.stats.requests == 3 * 66
    assert not list(Path().rglob("*.yaml"))
