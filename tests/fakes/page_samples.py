"""A small report with every chart and hostile texts, for the tests of the report's page."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from cpt_tasks.report.figures import page_spec
from cpt_tasks.report.page import Part, SectionView, build_page
from cpt_tasks.report.report import SECTIONS, of_task
from cpt_tasks.report.run import Judging, Run

HOSTILE = "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\"> & <!--"
MODELS = ["alpha", "beta", f"gamma {HOSTILE}"]
SUMMARY = Path(__file__).parents[2] / "results" / "smollm2-135m" / "summary.json"
NAN = float("nan")


def sample(rubric: str, level: str, prompt: int, score: float, **changes: Any) -> dict[str, Any]:
    criteria = [("rhythm", 55.0, f"reason {prompt}"), ("imagery", 20.5, HOSTILE)]
    judgment = SimpleNamespace(criteria=[SimpleNamespace(id=i, score=s, reason=r) for i, s, r in criteria], holistic=40)
    facts = {"rubric": rubric, "level": level, "target": NAN, "user_prompt_id": f"prompt-{prompt}", "epoch": 1}
    facts |= {"wording": f"heldout-{prompt % 2}", "score": score, "words": 20.0 + prompt, "reason": "", "edited": False}
    facts |= {"system_prompt": f"Write {rubric} at level {level}.", "user_prompt": f"Describe scene {prompt}."}
    facts |= {"response": f"{rubric} {level} response {prompt}", "stop_reason": "stop", "turn": ""}
    return facts | {"record": SimpleNamespace(judgment=judgment)} | changes


def run(task: str, model: str, rows: list[dict[str, Any]]) -> Run:
    judging = Judging(attainable_accuracy=0.95 if model == "beta" else NAN)
    return Run(task, model, model, "base", None, "system_prompt", {}, pd.DataFrame(rows), judging)


def adherence(model: str) -> Run:
    """Eight responses per cell with the scores 5, 17, 29, ... 89; the first of each cell is hostile."""
    rows = [
        sample(rubric, level, prompt, 5 + 12 * prompt, **({"response": HOSTILE} if prompt == 0 else {}))
        for rubric in ("noir", "reverie")
        for level in ("low", "moderate", "extremely_high")
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


def page(*tasks: str, **options: Any) -> str:
    """The page of some benchmarks, by default of all."""
    content = summary(*tasks)
    own_runs = [run for run in runs() if run.task in content["tasks"]]
    return build_page([Part(content, own_runs, sections(content))], **options)


def page_of_two_judges() -> str:
    """A page of two models, one of which a second judge judged too, at scores of 100 less."""
    alpha, beta = adherence("alpha"), adherence("beta")
    turned = alpha.frame.assign(score=100 - alpha.frame["score"], response="judged again")
    again = replace(alpha, frame=turned, protocol={"judge": "m/judge", "prompt_version": "3"})
    content = summary("rubric_adherence")
    parts = []
    for number, own_runs in enumerate([[alpha, beta], [again]]):
        names = [run.name for run in own_runs]
        own = content | {"models": [model for model in content["models"] if model["name"] in names]}
        views = [
            replace(view, charts={f"{name}-{number}": spec for name, spec in view.charts.items()})
            for view in sections(own)
        ]
        parts.append(Part(own, own_runs, views))
    return build_page(parts)


def summary(*tasks: str) -> dict[str, Any]:
    """The committed summary with hostile names; the accuracies are 0.4, 0.9 and undefined."""
    content: dict[str, Any] = json.loads(SUMMARY.read_text(encoding="utf-8"))
    shown = tasks or tuple(content["tasks"])
    content["tasks"] = {task: part | {"judge": HOSTILE} for task, part in content["tasks"].items() if task in shown}
    for number, (model, name, accuracy) in enumerate(zip(content["models"], MODELS, (0.4, 0.9, None), strict=True)):
        model |= {"name": name, "adapter": HOSTILE}
        model["tasks"] = {task: part for task, part in model["tasks"].items() if task in shown}
        adherent = model["tasks"].get("rubric_adherence", {"metrics": {}})
        adherent["unscored"] = number
        adherent["metrics"]["macro_accuracy"] = {"value": accuracy, "ci_low": None, "ci_high": None}
        adherent["metrics"]["somers_d"] = {"value": 0.1 - 0.2 * number, "ci_low": -0.5, "ci_high": 0.5}
    return content


def sections(content: dict[str, Any]) -> list[SectionView]:
    """Every benchmark of a summary with its charts, and a hostile table."""
    views = []
    for task in content["tasks"]:
        models = of_task(content, task)
        charts = SECTIONS[task].charts(models, list(map(adherence, models)))
        specs = {name: page_spec(chart) for name, chart in charts.items()}
        tables = {"By level": pd.DataFrame({"model": ["a", "b"], "level": [HOSTILE, "low"], "n": ["9", "10"]})}
        views.append(SectionView(task, task, "What `it` is.", ["8 user prompts: few"], specs, tables))
    return views
