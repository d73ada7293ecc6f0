"""`cpt judge forecast` and `batch`: what judging will cost, and judging through provider batches."""

import math
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_runs import fails, inspect, succeeds
from fake_anthropic import FakeAnthropic
from inspect_ai.log import read_eval_log
from students import CALM, evaluated

from cpt_tasks import _registry
from cpt_tasks.benchmarks.rubric_adherence.task import rubric_adherence
from cpt_tasks.judge_logs.commands import batch_command, forecast_command
from cpt_tasks.judge_logs.spend import planned_texts
from judges import MeasuredJudge
from model_calls import open_store


def test_the_forecast_adds_up_by_hand() -> None:
    output = succeeds(forecast_command, "-T", "rubrics=reverie", "-T", "limit_per_cell=2", "--repeats", 3)
    online, batch = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines()[2:4]]
    # 1 rubric x 3 levels x 2 prompts x 3 repeats; output: (2 criteria + holistic) x 60 tokens + 300 of thinking
    assert (online[0], online[1], online[3]) == ("online", "18", str(18 * 480))
    # 2 USD per million tokens in, 10 out; a batch costs half
    assert float(online[4]) == pytest.approx((int(online[2]) * 2 + 18 * 480 * 10) / 1e6, abs=0.005)
    assert float(batch[4]) == pytest.approx(float(online[4]) / 2, abs=0.01)


@pytest.mark.parametrize("task", ["drift", "composition", "paraphrase_robustness"])
def test_a_forecast_counts_the_judgments_that_the_benchmark_asks_for(
    task: str, mock_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Counter[str] = Counter()
    judge = MeasuredJudge.judge

    async def counted(self: MeasuredJudge, rubric: Any, user_prompt: str, response: str, picture: Any = None) -> Any:
        asked[rubric.id, user_prompt] += 1
        return await judge(self, rubric, user_prompt, response, picture)

    monkeypatch.setattr(MeasuredJudge, "judge", counted)
    limit = "limit_per_family=1" if task == "drift" else "limit_per_cell=1"
    name, value = limit.split("=")
    made = getattr(_registry, task)(rubrics="measured", judge="measured", **{name: int(value)})
    evaluated(made, mock_model(lambda _: CALM), max_connections=10)
    planned = planned_texts(["rubrics=measured", limit], task)
    assert Counter((text.rubric.id, text.user_prompt) for text in planned) == asked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-T", "judge_repeats=3"], "-T judge_repeats=3: judge_repeats is --repeats here"),
        (["-T", "rubrik=reverie"], "-T rubrik=reverie: got an unexpected keyword argument 'rubrik'"),
        (["-T", "limit_per_cell=x"], "-T limit_per_cell=x: '<' not supported between instances of 'str' and 'int'"),
        (["-T", "rubrics=[a"], "-T rubrics=[a: while parsing a flow sequence"),
        (["--task", "haiku"], "--task haiku: expected a benchmark that judges what a model writes"),
        (["--prices", __file__], "test_judge_spend.py: "),
    ],
)
def test_what_a_forecast_cannot_use_is_one_sentence(arguments: list[str], message: str) -> None:
    assert message in fails(forecast_command, *arguments)


@pytest.mark.slow
def test_batched_judgments_are_what_inspect_score_finds_in_the_store(
    anthropic_server: FakeAnthropic, mock_model: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("cpt_tasks.judge_logs.spend.POLL_SECONDS", 0.05)
    number = iter(range(100))
    writer = mock_model(lambda _: f"{CALM} Text {next(number)}.")
    log = evaluated(rubric_adherence("reverie", limit_per_cell=2, judge="measured"), writer, score=False)
    output = succeeds(batch_command, log.location, "--store", tmp_path / "calls.sqlite")
    assert "answered 6, in the store before 0, failed 0" in output
    assert (anthropic_server.stats.requests, anthropic_server.stats.batches_created) == (0, 1)
    printed = shlex.split(output.split("now score from the store:\n")[1].splitlines()[0])
    assert "rubrics=reverie" in printed
    open_store(tmp_path / "calls.sqlite").close()
    inspect(*printed[1:], cwd=tmp_path)
    assert anthropic_server.stats.requests == 0
    judged = read_eval_log(printed[-1])
    scores = [sample.scores["rubric_judge"] for sample in judged.samples or [] if sample.scores]
    assert len(scores) == 6
    assert not any(math.isnan(score.as_float()) for score in scores)
