"""What the parameters of the benchmarks mean, and the checks of them before any response is paid for."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from inspect import Parameter, signature
from typing import Any, Literal, get_args

from inspect_ai import Task
from rich.markup import escape

from cpt_tasks.samples import WordingSplit
from judges import DEFAULT_STORE, PROMPT_VERSION, Aggregate, JudgeProtocol
from model_calls.inspect_private import PrerequisiteError, command_folder
from rubrics import Rubric, ScoreLevel, Split, load_rubrics, load_user_prompts
from rubrics.load import FAMILY_PROMPTS

_SAMPLING = ("do_sample", "temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty")
# models that inspect sends no settings of sampling to: always, and where they reason
_WITHOUT_SAMPLING = re.compile(r"anthropic/|openai/(azure/)?(o\d|gpt-5(?![.\d]))")
_REASONING = re.compile(r"openai/(azure/)?gpt-(5\.(?P<minor>\d+)|[6-9])")
_THINKING = ("effort", "reasoning_effort", "reasoning_tokens")

JudgeKind = Literal["model", "measured"]
JudgeOption = JudgeKind | Literal["none"]


@dataclass(frozen=True, kw_only=True)
class JudgedBy:
    """The parameters of benchmarks that say how responses are judged, with their defaults; see `rubric_judge`.

    With `judge` "none" responses are only written, for `inspect score` to judge later.
    """

    judge: JudgeOption = "model"
    protocol: JudgeProtocol = "criteria"
    judge_repeats: int = 1
    panel: Aggregate = "mean"
    call_store: str = DEFAULT_STORE
    prompt_version: str | int = PROMPT_VERSION


class OptionError(PrerequisiteError, ValueError):
    """A parameter of a task that cannot be; inspect prints its sentence without a traceback."""


def checked(make: Callable[..., Task]) -> Callable[..., Task]:
    """What makes a task, with the ValueErrors about its parameters as `OptionError`s.

    In place of `judging` it takes each of `JudgedBy` that `make` has no parameter for, which inspect and its logs know.
    """
    listed = dict(signature(make).parameters)
    shared: Mapping[str, Parameter] = signature(JudgedBy).parameters if listed.pop("judging", None) else {}
    further = {name: parameter for name, parameter in shared.items() if name not in listed}

    @wraps(make)
    def made(*args: Any, **options: Any) -> Task:
        if further:
            given = {name: options.pop(name) for name in further if name in options}
            options["judging"] = JudgedBy(**given)
        all_given = signature(make).bind(*args, **options).arguments
        try:
            check_choice(all_given.get("wording_split", "heldout"), get_args(WordingSplit), "wording_split")
            return make(*args, **options)
        except ValueError as error:
            raise OptionError(escape(str(error))) from error  # inspect prints it as markup

    parameters = [*listed.values(), *further.values()]
    made.__signature__ = signature(make).replace(parameters=parameters)  # type: ignore[attr-defined]
    return made


def decoding_of(settings: Mapping[str, Any], model: str = "") -> str:
    """How a model was made to choose its words, from its settings as inspect or lm-eval keeps them.

    "greedy", the settings of its sampling, or that these were left to the provider; then what limits its length.
    Settings of sampling that inspect does not send to the `model` are left out.
    """
    reasoning = _REASONING.match(model)
    by_default = "none" if reasoning is None or int(reasoning["minor"] or 5) < 5 else "medium"
    effort = settings.get("reasoning_effort") or by_default
    if _WITHOUT_SAMPLING.match(model) or (reasoning and effort != "none"):
        settings = {name: value for name, value in settings.items() if name not in _SAMPLING}
    given = {name: settings[name] for name in (*_SAMPLING, *_THINKING) if settings.get(name) is not None}
    temperature = given.get("temperature")
    if temperature == 0 or (temperature is None and given.get("do_sample") is False):
        given = {"greedy": ""} | {name: given[name] for name in _THINKING if name in given}
    elif not given.keys() & set(_SAMPLING):
        given = {"sampling left to the provider": ""} | given
    tokens = settings.get("max_tokens", settings.get("max_gen_toks"))
    parts = [f"{name} {value}".strip() for name, value in given.items()]
    return ", ".join([*parts, *([f"at most {tokens} tokens"] if tokens else [])])


def check_choice(value: str, choices: Sequence[str], parameter: str) -> None:
    """Raises ValueError, naming the parameter and the choices, unless the value is one of them."""
    if value not in choices:
        raise ValueError(f"{parameter}: got {value!r}, expected one of {sorted(choices)}")


def check_least(value: int, least: int, parameter: str) -> None:
    """Raises ValueError, naming the parameter, unless the value is at least so much."""
    if value < least:
        raise ValueError(f"{parameter}: got {value}, expected {least} or more")


def levels_of(selection: str | list[str]) -> list[ScoreLevel]:
    """The levels of a selection, see `some_of`."""
    return [ScoreLevel(name) for name in some_of(selection, [level.value for level in ScoreLevel], "levels")]


def some_of(selection: str | list[str], choices: Sequence[str], parameter: str) -> list[str]:
    """What a selection names, each once: "all" choices, or some, as a list or with commas; ValueError for others."""
    names = [name.strip() for name in selection.split(",")] if isinstance(selection, str) else selection
    if names == ["all"]:
        return list(choices)
    for name in names:
        check_choice(name, choices, parameter)
    return list(dict.fromkeys(names))


def prompts_by_rubric(
    rubrics: Sequence[Rubric], split: Split, limit: int, family: str = ""
) -> dict[str, dict[str, str]]:
    """Rubric id -> user prompt id -> text: the first `limit`, at least 1, that a family is asked.

    That is the rubric's own, unless one is given for all of them.
    """
    check_least(limit, 1, "limit_per_cell")
    if family:
        check_choice(family, [path.stem for path in FAMILY_PROMPTS.glob("*.yaml")], "family")
    return {one.id: dict(list(load_user_prompts(split, family or one.family).items())[:limit]) for one in rubrics}


def rubrics_of(selection: str | list[str]) -> list[Rubric]:
    """`load_rubrics`, with relative paths of files from the folder in which the command was given."""
    names = selection.split(",") if isinstance(selection, str) else selection
    names = [name.strip() for name in names]
    return load_rubrics([str(command_folder() / name) if name.endswith(".yaml") else name for name in names])
