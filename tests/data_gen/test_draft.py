"""`cpt rubric draft`: what is accepted, what goes back to the model, and when it ends."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from fake_anthropic import FakeAnthropic, prompt_text
from hypothesis import given
from hypothesis import strategies as st

from data_gen.draft.author import Author, DraftError, Rejected, gather, parse_answer
from data_gen.draft.commands import draft_command
from data_gen.draft.rubric import draft_rubric
from data_gen.draft.wordings import DraftedWordings
from data_gen.generate.teachers import Teacher
from model_calls import open_store
from rubrics import Rubric, load_rubric
from rubrics.lint import lint_rubric

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
def author(mock_model: Callable[..., Any], tmp_path: Path) -> Iterator[Callable[..., tuple[Author, Any]]]:
    """Builds an author that answers with these replies in turn, the last one for ever."""
    with closing(open_store(tmp_path / "calls")) as store:

        def build(*replies: str, stop_reason: str = "stop") -> tuple[Author, Any]:
            left = list(replies)
            model = mock_model(lambda _: left.pop(0) if len(left) > 1 else left[0], stop_reason=stop_reason)
            return Author(Teacher(model, "mockllm/student"), store, 0, lambda line: None), model

        yield build


def run_draft(author: Author, text: str = SENTENCE) -> Rubric:
    return asyncio.run(draft_rubric(author, text, {"family": "drafted", "licence": "CC0-1.0"}))


@pytest.mark.parametrize(
    ("first", "problem"),
    [
        (draft(lambda c: c["criteria"][0].update(weight=0)), "criteria.0.weight: Input should be greater than 0"),
        (draft(lambda c: c["criteria"][0].update(weight=20)), "weights sum to 90, expected 100"),
        (REPEATED_ID, "'courtesy', 'courtesy', 'construction'] repeat, expected each id once"),
        (GRADE_NAMED, "criteria.written_out_forms.descriptors.good: got 'high score'"),
        (draft(lambda c: c.update(criteria=c["criteria"][:2])), "criteria: got 2, expected 3 at least and 8 at most"),
        (draft(lambda content: content.pop("objective")), "objective: Field required"),
        (draft(lambda content: content.update(mood="fine")), "mood: Extra inputs are not permitted"),
        (draft(lambda content: content.update(id="Ship's log")), "id: String should match pattern"),
        ("I would rather not use JSON.", "not a JSON object"),
        (draft()[:300], "not a JSON object"),
        ("", "not a JSON object"),
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


def test_a_draft_that_is_never_good_ends_after_three_attempts_and_only_the_last_answer_is_shown(
    author: Callable[..., Any],
) -> None:
    writer, model = author(REPEATED_ID, GRADE_NAMED)
    with pytest.raises(DraftError, match=r"no usable answer in 3 attempts; last problems: .*high score.*--seed"):
        run_draft(writer)
    roles = [[message.role for message in messages] for messages in model.seen]
    assert roles == [["user"], ["user", "assistant", "user"], ["user", "assistant", "user"]]
    assert "high score" in model.seen[2][1].text


def test_a_refusal_is_final_and_a_cut_answer_is_asked_again(author: Callable[..., Any]) -> None:
    writer, model = author(draft(), stop_reason="content_filter")
    with pytest.raises(DraftError, match="refuses to write this"):
        run_draft(writer)
    assert len(model.seen) == 1
    writer, model = author("{}", stop_reason="max_tokens")
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


def test_failed_jobs_do_not_stop_the_others() -> None:
    ended: list[int] = []

    async def job(number: int) -> None:
        await asyncio.sleep(0)
        if number in (0, 2):
            raise TimeoutError(f"job {number}")
        await asyncio.sleep(0)
        ended.append(number)

    async def jobs() -> None:
        await gather(job(number) for number in range(4))

    with pytest.raises(ExceptionGroup) as group:
        asyncio.run(jobs())
    assert ([str(error) for error in group.value.exceptions], ended) == (["job 0", "job 2"], [1, 3])


# the command


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def cpt_draft(*arguments: object) -> Result:
    done = CliRunner().invoke(draft_command, ["--model", AUTHOR, *map(str, arguments)])
    assert "Traceback" not in done.output
    return done


def test_the_command_writes_a_file_of_the_library_kind_and_a_rerun_sends_nothing(
    anthropic_server: FakeAnthropic,
) -> None:
    anthropic_server.reply = lambda body: REPEATED_ID if "problems" not in prompt_text(body) else draft()
    done = cpt_draft(SENTENCE)
    assert done.exit_code == 0, done.output
    path = Path("ships_log.yaml")
    rubric = load_rubric(path)
    assert (rubric.title, rubric.family, rubric.licence) == ("Formality", "drafted", "not stated")
    assert rubric.source == f"Drafted by {AUTHOR} (draft prompt 1) from: {SENTENCE}"
    assert not [finding for finding in lint_rubric(load_rubric(path)) if finding.severity == "error"]
    assert list(yaml.safe_load(path.read_text())) == "id title family objective criteria licence source".split()
    assert "next: cpt rubric prompts ships_log.yaml" in done.output
    # what is sent has no constraint that providers refuse
    sent = json.dumps({name: value for name, value in anthropic_server.bodies[0].items() if name != "messages"})
    assert '"needs_improvement": {"type": "string"' in sent
    assert not [word for word in ("minLength", "maxLength", "pattern", "minItems", "minimum") if word in sent]

    first = path.read_text()
    assert "ships_log.yaml: exists already; pass --force" in cpt_draft(SENTENCE).output
    again = cpt_draft(SENTENCE, "--force")
    assert (again.exit_code, path.read_text()) == (0, first), again.output
    assert anthropic_server.stats.requests == 2


def test_another_seed_or_a_file_asks_anew_and_the_users_id_wins(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.reply = lambda body: draft()
    Path("log.txt").write_text("\ufeffA log. Half for dates, half for $weather.", encoding="utf-8")
    for number, asked in enumerate(([SENTENCE], [SENTENCE, "--seed", 1], ["--from", "log.txt"])):
        done = cpt_draft(*asked, "--id", f"log_{number}", "--out", "mine")
        assert done.exit_code == 0, done.output
    assert anthropic_server.stats.requests == 3
    assert "<rubric>\nA log. Half for dates, half for $weather.\n</rubric>" in prompt_text(anthropic_server.bodies[2])
    source = load_rubric("mine/log_2.yaml").source
    assert source == f"Put into this form by {AUTHOR} (draft prompt 1) from log.txt (SHA-256 aec5c751d49f)"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([SENTENCE, "--id", "taken"], "taken.yaml: exists already; pass --force to overwrite it, or another --out"),
        ([SENTENCE, "--id", "Ship's log"], 'got "Ship\'s log", expected lower-case letters'),
        ([SENTENCE, "--from", "taken.yaml"], "expected either SENTENCE or --from FILE"),
        ([" "], "expected either SENTENCE or --from FILE"),
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
    assert (anthropic_server.stats.requests, Path("taken.yaml").read_text()) == (0, "mine")
