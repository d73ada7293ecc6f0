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

from data_gen.draft.commands import prompts_command
from data_gen.draft.fidelity import Scored, fidelity
from data_gen.draft.prompts import TARGETS
from data_gen.draft.trial import Trial, measure_wordings, plan_samples, trial_prompts
from data_gen.generate.teachers import Teacher, TeacherSettings, teacher_name
from judges import MeasuredJudge, ModelJudge, measure
from model_calls import CallStore, open_store
from rubrics import Rubric, ScoreLevel, Wordings, load_rubric, load_user_prompts
from rubrics.load import rubric_yaml

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
    # differences 10, 20, 30, 10, 20, 30: mean 20, SD 8.944, t(0.975, 5) = 2.5706, half width 2.5706 x 8.944 / sqrt(6)
    rows = [*texts(LOW, 0, 10, 20, 0, 10, 20, 5, None), *texts(MODERATE, 10, 30, 50, 10, 30, 50, None, 99)]
    gap = fidelity(rows, 20).gaps[0]
    assert (gap.prompts, gap.mean.value, gap.passed) == (6, pytest.approx(20), True)
    assert gap.mean.ci_low == pytest.approx(20 - 9.387, abs=1e-3)
    assert gap.mean.ci_high == pytest.approx(20 + 9.387, abs=1e-3)


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
    gap = fidelity([*texts(LOW, *lower), *texts(MODERATE, *upper)], margin).gaps[0]
    assert gap.passed is passed
    assert math.isnan(gap.mean.ci_low)  # below six user prompts there is no interval


def test_figures_of_a_level_known_by_hand() -> None:
    # low reaches to 40. train-0: 30 and 50, half in band, 0 and 10 off it. train-1: 44 and one unjudged. train-2: none
    rows = [
        *texts(LOW, 30, 50),
        *texts(LOW, 44, wording="train-1"),
        *texts(LOW, None, wording="train-1", failure="truncated"),
        *texts(LOW, None, wording="train-2", failure="writer_refusal"),
    ]
    figures = fidelity(rows, 10).levels[0]
    total = figures.total
    assert (total.texts, total.scored, total.unscored) == (5, 3, {"truncated": 1, "writer_refusal": 1})
    assert (total.mean, total.share_in_band) == (pytest.approx((30 + 50 + 44) / 3), pytest.approx(1 / 3))
    assert [(w.wording, w.scored, w.mean, w.share_in_band, w.off_band) for w in figures.wordings] == [
        ("train-0", 2, 40, 0.5, 5),
        ("train-1", 1, 44, 0, 4),
        ("train-2", 0, None, None, None),
    ]
    assert figures.worst is figures.wordings[0]
    # of two wordings equally far off, the one less often in the band is worse
    equally = fidelity([*texts(LOW, 40, 48, wording="a"), *texts(LOW, 44, 44, wording="b")], 10).levels[0]
    assert equally.worst is equally.wordings[1]


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
    lines = fidelity(rows, 10).text().splitlines()
    assert lines[1].split() == "low 3 2 15.0 100% train-0: mean 15.0, in the band (2 scored)".split()
    assert lines[2].strip() == "1 refusal"
    assert "2 under 15 words, scored 0" in "\n".join(lines)
    expected = "low to moderate: 40.0 points apart (paired 95% CI, 2 user prompts), expected 10 or more: passed"
    assert expected in lines


# the plan


def with_wordings(train: int, heldout: int) -> Rubric:
    prompts = {
        level: Wordings(
            train=tuple(f"{level} t{number}" for number in range(train)),
            heldout=tuple(f"{level} h{number}" for number in range(heldout)),
        )
        for level in ScoreLevel
    }
    return BROADCAST.model_copy(update={"system_prompts": prompts})


@given(st.integers(4, 30), st.integers(3, 9), st.integers(2, 24))
def test_each_wording_is_used_each_prompt_equally_often_and_no_pair_twice(train: int, heldout: int, n: int) -> None:
    samples = plan_samples(with_wordings(train, heldout), {f"p{number}": f"Prompt {number}" for number in range(n)})
    for level in ScoreLevel:
        own = [sample for sample in samples if sample.level is level]
        assert len({sample.system_prompt for sample in own}) == train + heldout
        assert set(Counter(sample.user_prompt_id for sample in own).values()) == {math.ceil((train + heldout) / n)}
        assert len({(sample.wording, sample.user_prompt_id) for sample in own}) == len(own)


def test_only_train_prompts_of_the_family_are_asked() -> None:
    rubric = load_rubric("explain_depth")
    assert list(trial_prompts(rubric, 6).items()) == list(load_user_prompts("train", "explanation").items())[:6]


# measuring


@pytest.fixture
def store(tmp_path: Path) -> Iterator[CallStore]:
    store = open_store(tmp_path / "calls.jsonl")
    yield store
    store.close()


def measured(writer: Any, store: CallStore, judge: Any = None) -> Any:
    prompts = trial_prompts(BROADCAST, 6)
    trial = Trial(writer, judge or MeasuredJudge(), store, prompts, 10, 0, lambda line: None)
    return asyncio.run(measure_wordings(trial, with_wordings(4, 3)))


def by_level(messages: list[Any]) -> str:
    return next(text for level, text in TEXTS.items() if messages[0].text.startswith(f"{level} "))


def test_the_measured_judge_on_scripted_texts_gives_the_means_worked_out_by_hand(
    mock_model: Callable[..., Any], store: CallStore
) -> None:
    writer = mock_model(by_level)
    figures = measured(writer, store)
    assert [(level.total.mean, level.total.share_in_band) for level in figures.levels] == [(0, 1), (60, 1), (100, 1)]
    assert [(gap.mean.value, gap.prompts) for gap in figures.gaps] == [(60, 6), (40, 6)]
    assert figures.passed
    roles = {tuple(message.role for message in messages) for messages in writer.seen}
    assert (roles, len(writer.seen)) == ({("system", "user")}, 36)
    assert not any(BROADCAST.objective in message.text for messages in writer.seen for message in messages)


def test_unjudged_texts_are_counted_and_never_scores(mock_model: Callable[..., Any], store: CallStore) -> None:
    good = {"criteria": [{"id": c.id, "reason": "r", "score": 50} for c in BROADCAST.criteria], "holistic_score": 50}
    judge = mock_model(lambda messages: "nonsense" if TEXT_60 in messages[0].content[1].text else json.dumps(good))
    figures = measured(mock_model(by_level), store, ModelJudge(judge, store))
    low, moderate = figures.levels[0].total, figures.levels[1]
    assert (moderate.total.unscored, moderate.total.mean, moderate.worst) == ({"malformed_json": 12}, None, None)
    assert (low.mean, low.scored) == (50, 12)
    assert not figures.passed
    assert all(math.isnan(gap.mean.value) for gap in figures.gaps)


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
    figures = measured(mock_model(lambda _: reply, stop_reason=stop_reason), store).levels[0].total
    assert {name: getattr(figures, name) for name in expected} == expected


def test_a_local_writer_that_is_not_shown_its_system_prompt_is_refused(
    mock_model: Callable[..., Any], store: CallStore
) -> None:
    writer = mock_model(by_level)
    writer.api.hf_chat = lambda messages, tools: messages[-1].text
    with pytest.raises(ValueError, match="the chat template leaves out the system turn"):
        measured(writer, store)
    assert writer.seen == []


# the command


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("mine/crowd.yaml")
    path.parent.mkdir()
    changed = {"id": "crowd", "title": "Crowd noise", "system_prompts": {}}
    path.write_text(rubric_yaml(BROADCAST.model_copy(update=changed)), encoding="utf-8")


def cpt_prompts(*arguments: object, rubric: str = "mine/crowd.yaml") -> Result:
    done = CliRunner().invoke(prompts_command, [rubric, "--model", AUTHOR, *map(str, arguments)])
    assert "Traceback" not in done.output
    return done


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


def read_report() -> Any:
    return json.loads(Path("mine/crowd.fidelity.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


def test_good_system_prompts_are_accepted_into_the_users_file_and_a_rerun_sends_nothing(
    anthropic_server: FakeAnthropic,
) -> None:
    anthropic_server.reply = scripted(TEXTS)  # gaps of 60 and 40
    assert cpt_prompts("--margin", "40.5", "--revisions", "0", "--max-calls", 39).exit_code == 1
    done = cpt_prompts("--margin", "40", "--max-calls", 39)
    assert done.exit_code == 0, done.output
    assert "accepted: adjacent levels are 40 points apart or more" in done.output
    assert anthropic_server.stats.requests == 3 + 36
    path = Path("mine/crowd.yaml")
    rubric = load_rubric(path)
    assert rubric.system_prompts[HIGH].heldout == FIRST[HIGH].heldout[:3]
    report = read_report()
    assert [report[name] for name in ("schema", "accepted", "judge", "writer", "author", "rubric_hash", "margin")] == [
        *(1, True, "measured", AUTHOR, AUTHOR, rubric.hash, 40)
    ]
    [tried] = report["rounds"]
    assert [level["mean"] for level in tried["levels"]] == [0, 60, 100]
    assert [gap["mean"]["value"] for gap in tried["gaps"]] == [60, 40]
    first = path.read_bytes(), Path("mine/crowd.fidelity.json").read_bytes()

    refused = cpt_prompts()
    assert refused.exit_code == 1
    assert "crowd.yaml: exists already; pass --force to overwrite it" in refused.output
    again = cpt_prompts("--margin", "40", "--force")
    assert again.exit_code == 0, again.output
    assert "sent 0 requests" in again.output
    assert (path.read_bytes(), Path("mine/crowd.fidelity.json").read_bytes()) == first


def test_levels_out_of_order_are_revised_with_the_numbers_and_then_accepted(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.reply = scripted({LOW: TEXT_0, MODERATE: TEXT_0, HIGH: TEXT_100}, TEXTS)
    done = cpt_prompts()
    assert done.exit_code == 0, done.output
    # moderate alone is off its band: one more question to the author, and its 12 texts
    assert anthropic_server.stats.requests == (3 + 36) + (1 + 12)
    assert "52 requests" in done.output and "US dollars" in done.output
    [feedback] = [body for body in anthropic_server.bodies if "were tried" in prompt_text(body)]
    asked = prompt_text(feedback)
    rows = [line.split()[:5] for line in asked.splitlines()]
    assert "low 12 12 0.0 100%".split() in rows and "moderate 12 12 0.0 0%".split() in rows
    assert "low to moderate: 0.0 points apart (paired 95% CI, 6 user prompts), expected 10 or more" in asked
    assert f"- heldout-2 (mean score 0.0): {FIRST[MODERATE].heldout[2]}" in asked
    prompts = load_rubric("mine/crowd.yaml").system_prompts
    assert (prompts[MODERATE].train, prompts[LOW].train) == (SECOND[MODERATE].train[:4], FIRST[LOW].train[:4])
    rounds = read_report()["rounds"]
    assert [round_["passed"] for round_ in rounds] == [False, True]
    assert [round_["written"] for round_ in rounds] == [["low", "moderate", "extremely_high"], ["moderate"]]


@pytest.mark.parametrize("revision", ["the same again", "unreadable"])
def test_system_prompts_that_stay_out_of_order_are_kept_as_rejected_with_the_report(
    revision: str, anthropic_server: FakeAnthropic
) -> None:
    reply = scripted(dict.fromkeys(ScoreLevel, TEXT_60))
    is_bad = revision == "unreadable"
    anthropic_server.reply = lambda body: "no" if is_bad and "were tried" in prompt_text(body) else reply(body)
    before = Path("mine/crowd.yaml").read_bytes()
    done = cpt_prompts("--revisions", "1")
    assert done.exit_code == 1
    assert "not accepted: adjacent levels are not 10 points apart; look at low, extremely_high" in done.output
    assert Path("mine/crowd.yaml").read_bytes() == before
    with pytest.raises(ValueError, match="expected the file's name"):
        load_rubric("mine/crowd.rejected.yaml")
    report = read_report()
    assert (report["accepted"], len(report["rounds"])) == (False, 1 if is_bad else 2)
    assert report["rounds"][0]["system_prompts"]["low"]["train-0"] == FIRST[LOW].train[0]


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
    done = cpt_prompts(*names, "--check-prompts", "7", "--judge-store", "judge.jsonl")
    assert done.exit_code == 0, done.output
    report = read_report()
    assert [level["mean"] for level in report["rounds"][0]["levels"]] == [10, 50, 95]
    assert (report["writer"], report["judge"]) == (names[1], names[3])
    asked = Counter(body["model"] for body in anthropic_server.bodies)
    # 7 prompts and 7 wordings: 21 texts, of 3 different wordings: the same text to the same prompt is judged once
    assert asked == {"claude-sonnet-5-5": 3, "claude-haiku-5-5": 21, "claude-opus-5-5": 21}


def test_a_run_stopped_at_its_limit_goes_on_where_it_was(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.reply = scripted(TEXTS)
    stopped = cpt_prompts("--max-calls", "20")
    assert stopped.exit_code == 1
    assert "Error: stopped at --max-calls 20: that many requests were sent and more are needed" in stopped.output
    assert anthropic_server.stats.requests == 20
    assert not load_rubric("mine/crowd.yaml").system_prompts
    done = cpt_prompts("--max-calls", "20")
    assert done.exit_code == 0, done.output
    assert (anthropic_server.stats.requests, anthropic_server.stats.paid_twice) == (39, 0)


def test_check_measures_the_prompts_of_a_library_rubric_and_writes_nothing(anthropic_server: FakeAnthropic) -> None:
    level_texts = {
        w: TEXTS[level] for level in ScoreLevel for w in sum(dict(BROADCAST.system_prompts[level]).values(), ())
    }
    anthropic_server.reply = lambda body: next(text for w, text in level_texts.items() if w in prompt_text(body))
    done = cpt_prompts("--check", rubric="broadcast")
    assert done.exit_code == 0, done.output
    assert anthropic_server.stats.requests == 3 * 30  # 27 wordings, 6 prompts: 5 texts to each prompt
    assert "low to moderate: 60.0 points apart" in done.output
    assert not list(Path().rglob("*.fidelity.json"))
    # with a folder given, the report is written, and still no rubric
    cpt_prompts("--check", "--out", "reports", rubric="broadcast")
    assert [path.name for path in Path("reports").iterdir()] == ["broadcast.fidelity.json"]
    assert anthropic_server.stats.requests == 90


@pytest.mark.parametrize(
    ("rubric", "arguments", "message"),
    [
        ("nonsense", ["--check"], "rubric 'nonsense' not found"),
        ("mine/crowd.yaml", ["--check"], "rubric 'crowd' has no system prompts, expected some for each level"),
        ("mine/crowd.yaml", ["--check-prompts", "99"], "--check-prompts: got 99, expected at most the 24 of family"),
        ("explain_depth", ["--judge", "measured"], "has no measure, expected one on every criterion"),
        ("mine/crowd.yaml", ["--train", "3"], "3 is not in the range x>=4"),
        ("mine/crowd.yaml", ["-M", "model_path"], "got 'model_path', expected NAME=VALUE"),
        ("mine/crowd.yaml", ["-M", "device=[x"], "got '[x' for device, expected a value as in YAML"),
        ("mine/crowd.yaml", ["--margin", "0"], "0.0 is not in the range 0<x<=100"),
    ],
)
def test_bad_options_are_one_sentence_and_nothing_is_sent(
    rubric: str, arguments: list[str], message: str, anthropic_server: FakeAnthropic
) -> None:
    done = cpt_prompts(*arguments, rubric=rubric)
    assert done.exit_code != 0
    assert message in " ".join(done.output.split())
    assert anthropic_server.stats.requests == 0


def test_a_refusal_is_one_sentence(anthropic_server: FakeAnthropic) -> None:
    anthropic_server.config = Config(rate_refusal=1.0)
    assert "refuses to write this" in cpt_prompts().output


def test_a_report_names_a_local_student_without_its_folder(
    anthropic_server: FakeAnthropic, mock_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def teacher(model: str, settings: TeacherSettings) -> Teacher:
        asked.append((model, dict(settings.model_args), settings.max_tokens))
        wordings = {w: TEXTS[level] for level in ScoreLevel for w in (*FIRST[level].train, *FIRST[level].heldout)}
        writer = mock_model(lambda messages: wordings[messages[0].text])
        return Teacher(writer, teacher_name(model, settings.model_args))

    monkeypatch.setattr("data_gen.draft.run.teacher_of", teacher)
    anthropic_server.reply = scripted(TEXTS)
    done = cpt_prompts("--writer", "hf/local", "-M", "model_path=/some/folder/adapter")
    assert done.exit_code == 0, done.output
    assert asked == [("hf/local", {"model_path": "/some/folder/adapter"}, 2000)]
    assert read_report()["writer"] == "hf/adapter"
    assert "/some/folder" not in Path("mine/crowd.fidelity.json").read_text()
