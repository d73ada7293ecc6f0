"""The committed results: the README shows them as they are, and they can be recomputed from the committed logs."""

import json
from pathlib import Path

from inspect_ai.log import read_eval_log

from cpt_tasks.report.report import SECTIONS, of_task

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "results" / "smollm2-135m"


def table_rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_the_readme_shows_the_main_table_of_the_report() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.split("<!-- results -->")[1].split("<!-- /results -->")[0]
    summary = json.loads((RESULT / "summary.json").read_text(encoding="utf-8"))
    assert table_rows(block) == table_rows(
        SECTIONS["rubric_adherence"].tables(of_task(summary, "rubric_adherence"))["Overall"].to_markdown(index=False)
    )
    assert table_rows(block)[0] in (RESULT / "report.md").read_text(encoding="utf-8")


def test_no_committed_log_says_where_it_was_made() -> None:
    for path in sorted(ROOT.glob("results/**/*.eval")):
        revision = read_eval_log(str(path), header_only=True).eval.revision
        assert revision is None or not revision.origin.startswith(("/", "file:")), path
