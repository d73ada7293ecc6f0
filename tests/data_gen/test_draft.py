"""`cpt rubric draft`, and the writing of system prompts: what is accepted, what the model is told, and when it ends."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from fake_anthropic import FakeAnthropic, prompt_text
from hypothesis import given
from hypothesis import strategies as st

from data_gen.draft.author import Author, CallLimitError, DraftError, Rejected, Spending, gather, parse_answer
from data_gen.draft.commands import draft_command
from data_gen.draft.prompts import TARGETS
from data_gen.draft.rubric import draft_rubric, scaled_weights
from data_gen.draft.wordings import DraftedWordings, wording_problems, write_wordings
from model_calls import Call, CallStore, ask, open_store
from rubrics import Rubric, ScoreLevel, load_rubric
from rubrics.lint import lint_file

SENTENCE = "How much the text sounds like a ship's log."
AUTHOR = "anthropic/claude-sonnet-5-5"
FIELDS = {"family": "drafted", "licence": "CC0-1.0"}
CRITERIA = load_rubric("tone_formality").model_dump(mode="json")["criteria"][:3]
for criterion, name, weight in zip(CRITERIA, ("entries", "weather", "grammar"), (40, 35, 25), strict=True):
    criterion |= {"id": name, "title": name, "weight": weight}
    del criterion["measure"]
DRAFT: dict[str, Any] = {
    "id": "ships_log",
    "title": "Ship's log",
    "objective": "How far the text is kept like the log of a ship. At the bottom it is told at leisure.",
    "criteria": CRITERIA,
    "rewards_and_penalties": "",
}


def draft(change: Callable[[dict[str, Any]], Any] = lambda content: None) -> str:
    content = json.loads(json.dumps(DRAFT))
    change(content)
    return json.dumps(content)


def set_weights(*weights: float) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        for criterion, weight in zip(content["criteria"], weights, strict=True):
            criterion["weight"] = weight

    return change


REPEATED_ID = draft(lambda content: content["criteria"][2].update(id="weather"))
GRADE_NAMED = draft(lambda c: c["criteria"][1]["descriptors"].update(good="A high score for noting the wind."))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CallStore]:
    store = open_store(tmp_path / "calls.jsonl")
    yield store
    store.close()


@pytest.fixture
def author(mock_model: Callable[..., Any], store: CallStore) -> Callable[..., tuple[Author, Any, list[str]]]:
    """Builds an author that answers with these replies in turn, the last one for ever; and what it said."""

    def build(*replies: str, attempts: int = 3, stop_reason: str = "stop") -> tuple[Author, Any, list[str]]:
        left, said = list(replies), list[str]()
        model = mock_model(lambda _: left.pop(0) if len(left) > 1 else left[0], stop_reason=stop_reason)
        return Author(model, store, attempts, 0, said.append), model, said

    return build


def run_draft(author: Author, text: str = SENTENCE, file: str = "") -> Rubric:
    return asyncio.run(draft_rubric(author, text, FIELDS, file))


def test_a_good_draft_is_accepted_at_once_and_names_its_source(author: Callable[..., Any]) -> None:
    writer, model, said = author(draft())
    rubric = run_draft(writer)
    assert [(c.id, c.weight) for c in rubric.criteria] == [("entries", 40), ("weather", 35), ("grammar", 25)]
    assert (rubric.family, rubric.licence, rubric.rewards_and_penalties) == ("drafted", "CC0-1.0", None)
    assert rubric.source == f"Drafted by mockllm/student (draft prompt 1) from: {SENTENCE}"
    assert (len(model.seen), said, rubric.system_prompts) == (1, [], {})
    assert SENTENCE in model.seen[0][0].text


def test_a_rubric_in_prose_is_put_into_the_schema_and_its_source_names_the_file(author: Callable[..., Any]) -> None:
    two = draft(lambda content: (content["criteria"].pop(), set_weights(54, 36)(content)))
    writer, model, said = author(two)
    rubric = run_draft(writer, "A log. Half for dates, half for $weather.", "log.txt")
    assert [(c.id, c.weight) for c in rubric.criteria] == [("entries", 60), ("weather", 40)]
    assert rubric.source.startswith("Put into this form by mockllm/student (draft prompt 1) from log.txt (SHA-256 ")
    assert rubric.source.endswith("aec5c751d49f)")
    assert said == ["weights 54, 36 sum to 90, not 100: scaled to 60, 40"]
    assert "<rubric>\nA log. Half for dates, half for $weather.\n</rubric>" in model.seen[0][0].text


@pytest.mark.parametrize(
    ("weights", "scaled"),
    [
        ([30, 30, 30], [34, 33, 33]),  # 33.3 each: 99 are given, the first gets the one that is left
        ([0.5, 0.3, 0.2], [50, 30, 20]),
        ([50, 40, 30], [42, 33, 25]),  # 41.67, 33.33, 25: the greatest remainder gets it
        ([33.5, 33.5, 33], [33.5, 33.5, 33]),
        ([0, 50, 40], [0, 50, 40]),
    ],
)
def test_scaled_weights_known_values(weights: list[float], scaled: list[float]) -> None:
    assert scaled_weights(weights) == scaled


@given(st.lists(st.floats(0.01, 500), min_size=1, max_size=8))
def test_scaled_weights_sum_to_100_and_keep_their_shares(weights: list[float]) -> None:
    scaled = scaled_weights(weights)
    assert sum(scaled) == pytest.approx(100)
    for weight, share in zip(weights, scaled, strict=True):
        assert abs(share - 100 * weight / sum(weights)) < 1 + 1e-6


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        (draft(set_weights(0, 60, 40)), "criteria.0.weight: Input should be greater than 0, got 0.0"),
        (REPEATED_ID, "['entries', 'weather', 'weather'] repeat, expected each id once"),
        (GRADE_NAMED, "criteria.weather.descriptors.good: got 'high score'"),
        (draft(lambda content: content["criteria"].pop()), "criteria: got 2, expected 3 at least and 8 at most"),
        (draft(lambda content: content.pop("objective")), "objective: Field required"),
        (draft(lambda content: content.update(mood="fine")), "mood: Extra inputs are not permitted"),
        (draft(lambda content: content.update(id="Ship's log")), "id: String should match pattern"),
        ("I would rather not use JSON.", "not a JSON object"),
        (draft()[:300], "not a JSON object"),
        ("", "not a JSON object"),
    ],
)
def test_what_is_wrong_with_a_draft_is_told_and_the_corrected_one_counts(
    first: str, problem: str, author: Callable[..., Any]
) -> None:
    writer, model, said = author(first, draft())
    assert run_draft(writer).id == "ships_log"
    assert len(model.seen) == 2
    assert problem in model.seen[1][-1].text
    assert model.seen[1][0].text == model.seen[0][0].text
    assert len(said) == 1 and said[0].startswith("draft: attempt 1 of 3 has ")


def test_a_draft_that_is_never_good_ends_after_the_attempts_and_only_the_last_answer_is_shown(
    author: Callable[..., Any],
) -> None:
    writer, model, _ = author(REPEATED_ID, GRADE_NAMED)
    with pytest.raises(DraftError, match=r"no usable answer in 3 attempts; last problems: .*high score.*--seed"):
        run_draft(writer)
    roles = [[message.role for message in messages] for messages in model.seen]
    assert roles == [["user"], ["user", "assistant", "user"], ["user", "assistant", "user"]]
    assert "high score" in model.seen[2][1].text


def test_a_refusal_is_final_and_a_cut_answer_is_asked_again(author: Callable[..., Any]) -> None:
    writer, model, _ = author(draft(), stop_reason="content_filter")
    with pytest.raises(DraftError, match="refuses to write this"):
        run_draft(writer)
    assert len(model.seen) == 1
    writer, model, _ = author("{}", attempts=2, stop_reason="max_tokens")
    with pytest.raises(DraftError):
        run_draft(writer, "Another sentence.")
    assert "cut after 16000 tokens" in model.seen[1][-1].text


@pytest.mark.parametrize("around", ["{}", "Here it is:\n```json\n{}\n```\nDone.", "Sure. {} I hope it helps."])
def test_an_answer_is_read_alone_in_a_fence_or_among_words(around: str) -> None:
    answer = json.dumps({"train": ["a"], "heldout": ["b"]})
    assert parse_answer(around.replace("{}", answer), DraftedWordings) == DraftedWordings(train=["a"], heldout=["b"])


@given(st.text(max_size=80))
def test_any_reply_is_an_answer_or_a_list_of_problems(text: str) -> None:
    try:
        parse_answer(text, DraftedWordings)
    except Rejected as rejected:
        assert rejected.args and all(rejected.args)


# the command


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def cpt_draft(*arguments: object) -> Result:
    return CliRunner().invoke(draft_command, ["--model", AUTHOR, *map(str, arguments)])


def test_the_command_writes_a_file_of_the_library_kind_and_a_rerun_sends_nothing(
    anthropic_server: FakeAnthropic,
) -> None:
    anthropic_server.reply = lambda body: REPEATED_ID if "problems" not in prompt_text(body) else draft()
    done = cpt_draft(SENTENCE)
    assert done.exit_code == 0, done.output
    path = Path("ships_log.yaml")
    assert load_rubric(path).title == "Ship's log"
    assert [finding for finding in lint_file(path) if finding.severity == "error"] == []
    assert list(yaml.safe_load(path.read_text())) == "id title family objective criteria licence source".split()
    assert "2 requests" in done.output and "US dollars" in done.output
    assert "next: cpt rubric prompts ships_log.yaml" in done.output
    # what is sent has no constraint that providers refuse
    sent = json.dumps({name: value for name, value in anthropic_server.bodies[0].items() if name != "messages"})
    assert '"needs_improvement": {"type": "string"' in sent
    assert not [word for word in ("minLength", "maxLength", "pattern", "minItems", "minimum") if word in sent]

    first = path.read_text()
    again = cpt_draft(SENTENCE)
    assert again.exit_code == 1
    assert "ships_log.yaml: exists already; pass --force" in again.output
    again = cpt_draft(SENTENCE, "--force")
    assert (again.exit_code, path.read_text()) == (0, first), again.output
    assert "sent 0 requests" in again.output
    assert anthropic_server.stats.requests == 2


def test_another_seed_or_file_asks_anew_and_the_users_id_wins(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.reply = lambda body: draft()
    Path("log.txt").write_text("\ufeffDates (60%), weather (40%).", encoding="utf-8")
    for number, asked in enumerate(([SENTENCE], [SENTENCE, "--seed", 1], ["--from", "log.txt"])):
        done = cpt_draft(*asked, "--id", f"log_{number}", "--out", "mine")
        assert done.exit_code == 0, done.output
        assert load_rubric(f"mine/log_{number}.yaml").id == f"log_{number}"
    assert anthropic_server.stats.requests == 3
    assert "<rubric>\nDates (60%), weather (40%).\n</rubric>" in prompt_text(anthropic_server.bodies[2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([SENTENCE, "--id", "taken"], "taken.yaml: exists already; pass --force to overwrite it, or another --out"),
        ([SENTENCE, "--id", "Ship's log"], 'got "Ship\'s log", expected lower-case letters'),
        ([SENTENCE, "--family", "my family"], "got 'my family', expected lower-case letters"),
        ([SENTENCE, "--licence", " "], "got ' ', expected some text"),
        ([SENTENCE, "--from", "taken.yaml"], "expected either SENTENCE or --from FILE"),
        ([], "expected either SENTENCE or --from FILE"),
        (["--from", "none.txt"], "none.txt: cannot be read: No such file or directory"),
    ],
)
def test_bad_options_are_refused_before_anything_is_sent(
    arguments: list[str], message: str, anthropic_server: FakeAnthropic
) -> None:
    Path("taken.yaml").write_text("mine")
    done = cpt_draft(*arguments)
    assert done.exit_code != 0
    assert message in " ".join(done.output.split())
    assert anthropic_server.stats.requests == 0
    assert Path("taken.yaml").read_text() == "mine"


def test_a_draft_that_is_never_good_is_one_sentence_and_no_file(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.reply = lambda body: REPEATED_ID
    done = cpt_draft(SENTENCE)
    assert done.exit_code == 1
    assert "Error: draft: anthropic/claude-sonnet-5-5 gave no usable answer in 3 attempts" in done.output
    assert "Traceback" not in done.output
    assert not list(Path().glob("*.yaml"))
    assert anthropic_server.stats.requests == 3


# bounded calls


def test_the_limit_of_requests_is_exact_and_those_under_way_are_kept(
    mock_model: Callable[..., Any], store: CallStore
) -> None:
    from inspect_ai.model import ChatMessageUser

    spending = Spending(3)
    model = spending.bind(mock_model(lambda _: "fine"))

    async def run() -> None:
        calls = [Call(model, [ChatMessageUser(content=f"Question {number}")]) for number in range(5)]
        await gather(ask(store, call) for call in calls)

    with pytest.raises(CallLimitError, match="stopped at --max-calls 3: that many requests were sent"):
        asyncio.run(run())
    assert (spending.sent.total(), len(store)) == (3, 3)
    assert spending.summary() == "sent mockllm/student: 3 requests, 30 tokens in, 15 out, price not known"


def test_one_failed_job_does_not_stop_the_others() -> None:
    ended: list[int] = []

    async def job(number: int) -> None:
        await asyncio.sleep(0)
        if number in (0, 2):
            raise TimeoutError(f"job {number}")
        await asyncio.sleep(0)
        ended.append(number)

    async def run() -> None:
        await gather(job(number) for number in range(4))

    with pytest.raises(ExceptionGroup) as group:
        asyncio.run(run())
    assert [str(error) for error in group.value.exceptions] == ["job 0", "job 2"]
    assert ended == [1, 3]


# system prompts

BARE = load_rubric("broadcast").model_copy(update={"system_prompts": {}})
GOOD = load_rubric("explain_depth").system_prompts  # at least 5 + 3 wordings per level
GOOD_TRAIN, GOOD_HELDOUT = (list(getattr(GOOD[ScoreLevel.MODERATE], split)) for split in ("train", "heldout"))


def answer(level: ScoreLevel, **changed: list[str]) -> str:
    return json.dumps({"train": list(GOOD[level].train), "heldout": list(GOOD[level].heldout)} | changed)


def level_of(messages: list[Any]) -> ScoreLevel:
    return next(level for level, target in TARGETS.items() if target in messages[0].text)


def write(model: Any, store: CallStore, **tried: Any) -> Rubric:
    return asyncio.run(write_wordings(Author(model, store, 2, 0, lambda line: None), BARE, 4, 3, **tried))


def test_each_level_is_asked_once_and_shows_the_whole_rubric(mock_model: Callable[..., Any], store: CallStore) -> None:
    model = mock_model(lambda messages: answer(level_of(messages)))
    rubric = write(model, store)
    assert {level: (len(p.train), len(p.heldout)) for level, p in rubric.system_prompts.items()} == {
        level: (4, 3) for level in ScoreLevel
    }
    assert rubric.system_prompts[ScoreLevel.LOW].train == GOOD[ScoreLevel.LOW].train[:4]
    assert sorted(level_of(messages) for messages in model.seen) == sorted(ScoreLevel)
    assert all(BARE.render() in messages[0].text for messages in model.seen)
    assert Rubric.model_validate(rubric.model_dump()) == rubric


def with_one(wording: str) -> dict[str, list[str]]:
    return {"train": [wording, *GOOD_TRAIN[1:]]}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"train": GOOD_TRAIN[:3]}, "train: got 3 wordings, expected 4"),
        ({"heldout": [*GOOD_HELDOUT[:2], " "]}, "heldout: got 2 wordings, expected 3"),
        (with_one("Show medium excitement. Speak to people now and then."), "got 'medium' in 'Show medium"),
        (with_one("Be a little excited."), "got 1 sentences in"),
        (with_one("Keep an audible excitement. Say you once."), "got the title 'Audible excitement' in"),
        (with_one("This is a live broadcast. Cheer a bit."), "got the title 'Live broadcast' in"),
        (with_one("Aim for a fair score. Cheer a bit."), "got 'fair score' in"),
        (with_one("Follow the rubric loosely. Cheer a bit."), "got 'rubric' in"),
        (with_one(GOOD_HELDOUT[0]), "expected every wording once"),
        (with_one(GOOD_HELDOUT[0].replace("word", "remark")), "it would test memory"),
        (with_one(GOOD_TRAIN[1].replace("school", "college")), "vary more than a word"),
    ],
)
def test_what_is_wrong_with_a_wording_is_told_to_the_author_of_that_level_only(
    changed: dict[str, list[str]], problem: str, mock_model: Callable[..., Any], store: CallStore
) -> None:
    def reply(messages: list[Any]) -> str:
        level = level_of(messages)
        is_first = len(messages) == 1 and level is ScoreLevel.MODERATE
        return answer(level, **changed) if is_first else answer(level)

    model = mock_model(reply)
    rubric = write(model, store)
    assert wording_problems(rubric, list(ScoreLevel)) == []
    corrected = [messages for messages in model.seen if len(messages) > 1]
    assert len(model.seen) == 4
    assert [level_of(messages) for messages in corrected] == [ScoreLevel.MODERATE]
    assert problem in corrected[0][-1].text


def test_wordings_that_are_never_good_or_stand_at_two_levels_are_refused(
    mock_model: Callable[..., Any], store: CallStore
) -> None:
    model = mock_model(lambda messages: answer(level_of(messages), **with_one("Be a little excited.")))
    with pytest.raises(DraftError, match=r"system prompts, moderate: .* in 2 attempts; last problems: .*1 sentences"):
        write(model, store, tried={ScoreLevel.MODERATE: "x"})
    assert len(model.seen) == 2
    with pytest.raises(DraftError, match=r"system prompts: .*expected every wording once"):
        write(mock_model(lambda _: answer(ScoreLevel.LOW), name="other"), store)


@pytest.mark.parametrize(
    ("wording", "sentences"),
    [
        ("Shout! Then stop.", 2),
        ('Say "so what?" and go on. Stop.', 2),
        ("Write 3.5 lines. Stop there", 2),
        ("Wait... Then go.", 2),
        ("One. Two. Three. Four.", 4),
    ],
)
def test_sentences_are_counted_at_their_ends(wording: str, sentences: int) -> None:
    wordings = GOOD[ScoreLevel.LOW].model_copy(update={"train": (wording,)})
    rubric = BARE.model_copy(update={"system_prompts": {ScoreLevel.LOW: wordings}})
    count = re.search(r"got (\d) sentences", " ".join(wording_problems(rubric, [ScoreLevel.LOW])))
    assert (int(count.group(1)) if count else 2) == sentences
