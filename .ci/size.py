"""How large is the house? Lines of Python per folder, files over 300 lines, functions over 50, against the budgets.

make size        # python .ci/size.py; exits with 1 over a budget

The budgets are what has been reached; they only go down, towards 14,000 lines of source and 9,000 of tests.
"""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parent.parent
BUDGETS = {"source": 19_200, "tests": 13_600}
MAX_FILE, MAX_TEST_FILE, MAX_FUNCTION = 300, 500, 50


def python_files() -> list[Path]:
    """The Python files that git tracks or would track."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted({ROOT / name for name in listed.splitlines() if (ROOT / name).is_file()})


def lines_of(path: Path) -> int:
    """Lines of a file, blank ones and comments too."""
    return len(path.read_text(encoding="utf-8").splitlines())


def long_functions(path: Path) -> list[tuple[str, int]]:
    """Functions of more than 50 lines, without counting their docstrings."""
    long = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
            documented = (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0
            length = (node.end_lineno or 0) - node.lineno + 1 - documented
            if length > MAX_FUNCTION:
                long.append((node.name, length))
    return long


def main() -> int:
    """Prints the sizes; 1 if a budget is overrun, else 0."""
    folders: Counter[str] = Counter()
    for path in python_files():
        parts = path.relative_to(ROOT).parts
        folders["/".join(parts[:2]) if len(parts) > 2 else parts[0]] += lines_of(path)
    for folder, lines in sorted(folders.items()):
        print(f"{lines:7,}  {folder}")
    totals = {"source": 0, "tests": 0}
    for folder, lines in folders.items():
        totals["tests" if folder.startswith("tests") else "source"] += lines
    for path in python_files():
        name = path.relative_to(ROOT)
        most = MAX_TEST_FILE if name.parts[0] == "tests" else MAX_FILE
        if lines_of(path) > most:
            print(f"over {most} lines: {name} ({lines_of(path)})")
        for function, length in long_functions(path):
            print(f"over {MAX_FUNCTION} lines: {name} {function} ({length})")
    for name, budget in BUDGETS.items():
        print(f"{name}: {totals[name]:,} of {budget:,} lines")
    return int(any(totals[name] > budget for name, budget in BUDGETS.items()))


if __name__ == "__main__":
    sys.exit(main())
