"""The layout holds: imports go one way, the base install needs no torch, names resolve, nothing heavy at import."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = tuple(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
OURS = ("cpt_tasks", "data_gen", "judges", "model_calls", "recipes", "rubrics")
MAY_IMPORT = {
    "rubrics": set(),
    "model_calls": set(),
    "judges": {"rubrics", "model_calls"},
    "cpt_tasks": {"rubrics", "model_calls", "judges"},
    "data_gen": {"rubrics", "model_calls", "judges"},
    "recipes": set(),
}
HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "lm_eval")
NEEDS_LM_EVAL = ROOT / "cpt_tasks" / "lm_harness" / "task.py"


def imported_packages(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_go_one_way(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        wrong = (imported_packages(path) & set(OURS)) - MAY_IMPORT[package] - {package}
        assert not wrong, f"{path.relative_to(ROOT)} imports {sorted(wrong)}"


def file_imports(path: Path, modules: dict[str, Path]) -> set[Path]:
    """The files of ours that a file imports, inside functions and for type checking too."""
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {modules[name] for name in imported if name in modules} - {path}


def circles(graph: dict[Path, set[Path]]) -> list[list[Path]]:
    """Files that cannot be put in an order in which each imports only those before it."""
    left = {path: set(targets) for path, targets in graph.items()}
    while free := [path for path, targets in left.items() if not targets & set(left)]:
        for path in free:
            del left[path]
    return [sorted(left)] if left else []


def test_no_file_imports_one_that_imports_it() -> None:
    folders = [(ROOT, name) for name in OURS if name != "recipes"] + [(ROOT / "recipes", "training")]
    modules = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for root, name in folders
        for path in sorted((root / name).rglob("*.py"))
    }
    graph = {path: file_imports(path, modules) for path in modules.values()}
    assert circles(graph) == []
    # it would see one
    first, second, *_ = graph
    assert circles({first: {second}, second: {first}}) == [sorted([first, second])]


def test_the_house_keeps_its_size() -> None:
    done = subprocess.run([sys.executable, ".ci/size.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert [line for line in done.stdout.splitlines() if line.startswith("over ")] == []


def test_the_base_install_declares_nothing_heavy() -> None:
    names = {re.split(r"[<>=\[ ]", requirement)[0].lower() for requirement in PROJECT["project"]["dependencies"]}
    assert not names & set(HEAVY)


def test_everything_but_recipes_and_the_task_of_lm_eval_imports_without_torch_and_lm_eval() -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in OURS
        if package != "recipes"
        for path in sorted((ROOT / package).rglob("*.py"))
        if path != NEEDS_LM_EVAL
    ]
    script = (
        "import importlib, sys\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {HEAVY!r}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        f"for name in {modules!r}: importlib.import_module(name)\nprint('imported')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "imported", done.stderr


def test_what_inspect_imports_of_ours_is_light() -> None:
    script = (
        "import time, sys; from inspect_ai import dataset, log, model, scorer, solver\n"
        "before = set(sys.modules); start = time.process_time(); import cpt_tasks._registry\n"
        "print(time.process_time() - start, sorted({'pandas', 'scipy', 'torch', 'trl'} & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.split(maxsplit=1)
    assert heavy.strip() == "[]"
    assert float(seconds) < 0.3


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    # the tasks of lm_eval and the rubrics are no Python, and one of them has no suffix
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "cpt_tasks/lm_harness/tasks/_cpt_task" in listed
    assert set(listed.split()) <= set(zipfile.ZipFile(wheel).namelist())


def test_our_judges_package_is_the_one_that_is_imported() -> None:
    # PyPI has another package of that name; with both installed, theirs would win
    import judges

    assert Path(str(judges.__file__)).is_relative_to(ROOT)


def test_registered_names_carry_the_package() -> None:
    from inspect_ai._util.registry import registry_info

    from cpt_tasks import _registry

    names = {registry_info(getattr(_registry, name)).name for name in _registry.__all__}
    assert names == {f"cpt_tasks/{name}" for name in _registry.__all__}


def test_every_cpt_command_loads_and_has_help() -> None:
    from click import Context, Option
    from click.testing import CliRunner

    from cpt_tasks.cli import COMMANDS, OLD_NAMES, main

    for name in [*COMMANDS, *OLD_NAMES]:
        command: Any = main
        for word in name.split():
            command = command.get_command(Context(command), word)
            assert command is not None, name
        assert command.help, f"{name} does not say what it does"
        shown = [option for option in command.params if isinstance(option, Option) and not option.hidden]
        unsaid = [option.name for option in shown if not option.help]
        assert not unsaid, f"{name}: {unsaid} without help"
    listing = CliRunner().invoke(main, ["--help"]).output + CliRunner().invoke(main, ["judge", "--help"]).output
    for name, (_, line) in COMMANDS.items():
        if not name.startswith(("adapter", "rubric")):
            assert f"\n  {name.split()[-1]} " in listing
            assert line in listing


def test_help_of_cpt_imports_no_command() -> None:
    script = (
        "import time, sys; start = time.process_time(); from cpt_tasks.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(time.process_time() - start, sorted({'pandas', 'inspect_ai', 'anthropic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    seconds, heavy = done.stdout.splitlines()[-1].split(maxsplit=1)
    assert heavy == "[]"
    assert float(seconds) < 0.3


def test_an_unknown_cpt_command_is_an_error() -> None:
    from click.testing import CliRunner

    from cpt_tasks.cli import main

    done = CliRunner().invoke(main, ["nonsense"])
    assert done.exit_code == 2
    assert "No such command 'nonsense'" in done.output


def test_constraints_pin_what_pyproject_asks_for() -> None:
    lines = [line.partition(" ;")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pins = dict(line.split("==") for line in lines if "==" in line)
    assert pins["torch"] == "2.13.0"
    normal = {name.lower().replace("_", "-") for name in pins}
    extras = PROJECT["project"]["optional-dependencies"]
    for requirement in (*PROJECT["project"]["dependencies"], *(name for extra in extras.values() for name in extra)):
        name = re.split(r"[<>=\[ ]", requirement)[0].lower().replace("_", "-")
        assert name in normal, f"constraints.txt does not pin {name}"


@pytest.mark.parametrize("word", ["/work/", "/root/", "/home/", "/tmp/venv"])
def test_no_committed_text_holds_a_path_of_a_machine(word: str) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    for name in listed.split("\0"):
        path = ROOT / name
        if name and path.is_file() and path.suffix not in (".png", ".eval") and path != Path(__file__):
            assert word not in path.read_text(encoding="utf-8", errors="ignore"), name
