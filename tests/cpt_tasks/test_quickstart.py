"""`cpt quickstart` from the cost to the page: the real SDK against a fake server."""

import re
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from command_runs import fails, strict_json, succeeds
from fake_anthropic import FakeAnthropic, prompt_id, prompt_text, reply_text
from students import WORDINGS, texts

from cpt_tasks.quickstart import quickstart_command
from judges import DEFAULT_JUDGE

pytestmark = pytest.mark.usefixtures("in_own_folder")
STUDENT = "anthropic/claude-haiku-5-5"
LITERAL = ("--model", STUDENT, "--yes", "--no-open")
TABLE_ROW = re.compile(r"^\| (\S+) +\| (\d+) +\| (\S+) +\| (\S+) +\| (\S+) +\|$", re.MULTILINE)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Addresses that a browser was asked to open."""
    addresses: list[str] = []
    monkeypatch.setenv("BROWSER", "some")
    monkeypatch.setattr("webbrowser.open", addresses.append)
    return addresses


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody can be asked whether to go on."""
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)


def calls(server: FakeAnthropic) -> Counter[str]:
    """Requests by model."""
    return Counter(f"anthropic/{body['model']}" for body in server.bodies)


def follows(body: dict[str, Any]) -> str:
    """Writes what a measured rubric's system prompt asks for, in the band of its level."""
    [asked] = [request for wording, request in WORDINGS.items() if wording in prompt_text(body)]
    return texts()[asked]


def test_eighteen_responses_and_judgments_then_a_table_and_a_page_and_nothing_twice(
    anthropic_server: FakeAnthropic, opened: list[str], terminal: None, tmp_path: Path
) -> None:
    done = CliRunner().invoke(quickstart_command, LITERAL[:2], input="y\n")
    assert done.exit_code == 0, done.output
    said = done.output
    assert calls(anthropic_server) == {STUDENT: 18, DEFAULT_JUDGE: 18}
    # by hand: 300 tokens a response; 60 for each of 5 criteria and the whole, 300 of thinking: 660 a judgment
    assert re.search(rf"18 responses by {STUDENT}: about \d+ tokens in, 5,400 out, 0.00 USD", said)
    assert re.search(rf"18 judgments by {DEFAULT_JUDGE}: about [\d,]+ tokens in, 11,880 out, 0.\d\d USD", said)
    assert re.search(r"together 0.\d\d USD, at prices of 20", said)
    rows = TABLE_ROW.findall(said)
    assert [row[:2] for row in rows] == [
        ("explain_examples", "6"),
        ("film_rococo", "6"),
        ("persona_old_sailor", "6"),
        ("all", "18"),
    ]
    assert "0 of 18 responses and their judgments are of an earlier run" in said
    assert "each rubric has 2 user prompts: too few for an interval" in said
    [model] = strict_json(tmp_path / "quickstart" / "summary.json")["models"]
    assert f"{model['tasks']['rubric_adherence']['metrics']['macro_accuracy']['value']:.2f}" == rows[-1][2]
    assert (tmp_path / "quickstart" / "report.md").is_file()
    assert opened == [(tmp_path / "quickstart" / "report.html").as_uri()]
    again = succeeds(quickstart_command, *LITERAL)
    assert calls(anthropic_server).total() == 36
    assert "18 of 18 responses and their judgments are of an earlier run" in again
    assert TABLE_ROW.findall(again) == rows
    assert len(opened) == 1


@pytest.mark.slow
def test_without_a_key_text_statistics_judge_and_another_judge_or_argument_of_the_model_is_another_run(
    anthropic_server: FakeAnthropic,
) -> None:
    anthropic_server.reply = follows
    said = succeeds(quickstart_command, *LITERAL, "--judge", "measured")
    assert calls(anthropic_server) == {STUDENT: 18}
    assert TABLE_ROW.findall(said) == [
        *((rubric, "6", "1.00", "1.00", "0.0") for rubric in ("broadcast", "field_notes", "labyrinth")),
        ("all", "18", "1.00", "1.00", "0.0"),
    ]
    said = succeeds(quickstart_command, *LITERAL, "--judge", "measured", "-M", "betas=[some-beta]")
    assert "0 of 18 responses" in said
    assert "some-beta" in anthropic_server.headers[-1]["anthropic-beta"]
    anthropic_server.reply = reply_text
    assert "0 of 18 responses" in succeeds(quickstart_command, *LITERAL)
    assert calls(anthropic_server) == {STUDENT: 54, DEFAULT_JUDGE: 18}


@pytest.mark.slow
def test_a_killed_run_started_again_pays_for_no_judgment_twice(anthropic_server: FakeAnthropic, tmp_path: Path) -> None:
    def reply(body: dict[str, Any]) -> str:
        if f"anthropic/{body['model']}" == DEFAULT_JUDGE:
            anthropic_server.config.latency_seconds = 30.0  # of whatever is asked from now on
        return reply_text(body)

    def served() -> list[int]:
        asked = {prompt_id(body) for body in anthropic_server.bodies if body["model"] in DEFAULT_JUDGE}
        return [anthropic_server.stats.served[prompt] for prompt in asked]

    anthropic_server.reply = reply
    command = [sys.executable, "-c", "from cpt_tasks.cli import main; main()", "quickstart", *LITERAL]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not sum(served()) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1.5)  # until what was judged is in the log
        process.kill()
    before = sum(served())
    assert 1 <= before < 18
    anthropic_server.config.latency_seconds, anthropic_server.reply = 0.0, reply_text
    said = succeeds(quickstart_command, *LITERAL)
    assert f"\n{before} of 18 responses and their judgments are of an earlier run" in said
    assert served() == [1] * 18


def test_nothing_is_asked_before_somebody_agrees(
    anthropic_server: FakeAnthropic, request: pytest.FixtureRequest
) -> None:
    message = fails(quickstart_command, "--model", STUDENT)
    assert message.index("together 0.") < message.index("nobody can be asked here whether to go on: add --yes")
    request.getfixturevalue("terminal")
    refused = CliRunner().invoke(quickstart_command, ["--model", STUDENT], input="n\n")
    assert (refused.exit_code, "Go on? [y/N]" in refused.output) == (1, True)
    assert calls(anthropic_server) == {}


def test_a_cost_without_a_price_is_not_known(anthropic_server: FakeAnthropic) -> None:
    message = fails(quickstart_command, "--model", "anthropic/claude-unheard-of")
    assert "5,400 out, cost not known" in message
    assert "together cost not known" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model", "claude"), "Model name 'claude' should be in the format of"),
        (("--model", "nobody/model"), "Model API nobody of model 'nobody/model' not recognized"),
        pytest.param(
            ("--model", "hf/local", "-M", "model_path=nowhere/at-all"),
            "Error: --model hf/local: ",
            marks=pytest.mark.skipif(not find_spec("torch"), reason="needs torch"),
        ),
        (("--model", STUDENT), "No ANTHROPIC_API_KEY defined in the environment"),
        (("--model", "mockllm/model"), f"--judge {DEFAULT_JUDGE}: Unable to initialise Anthropic client"),
        (("--model", "mockllm/model"), "--judge measured needs no key for it"),
        (("--model", "mockllm/model", "-M", "a"), "-M': got a, expected NAME=VALUE"),
    ],
)
def test_a_model_that_cannot_be_asked_is_one_sentence(arguments: tuple[str, ...], message: str) -> None:
    assert message in fails(quickstart_command, *arguments, "--yes")


def test_what_went_wrong_is_said_with_how_to_go_on(
    anthropic_server: FakeAnthropic, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def breaks(*_: object) -> None:
        raise ValueError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr("cpt_tasks.scorer.score_response", breaks)
        message = fails(quickstart_command, *LITERAL, "--judge", "measured")
    assert "the disk is full" in message
    assert message.rstrip().endswith("the same command goes on from here, what was answered is kept")
    assert "| all " in succeeds(quickstart_command, *LITERAL, "--judge", "measured")
