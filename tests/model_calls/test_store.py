"""The call store: what survives a kill, and what is taken over from older stores."""

import asyncio
import json
import logging
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from command_runs import ran, succeeds
from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model

from cpt_tasks.scorer import open_judge_store
from model_calls import Call, CallStore, Reply, open_store
from model_calls.commands import calls_command
from model_calls.inspect_private import PrerequisiteError


def reply(key: str, text: str = "Fine.", **changes: Any) -> Reply:
    model, time = "anthropic/claude-sonnet-5-5", "2026-01-01T00:00:00+00:00"
    whole = Reply(key, model, "served", {}, "0" * 32, "0", text, "stop", {"output_tokens": 5}, "msg_1", time)
    return replace(whole, **changes)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "calls.sqlite"
    yield path
    open_store(path).close()


def put(path: Path, *replies: Reply) -> CallStore:
    store = open_store(path)
    asyncio.run(store.put(*replies))
    return store


def reopened(path: Path) -> CallStore:
    open_store(path).close()
    return open_store(path)


def test_records_hold_no_secret_and_no_model_arguments(path: Path) -> None:
    arguments = {"api_key": "secret-1", "default_headers": {"x-auth": "secret-2"}}
    secretive = get_model("anthropic/claude-sonnet-5-5", memoize=False, **arguments)
    config = GenerateConfig(extra_headers={"authorization": "secret-3"}, max_tokens=7)
    asked = Call(secretive, [ChatMessageUser(content="Hello.")], config)
    put(path, reply(asked.key, params=asked.params))
    assert asked.params == {"max_tokens": 7}
    assert asked.key.encode() in b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert not any(b"secret" in file.read_bytes() for file in path.parent.iterdir())


def test_a_reply_comes_back_as_it_was_put(path: Path) -> None:
    kept = reply("a", "Zeilen\n\ud800\u2028 ende", usage={"input_tokens_cache_read": 3}, attempts=2, batch=True)
    store = put(path, kept)
    assert store.get("a") == kept
    assert reopened(path).get("a") == kept
    assert open_store(path).get("b") is None


def test_what_a_full_disk_kept_from_being_written_is_written_later(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = put(path, reply("a"))

    def full_disk(rows: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match=f"Errno 28.*disk is full: '{path}'"):
        patch.setattr(store, "_write", full_disk)
        asyncio.run(store.put(reply("b")))
    assert store.get("b") is None
    assert [r.key for r in reopened(path).replies()] == ["a", "b"]


def test_a_caller_cancelled_before_it_puts_has_its_reply_kept(path: Path) -> None:
    store = open_store(path)

    async def by_scope() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await store.put(reply("scope"))

    async def by_asyncio() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await store.put(reply("asyncio"))

    asyncio.run(by_scope())
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(by_asyncio())
    assert "scope" in store
    assert "asyncio" in store


def test_a_store_is_opened_with_a_warning_if_batches_hold_replies_that_it_lacks(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = put(path, reply("a"))
    # created, taken, and killed before its batch was known
    for intent, keys, batch, done in (("1", "ab", "b1", 0), ("2", "c", "b2", 1), ("3", "de", None, 0)):
        store.execute("INSERT INTO batches VALUES (?, '', ?, ?, ?)", intent, json.dumps(list(keys)), batch, done)
    with caplog.at_level(logging.WARNING):
        store = reopened(path)
        open_store(path)
    assert sorted(store.in_batches()) == ["b", "d", "e"]
    [message] = caplog.messages
    assert message.startswith(f"{path}: 3 calls are in batches whose results are not in the store yet; run the ")
    caplog.clear()
    asyncio.run(store.put(*(reply(key) for key in "bde")))
    reopened(path)
    assert not caplog.messages


WRITER = """
import asyncio, sys
from model_calls import Reply, open_store
name, path, count = sys.argv[1:]
store = open_store(path)
for number in range(int(count)):
    key, text = f"{name}-{number}", "x" * 3000
    asyncio.run(store.put(Reply(key, "m/m", "m", {}, "", "0", text, "stop", {}, "", "2026-01-01")))
    print(number, flush=True)
"""


def writer(path: Path, name: str, count: int) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-c", WRITER, name, str(path), str(count)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_processes_share_a_store_from_its_first_moment_on(path: Path) -> None:
    processes = [writer(path, name, 30) for name in "abc"]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert all(output.endswith("29\n") for output in outputs)
    assert {r.key for r in open_store(path).replies()} == {f"{name}-{n}" for name in "abc" for n in range(30)}


def test_after_kill_9_every_reply_that_was_put_is_there(path: Path) -> None:
    with writer(path, "a", 100_000) as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(20)]
        process.kill()
        said += [int(line) for line in process.stdout.read().splitlines()]
    kept = {r.key for r in open_store(path).replies()}
    assert {f"a-{number}" for number in said} <= kept
    assert len(kept) <= len(said) + 1


NEWER = sqlite3.connect(":memory:")
NEWER.execute("PRAGMA user_version = 99")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("calls.jsonl", b"no store\n" * 100, "calls.jsonl: file is not a database, expected a call store in SQLite"),
        ("calls.sqlite", NEWER.serialize(), "got schema 99, expected at most 1: update cpt-tasks"),
    ],
)
def test_a_file_that_is_no_store_is_named_and_left_alone(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            open_store(tmp_path / name)
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.skipif(sys.platform == "win32", reason="the file systems are SQLite's for Unix")
@pytest.mark.parametrize("system", ["unix-dotfile", "unix-none"])  # neither shares memory, as many network drives
def test_a_file_system_without_what_sqlite_needs_is_one_sentence(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, **options: connect(f"file:{path}?vfs={system}", uri=True, **options)
    )
    with pytest.raises(PrerequisiteError) as caught:
        open_judge_store(str(tmp_path / "calls.sqlite"))
    message = str(caught.value.message)
    assert message.startswith(f"{tmp_path / 'calls.sqlite'}: no write-ahead log, the journal stays 'delete'; the call ")
    assert message.endswith("name a file on a local disk: -T call_store=FILE, or -S call_store=FILE with inspect score")


@pytest.mark.parametrize("problem", ["locking protocol", "disk I/O error", "unable to open database file"])
def test_what_a_drive_says_is_said_and_never_that_the_file_is_no_store(
    problem: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError(problem)

    with monkeypatch.context() as patch, pytest.raises(ValueError, match=f"calls.sqlite: {problem}; the call store is"):
        patch.setattr("model_calls.store._use_wal", fails)
        open_store(path)
    (path.parent / "file").write_text("")
    with pytest.raises(ValueError, match="calls.sqlite: .*; the call store is SQLite's and needs a disk"):
        open_store(path.parent / "file" / "calls.sqlite")


def test_a_drive_that_fails_while_it_is_read_is_an_error_of_the_disk_that_names_the_file(path: Path) -> None:
    store = put(path, reply("a"))
    store.execute("ALTER TABLE calls RENAME TO gone")
    for attempt in (lambda: store.get("a"), lambda: store.execute("SELECT * FROM calls")):
        with pytest.raises(OSError, match=f"no such table: calls: '{path}'"):
            attempt()


def test_cpt_calls_counts_calls_tokens_and_refusals(path: Path) -> None:
    put(path, reply("a", "old"), reply("a"), reply("b", stop_reason="content_filter", batch=True)).close()
    output = succeeds(calls_command, path)
    lines = [f"{path}: 2 calls", "anthropic/claude-sonnet-5-5, batch: 1 calls, 1 refusals"]
    assert output.splitlines()[:2] == lines
    assert "output_tokens" in output


@pytest.mark.parametrize("arguments", [[], ["show"], ["forget", "--failed"]])
def test_cpt_calls_of_no_file_is_one_sentence_and_makes_none(path: Path, arguments: list[str]) -> None:
    sentence = f"Error: {path}: not found, expected a call store, such as calls/judge.sqlite\n"
    assert ran(calls_command, *arguments, path, code=1).output == sentence
    assert not path.exists()


def test_cpt_calls_forget_deletes_what_failed(path: Path) -> None:
    of_judge = {"params": {"response_schema": {"name": "verdict"}}}
    put(
        path,
        reply("a teacher's"),
        reply("refused", stop_reason="content_filter"),
        reply("cut off", stop_reason="max_tokens"),
        reply("a judge's, without a verdict", unusable="malformed_json", **of_judge),
        reply("a judge's, cut off and made good by the next", stop_reason="max_tokens", **of_judge),
    ).close()
    assert ran(calls_command, "forget", path, code=2).output.endswith("\nError: expected --failed or --batch ID\n")
    assert succeeds(calls_command, "forget", path, "--failed") == f"{path}: forgot 3 of 5 replies\n"
    kept = ["a teacher's", "a judge's, cut off and made good by the next"]
    assert [one.key for one in open_store(path).replies()] == kept
