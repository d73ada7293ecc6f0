"""What can go wrong while models are asked, as one sentence of a command."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from model_calls.online import UNREADABLE


def was_cut_off(stop_reason: str | None) -> bool:
    """Whether a reply ended at a token limit, by its stop reason as inspect names it."""
    return stop_reason in ("max_tokens", "model_length")


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turns what users, disks and providers get wrong into a `click.ClickException`; anything else is a bug of ours.

    Raises:
        click.ClickException: For ValueError, OSError, TimeoutError, a missing key, what a provider's
            client raises when its retries are used up, and a group of these.
    """
    kept = "what was answered is kept in the call store, and the same command goes on from here"
    try:
        yield
    except (ValueError, TimeoutError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename or 'disk'}: {error.strerror or error}; {kept}") from error
    except ExceptionGroup as group:
        first = group.exceptions[0]
        is_ours = isinstance(first, ValueError) and not isinstance(first, UNREADABLE)
        if problem := _prerequisite(first) or (str(first) if is_ours else ""):
            raise click.ClickException(problem) from group
        failed = f"{len(group.exceptions)} calls failed, the first with " if len(group.exceptions) > 1 else ""
        raise click.ClickException(f"{failed}{_cause(first)}; {kept}") from group
    except Exception as error:
        if "inspect_ai" not in sys.modules:  # slow to import, like the next two; no model was asked
            raise
        from anthropic import APIError
        from tenacity import RetryError

        if problem := _prerequisite(error):
            raise click.ClickException(problem) from error
        by_client = any(hasattr(error, name) for name in ("provider_message", "status_code", "code"))
        if by_client or isinstance(error, APIError | RetryError):
            raise click.ClickException(f"{_cause(error)}; {kept}") from error
        raise


def _prerequisite(error: Exception) -> str:
    """What a PrerequisiteError says, on one line, without inspect's own "ERROR: "; "" of any other error."""
    if "inspect_ai" not in sys.modules:
        return ""
    from rich.text import Text

    from model_calls.inspect_private import PrerequisiteError

    if not isinstance(error, PrerequisiteError):
        return ""
    return " ".join(Text.from_markup(str(error.message)).plain.split()).replace("ERROR: ", "", 1)


def _cause(error: Exception) -> str:
    """An error by its name and text, inspect's without the request; of a RetryError, what the last attempt raised."""
    attempt = getattr(error, "last_attempt", None)
    cause = (attempt and attempt.exception()) or error
    return f"{type(cause).__name__}: {getattr(cause, 'provider_message', None) or cause}"
