"""`cpt rubric prompts`: system prompts are accepted only if texts written from them come out in order and apart."""

import asyncio
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fake_anthropic import Config, FakeAnthropic, prompt_text
from hypothesis import given
from hypothesis import strategies as st

from data_gen.drafting.commands import prompts_command
from data_gen.drafting.fidelity import Scored, fidelity, fidelity_text, level_gap
from data_gen.drafting.fidelity_samples import Check, check_prompts, measure_wordings, plan_samples
from data_gen.drafting.prompts import TARGETS
from data_gen.generate.teachers import Teacher, TeacherSettings, teacher_name
from judges import MeasuredJudge, ModelJudge, measure
from model_calls import CallStore, open_store
from rubrics import Paraphrases, Rubric, ScoreLevel, load_rubric, load_user_prompts
from rubrics.yaml_text import rubric_yaml

LOW, MODERATE, HIGH = ScoreLevel
AUTHOR = "anthropic/claude-sonnet-5-5"
BROADCAST = load_rubric("broadcast")  # exclamations 40 %, second person 30 %, words per sentence 30 %

# 20 words in one sentence (0 points of 100 for brevity), nobody addressed (0), no exclamation (0)
TEXT_0 = (
    "The procession moved along the avenue in good order while the authorities observed it quietly from a stand of "
    "stone."
)
# 16 words in 3 sentences: under 9 words each (100 x 30 %); one you in 16 words is 6.25 per 100 (100 x 30 %)
TEXT_60 = "The band came by. You saw a fine day. People stood and looked on for long."
# the same, and every sentence is exclaimed (100 x 40 %)
TEXT_100 = TEXT_60.replace(".", "!")
TEXTS = {LOW: TEXT_0, MODERATE: TEXT_60, HIGH: TEXT_100}

FIRST = load_rubric("explain_depth").system_prompts
SECOND = load_rubric("tone_irony").system_prompts


def test_the_measures_give_the_texts_the_scores_worked_out_by_hand() -> None:
    assert [measure(BROADCAST, text).score for text in (TEXT_0, TEXT_60, TEXT_100)] == [0, 60, 100]


# figures


def texts(level: ScoreLevel, *scores: float | None, wording: str = "train-0", **more: Any) -> list[Scored]:
    return [Scored(level, wording, f"prompt-{number}", score, **more) for number, score in enumerate(scores)]


def test_a_gap_known_by_hand() -> None:
    # differences 10, 20, 30: mean 20, SD 10, t(0.975, 2) = 4.3027, half width 4.3027 x 10 / sqrt(3) = 24.841
    gap = level_gap(LOW, MODERATE, {"a": 0, "b": 10, "c": 20, "d": 5}, {"a": 10, "b": 30, "c": 50, "e": 99}, 20)
    assert (gap.prompts, gap.mean, gap.passed) == (3, 20, True)
    assert gap.ci_low == pytest.approx(20 - 24.841, abs=1e-3)
    assert gap.ci_high == pytest.approx(20 + 24.841, abs=1e-3)


@pytest.mark.parametrize(
    ("lower", "upper", "margin", "passed"),
    [
        ([20.0, 30.0], [30.0, 40.0], 10, True),  # exactly the margin
        ([20.0, 30.0], [30.0, 39.9], 10, False),  # 9.95
        ([0.1, 0.1], [0.4, 0.4], 0.3, True),  # 0.3 up to the last bit
        ([60.0, 60.0], [20.0, 20.0], 10, False),  # out of order
        ([0.0], [90.0], 10, False),  # one pair is no evidence
        ([], [], 10, False),
    ],
)
def test_a_gap_passes_at_the_margin_and_from_two_pairs_on(
    lower: list[float], upper: list[float], margin: float, passed: bool
) -> None:
    sides = [{str(number): score for number, score in enumerate(side)} for side in (lower, upper)]
    gap = level_gap(LOW, MODERATE, sides[0], sides[1], margin)
    assert gap.passed is passed
    assert (gap.ci_low is None) == (len(lower) < 2)


def test_figures_of_a_level_known_by_hand() -> None:
    # low reaches to 40. train-0: 30 and 50, half in band, 0 and 10 off it. train-1: 44 and one unjudged. train-2: none
    rows = [
        *texts(LOW, 30, 50),
        *texts(LOW, 44, wording="train-1"),
        *texts(LOW, None, wording="train-1", failure="truncated"),
        *texts(LOW, None, wording="train-2", failure="writer_refusal"),
    ]
    figures = fidelity(rows, 10).levels[0]
    assert (figures.texts, figures.scored, figures.unscored) == (5, 3, {"truncated": 1, "writer_refusal": 1})
    assert figures.mean == pytest.approx((30 + 50 + 44) / 3)
    assert figures.share_in_band == pytest.approx(1 / 3)
    assert [(w.id, w.scored, w.mean, w.share_in_band, w.off_band) for w in figures.wordings] == [
        ("train-0", 2, 40, 0.5, 5),
        ("train-1", 1, 44, 0, 4),
        ("train-2", 0, None, None, None),
    ]
    assert figures.worst == "train-0"


def test_the_worst_of_two_wordings_equally_far_off_is_the_one_less_often_in_the_band() -> None:
    rows = [*texts(LOW, 40, 48, wording="a"), *texts(LOW, 44, 44, wording="b")]
    assert fidelity(rows, 10).levels[0].worst == "b"


@pytest.mark.parametrize(
    ("means", "failed"),
    [
        ((20, 60, 95), []),
        ((20, 22, 95), [MODERATE]),  # low is in its band
        ((60, 62, 95), [LOW]),
        ((20, 84, 86), [HIGH]),
        ((39, 41, 95), [LOW, MODERATE]),  # both in their bands, too close
        ((60, 30, 95), [LOW, MODERATE]),
        ((50, 52, 55), [LOW, HIGH]),
        ((95, 95, 95), [LOW, MODERATE]),
        ((30, 30, 30), [MODERATE, HIGH]),
        ((20, None, 95), [MODERATE]),
    ],
)
def test_the_levels_to_revise_are_those_of_a_failed_gap_off_their_band(
    means: tuple[float | None, ...], failed: list[ScoreLevel]
) -> None:
    rows = [row for level, mean in zip(ScoreLevel, means, strict=True) for row in texts(level, mean, mean)]
    figures = fidelity(rows, 10)
    assert figures.failed_levels == failed
    assert figures.passed == (not failed)


def test_the_table_says_every_number_a_reader_decides_by() -> None:
    rows = [*texts(LOW, 10, 20, None, failure="refusal"), *texts(MODERATE, 60, 50), *texts(HIGH, 95, 97, short=True)]
    said = fidelity_text(fidelity(rows, 10)).splitlines()
    assert said[1].split() == "low 3 2 15.0 100% train-0: mean 15.0, in the band (2 scored)".split()
    assert said[2].strip() == "1 refusal"
    # differences 50 and 30: mean 40, SD 14.142, t(0.975, 1) = 12.706, half width 12.706 x 14.142 / sqrt(2) = 127.06
    assert "low to moderate: 40.0 points apart [-87.1, 167.1] (paired 95% CI, 2 user prompts)" in "\n".join(said)
    assert "2 under 15 words, scored 0" in "\n".join(said)


# the plan


def with_wordings(train: int, heldout: int) -> Rubric:
    prompts = {
        level: Paraphrases(
            train=tuple(f"{level} t{number}" for number in range(train)),
            heldout=tuple(f"{level} h{number}" for number in range(heldout)),
        )
        for level in ScoreLevel
    }
    return BROADCAST.model_copy(update={"system_prompts": prompts})


@given(st.integers(4, 30), st.integers(3, 9), st.integers(2, 24))
def test_each_wording_is_used_each_prompt_equally_often_and_no_pair_twice(train: int, heldout: int, n: int) -> None:
    rubric = with_wordings(train, heldout)
    samples = plan_samples(rubric, {f"p{number}": f"Prompt {number}" for number in range(n)})
    for level in ScoreLevel:
        own = [sample for sample in samples if sample.level is level]
        assert len({sample.system_prompt for sample in own}) == train + heldout
        assert set(Counter(sample.user_prompt_id for sample in own).values()) == {math.ceil((train + heldout) / n)}
        assert len({(sample.wording, sample.user_prompt_id) for sample in own}) == len(own)


def test_the_plan_of_seven_wordings_and_six_prompts() -> None:
    samples = plan_samples(with_wordings(4, 3), {str(number): f"Prompt {number}" for number in range(6)})
    assert len(samples) == 36
    first = [(sample.wording, sample.user_prompt_id) for sample in samples[:8]]
    assert first[3:] == [("train-3", "3"), ("heldout-0", "4"), ("heldout-1", "5"), ("heldout-2", "0"), ("train-0", "1")]
    assert (samples[6].system_prompt, samples[6].prompt) == ("low h2", "Prompt 0")


def test_only_train_prompts_of_the_family_are_asked() -> None:
    rubric = load_rubric("explain_depth")
    assert list(check_prompts(rubric, 6).items()) == list(load_user_prompts("train", "explanation").items())[:6]
    with pytest.raises(ValueError, match="--check-prompts: got 999, expected at most the 24 of family 'explanation'"):
        check_prompts(rubric, 999)


# measuring


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CallStore]:
    store = open_store(tmp_path / "calls.jsonl")
    yield store
    store.close()


def measured(writer: Any, store: CallStore, judge: Any = None, rubric: Rubric = BROADCAST) -> Any:
    prompts = check_prompts(rubric, 6)
    check = Check(writer, judge or MeasuredJudge(), store, prompts, 10, 0, lambda done, total: None)
    return asyncio.run(measure_wordings(check, with_wordings(4, 3)))


def by_level(replies: Mapping[ScoreLevel, str]) -> Callable[[list[Any]], str]:
    return lambda messages: next(text for level, text in replies.items() if messages[0].text.startswith(f"{level} "))


def test_the_measured_judge_on_scripted_texts_gives_the_means_worked_out_by_hand(
    mock_model: Callable[..., Any], store: CallStore
) -> None:
    writer = mock_model(by_level(TEXTS))
    figures = measured(writer, store)
    assert [level.mean for level in figures.levels] == [0, 60, 100]
    assert [level.share_in_band for level in figures.levels] == [1, 1, 1]
    assert [(gap.mean, gap.ci_low, gap.ci_high, gap.prompts) for gap in figures.gaps] == [
        (60, 60, 60, 6),
        (40, 40, 40, 6),
    ]
    assert figures.passed
    roles = {tuple(message.role for message in messages) for messages in writer.seen}
    assert (roles, len(writer.seen)) == ({("system", "user")}, 36)
    assert not any(BROADCAST.objective in message.text for messages in writer.seen for message in messages)


def test_unjudged_texts_are_counted_and_never_scores(mock_model: Callable[..., Any], store: CallStore) -> None:
    good = {"criteria": [{"id": c.id, "reason": "r", "score": 50} for c in BROADCAST.criteria], "holistic_score": 50}
    judge = mock_model(lambda messages: "nonsense" if TEXT_60 in messages[0].content[1].text else json.dumps(good))
    figures = measured(mock_model(by_level(TEXTS)), store, ModelJudge(judge, store))
    assert figures.levels[1].unscored == {"malformed_json": 12}
    assert (figures.levels[1].mean, figures.levels[1].scored, figures.levels[1].worst) == (None, 0, None)
    assert (figures.levels[0].mean, figures.levels[0].scored) == (50, 12)
    assert not figures.passed
    assert [gap.mean for gap in figures.gaps] == [None, None]


@pytest.mark.parametrize(
    ("reply", "stop_reason", "expected"),
    [
        (TEXT_0, "content_filter", {"unscored": {"writer_refusal": 12}, "scored": 0, "mean": None, "cut": 0}),
        (" ", "stop", {"unscored": {"writer_empty": 12}, "scored": 0, "mean": None, "short": 0}),
        ("Too short.", "stop", {"unscored": {}, "scored": 12, "mean": 0, "short": 12}),
        (TEXT_60, "max_tokens", {"unscored": {}, "scored": 12, "mean": 60, "cut": 12, "short": 0}),
    ],
)
def test_what_became_of_a_text_that_is_none(
    reply: str, stop_reason: str, expected: dict[str, Any], mock_model: Callable[..., Any], store: CallStore
) -> None:
    figures = measured(mock_model(lambda _: reply, stop_reason=stop_reason), store).levels[0]
    assert {name: getattr(figures, name) for name in expected} == expected


def test_a_local_writer_that_is_not_shown_its_system_prompt_is_refused(
    mock_model: Callable[..., Any], store: CallStore
) -> None:
    writer = mock_model(by_level(TEXTS))
    writer.api.hf_chat = lambda messages, tools: messages[-1].text
    with pytest.raises(ValueError, match="the chat template leaves out the system turn"):
        measured(writer, store)
    assert writer.seen == []


# the command


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def cpt_prompts(*arguments: object) -> Result:
    return CliRunner().invoke(prompts_command, [str(argument) for argument in arguments])


def user_file(name: str = "crowd", **changed: Any) -> Path:
    content = BROADCAST.model_copy(update={"id": name, "title": "Crowd noise", "system_prompts": {}} | changed)
    path = Path("mine") / f"{name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(rubric_yaml(content), encoding="utf-8")
    return path


def scripted(
    first: Mapping[ScoreLevel, str], second: Mapping[ScoreLevel, str] | None = None
) -> Callable[[dict[str, Any]], str]:
    """An author whose revised wordings are others, and a writer whose text depends on which of them it got."""
    texts_of = {
        wording: text
        for prompts, replies in ((FIRST, first), (SECOND, second or first))
        for level, text in replies.items()
        for wording in (*prompts[level].train, *prompts[level].heldout)
    }

    def reply(body: dict[str, Any]) -> str:
        asked = prompt_text(body)
        level = next((level for level, target in TARGETS.items() if target in asked), None)
        if level is None:
            return next(text for wording, text in texts_of.items() if wording in asked)
        prompts = (SECOND if "were tried" in asked else FIRST)[level]
        return json.dumps({"train": prompts.train[:4], "heldout": prompts.heldout[:3]})

    return reply


def read_report(name: str = "crowd", folder: str = "mine") -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(Path(folder, f"{name}.fidelity.json").read_text(encoding="utf-8"), parse_constant=refuse)


def test_good_system_prompts_are_accepted_into_the_users_file_and_a_rerun_sends_nothing(
    anthropic_server: FakeAnthropic,
) -> None:
    anthropic_server.reply = scripted(TEXTS)
    path = user_file()
    done = cpt_prompts(path, "--model", AUTHOR)
    assert done.exit_code == 0, done.output
    rubric = load_rubric(path)
    assert rubric.system_prompts[HIGH].heldout == FIRST[HIGH].heldout[:3]
    assert rubric.hash == BROADCAST.model_copy(update={"id": "crowd", "title": "Crowd noise"}).hash
    assert anthropic_server.stats.requests == 3 + 36
    assert "39 requests" in done.output and "US dollars" in done.output and "accepted" in done.output
    report = read_report()
    assert (report["accepted"], report["judge"], report["writer"], report["author"]) == (
        True,
        "measured",
        AUTHOR,
        AUTHOR,
    )
    assert (report["rubric_hash"], report["margin"]) == (rubric.hash, 10)
    assert [level["mean"] for level in report["rounds"][0]["levels"]] == [0, 60, 100]
    assert [gap["mean"] for gap in report["rounds"][0]["gaps"]] == [60, 40]
    first = path.read_bytes(), Path("mine/crowd.fidelity.json").read_bytes()

    refused = cpt_prompts(path, "--model", AUTHOR)
    assert refused.exit_code == 1
    assert "crowd.yaml: exists already; pass --force to overwrite it" in refused.output
    again = cpt_prompts(path, "--model", AUTHOR, "--force")
    assert again.exit_code == 0, again.output
    assert "sent 0 requests" in again.output
    assert anthropic_server.stats.requests == 39
    assert (path.read_bytes(), Path("mine/crowd.fidelity.json").read_bytes()) == first


def test_levels_out_of_order_are_revised_with_the_numbers_and_then_accepted(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.reply = scripted({LOW: TEXT_0, MODERATE: TEXT_0, HIGH: TEXT_100}, TEXTS)
    path = user_file()
    done = cpt_prompts(path, "--model", AUTHOR)
    assert done.exit_code == 0, done.output
    # moderate alone is off its band: one more question to the author, and its 12 texts
    assert anthropic_server.stats.requests == (3 + 36) + (1 + 12)
    [feedback] = [body for body in anthropic_server.bodies if "were tried" in prompt_text(body)]
    asked = prompt_text(feedback)
    assert "- low (0 to 40): mean score 0.0 of 12 texts, 100% of them in the band" in asked
    assert "- moderate (40 to 92.5): mean score 0.0 of 12 texts, 0% of them in the band" in asked
    assert "low to moderate: 0.0 points apart [0.0, 0.0] (paired 95% CI, 6 user prompts), expected 10 or more" in asked
    assert f"- heldout-2 (mean score 0.0): {FIRST[MODERATE].heldout[2]}" in asked
    rubric = load_rubric(path)
    assert rubric.system_prompts[MODERATE].train == SECOND[MODERATE].train[:4]
    assert rubric.system_prompts[LOW].train == FIRST[LOW].train[:4]
    rounds = read_report()["rounds"]
    assert [round_["passed"] for round_ in rounds] == [False, True]
    assert [round_["written"] for round_ in rounds] == [["low", "moderate", "extremely_high"], ["moderate"]]


def test_system_prompts_that_stay_out_of_order_are_kept_as_rejected_with_the_report(
    anthropic_server: FakeAnthropic,
) -> None:
    anthropic_server.reply = scripted(dict.fromkeys(ScoreLevel, TEXT_60))
    path = user_file()
    before = path.read_bytes()
    done = cpt_prompts(path, "--model", AUTHOR, "--revisions", "1")
    assert done.exit_code == 1
    assert "not accepted: adjacent levels are not 10 points apart; look at low, extremely_high" in done.output
    assert path.read_bytes() == before
    assert "heldout" in Path("mine/crowd.rejected.yaml").read_text()
    with pytest.raises(ValueError, match="expected the file's name"):
        load_rubric("mine/crowd.rejected.yaml")
    report = read_report()
    assert (report["accepted"], len(report["rounds"])) == (False, 2)
    assert report["rounds"][0]["system_prompts"]["low"]["train-0"] == FIRST[LOW].train[0]
    requests = anthropic_server.stats.requests
    assert cpt_prompts(path, "--model", AUTHOR, "--revisions", "1").exit_code == 1
    assert anthropic_server.stats.requests == requests


def test_a_revision_that_cannot_be_written_ends_the_rounds_and_keeps_what_there_is(
    anthropic_server: FakeAnthropic,
) -> None:
    reply = scripted(dict.fromkeys(ScoreLevel, TEXT_60))
    anthropic_server.reply = lambda body: "no" if "were tried" in prompt_text(body) else reply(body)
    done = cpt_prompts(user_file(), "--model", AUTHOR)
    assert done.exit_code == 1
    assert "2 calls failed" not in done.output
    assert Path("mine/crowd.rejected.yaml").is_file()
    assert len(read_report()["rounds"]) == 1


def test_the_margin_decides(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.reply = scripted(TEXTS)  # gaps of 60 and 40
    path = user_file()
    assert cpt_prompts(path, "--model", AUTHOR, "--margin", "40.5", "--revisions", "0").exit_code == 1
    assert cpt_prompts(path, "--model", AUTHOR, "--margin", "40", "--revisions", "0").exit_code == 0


def test_a_model_judge_and_a_student_can_be_named(anthropic_server: FakeAnthropic) -> None:
    reply = scripted(TEXTS)
    scores = {TEXT_0: 10, TEXT_60: 50, TEXT_100: 95}

    def judge(body: dict[str, Any]) -> str:
        asked = prompt_text(body)
        if "The criterion ids, in this order" not in asked:
            return reply(body)
        score = next(score for text, score in scores.items() if text in asked)
        criteria = [{"id": c.id, "reason": "r", "score": score} for c in BROADCAST.criteria]
        return json.dumps({"criteria": criteria, "holistic_score": 1})

    anthropic_server.reply = judge
    names = ["--writer", "anthropic/claude-haiku-5-5", "--judge", "anthropic/claude-opus-5-5"]
    done = cpt_prompts(user_file(), "--model", AUTHOR, *names, "--check-prompts", "7", "--judge-store", "judge.jsonl")
    assert done.exit_code == 0, done.output
    report = read_report()
    assert [level["mean"] for level in report["rounds"][0]["levels"]] == [10, 50, 95]
    assert (report["writer"], report["judge"]) == (names[1], names[3])
    asked = Counter(body["model"] for body in anthropic_server.bodies)
    # 7 prompts and 7 wordings: 21 texts, of 3 different wordings: the same text to the same prompt is judged once
    assert asked == {"claude-sonnet-5-5": 3, "claude-haiku-5-5": 21, "claude-opus-5-5": 21}
    assert len(open_store("judge.jsonl")) == 21
    assert len(open_store("calls/drafts.sqlite")) == 24


def test_a_run_stopped_at_its_limit_goes_on_where_it_was(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.reply = scripted(TEXTS)
    path = user_file()
    stopped = cpt_prompts(path, "--model", AUTHOR, "--max-calls", "20")
    assert stopped.exit_code == 1
    assert "Error: stopped at --max-calls 20: that many requests were sent and more are needed" in stopped.output
    assert anthropic_server.stats.requests == 20
    assert not load_rubric(path).system_prompts
    done = cpt_prompts(path, "--model", AUTHOR, "--max-calls", "20")
    assert done.exit_code == 0, done.output
    assert anthropic_server.stats.requests == 39
    assert anthropic_server.stats.paid_twice == 0


def test_a_server_that_refuses_is_one_sentence(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.reply = scripted(TEXTS)
    anthropic_server.config = Config(rate_refusal=1.0)
    done = cpt_prompts(user_file(), "--model", AUTHOR)
    assert done.exit_code == 1
    assert "refuses to write this" in done.output
    assert "Traceback" not in done.output


def test_check_measures_the_prompts_of_a_library_rubric_and_writes_nothing(anthropic_server: FakeAnthropic) -> None:
    level_texts = [
        (wording, TEXTS[level])
        for level in ScoreLevel
        for wording in (*BROADCAST.system_prompts[level].train, *BROADCAST.system_prompts[level].heldout)
    ]
    anthropic_server.reply = lambda body: next(text for wording, text in level_texts if wording in prompt_text(body))
    done = cpt_prompts("broadcast", "--check", "--model", AUTHOR)
    assert done.exit_code == 0, done.output
    assert anthropic_server.stats.requests == 3 * 30  # 27 wordings, 6 prompts: 5 texts to each prompt
    assert "low to moderate: 60.0 points apart [60.0, 60.0]" in done.output
    assert not [path for path in Path().rglob("*") if path.suffix in (".yaml", ".json")]
    # with a folder given, the report is written, and still no rubric
    done = cpt_prompts("broadcast", "--check", "--model", AUTHOR, "--out", "reports")
    assert [path.name for path in Path("reports").iterdir()] == ["broadcast.fidelity.json"]
    assert anthropic_server.stats.requests == 90


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense", "--check"], "rubric 'nonsense' not found"),
        (["mine/crowd.yaml", "--check"], "rubric 'crowd' has no system prompts, expected some for each level"),
        (["mine/crowd.yaml", "--check-prompts", "99"], "--check-prompts: got 99, expected at most the 24"),
        (["explain_depth", "--judge", "measured"], "has no measure, expected one on every criterion"),
        (["mine/crowd.yaml", "--train", "3"], "3 is not in the range x>=4"),
        (["mine/crowd.yaml", "-M", "model_path"], "got 'model_path', expected NAME=VALUE"),
        (["mine/crowd.yaml", "-M", "device=[x"], "got '[x' for device, expected a value as in YAML"),
        (["mine/crowd.yaml", "--margin", "0"], "0.0 is not in the range 0<x<=100"),
    ],
)
def test_bad_options_are_one_sentence_and_nothing_is_sent(
    arguments: list[str], message: str, anthropic_server: FakeAnthropic
) -> None:
    user_file()
    done = cpt_prompts(*arguments, "--model", AUTHOR)
    assert done.exit_code != 0
    assert message in " ".join(done.output.split())
    assert "Traceback" not in done.output
    assert anthropic_server.stats.requests == 0


def test_a_report_names_a_local_student_without_its_folder(
    anthropic_server: FakeAnthropic, mock_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def teacher(model: str, settings: TeacherSettings) -> Teacher:
        asked.append((model, dict(settings.model_args), settings.max_tokens))
        wordings = [(w, TEXTS[level]) for level in ScoreLevel for w in (*FIRST[level].train, *FIRST[level].heldout)]
        writer = mock_model(lambda messages: dict(wordings)[messages[0].text])
        return Teacher(writer, teacher_name(model, settings.model_args))

    monkeypatch.setattr("data_gen.drafting.prompts_run.teacher_of", teacher)
    anthropic_server.reply = scripted(TEXTS)
    student = ["--writer", "hf/local", "-M", "model_path=/some/folder/adapter"]
    done = cpt_prompts(user_file(), "--model", AUTHOR, *student)
    assert done.exit_code == 0, done.output
    assert asked == [("hf/local", {"model_path": "/some/folder/adapter"}, 2000)]
    assert read_report()["writer"] == "hf/adapter"
    assert "/some/folder" not in Path("mine/crowd.fidelity.json").read_text()
