"""The private names of lm-eval (0.4.13, below 0.5) that we use, each with its reason: where to look on an upgrade.

lm_eval is imported when a function needs it: the command runs without it far enough to say that it is missing.
"""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any


def command_line() -> Any:
    """lm_eval's own command, with its logging set up; 0.4 has no public parser."""
    from lm_eval._cli import HarnessCLI
    from lm_eval.utils import setup_logging

    setup_logging()
    return HarnessCLI()


def skip_other_tasks() -> None:
    """Lets the command know our tasks only: 0.4.13 reads the 14,700 YAML files of its own at every start, unasked."""
    import lm_eval.tasks

    lm_eval.tasks.TaskManager = functools.partial(lm_eval.tasks.TaskManager, include_defaults=False)


def predicts_only(task: Any) -> bool:
    """Whether a task runs under --predict_only, which puts a metric `bypass` in place of its own and says no more."""
    return "bypass" in task._metric_fn_list


def messages_of(rendered: Any) -> Sequence[Mapping[str, str]] | None:
    """The messages of a chat that goes to an API: a list, or a `JsonChatStr` with them in `prompt`; None for text."""
    prompt = getattr(rendered, "prompt", None)
    if prompt is not None:
        messages: Sequence[Mapping[str, str]] = json.loads(prompt)
        return messages
    return rendered if isinstance(rendered, list) else None


def sampled_as(model: Any, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The generation settings as a model takes them.

    `_create_payload` of `OpenAIChatCompletion` sends temperature 1, whatever is set, where these stand in the name.
    """
    name = str(getattr(model, "model", ""))
    is_openai = "OpenAIChatCompletion" in {kind.__name__ for kind in type(model).__mro__}
    if is_openai and any(part in name for part in ("o1", "5", "o3", "o4")):
        return dict(settings) | {"do_sample": None, "temperature": 1}
    return settings
