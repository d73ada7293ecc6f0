"""What goes wrong while models are asked is one sentence of a command; what is our bug stays one."""

import click
import httpx2
import pytest
from anthropic import APIConnectionError
from inspect_ai.model._model import ModelGenerateError
from tenacity import Future, RetryError

from model_calls.errors import clear_errors
from model_calls.inspect_private import PrerequisiteError
from model_calls.online import CutReplyError

KEPT = "; what was answered is kept in the call store, and the same command goes on from here"
DOWN = APIConnectionError(message="Connection error.", request=httpx2.Request("POST", "http://x"))


class OtherClientsError(Exception):
    status_code = 404


def retries_used_up(error: Exception) -> RetryError:
    attempt = Future(8)
    attempt.set_exception(error)
    return RetryError(attempt)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("rubrics: got 1"), "rubrics: got 1"),
        (FileNotFoundError(2, "No such file", "a.jsonl"), f"a.jsonl: No such file{KEPT}"),
        (PrerequisiteError("ERROR: No [bold][blue]KEY[/blue][/bold]\n set"), "No KEY set"),
        (ExceptionGroup("", [PrerequisiteError("No KEY")] * 2), "No KEY"),
        (ModelGenerateError("Request:\n{...}", provider_message="No credit"), f"ModelGenerateError: No credit{KEPT}"),
        (OtherClientsError("No such model"), f"OtherClientsError: No such model{KEPT}"),
        (DOWN, f"APIConnectionError: Connection error.{KEPT}"),
        (retries_used_up(DOWN), f"APIConnectionError: Connection error.{KEPT}"),
        (ExceptionGroup("", [ValueError("2 scales")] * 2), "2 scales"),
        (ExceptionGroup("", [CutReplyError("x")]), f"CutReplyError: x{KEPT}"),
        (
            ExceptionGroup("", [retries_used_up(DOWN)] * 3),
            f"3 calls failed, the first with APIConnectionError: {DOWN}{KEPT}",
        ),
    ],
)
def test_what_users_disks_and_providers_get_wrong_is_one_sentence(error: Exception, sentence: str) -> None:
    with pytest.raises(click.ClickException) as caught, clear_errors():
        raise error
    assert caught.value.message == sentence


def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(KeyError), clear_errors():
        raise KeyError("x")
