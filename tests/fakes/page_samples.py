"""A small report with every chart and hostile texts, for the tests of the report's page."""

from types import SimpleNamespace
from typing import Any

import pandas as pd

from cpt_tasks.report.figures import page_spec
from cpt_tasks.report.page import view
from cpt_tasks.report.page.samples import Samples, samples_of
from cpt_tasks.report.report import SECTIONS
from cpt_tasks.report.run import Run

HOSTILE = "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\"> & <!--"
MODELS = ["alpha", "beta", f"gamma {HOSTILE}"]
ACCURACY = {"alpha": 0.4, "beta": 0.9, MODELS[2]: None}
RUBRICS = ["noir", "reverie"]
LEVELS = ["low", "moderate", "extremely_high"]
NAN = float("nan")
TASKS = ["rubric_adherence", "best_of_n", "dose_response", "composition", "paraphrase_robustness", "drift"]


def estimate(value: float | None) -> dict[str, float | None]:
    low, high = (None, None) if value is None else (value - 0.05, value + 0.05)
    return {"value": value, "ci_low": low, "ci_high": high}


def sample(rubric: str, level: str, prompt: int, score: float, **changes: Any) -> dict[str, Any]:
    criteria = [("rhythm", 55.0, f"reason {prompt}"), ("imagery", 20.5, HOSTILE)]
    judgment = SimpleNamespace(criteria=[SimpleNamespace(id=i, score=s, reason=r) for i, s, r in criteria], holistic=40)
    facts = {"rubric": rubric, "level": level, "target": NAN, "user_prompt_id": f"prompt-{prompt}", "epoch": 1}
    facts |= {"wording": f"heldout-{prompt % 2}", "score": score, "words": 20.0 + prompt, "reason": ""}
    facts |= {"system_prompt": f"Write {rubric} at level {level}.", "user_prompt": f"Describe scene {prompt}."}
    facts |= {"response": f"{rubric} {level} response {prompt}", "stop_reason": "stop"}
    return facts | {"record": SimpleNamespace(judgment=judgment)} | changes


def run(task: str, model: str, rows: list[dict[str, Any]]) -> Run:
    return Run(task, model, model, "base", None, "system_prompt", {}, pd.DataFrame(rows))


def adherence(model: str) -> Run:
    """Eight responses per cell with the scores 5, 17, 29, ... 89; the first of each cell is hostile."""
    rows = [
        sample(rubric, level, prompt, 5 + 12 * prompt, **({"response": HOSTILE} if prompt == 0 else {}))
        for rubric in RUBRICS
        for level in LEVELS
        for prompt in range(8)
    ]
    return run("rubric_adherence", model, rows)


def runs() -> list[Run]:
    """Of every model a run of three benchmarks: of levels, of targets, and without a level."""
    return [
        part
        for model in MODELS
        for part in (
            adherence(model),
            run("dose_response", model, [sample("noir", "low", n, 20 + n, target=30.0) for n in range(2)]),
            run("drift", model, [sample("noir", "none", n, 50, wording="") for n in range(2)]),
        )
    ]


def samples() -> list[Samples]:
    return [samples_of(part) for part in runs()]


def summary() -> dict[str, Any]:
    facts = {"judge": HOSTILE, "prompt_version": "1", "rubrics": {"noir": "abc", "reverie": "def"}, "user_prompts": 8}
    return {
        "schema": 2,
        "seed": 0,
        "versions": {"cpt-tasks": "0.2.0"},
        "tasks": {task: {"task": task, **facts} for task in TASKS},
        "models": [
            {"name": model, "base": "base", "adapter": HOSTILE if number == 2 else None, "prompting": "system_prompt"}
            | {"tasks": tasks(model, number)}
            for number, model in enumerate(MODELS)
        ],
    }


def tasks(model: str, number: int) -> dict[str, Any]:
    names = ("kendall_tau_b", "spearman_rho", "order_accuracy", "calibration_slope", "weighted_kappa")
    metrics = {name: estimate(0.1 - 0.2 * number) for name in names}
    metrics |= {"macro_accuracy": estimate(ACCURACY[model]), "chance_accuracy": estimate(1 / 3)}
    requests = {name: {"metrics": {bar: estimate(0.5) for bar in BARS}} for name in ("same_levels", "different_levels")}
    adherent = {
        "n": 48 + number, "unscored": number, "user_prompts": 8, "metrics": metrics, "side_effects": matrix(),
        "details": {"log": "a.eval", "command": f"inspect eval cpt_tasks/rubric_adherence --model {model}"},
        "by_rubric": {rubric: {"n": 24, "metrics": {"macro_accuracy": estimate(0.5)}} for rubric in RUBRICS},
        "by_level": {
            level: {"n": 16, "metrics": {"accuracy": estimate(0.5), "mean_score": estimate(20 + 30 * rank)}}
            for rank, level in enumerate(LEVELS)
        },
    }  # fmt: skip
    others = {
        "best_of_n": {"cost_unit": "tokens", "curves": curves(number)},
        "dose_response": {"curve": doses(number), "by_rubric": {"noir": {"curve": doses(number)}}},
        "composition": {"by_request": requests, "side_effects": matrix()},
        "paraphrase_robustness": {"cells": cells()},
        "drift": {
            "by_rubric": {rubric: {"score": estimate(50.0)} for rubric in RUBRICS},
            "drift": {"by_rubric": {rubric: estimate(-4.0) for rubric in RUBRICS}},
        },
    }
    return {"rubric_adherence": adherent} | {task: part | {"n": 10, "unscored": 0} for task, part in others.items()}


BARS = ("accuracy_alone", "accuracy_together", "both_right")


def cells() -> list[dict[str, Any]]:
    accuracy = {"heldout-0": 0.8, "heldout-1": 0.2, HOSTILE: 0.5}
    return [
        {"rubric": rubric, "level": level, "position": "system", "style": "descriptive", "n": 8, "mean": 0.5}
        | {"accuracy": accuracy}
        for rubric in RUBRICS
        for level in LEVELS
    ]


def matrix() -> list[dict[str, Any]]:
    return [
        {"steered": steered, "scored": scored, "n": 8, "shift": 50.0 if steered == scored else -6.0}
        | {"ci_low": None, "ci_high": None}
        for steered in RUBRICS
        for scored in RUBRICS
    ]


def curves(number: int) -> list[dict[str, Any]]:
    return [
        {"level": level, "k": k, "statistic": statistic, "mean_tokens": 100.0 * k} | estimate(0.2 + 0.05 * k)
        for statistic in ("band_hit", "score")
        for level in [*LEVELS, "all"]
        for k in (1, 2, 4, 8)
    ]


def doses(number: int) -> list[dict[str, Any]]:
    return [
        {"target": float(target), "trained": target == 50, "mean": target * (0.9 - number / 4), "n": 8}
        | {"ci_low": target * 0.5, "ci_high": float(target)}
        for target in (10, 30, 50, 70, 90)
    ]


def sections(content: dict[str, Any]) -> list[view.SectionView]:
    """Every benchmark of a summary with its charts, and a hostile table."""
    views = []
    for task in content["tasks"]:
        models = {model["name"]: model["tasks"][task] for model in content["models"] if task in model["tasks"]}
        drawn = SECTIONS[task].charts(models, [adherence(name) for name in models])
        charts = {name: page_spec(chart) for name, chart in drawn.items()}
        tables = {"By level": pd.DataFrame({"model": ["a", "b"], "level": [HOSTILE, "low"], "n": ["9", "10"]})}
        views.append(view.SectionView(task, task, "What `it` is.", "8 user prompts: few", charts, tables))
    return views
