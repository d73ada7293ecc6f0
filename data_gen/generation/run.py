"""One run of `cpt generate`: look up what there is, say what the rest costs, ask, write, count."""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from data_gen.generation.accepting import Accepting, AcceptingJudge
from data_gen.generation.generate import Asking, Progress, ask_batches, ask_online
from data_gen.generation.look_up import IN_FILE, LookUp, cell_table, look_up
from data_gen.generation.plan import Plan, Question
from data_gen.generation.question_files import Answers, import_answers, write_questions
from data_gen.generation.response_file import ResponseFile
from data_gen.generation.spend import Budget, ExpectedTokens, expected_tokens
from data_gen.generation.teacher_calls import Teacher, TeacherSettings, teacher_of
from judges import MEASURED, MeasuredJudge, ModelJudge, check_measurable, judge_model
from judges.cost import PRICES_FILE, Prices, load_prices
from judges.measured import MEASURES_VERSION
from judges.prompts import PROMPT_VERSION

if TYPE_CHECKING:
    from model_calls import CallStore

SAMPLES_PER_ACCEPTED = 4
MAX_SHORT_SHOWN = 50

Found = Mapping[Teacher, LookUp]


def run(names: Sequence[str], plan: Plan, options: Mapping[str, Any]) -> str:
    """Does what the options of the command ask for.

    Args:
        names: Inspect models to ask.
        plan: Questions for each.
        options: Of `generate_command`, by name.

    Returns:
        What is missing at the end, "" if nothing is.

    Raises:
        ValueError: If something cannot be done as asked; nothing was asked then.
    """
    from model_calls import open_store

    settings = {name: options[name] for name in ("max_tokens", "temperature", "reasoning_effort", "max_connections")}
    settings |= {"base_url": options["model_base_url"], "model_args": options["model_args"]}
    prices = load_prices(options["prices"] or PRICES_FILE)
    _check_prices(names, prices, options)
    teachers = [teacher_of(name, TeacherSettings(**settings)) for name in names]
    with ExitStack() as open_files:
        store = open_store(options["store"])
        open_files.callback(store.close)
        file = None
        if options["out"] and (options["out"].exists() or not (options["forecast"] or options["questions"])):
            file = ResponseFile(options["out"])
            open_files.callback(file.close)
        found = {teacher: _looked_up(teacher, plan, options["accept"], store, file) for teacher in teachers}
        expected = {
            str(teacher.model): expected_tokens(
                store, str(teacher.model), options["expected_tokens"], options["max_tokens"]
            )
            for teacher in teachers
        }
        _say_forecast(found, expected, prices, options)
        if options["questions"]:
            return _write_questions(found, plan, store, options)
        if options["forecast"]:
            return ""
        assert file is not None  # the command asks for --out
        planned = sum(len(there.states) for there in found.values())
        count = planned - sum(there.states.count(IN_FILE) for there in found.values())
        budget = Budget(prices, options["max_cost"])
        what, total = ("cells", planned // options["accept"]) if options["accept"] else ("rows", count)
        progress = Progress(what, total, lambda: f", {budget.spent:.2f} USD, {asking.failures.counts.total()} failed")
        asking = Asking(store, file, budget, expected, progress)
        if options["answers"]:
            return _import(asking, found, plan, options)
        if options["accept"]:
            return _ask_until_accepted(asking, found, plan, options)
        return _ask(asking, found, plan, options)


def _check_prices(names: Sequence[str], prices: Prices, options: Mapping[str, Any]) -> None:
    priced = [*names, *([] if options["judge"] in (None, MEASURED) else [options["judge"]])]
    unknown = [name for name in priced if name.rsplit("/", 1)[-1] not in prices.models]
    if options["max_cost"] and unknown:
        raise ValueError(
            f"--max-cost: no price for {unknown[0]} as of {prices.as_of}, and without one nothing can be held to it; "
            "write one into a YAML file and pass it with --prices"
        )


def _questions(plan: Plan, accept: int | None) -> Iterator[Question]:
    for question in plan.questions():
        for sample in range(accept or 1):
            yield plan.resample(question, sample) if accept else question


def _looked_up(
    teacher: Teacher, plan: Plan, accept: int | None, store: "CallStore", file: ResponseFile | None
) -> LookUp:
    count = sum(1 for _ in _questions(plan, accept))
    progress = Progress(f"{teacher.name}: looked up", count)
    return look_up(teacher, _questions(plan, accept), store, file, progress.step)


def _say_forecast(
    found: Found, expected: Mapping[str, ExpectedTokens], prices: Prices, options: Mapping[str, Any]
) -> None:
    to_stderr = not options["forecast"]
    for teacher, there in found.items():
        forecast = there.forecast(teacher, expected[str(teacher.model)], options["batch"])
        click.echo("\n".join(forecast.lines(prices)), err=to_stderr)
    if options["accept"]:
        most = _max_samples(options) / options["accept"]
        click.echo(f"  that is a first round; {most:g} times as much at most, and what the judge costs", err=to_stderr)


def _max_samples(options: Mapping[str, Any]) -> int:
    return int(options["max_samples"] or SAMPLES_PER_ACCEPTED * options["accept"])


def _write_questions(found: Found, plan: Plan, store: "CallStore", options: Mapping[str, Any]) -> str:
    if len(found) > 1:
        raise ValueError(f"--questions: got {len(found)} teachers, expected one, since a file goes to one engine")
    [(teacher, there)] = found.items()
    count = write_questions(options["questions"], teacher, there.missing(plan.questions()), store)
    click.echo(f"{options['questions']}: {count} questions; bring the answers back with --answers")
    return ""


def _ask(asking: Asking, found: Found, plan: Plan, options: Mapping[str, Any]) -> str:
    if options["batch"]:
        missing = {teacher: there.missing(plan.questions()) for teacher, there in found.items()}
        asyncio.run(ask_batches(asking, missing, options["poll_seconds"], lambda line: click.echo(line, err=True)))
    else:
        in_turn = {teacher: there.missing_for(teacher, plan.questions) for teacher, there in found.items()}
        asyncio.run(ask_online(asking, in_turn))
    return _finish(asking, found.values())


def _import(asking: Asking, found: Found, plan: Plan, options: Mapping[str, Any]) -> str:
    if len(found) > 1:
        raise ValueError(f"--answers: got {len(found)} teachers, expected the one that was asked")
    [(teacher, there)] = found.items()
    answers = Answers(options["answers"])
    unanswered = asyncio.run(import_answers(asking, teacher, there.missing(plan.questions()), answers))
    for problem, count in answers.problems.most_common():
        click.echo(f"{options['answers']}: {count} lines skipped: {problem}", err=True)
    if unknown := len(answers) - len(answers.used):
        click.echo(f"{options['answers']}: {unknown} answers to no question that is missing here", err=True)
    missing = _finish(asking, found.values())
    if unanswered and unknown and not answers.used:
        missing += "; no answer fits: give the options that the questions were written with"
    return missing


def _ask_until_accepted(asking: Asking, found: Found, plan: Plan, options: Mapping[str, Any]) -> str:
    judge = _accepting_judge(plan, options)
    accepting = Accepting(asking, plan, judge, options["accept"], _max_samples(options))
    asyncio.run(accepting.run(list(found)))
    for mode, count in accepting.judge_failures.most_common():
        click.echo(f"{count} responses without a judgment, not accepted: {mode}", err=True)
    for line in accepting.short[:MAX_SHORT_SHOWN]:
        click.echo(f"short: {line}", err=True)
    if accepting.short:
        click.echo(f"{len(accepting.short)} cells are short of {options['accept']} accepted responses", err=True)
    there = LookUp(row_ids=accepting.row_ids(), asked=accepting.asked)
    return _finish(asking, [there])


def _accepting_judge(plan: Plan, options: Mapping[str, Any]) -> AcceptingJudge:
    from model_calls import open_store

    if options["judge"] == MEASURED:
        for rubric in plan.rubrics:
            check_measurable(rubric)
        return AcceptingJudge(MeasuredJudge(), MEASURED, MEASURES_VERSION)
    model = judge_model(options["judge"])
    return AcceptingJudge(ModelJudge(model, open_store(options["judge_store"])), str(model), PROMPT_VERSION)


def _finish(asking: Asking, found: Collection[LookUp]) -> str:
    """Puts the rows in order, prints what there is, and says what is missing."""
    row_ids = [row_id for there in found for row_id in there.row_ids]
    asking.file.put_in_order(row_ids)
    asked = sum((there.asked for there in found), Counter())
    click.echo("\n".join(cell_table(asked, row_ids, asking.file)))
    for line in asking.failures.lines():
        click.echo(line, err=True)
    missing = sum(row_id not in asking.file for row_id in row_ids)
    click.echo(
        f"{asking.file.path}: {len(row_ids) - missing} rows of this plan, {asking.budget.spent:.4f} USD spent now"
    )
    if not missing and not asking.stopped:
        return ""
    return f"{asking.stopped + ': ' if asking.stopped else ''}{missing} of {len(row_ids)} rows are missing"
