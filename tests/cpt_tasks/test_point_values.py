"""Every number of the committed reports is the one that version 0.1 printed, or stands among those that were to change.

`point_values/` holds what version 0.1 wrote into summary.json, without intervals, as path -> value by model, and in
`changed.json` path -> [value then, value now]. There a response that is none became a miss at every level and left the
statistics of scores, `words` came to count numbers, and the measures read curly apostrophes as straight ones. Later
`kendall_tau_b` and `kendall_tau_b_given_length`, not `kendall_tau_b_pooled`, left out the pairs of answers to one user
prompt, and the by-chance values of side effects and total drift came to be of centred differences.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cpt_tasks.report.logs import find_logs, read_run
from cpt_tasks.report.report import summarise

ROOT = Path(__file__).parents[2]
FROZEN = Path(__file__).parent / "point_values"
CHANGED = json.loads((FROZEN / "changed.json").read_text(encoding="utf-8"))
LOGS = {
    "smollm2-135m": [
        f"smollm2-135m/logs/{name}"
        for name in ("base.eval", "full_rubric.eval", "cpt.eval", "best_of_n", "dose_response", "composition")
        + ("paraphrase_robustness", "drift")
    ],
    "curve": ["smollm2-135m/logs/curve"],
}
RENAMED = [(r"\bgain\b", "calibration_slope"), ("leakage", "side_effects")]
# pattern of paths -> why there is no such value any more
GONE = {
    "order_accuracy": "Somers' d says it",
    r"by_rubric/\w+/metrics/weighted_kappa": "it stands over all rubrics",
    "undefined_resamples": "nothing is resampled",
    r"best_of_n/against/\d+/(ceiling|base_cost|cost|cost_unit)": "the goal and the cost per response say it",
}
POINT = ("level", "k", "statistic", "target")


def point_values(part: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Everything but intervals and details, by path; a point of a curve is named by where it lies."""
    if isinstance(part, dict) and {"value", "ci_low"} <= set(part):
        path += "".join(f"[{part[name]}]" for name in POINT if name in part)
        yield path, part["value"]
        if "mean_tokens" in part:
            yield f"{path}/mean_tokens", part["mean_tokens"]
    elif isinstance(part, dict | list):
        entries = part.items() if isinstance(part, dict) else enumerate(part)
        for name, entry in entries:
            if name not in ("details", "ci_low", "ci_high"):
                yield from point_values(entry, f"{path}/{name}")
    else:
        yield path, part


def is_same(value: Any, other: Any) -> bool:
    return bool(value == (pytest.approx(other, abs=1e-9) if isinstance(other, float) else other))


def renamed(path: str) -> str:
    for old, new in RENAMED:
        path = re.sub(old, new, path)
    return path


@pytest.mark.parametrize("report", sorted(LOGS))
def test_point_values_are_those_of_version_0_1(report: str) -> None:
    frozen = json.loads((FROZEN / f"{report}.json").read_text(encoding="utf-8"))
    runs = [read_run(path) for path in find_logs([str(ROOT / "results" / path) for path in LOGS[report]])]
    models = {model["name"]: model["tasks"] for model in summarise(runs, seed=0)["models"]}
    assert set(models) == set(frozen)
    for name, values in frozen.items():
        ours = dict(entry for task, part in models[name].items() for entry in point_values(part, task))
        wanted = {renamed(path): value for path, value in values.items() if not re.search("|".join(GONE), path)}
        assert {path for path in wanted if path not in ours} == set()
        moved = CHANGED[report].get(name, {})
        differ = {path: [value, ours[path]] for path, value in wanted.items() if not is_same(value, ours[path])}
        assert set(differ) == set(moved)
        for path, values in differ.items():
            assert all(map(is_same, values, moved[path])), path
