"""A small report with every chart and hostile texts, for the tests of the report's page."""

from types import SimpleNamespace
from typing import Any

import pandas as pd

from cpt_tasks.report.figures import page_spec
from cpt_tasks.report.page import SectionView, build_page
from cpt_tasks.report.report import SECTIONS
from cpt_tasks.report.run import Judging, Run

HOSTILE = "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\"> & <!--"
MODELS = ["alpha", "beta", f"gamma {HOSTILE}"]
ACCURACY = {"alpha": 0.4, "beta": 0.9, MODELS[2]: None}
RUBRICS = ["noir", "reverie"]
LEVELS = ["low", "moderate", "extremely_high"]
TASKS = ["rubric_adherence", "best_of_n", "dose_response", "composition", "paraphrase_robustness", "drift"]
NO_INTERVAL = {"ci_low": None, "ci_high": None}


def estimate(value: float | None) -> dict[str, float | None]:
    return {"value": value} | (NO_INTERVAL if value is None else {"ci_low": value - 0.05, "ci_high": value + 0.05})


def sample(rubric: str, level: str, prompt: int, score: float, **changes: Any) -> dict[str, Any]:
    criteria = [("rhythm", 55.0, f"reason {prompt}"), ("imagery", 20.5, HOSTILE)]
    judgment = SimpleNamespace(criteria=[SimpleNamespace(id=i, score=s, reason=r) for i, s, r in criteria], holistic=40)
    facts = {"rubric": rubric, "level": level, "target": float("nan"), "user_prompt_id": f"prompt-{prompt}"}
    facts |= {"wording": f"heldout-{prompt % 2}", "epoch": 1, "score": score, "words": 20.0 + prompt, "reason": ""}
    facts |= {"system_prompt": f"Write {rubric} at level {level}.", "user_prompt": f"Describe scene {prompt}."}
    facts |= {"response": f"{rubric} {level} response {prompt}", "stop_reason": "stop"}
    return facts | {"record": SimpleNamespace(judgment=judgment)} | changes


def run(task: str, model: str, rows: list[dict[str, Any]]) -> Run:
    judging = Judging(attainable_accuracy=0.95 if model == "beta" else float("nan"))
    return Run(task, model, model, "base", None, "system_prompt", {}, pd.DataFrame(rows), judging)


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


def page(content: dict[str, Any] | None = None, **options: Any) -> str:
    """The page of a summary, that of `summary` by default."""
    content = content or summary()
    made = [part for part in runs() if part.task in content["tasks"]]
    return build_page(content, made, sections(content), **options)


def summary(tasks: list[str] = TASKS) -> dict[str, Any]:
    facts = {"judge": HOSTILE, "prompt_version": "1", "rubrics": {"noir": "abc", "reverie": "def"}, "user_prompts": 8}
    return {
        "versions": {"cpt-tasks": "0.2.0"},
        "tasks": {task: {"task": task, **facts} for task in tasks},
        "models": [
            {"name": model, "base": "base", "adapter": HOSTILE if number == 2 else None, "prompting": "system_prompt"}
            | {"tasks": {task: part for task, part in parts(model, number).items() if task in tasks}}
            for number, model in enumerate(MODELS)
        ],
    }


def parts(model: str, number: int) -> dict[str, Any]:
    """What the summary holds of each benchmark."""
    names = ("kendall_tau_b", "spearman_rho", "order_accuracy", "calibration_slope", "weighted_kappa")
    metrics = {name: estimate(0.1 - 0.2 * number) for name in names}
    metrics |= {"macro_accuracy": estimate(ACCURACY[model]), "chance_accuracy": estimate(1 / 3)}
    shares = {name: estimate(0.5) for name in ("accuracy_alone", "accuracy_together", "both_right")}
    doses = [
        {"target": float(target), "trained": target == 50, "mean": target * (0.9 - number / 4), "n": 8}
        | {"ci_low": target * 0.5, "ci_high": float(target)}
        for target in (10, 30, 50, 70, 90)
    ]
    side_effects = [
        {"steered": steered, "scored": scored, "n": 8, "shift": 50.0 if steered == scored else -6.0} | NO_INTERVAL
        for steered in RUBRICS
        for scored in RUBRICS
    ]
    curves = [
        {"level": level, "k": k, "statistic": statistic, "mean_tokens": 100.0 * k} | estimate(0.2 + 0.05 * k)
        for statistic in ("band_hit", "score")
        for level in [*LEVELS, "all"]
        for k in (1, 2, 4, 8)
    ]
    cells = [
        {"rubric": rubric, "level": level, "position": "system", "style": "descriptive", "n": 8, "mean": 0.5}
        | {"accuracy": {"heldout-0": 0.8, "heldout-1": 0.2, HOSTILE: 0.5}}
        for rubric in RUBRICS
        for level in LEVELS
    ]
    adherent = {
        "n": 48 + number, "unscored": number, "user_prompts": 8, "metrics": metrics, "side_effects": side_effects,
        "details": {"log": "a.eval", "command": f"inspect eval cpt_tasks/rubric_adherence --model {model}"},
        "by_rubric": {rubric: {"n": 24, "metrics": {"macro_accuracy": estimate(0.5)}} for rubric in RUBRICS},
        "by_level": {
            level: {"n": 16, "metrics": {"accuracy": estimate(0.5), "mean_score": estimate(20 + 30 * rank)}}
            for rank, level in enumerate(LEVELS)
        },
    }  # fmt: skip
    others = {
        "best_of_n": {"cost_unit": "tokens", "curves": curves},
        "dose_response": {"curve": doses, "by_rubric": {"noir": {"curve": doses}}},
        "composition": {
            "by_request": {name: {"metrics": shares} for name in ("same_levels", "different_levels")},
            "side_effects": side_effects,
        },
        "paraphrase_robustness": {"cells": cells},
        "drift": {
            "by_rubric": {rubric: {"score": estimate(50.0)} for rubric in RUBRICS},
            "drift": {"by_rubric": {rubric: estimate(-4.0) for rubric in RUBRICS}},
        },
    }
    return {"rubric_adherence": adherent} | {task: part | {"n": 10, "unscored": 0} for task, part in others.items()}


def sections(content: dict[str, Any]) -> list[SectionView]:
    """Every benchmark of a summary with its charts, and a hostile table."""
    views = []
    for task in content["tasks"]:
        models = {model["name"]: model["tasks"][task] for model in content["models"]}
        drawn = SECTIONS[task].charts(models, list(map(adherence, models)))
        charts = {name: page_spec(chart) for name, chart in drawn.items()}
        tables = {"By level": pd.DataFrame({"model": ["a", "b"], "level": [HOSTILE, "low"], "n": ["9", "10"]})}
        views.append(SectionView(task, task, "What `it` is.", "8 user prompts: few", charts, tables))
    return views
