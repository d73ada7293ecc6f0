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

from data_gen.drafting.calls import Author, CallLimitError, DraftError, Rejected, Spending, gather, parse_answer
from data_gen.drafting.commands import draft_command
from data_gen.drafting.draft import DraftFields, draft_rubric, scaled_weights
from data_gen.drafting.prompts import TARGETS
from data_gen.drafting.wordings import DraftedWordings, wording_problems, write_wordings
from model_calls import CallStore, open_store
from rubrics import Rubric, ScoreLevel, load_rubric
from rubrics.lint import lint_file

SENTENCE = "How much the text sounds like a ship's log."
AUTHOR = "anthropic/claude-sonnet-5-5"
FIELDS = DraftFields(None, "drafted", "CC0-1.0")
Content = dict[str, Any]

DRAFT: Content = {
    "id": "ships_log",
    "title": "Ship's log",
    "objective": "How far the text is kept like the log of a ship. At the bottom it is told at leisure.",
    "criteria": [
        {
            "id": "entries",
            "title": "Dated entries",
            "weight": 40,
            "descriptors": {
                "excellent": "Every paragraph opens with a date, an hour and a position.",
                "good": "Most paragraphs open with an hour, and there is one date.",
                "fair": "Some hours are given inside the sentences.",
                "needs_improvement": "It is morning or evening once.",
                "unsatisfactory": "Nobody could say when anything took place.",
            },
        },
        {
            "id": "weather",
            "title": "Wind and sea",
            "weight": 35,
            "descriptors": {
                "excellent": "Force and direction of the wind, state of the sea and the barometer recur in each entry.",
                "good": "Wind and sea are noted in more than half of the entries.",
                "fair": "The wind comes from somewhere a couple of times.",
                "needs_improvement": "It rains or shines, without more.",
                "unsatisfactory": "There is no weather.",
            },
        },
        {
            "id": "omitted_subject",
            "title": "Telegram grammar",
            "weight": 25,
            "descriptors": {
                "excellent": "Hardly a sentence has a subject; verbs stand alone and articles are gone.",
                "good": "Clipped sentences alternate with a few whole ones.",
                "fair": "About every third sentence is clipped.",
                "needs_improvement": "A single fragment among full sentences.",
                "unsatisfactory": "Grammar is complete and flowing.",
            },
        },
    ],
    "rewards_and_penalties": "",
}


def draft(change: Callable[[Content], None] = lambda content: None) -> str:
    content = json.loads(json.dumps(DRAFT))
    change(content)
    return json.dumps(content)


def set_weights(*weights: float) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        for criterion, weight in zip(content["criteria"], weights, strict=True):
            criterion["weight"] = weight

    return change


def leak_a_grade(content: Content) -> None:
    content["criteria"][1]["descriptors"]["good"] = "A high score for noting the wind in most entries."


def repeat_an_id(content: Content) -> None:
    content["criteria"][2]["id"] = "weather"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CallStore]:
    store = open_store(tmp_path / "calls.jsonl")
    yield store
    store.close()


@pytest.fixture
def author(mock_model: Callable[..., Any], store: CallStore) -> Callable[..., tuple[Author, Any, list[str]]]:
    """Builds an author that answers with these replies in turn, the last one for ever; and what it said."""

    def build(*replies: str, attempts: int = 3, stop_reason: str = "stop") -> tuple[Author, Any, list[str]]:
        left = list(replies)
        said: list[str] = []
        model = mock_model(lambda _: left.pop(0) if len(left) > 1 else left[0], stop_reason=stop_reason)
        return Author(model, store, attempts, 0, said.append), model, said

    return build


def run_draft(author: Author, fields: DraftFields = FIELDS) -> Rubric:
    return asyncio.run(draft_rubric(author, SENTENCE, fields))


def cpt_draft(*arguments: object) -> Result:
    return CliRunner().invoke(draft_command, [str(argument) for argument in arguments])


def test_a_good_draft_is_accepted_at_once_and_names_its_source(author: Callable[..., Any]) -> None:
    writer, model, said = author(draft())
    rubric = run_draft(writer)
    assert [(c.id, c.weight) for c in rubric.criteria] == [("entries", 40), ("weather", 35), ("omitted_subject", 25)]
    assert (rubric.family, rubric.licence, rubric.rewards_and_penalties) == ("drafted", "CC0-1.0", None)
    assert rubric.source.endswith(SENTENCE) and "mockllm/student" in rubric.source
    assert (len(model.seen), said, rubric.system_prompts) == (1, [], {})
    assert SENTENCE in model.seen[0][0].text


def test_weights_that_sum_to_90_are_scaled_and_that_is_said(author: Callable[..., Any]) -> None:
    writer, model, said = author(draft(set_weights(30, 30, 30)))
    assert [criterion.weight for criterion in run_draft(writer).criteria] == [34, 33, 33]
    assert said == ["weights 30, 30, 30 sum to 90, not 100: scaled to 34, 33, 33"]
    assert len(model.seen) == 1


@pytest.mark.parametrize(
    ("weights", "scaled"),
    [
        ([30, 30, 30], [34, 33, 33]),  # 33.3 each: 99 are given, the first gets the one that is left
        ([0.5, 0.3, 0.2], [50, 30, 20]),
        ([50, 40, 30], [42, 33, 25]),  # 41.67, 33.33, 25: the greatest remainder gets it
        ([33.5, 33.5, 33], [33.5, 33.5, 33]),
        ([0, 50, 40], [0, 50, 40]),
        ([-10, 60, 40], [-10, 60, 40]),
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
    ("first", "told"),
    [
        (draft(set_weights(0, 60, 40)), "criteria.0.weight: Input should be greater than 0, got '0.0'"),
        (draft(repeat_an_id), "['entries', 'weather', 'weather'] repeat, expected each id once"),
        (draft(leak_a_grade), "criteria.weather.descriptors.good: got 'high score'"),
        (draft(lambda content: content["criteria"].pop()), "criteria: got 2, expected about five, 3 at least and 8"),
        (draft(lambda content: content.pop("objective")), "objective: Field required"),
        (draft(lambda content: content.update(mood="fine")), "mood: Extra inputs are not permitted"),
        (draft(lambda content: content.update(id="Ship's log")), "id: String should match pattern"),
        (
            draft(lambda c: c["criteria"][0]["descriptors"].update(fair="")),
            "criteria.0.descriptors.fair: String should",
        ),
        ("I would rather not use JSON.", "not a JSON object"),
        (draft()[:300], "not a JSON object"),
        ("", "not a JSON object"),
    ],
)
def test_what_is_wrong_with_a_draft_is_told_and_the_mended_one_counts(
    first: str, told: str, author: Callable[..., Any]
) -> None:
    writer, model, said = author(first, draft())
    assert run_draft(writer).id == "ships_log"
    assert len(model.seen) == 2
    assert told in model.seen[1][-1].text
    assert model.seen[1][0].text == model.seen[0][0].text
    assert len(said) == 1 and said[0].startswith("draft: attempt 1 of 3 has ")


def test_only_the_last_answer_is_shown_when_a_third_is_asked_for(author: Callable[..., Any]) -> None:
    writer, model, _ = author(draft(repeat_an_id), draft(leak_a_grade), draft())
    run_draft(writer)
    roles = [[message.role for message in messages] for messages in model.seen]
    assert roles == [["user"], ["user", "assistant", "user"], ["user", "assistant", "user"]]
    assert "high score" in model.seen[2][1].text


def test_a_draft_that_is_never_good_ends_after_the_attempts_with_its_last_problems(author: Callable[..., Any]) -> None:
    writer, model, _ = author(draft(repeat_an_id), draft(leak_a_grade), attempts=2)
    with pytest.raises(DraftError, match=r"no usable answer in 2 attempts; last problems: .*high score.*--seed"):
        run_draft(writer)
    assert len(model.seen) == 2


def test_a_refusal_is_final_and_a_cut_answer_is_asked_again(author: Callable[..., Any]) -> None:
    writer, model, _ = author(draft(), stop_reason="content_filter")
    with pytest.raises(DraftError, match="refuses to write this"):
        run_draft(writer)
    assert len(model.seen) == 1
    writer, model, _ = author("{}", attempts=2, stop_reason="max_tokens")
    with pytest.raises(DraftError):
        asyncio.run(draft_rubric(writer, "Another sentence.", FIELDS))
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
        assert rejected.problems and all(rejected.problems)


# the command


def test_the_command_writes_a_file_of_the_library_kind_and_a_rerun_sends_nothing(
    anthropic_server: FakeAnthropic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    anthropic_server.reply = lambda body: draft(repeat_an_id) if "problems" not in prompt_text(body) else draft()
    done = cpt_draft(SENTENCE, "--model", AUTHOR)
    assert done.exit_code == 0, done.output
    path = tmp_path / "ships_log.yaml"
    assert load_rubric(path).title == "Ship's log"
    assert [finding for finding in lint_file(path) if finding.severity == "error"] == []
    assert list(yaml.safe_load(path.read_text())) == [
        "id",
        "title",
        "family",
        "objective",
        "criteria",
        "licence",
        "source",
    ]
    assert "2 requests" in done.output and "US dollars" in done.output
    assert "next: cpt rubric prompts ships_log.yaml" in done.output
    first = path.read_text()

    again = cpt_draft(SENTENCE, "--model", AUTHOR)
    assert again.exit_code == 1
    assert "ships_log.yaml: exists already; pass --force" in again.output
    again = cpt_draft(SENTENCE, "--model", AUTHOR, "--force")
    assert (again.exit_code, path.read_text()) == (0, first), again.output
    assert "sent 0 requests" in again.output
    assert anthropic_server.stats.requests == 2


def test_another_seed_asks_anew_and_the_users_id_wins(
    anthropic_server: FakeAnthropic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    anthropic_server.reply = lambda body: draft()
    for seed in (0, 1):
        done = cpt_draft(SENTENCE, "--model", AUTHOR, "--id", f"log_{seed}", "--seed", seed, "--out", "mine")
        assert done.exit_code == 0, done.output
        assert load_rubric(tmp_path / "mine" / f"log_{seed}.yaml").id == f"log_{seed}"
    assert anthropic_server.stats.requests == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--id", "taken"], "taken.yaml: exists already; pass --force to overwrite it, or another --out"),
        (["--id", "Ship's log"], 'got "Ship\'s log", expected lower-case letters'),
        (["--family", "my family"], "got 'my family', expected lower-case letters"),
        (["--licence", " "], "got ' ', expected some text"),
    ],
)
def test_bad_options_are_refused_before_anything_is_sent(
    arguments: list[str], message: str, anthropic_server: FakeAnthropic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.yaml").write_text("mine")
    done = cpt_draft(SENTENCE, "--model", AUTHOR, *arguments)
    assert done.exit_code != 0
    assert message in " ".join(done.output.split())
    assert anthropic_server.stats.requests == 0
    assert (tmp_path / "taken.yaml").read_text() == "mine"


def test_a_draft_that_is_never_good_is_one_sentence_and_no_file(
    anthropic_server: FakeAnthropic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    anthropic_server.reply = lambda body: draft(repeat_an_id)
    done = cpt_draft(SENTENCE, "--model", AUTHOR)
    assert done.exit_code == 1
    assert "Error: draft: anthropic/claude-sonnet-5-5 gave no usable answer in 3 attempts" in done.output
    assert "Traceback" not in done.output
    assert not list(tmp_path.glob("*.yaml"))
    assert anthropic_server.stats.requests == 3


# bounded calls


def test_the_limit_of_requests_is_exact_and_those_under_way_are_kept(
    mock_model: Callable[..., Any], store: CallStore
) -> None:
    from inspect_ai.model import ChatMessageUser

    from model_calls import Call, ask

    spending = Spending(3)
    model = spending.bind(mock_model(lambda _: "fine"))

    def job(number: int) -> Callable[[], Any]:
        return lambda: ask(store, Call(model, [ChatMessageUser(content=f"Question {number}")]))

    with pytest.raises(CallLimitError, match="stopped at --max-calls 3: that many requests were sent"):
        asyncio.run(gather([job(number) for number in range(5)]))
    assert (spending.sent.total(), len(store)) == (3, 3)
    assert spending.summary() == "sent mockllm/student: 3 requests, 30 tokens in, 15 out, price not known"


def test_one_failed_job_does_not_stop_the_others() -> None:
    ended: list[int] = []

    async def job(number: int) -> int:
        await asyncio.sleep(0)
        if number in (0, 2):
            raise TimeoutError(f"job {number}")
        await asyncio.sleep(0)
        ended.append(number)
        return number

    with pytest.raises(ExceptionGroup) as group:
        asyncio.run(gather([lambda n=n: job(n) for n in range(4)]))  # type: ignore[misc]
    assert [str(error) for error in group.value.exceptions] == ["job 0", "job 2"]
    assert ended == [1, 3]


# system prompts

BARE = load_rubric("broadcast").model_copy(update={"system_prompts": {}})
GOOD = load_rubric("explain_depth").system_prompts  # at least 5 + 3 wordings per level


def answer(level: ScoreLevel, changed: dict[str, list[str]] | None = None) -> str:
    content = {"train": list(GOOD[level].train), "heldout": list(GOOD[level].heldout)}
    return json.dumps(content | (changed or {}))


def level_of(messages: list[Any]) -> ScoreLevel:
    return next(level for level, target in TARGETS.items() if target in messages[0].text)


def write(author: Author, train: int = 4, heldout: int = 3, rubric: Rubric = BARE) -> Rubric:
    return asyncio.run(write_wordings(author, rubric, train, heldout))


def test_each_level_is_asked_once_and_shows_the_whole_rubric(mock_model: Callable[..., Any], store: CallStore) -> None:
    model = mock_model(lambda messages: answer(level_of(messages)))
    rubric = write(Author(model, store, 3, 0, print))
    assert {level: (len(p.train), len(p.heldout)) for level, p in rubric.system_prompts.items()} == {
        level: (4, 3) for level in ScoreLevel
    }
    assert rubric.system_prompts[ScoreLevel.LOW].train == GOOD[ScoreLevel.LOW].train[:4]
    assert sorted(level_of(messages) for messages in model.seen) == sorted(ScoreLevel)
    assert all(BARE.render() in messages[0].text for messages in model.seen)
    assert list(rubric.system_prompts) == list(ScoreLevel)
    assert Rubric.model_validate(rubric.model_dump()) == rubric


GOOD_TRAIN = list(GOOD[ScoreLevel.MODERATE].train)
GOOD_HELDOUT = list(GOOD[ScoreLevel.MODERATE].heldout)


def with_one(wording: str) -> dict[str, list[str]]:
    return {"train": [wording, *GOOD_TRAIN[1:]]}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"train": GOOD_TRAIN[:3]}, "train: got 3 wordings, expected 4"),
        ({"heldout": [*GOOD_HELDOUT[:2], " "]}, "heldout: got 2 wordings, expected 3"),
        (with_one("Show medium excitement. Speak to people now and then."), "got 'medium' in 'Show medium"),
        (with_one("Be a little excited."), "got 1 sentences in"),
        (with_one("Cheer. Speak. Shout. Rest."), "got 4 sentences in"),
        (with_one("Keep an audible excitement. Say you once."), "got the title 'Audible excitement' in"),
        (with_one("This is a live broadcast. Cheer a bit."), "got the title 'Live broadcast' in"),
        (with_one("Aim for a fair score. Cheer a bit."), "got 'fair score' in"),
        (with_one("Follow the rubric loosely. Cheer a bit."), "got 'rubric' in"),
        (with_one(GOOD_TRAIN[1]), "expected every wording once"),
        (with_one(GOOD_HELDOUT[0]), "expected every wording once"),
        (with_one(GOOD_HELDOUT[0].replace("word", "remark")), "it would test memory"),
        (with_one(GOOD_TRAIN[1].replace("school", "college")), "vary more than a word"),
    ],
)
def test_what_is_wrong_with_a_wording_is_told_to_the_author_of_that_level_only(
    changed: dict[str, list[str]], told: str, mock_model: Callable[..., Any], store: CallStore
) -> None:
    def reply(messages: list[Any]) -> str:
        level = level_of(messages)
        mended = len(messages) > 1
        return answer(level) if mended or level is not ScoreLevel.MODERATE else answer(level, changed)

    model = mock_model(reply)
    rubric = write(Author(model, store, 3, 0, lambda line: None))
    assert wording_problems(rubric, list(ScoreLevel)) == []
    mended = [messages for messages in model.seen if len(messages) > 1]
    assert len(model.seen) == 4
    assert [level_of(messages) for messages in mended] == [ScoreLevel.MODERATE]
    assert told in mended[0][-1].text


def test_wordings_that_are_never_good_end_with_the_level_and_the_problem(
    mock_model: Callable[..., Any], store: CallStore
) -> None:
    changed = with_one("Be a little excited.")
    model = mock_model(lambda messages: answer(level_of(messages), changed))
    with pytest.raises(DraftError, match=r"system prompts, moderate: .* in 2 attempts; last problems: .*1 sentences"):
        asyncio.run(
            write_wordings(Author(model, store, 2, 0, lambda line: None), BARE, 4, 3, {ScoreLevel.MODERATE: "x"})
        )
    assert len(model.seen) == 2


def test_one_wording_at_two_levels_is_refused(mock_model: Callable[..., Any], store: CallStore) -> None:
    model = mock_model(lambda _: answer(ScoreLevel.LOW))
    with pytest.raises(DraftError, match=r"system prompts: .*expected every wording once"):
        write(Author(model, store, 3, 0, print))


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
    paraphrases = GOOD[ScoreLevel.LOW].model_copy(update={"train": (wording,)})
    rubric = BARE.model_copy(update={"system_prompts": {ScoreLevel.LOW: paraphrases}})
    problems = " ".join(wording_problems(rubric, [ScoreLevel.LOW]))
    found = re.search(r"got (\d) sentences", problems)
    assert (int(found.group(1)) if found else 2) == sentences


def test_the_schema_that_is_sent_has_no_constraint_that_providers_refuse(
    anthropic_server: FakeAnthropic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    anthropic_server.reply = lambda body: draft()
    assert cpt_draft(SENTENCE, "--model", AUTHOR).exit_code == 0
    [body] = anthropic_server.bodies
    sent = json.dumps({name: value for name, value in body.items() if name != "messages"})
    assert '"needs_improvement": {"type": "string"' in sent
    assert not [word for word in ("minLength", "maxLength", "pattern", "minItems", "minimum") if word in sent]
