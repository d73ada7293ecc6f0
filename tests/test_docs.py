"""The pages in docs/ name every parameter and option, links resolve, and a benchmark is its folder and two lists."""

import inspect
import re
import shlex
import subprocess
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import click
import pytest
import yaml
from inspect_ai import Task

from cpt_tasks import _registry
from cpt_tasks.cli import COMMANDS
from cpt_tasks.report.report import SECTIONS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
WITHOUT_SECTION = {"judge_robustness"}  # inspect prints its numbers

BENCHMARKS = sorted(path.parent.name for path in (ROOT / "cpt_tasks" / "benchmarks").glob("*/task.py"))
LISTED = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
NAMES = subprocess.check_output(LISTED, cwd=ROOT, text=True).splitlines()
MARKDOWN = [ROOT / name for name in NAMES if (ROOT / name).is_file()]


def headings(page: str) -> set[str]:
    """The anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def in_code(page: str) -> set[str]:
    """What stands between single backquotes."""
    return set(re.findall(r"`([^`\n]+)`", page))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_task_has_a_page_that_names_every_parameter(name: str) -> None:
    parameters = set(inspect.signature(getattr(_registry, name)).parameters)
    assert parameters - in_code((DOCS / "benchmarks" / f"{name}.md").read_text(encoding="utf-8")) == set()


def documented_tasks() -> list[str]:
    """The benchmarks that pages have typed, with their parameters: `NAME -T ...`."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in MARKDOWN)
    commands = re.findall(r"^ *inspect eval cpt_tasks/([^#\n]+)", re.sub(r"\\\n\s*", "", text), re.MULTILINE)
    typed = (shlex.split(command) for command in commands)
    return sorted({" ".join([words[0], *(b for a, b in pairwise(words) if a == "-T")]) for words in typed})


@pytest.mark.parametrize("typed", documented_tasks())
def test_every_benchmark_that_a_page_types_can_be_made(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    name, *parameters = typed.split()
    given = {key: yaml.safe_load(value) for key, _, value in (one.partition("=") for one in parameters)}
    make = getattr(_registry, name)
    without_key = {"judge": "none"} if "judge" in inspect.signature(make).parameters else {}
    assert len(make(**given | without_key).dataset) > 0


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_a_page_that_names_every_option(name: str) -> None:
    page = (DOCS / "commands" / f"{name.split(' ')[0]}.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {name.split(' ')[1]}\n")[1].split("\n## ")[0] if " " in name else page
    module, attribute = COMMANDS[name][0].split(":")
    command = getattr(import_module(module), attribute)
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    assert {flag for option in options for flag in option.opts} - in_code(section) == set()
    assert command.help
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("path", MARKDOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_resolve(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        assert target.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in headings(target.read_text(encoding="utf-8")), f"{link}: no such heading"


def test_every_test_that_the_page_on_robustness_names_is_there() -> None:
    file, missing = "", []
    for path, name in re.findall(r"`(tests/\S+?\.py)?(?:::(\w+))?`", (DOCS / "robustness.md").read_text("utf-8")):
        file = path or file  # `::name` alone is in the file before it
        if not re.search(rf"^def {name}\b", (ROOT / file).read_text("utf-8"), re.MULTILINE):
            missing.append(f"{file}::{name}")
    assert missing == []


def test_a_benchmark_is_its_folder_a_line_in_the_registry_and_one_in_the_report() -> None:
    returned = {name: inspect.signature(getattr(_registry, name)).return_annotation for name in _registry.__all__}
    assert {name for name, what in returned.items() if what is Task} == set(BENCHMARKS)
    assert set(BENCHMARKS) - WITHOUT_SECTION == set(SECTIONS)
    assert {path.stem for path in (DOCS / "benchmarks").glob("*.md")} == set(BENCHMARKS)
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    assert [page for page in DOCS.rglob("*/*.md") if f"({page.relative_to(DOCS)})" not in index] == []
