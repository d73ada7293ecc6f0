"""One run of `cpt rubric prompts`: binds the models, writes or only measures, and puts the results in place."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import click

from data_gen.drafting.calls import Author, Spending, author_model
from data_gen.drafting.fidelity import fidelity_text
from data_gen.drafting.fidelity_rounds import Round, fidelity_report, write_report, write_until_faithful
from data_gen.drafting.fidelity_samples import Check, check_prompts, measure_wordings
from data_gen.drafting.prompts import PROMPT_VERSION, prompt_hash
from data_gen.generate.teachers import TeacherSettings, teacher_name, teacher_of
from judges import (
    DEFAULT_JUDGE,
    MEASURED,
    Judge,
    MeasuredJudge,
    ModelJudge,
    check_measurable,
    judge_hash,
    judge_model,
)
from judges.measured import MEASURES_VERSION
from judges.prompts import PROMPT_VERSION as JUDGE_PROMPT_VERSION
from judges.prompts import prompt_hash as judge_prompt_hash
from rubrics import Rubric
from rubrics.yaml_text import rubric_yaml

if TYPE_CHECKING:
    from model_calls import CallStore

PROGRESS_SECONDS = 5.0


@dataclass(frozen=True)
class PromptsSettings:
    """The options of `cpt rubric prompts` that decide what is asked; see its help.

    Attributes:
        model: Inspect name of the author, and of the writer if that is None.
        writer: Inspect name, or None.
        writer_args: Arguments of its inspect provider.
        judge: "measured", an inspect name, or None for the rubric's default.
        train: Wordings per level.
        heldout: The same.
        n_prompts: User prompts per level.
        margin: Score points between adjacent levels.
        revisions: Rounds after the first.
        attempts: Askings of one question to the author.
        writer_tokens: Most tokens of a text.
        seed: Another one asks anew.
        say: Takes lines for people.
    """

    model: str
    writer: str | None
    writer_args: Mapping[str, Any]
    judge: str | None
    train: int
    heldout: int
    n_prompts: int
    margin: float
    revisions: int
    attempts: int
    writer_tokens: int
    seed: int
    say: Callable[[str], None]


def bind_check(
    settings: PromptsSettings, rubric: Rubric, spending: Spending, calls: "CallStore", judge_calls: "CallStore"
) -> tuple[Check, dict[str, Any]]:
    """The check, and what its report says of models (folders by their last part only), versions and settings.

    Raises:
        ValueError: If the rubric cannot be measured, or its family has too few user prompts.
    """
    as_writer = TeacherSettings(max_tokens=settings.writer_tokens, model_args=settings.writer_args)
    teacher = teacher_of(settings.writer or settings.model, as_writer)
    writer = spending.bind(teacher.model)
    judge, judge_facts = _bind_judge(settings.judge, rubric, spending, judge_calls)
    prompts = check_prompts(rubric, settings.n_prompts)
    if judge_facts["judge"] == teacher.name:
        settings.say(f"{teacher.name} judges texts that it wrote itself; --judge or --writer names another model")
    facts = {
        "author": teacher_name(settings.model, {}),
        "author_prompt_version": PROMPT_VERSION,
        "author_prompt_hash": prompt_hash(),
        "writer": teacher.name,
        "writer_max_tokens": settings.writer_tokens,
        **judge_facts,
        "user_prompts": list(prompts),
        "seed": settings.seed,
    }
    return Check(writer, judge, calls, prompts, settings.margin, settings.seed, _Progress(settings.say)), facts


def write_prompts(settings: PromptsSettings, rubric: Rubric, check: Check, spending: Spending) -> list[Round]:
    """The rounds of writing and measuring, each shown on stdout.

    Raises:
        DraftError: If the first wordings could not be written.
    """
    settings.say(f"{rubric.id}: writing {settings.train} + {settings.heldout} system prompts for each level")
    model = spending.bind(author_model(settings.model))
    author = Author(model, check.store, settings.attempts, settings.seed, settings.say)
    counts = settings.train, settings.heldout, settings.revisions
    return anyio.run(write_until_faithful, author, check, rubric, *counts, _show)


def check_prompts_of(rubric: Rubric, check: Check) -> list[Round]:
    """One round: the system prompts that the rubric has, measured and shown on stdout."""
    measured = Round(rubric, anyio.run(measure_wordings, check, rubric), ())
    _show(measured)
    return [measured]


def put_in_place(
    path: Path, rounds: Sequence[Round], facts: dict[str, Any], *, with_prompts: bool, with_report: bool
) -> str:
    """Writes the rubric with the system prompts of the last round, and the report beside it; says what came of it.

    Args:
        path: ID.yaml; prompts that were not accepted go to ID.rejected.yaml, which no loader takes for a rubric.
        rounds: At least one.
        facts: For the report.
        with_prompts: Whether the rubric is written.
        with_report: Whether ID.fidelity.json is.
    """
    last, lines = rounds[-1], []
    path.parent.mkdir(parents=True, exist_ok=True)
    if with_report:
        report = path.with_suffix(".fidelity.json")
        write_report(report, fidelity_report(rounds, facts))
        lines.append(f"report: {report}")
    if with_prompts:
        written = path if last.figures.passed else path.with_suffix(".rejected.yaml")
        written.write_text(rubric_yaml(last.rubric), encoding="utf-8")
        lines.append(f"system prompts: {written}")
    if last.figures.passed:
        lines.append(f"accepted: adjacent levels are {last.figures.margin:g} points apart or more")
    else:
        failed = ", ".join(last.figures.failed_levels)
        lines.append(f"not accepted: adjacent levels are not {last.figures.margin:g} points apart; look at {failed}")
    return "\n".join(lines)


def _bind_judge(
    name: str | None, rubric: Rubric, spending: Spending, calls: "CallStore"
) -> tuple[Judge, dict[str, str]]:
    name = name or (MEASURED if rubric.is_measured else DEFAULT_JUDGE)
    if name == MEASURED:
        check_measurable(rubric)
        return MeasuredJudge(), {"judge": MEASURED, "judge_prompt_version": MEASURES_VERSION}
    from inspect_ai.model import get_model

    model = spending.bind(judge_model(get_model(name, memoize=False)))
    facts = {"judge_prompt_version": JUDGE_PROMPT_VERSION, "judge_prompt_hash": judge_prompt_hash()}
    return ModelJudge(model, calls), {"judge": teacher_name(name, {}), "judge_hash": judge_hash(model), **facts}


def _show(done: Round) -> None:
    click.echo(fidelity_text(done.figures))


class _Progress:
    """Says how far a check is, every few seconds and at its end."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._start = self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done == 1:
            self._start = now
        if now - self._said < PROGRESS_SECONDS and done < total:
            return
        self._said = now
        rate = done / (now - self._start) if now > self._start else 0.0
        left = f", {rate:.1f} a second, {(total - done) / rate:.0f} s left" if rate and done < total else ""
        self._say(f"written and judged: {done} of {total} texts{left}")
