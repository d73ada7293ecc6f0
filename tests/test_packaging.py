"""The layout holds: imports go one way, the base install needs no torch, names resolve, nothing heavy at import."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = tuple(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
MAY_IMPORT = {
    "rubrics": set(),
    "model_calls": set(),
    "judges": {"rubrics", "model_calls"},
    "cpt_tasks": {"rubrics", "model_calls", "judges"},
    "data_gen": {"rubrics", "model_calls", "judges"},
    "recipes": set(),
}
HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "lm_eval", "openvino")
SLOW = {"altair", "anthropic", "pandas", "scipy", "torch", "trl"}
NEEDS_EXTRAS = ("cpt_tasks.lm_harness.task", "model_calls.openvino", "model_calls.openvino_export")


def test_the_citation_names_the_version_of_the_package() -> None:
    assert f"\nversion: {PROJECT['project']['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def imported_names(path: Path, at_start: bool = False) -> set[str]:
    """The modules that a file imports, and the names from them, inside functions and for type checking too.

    With `at_start` only those that are imported when the file is.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in nodes_at_start(tree) if at_start else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def nodes_at_start(node: ast.AST) -> Iterator[ast.AST]:
    """What stands in a part of a file outside functions and outside what is for type checking."""
    is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    if not is_for_types and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield node
        for child in ast.iter_child_nodes(node):
            yield from nodes_at_start(child)


def modules_of(root: Path, package: str) -> dict[str, Path]:
    """The files of a package by the names of their modules."""
    files = sorted((root / package).rglob("*.py"))
    names = [".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for path in files]
    return dict(zip(names, files, strict=True))


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_go_one_way(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        packages = {name.split(".")[0] for name in imported_names(path)}
        wrong = (packages & set(MAY_IMPORT)) - MAY_IMPORT[package] - {package}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def test_no_file_imports_one_that_imports_it() -> None:
    modules = modules_of(ROOT / "recipes", "training")
    for package in MAY_IMPORT:
        modules |= modules_of(ROOT, package) if package != "recipes" else {}
    TopologicalSorter({name: imported_names(path) & set(modules) - {name} for name, path in modules.items()}).prepare()


def test_the_house_keeps_its_size() -> None:
    done = subprocess.run([sys.executable, ".ci/size.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("over ")] == []


def names_of(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[ ;]", one)[0].lower().replace("_", "-") for one in requirements}


def test_nothing_but_recipes_and_what_is_loaded_by_name_imports_torch_or_lm_eval_at_the_start() -> None:
    for package in MAY_IMPORT.keys() - {"recipes"}:
        for name, path in modules_of(ROOT, package).items():
            imported = imported_names(path, at_start=True)
            heavy = [one for one in imported if one.split(".")[0] in HEAVY or one in NEEDS_EXTRAS]
            assert name in NEEDS_EXTRAS or not heavy, name


@pytest.mark.parametrize(
    ("before", "ours", "absent"),
    [
        ("from inspect_ai import dataset, log, model, scorer, solver", "import cpt_tasks._registry", {*SLOW, *HEAVY}),
        ("", "from cpt_tasks.cli import main; main(['--help'], standalone_mode=False)", {*SLOW, "inspect_ai"}),
        ("", "import cpt_tasks.judge_logs.commands", {"inspect_ai", "scipy"}),
        ("", "from model_calls.errors import *\nwith clear_errors(): pass", {"anthropic", "inspect_ai", "tenacity"}),
    ],
    ids=["what inspect imports of ours", "help of cpt", "help of cpt judge", "a command that asks no model"],
)
def test_starting_is_light(before: str, ours: str, absent: set[str]) -> None:
    script = (
        f"import sys\n{before}\nbefore = set(sys.modules)\n{ours}\n"
        f"new = set(sys.modules) - before\nprint(len(new), {absent!r} & new)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules, imported = done.stdout.splitlines()[-1].split(maxsplit=1)
    assert imported == "set()"
    assert int(modules) < 400  # 50 to 270; counted, as seconds say how busy the machine is; pandas alone has 575


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    # the tasks of lm_eval and the rubrics are no Python, and one of them has no suffix
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    listed = subprocess.check_output(["git", "ls-files", *PACKAGES], cwd=ROOT, text=True)
    assert "cpt_tasks/lm_harness/tasks/_cpt_task" in listed
    assert set(listed.split()) <= set(zipfile.ZipFile(wheel).namelist())


def test_registered_names_carry_the_package() -> None:
    from inspect_ai._util.registry import registry_info

    from cpt_tasks import _registry

    for name in _registry.__all__:
        assert registry_info(getattr(_registry, name)).name == f"cpt_tasks/{name}"


def test_the_help_lists_every_cpt_command() -> None:
    from click.testing import CliRunner

    from cpt_tasks.cli import COMMANDS, main

    listing = CliRunner().invoke(main, ["--help"]).output + CliRunner().invoke(main, ["judge", "--help"]).output
    for name, (_, line) in COMMANDS.items():
        if not name.startswith(("adapter", "rubric")):
            assert f"\n  {name.split()[-1]} " in listing
            assert line in listing


def test_the_base_install_is_light_and_constraints_pin_what_pyproject_asks_for() -> None:
    asked = PROJECT["project"]["dependencies"]
    assert not names_of(asked) & {name.replace("_", "-") for name in HEAVY}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert "torch==2.13.0" in [line.partition(" ;")[0] for line in lines]
    for extra in PROJECT["project"]["optional-dependencies"].values():
        asked = asked + extra
    assert names_of(asked) - names_of([line for line in lines if "==" in line]) == set()


def test_no_committed_text_holds_a_path_of_a_machine() -> None:
    command = ["git", "grep", "-nIE", "/work/|/root/|/home/|/tmp/venv", "--", ".", f":!tests/{Path(__file__).name}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == ""
