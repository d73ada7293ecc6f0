"""One run of `cpt rubric prompts`: binds the models, and puts the results in place."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_ai.model import get_model

from data_gen.draft.author import Spending
from data_gen.draft.prompts import PROMPT_VERSION, prompt_hash
from data_gen.draft.trial import Round, Trial, fidelity_report, trial_prompts
from data_gen.generate.teachers import TeacherSettings, teacher_name, teacher_of
from judges import DEFAULT_JUDGE, MEASURED, Judge, MeasuredJudge, ModelJudge, check_measurable, judge_hash, judge_model
from judges.measured import MEASURES_VERSION
from judges.prompts import PROMPT_VERSION as JUDGE_PROMPT_VERSION
from judges.prompts import prompt_hash as judge_prompt_hash
from model_calls import CallStore
from rubrics import Rubric
from rubrics.files import write_whole
from rubrics.load import rubric_yaml


def bind_trial(
    options: Mapping[str, Any],
    rubric: Rubric,
    spending: Spending,
    stores: Sequence[CallStore],
    say: Callable[[str], None],
) -> tuple[Trial, dict[str, Any]]:
    """The trial, and what its report says of models (folders by their last part only), versions and settings.

    Args:
        options: Of the command: model, writer, writer_args, writer_tokens, judge, n_prompts, margin, seed.
        rubric: Whose system prompts are tried.
        spending: Counts the requests.
        stores: Of the writer's calls and of the judge's.
        say: Takes lines for people.

    Raises:
        ValueError: If the rubric cannot be measured, or its family has too few user prompts.
    """
    settings = TeacherSettings(max_tokens=options["writer_tokens"], model_args=options["writer_args"])
    teacher = teacher_of(options["writer"] or options["model"], settings)
    judge, judge_facts = _bind_judge(options["judge"], rubric, spending, stores[1])
    prompts = trial_prompts(rubric, options["n_prompts"])
    if judge_facts["judge"] == teacher.name:
        say(f"{teacher.name} judges texts that it wrote itself; --judge or --writer names another model")
    facts = {
        "author": teacher_name(options["model"], {}),
        "author_prompt_version": PROMPT_VERSION,
        "author_prompt_hash": prompt_hash(),
        "writer": teacher.name,
        "writer_max_tokens": options["writer_tokens"],
        **judge_facts,
        "user_prompts": list(prompts),
        "seed": options["seed"],
    }
    writer = spending.bind(teacher.model)
    return Trial(writer, judge, stores[0], prompts, options["margin"], options["seed"], say), facts


def put_in_place(path: Path, rounds: Sequence[Round], facts: Mapping[str, Any], written: Sequence[str]) -> str:
    """Writes the rubric with the system prompts of the last round, and the report beside it; says what came of it.

    Args:
        path: ID.yaml; prompts that were not accepted go to ID.rejected.yaml, which no loader takes for a rubric.
        rounds: At least one.
        facts: For the report.
        written: What is written: "report" (ID.fidelity.json), "system prompts".
    """
    last, lines = rounds[-1], []
    if "report" in written:
        report = json.dumps(fidelity_report(rounds, facts), indent=2, ensure_ascii=False, allow_nan=False)
        write_whole(path.with_suffix(".fidelity.json"), report + "\n")
        lines.append(f"report: {path.with_suffix('.fidelity.json')}")
    if "system prompts" in written:
        target = path if last.figures.passed else path.with_suffix(".rejected.yaml")
        write_whole(target, rubric_yaml(last.rubric))
        lines.append(f"system prompts: {target}")
    if last.figures.passed:
        lines.append(f"accepted: adjacent levels are {last.figures.margin:g} points apart or more")
    else:
        failed = ", ".join(last.figures.failed_levels)
        lines.append(f"not accepted: adjacent levels are not {last.figures.margin:g} points apart; look at {failed}")
    return "\n".join(lines)


def _bind_judge(name: str | None, rubric: Rubric, spending: Spending, calls: CallStore) -> tuple[Judge, dict[str, str]]:
    name = name or (MEASURED if rubric.is_measured else DEFAULT_JUDGE)
    if name == MEASURED:
        check_measurable(rubric)
        return MeasuredJudge(), {"judge": MEASURED, "judge_prompt_version": MEASURES_VERSION}
    model = spending.bind(judge_model(get_model(name, memoize=False)))
    facts = {"judge_prompt_version": JUDGE_PROMPT_VERSION, "judge_prompt_hash": judge_prompt_hash()}
    return ModelJudge(model, calls), {"judge": teacher_name(name, {}), "judge_hash": judge_hash(model), **facts}
