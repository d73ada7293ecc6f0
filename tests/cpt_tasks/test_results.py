"""The committed results: the README shows them as they are, and they can be recomputed from the committed logs."""

import json
from pathlib import Path

import pytest
from inspect_ai.log import read_eval_log

from cpt_tasks.report import summarise
from cpt_tasks.runs import check_comparable, find_logs, read_run
from cpt_tasks.summaries.rubric_adherence import table

ROOT = Path(__file__).parents[2]
RESULT = ROOT / "results" / "smollm2-135m"


def table_rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_the_readme_shows_the_main_table_of_the_report() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.split("<!-- results -->")[1].split("<!-- /results -->")[0]
    summary = json.loads((RESULT / "summary.json").read_text(encoding="utf-8"))
    assert table_rows(block) == table_rows(table(summary).to_markdown(index=False))
    assert table_rows(block)[0] in (RESULT / "report.md").read_text(encoding="utf-8")


def test_the_summary_is_what_the_committed_logs_give() -> None:
    committed = json.loads((RESULT / "summary.json").read_text(encoding="utf-8"))
    paths = [str(RESULT / "logs" / f"{name}.eval") for name in ("base", "full_rubric", "cpt")]
    runs = [read_run(path) for path in find_logs(paths)]
    check_comparable(runs)
    again = summarise(runs, n_resamples=20, seed=0)
    assert again["run"]["rubrics"] == committed["run"]["rubrics"]
    for ours, theirs in zip(again["models"], committed["models"], strict=True):
        for key in ("name", "base", "adapter", "prompting", "n", "unscored"):
            assert ours[key] == theirs[key]
        values = {name: estimate["value"] for name, estimate in theirs["metrics"].items()}
        # a report made before a statistic was added lacks it
        assert {name: ours["metrics"][name]["value"] for name in values} == pytest.approx(values)


def test_no_committed_log_says_where_it_was_made() -> None:
    for path in sorted(ROOT.glob("results/**/*.eval")):
        revision = read_eval_log(str(path), header_only=True).eval.revision
        assert revision is None or not revision.origin.startswith(("/", "file:")), path
