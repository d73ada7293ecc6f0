"""User prompts that show pictures: what student and judge get to see, and whether the score says who looked."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_runs import succeeds
from inspect_ai.log import EvalLog
from picture_students import COVERAGE, FILLER, is_blind, pictures_in, sees, tells_all
from students import evaluated, reported, shown_metrics, verdict

from cpt_tasks.benchmarks.composition.task import composition_samples
from cpt_tasks.benchmarks.paraphrase_robustness.task import paraphrase_robustness
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.lm_harness.documents import CannotRunError, load_documents
from cpt_tasks.options import OptionError
from cpt_tasks.report.compare import compare_command
from cpt_tasks.samples import adherence_samples
from judges import measure
from judges.measures import named_object_share
from rubrics import ScoreLevel, load_rubric, load_user_prompts
from rubrics.load import prompt_pictures
from rubrics.pictures import load_picture


def run(model: Any, **parameters: Any) -> EvalLog:
    settings = {"rubrics": "pictures", "judge": "measured", "limit_per_cell": 4} | parameters
    return evaluated(rubric_adherence(**settings), model)


@pytest.mark.parametrize(
    ("student", "picture", "accuracy", "least", "most"),  # the latter of the mean score where everything is asked for
    [
        (sees, "own", 1, 100, 100),
        (sees, "wrong", 1 / 3, 0, 20),  # right only at the low level, which asks for next to nothing
        (sees, "none", 1 / 3, 0, 0),
        (tells_all, "own", 1 / 3, 100, 100),  # right only at the top level
        (is_blind, "own", 1 / 3, 0, 0),
        (is_blind, "wrong", 1 / 3, 0, 0),
    ],
)
def test_coverage_falls_with_a_wrong_picture_only_for_a_student_that_looks(
    student: Any, picture: str, accuracy: float, least: float, most: float, mock_model: Callable[..., Any]
) -> None:
    log = run(mock_model(student), picture=picture)
    assert shown_metrics(log)["macro_accuracy"] == pytest.approx(accuracy)
    scores = [
        float((sample.scores or {})["rubric_judge"].value)  # type: ignore[arg-type]
        for sample in log.samples or []
        if sample.target == "extremely_high"
    ]
    assert len(scores) == 4
    assert least <= sum(scores) / len(scores) <= most


@pytest.mark.parametrize("count", [2, 4, 5, 9, 13])
def test_a_wrong_picture_is_of_another_kind(count: int) -> None:
    prompts = {COVERAGE.id: dict(list(load_user_prompts("test", "pictures").items())[:count])}
    for sample in adherence_samples([COVERAGE], [ScoreLevel.LOW], prompts, picture="wrong"):
        [shown] = pictures_in(list(sample.input))
        own = load_picture((sample.metadata or {})["picture"])
        assert shown.file.partition("_")[0] != own.file.partition("_")[0]


def test_own_and_wrong_picture_stand_in_one_report_and_are_compared(
    mock_model: Callable[..., Any], tmp_path: Path
) -> None:
    own, wrong = (run(mock_model(sees), picture=picture).location for picture in ("own", "wrong"))
    _, page, _ = reported(tmp_path / "out", own, wrong)
    assert "| student " in page
    assert "| student [picture=wrong] " in page
    said = succeeds(compare_command, own, wrong)
    assert "| accuracy" in said
    assert "12 pairs of responses to 4 user prompts" in said
    assert "student [picture=wrong]" in said


def test_the_student_sees_a_picture_before_the_text_and_any_rubric_can_be_asked_about_it(
    mock_model: Callable[..., Any],
) -> None:
    model = mock_model(is_blind)
    log = run(model, rubrics="broadcast", family="pictures", limit_per_cell=2)
    asked = list(load_user_prompts("test", "pictures").items())[:2]
    assert [len(messages) for messages in model.seen] == [2] * 6
    for _, turn in model.seen:
        assert [part.type for part in turn.content] == ["image", "text"]
        assert turn.text in dict(asked).values()
    files = {sample.metadata["user_prompt_id"]: sample.metadata["picture"] for sample in log.samples or []}
    assert files == {name: prompt_pictures("test")[name] for name, _ in asked}


def test_a_model_judge_sees_the_picture_if_told_to_and_always_that_of_the_prompt(
    mock_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = set()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")  # the task looks for a judge when it is made
    for sees_image, shown in ((False, []), (True, ["shapes_07.png", "chart_07.png"])):
        grader = mock_model(lambda _: verdict(100, "picture_coverage"), name="grader")
        asked: dict[str, Any] = {"limit_per_cell": 2, "levels": "low", "picture": "wrong"}
        judged = {"judge_sees_image": sees_image, "call_store": str(tmp_path / "calls")}
        task = rubric_adherence("pictures", **asked, **judged)
        log = evaluated(task, mock_model(is_blind), model_roles={"grader": grader})
        assert [picture.file for messages in grader.seen for picture in pictures_in(messages)] == shown
        assert len(grader.seen) == 2
        hashes |= {(sample.scores or {})["rubric_judge"].metadata["prompt_hash"] for sample in log.samples or []}  # type: ignore[index]
    assert len(hashes) == 2


def test_what_is_shown_is_part_of_the_id_and_text_prompts_keep_theirs() -> None:
    prompts = {"picture_coverage": load_user_prompts("test", "pictures")}
    ids = [
        sample.id
        for shown in ("own", "wrong", "none")
        for sample in adherence_samples([COVERAGE], list(ScoreLevel), prompts, picture=shown)
    ]
    assert len(set(ids)) == 3 * 3 * 24
    [first, *_] = adherence_samples([load_rubric("reverie")], list(ScoreLevel), {"reverie": load_user_prompts("test")})
    assert first.id == "reverie-low-busy_railway_station-88453eb8"
    assert "picture" not in (first.metadata or {})


def test_a_picture_drawn_anew_is_asked_under_new_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = {COVERAGE.id: dict([next(iter(load_user_prompts("test", "pictures").items()))])}
    pair = (COVERAGE, load_rubric("reverie"))

    def ids() -> set[Any]:
        joint = composition_samples([pair], list(ScoreLevel), prompts, "heldout")
        turns = paraphrase_robustness("pictures", judge="measured", limit_per_cell=1).dataset
        return {one.id for one in [*joint, *turns]}

    before = ids()
    monkeypatch.setattr("rubrics.pictures.Picture.data_uri", "data:image/png;base64,AAAA")
    assert not before & ids()


def test_a_request_in_the_user_turn_leaves_the_picture_where_it_is() -> None:
    for sample in paraphrase_robustness("pictures", judge="measured", position="user", limit_per_cell=1).dataset:
        [turn] = sample.input
        assert [part.type for part in turn.content] == ["image", "text"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("A boat on the water, two TREES and a bridge.", 0.75),
        ("Ships. A boathouse.", 0.25),  # a synonym in the plural; no boat in a longer word
        ("There are 14 of them, not 140 or 4.", 0.25),
        ("A hot-air balloon? No. Nothing.", 0),
    ],
)
def test_the_share_of_named_objects_by_hand(text: str, share: float) -> None:
    assert named_object_share(text, [("boat", "ship"), ("tree",), ("bridge",), ("14",)]) == share


def test_a_rubric_of_pictures_is_refused_where_there_is_none(mock_model: Callable[..., Any]) -> None:
    with pytest.raises(ValueError, match="named_object_share measures what a response says of a picture, got a user"):
        measure(COVERAGE, FILLER)
    assert measure(COVERAGE, FILLER, load_picture("map_01.png")).score == 0
    with pytest.raises(OptionError, match=re.escape("picture: got 'wrong', expected two user prompts or more")):
        run(mock_model(is_blind), rubrics="broadcast", picture="wrong")
    with pytest.raises(OptionError, match="family: got 'picture', expected one of"):
        run(mock_model(is_blind), family="picture")
    with pytest.raises(CannotRunError, match="which only inspect shows"):
        load_documents(rubrics="pictures", judge="measured")
