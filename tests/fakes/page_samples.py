"""A small summary with every section and hostile records, for the tests of the report's page."""

from typing import Any

from cpt_tasks.report_page.records import Criterion, Record, RunRecords

HOSTILE = "</script><script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\"> & <!--"
MODELS = ["alpha", "beta", f"gamma {HOSTILE}"]
ACCURACY = {"alpha": 0.4, "beta": 0.9, MODELS[2]: None}
RUBRICS = ["noir", "reverie"]
LEVELS = ["low", "moderate", "extremely_high"]


def estimate(value: float | None) -> dict[str, float | None]:
    spread = 0.05 if value is not None else None
    low, high = (None, None) if value is None or spread is None else (value - spread, value + spread)
    return {"value": value, "ci_low": low, "ci_high": high}


def record(rubric: str, level: str, prompt: int, score: float, **changes: Any) -> Record:
    facts: dict[str, Any] = {
        "rubric": rubric,
        "level": level,
        "prompt_id": f"prompt-{prompt}",
        "wording": f"heldout-{prompt % 2}",
        "epoch": 1,
        "score": score,
        "words": 20 + prompt,
        "note": "",
        "system_prompt": f"Write {rubric} at level {level}.",
        "user_prompt": f"Describe scene {prompt}.",
        "response": f"{rubric} {level} response {prompt}",
        "criteria": (Criterion("rhythm", 55.0, f"reason {prompt}"), Criterion("imagery", 20.5, HOSTILE)),
        "holistic": 40.0,
    }
    return Record(**(facts | changes))


def adherence(model: str) -> RunRecords:
    """Eight responses per cell with the scores 5, 17, 29, ... 89; the first of each cell is hostile."""
    records = [
        record(rubric, level, prompt, 5 + 12 * prompt, **({"response": HOSTILE} if prompt == 0 else {}))
        for rubric in RUBRICS
        for level in LEVELS
        for prompt in range(8)
    ]
    return RunRecords("rubric_adherence", model, records)


def dose(model: str) -> RunRecords:
    return RunRecords("dose_response", model, [record("noir", "30", prompt, 20 + prompt) for prompt in range(2)])


def drift(model: str) -> RunRecords:
    return RunRecords("drift", model, [record("noir", "none", prompt, 50, wording="") for prompt in range(2)])


def runs() -> list[RunRecords]:
    return [run(model) for model in MODELS for run in (adherence, dose, drift)]


def summary() -> dict[str, Any]:
    return {
        "run": {
            "task": "rubric_adherence",
            "judge": HOSTILE,
            "prompt_version": "1",
            "rubrics": {"noir": "abc", "reverie": "def"},
            "split": "test",
            "paraphrases": "heldout",
            "user_prompts": 8,
            "seed": 0,
            "n_resamples": 100,
            "versions": {"cpt-tasks": "0.1.0"},
        },
        "models": [entry(model, number) for number, model in enumerate(MODELS)],
    }


def entry(model: str, number: int) -> dict[str, Any]:
    names = ("kendall_tau_b", "spearman_rho", "order_accuracy", "gain", "weighted_kappa")
    return {
        "name": model,
        "base": "base",
        "adapter": HOSTILE if number == 2 else None,
        "prompting": "system_prompt",
        "n": 48 + number,
        "unscored": number,
        "details": {"log": "a.eval", "command": f"inspect eval cpt_tasks/rubric_adherence --model {model}"},
        "metrics": {"macro_accuracy": estimate(ACCURACY[model]), "chance_accuracy": estimate(1 / 3)}
        | {name: estimate(0.1 - 0.2 * number) for name in names},
        "by_rubric": {rubric: {"n": 24, "metrics": {"macro_accuracy": estimate(0.5)}} for rubric in RUBRICS},
        "by_level": {
            level: {
                "n": 16, "unscored": number, "no_response": 0, "truncated": None,
                "metrics": {"accuracy": estimate(0.5), "mean_score": estimate(20 + 30 * rank)}
                | {"band_error": estimate(9)},
            }
            for rank, level in enumerate(LEVELS)
        },
        "leakage": matrix(),
        "tasks": {
            "best_of_n": {
                "n": 10, "unscored": 0, "metrics": {"band_hit@2": estimate(0.5)}, "curves": curves(number),
                "upper_bound": True, "selected_by": HOSTILE, "samples_per_cell": 8, "cost_unit": "tokens",
                "cells": [], "unselected": 0, "distinct_responses": 8.0,
            },
            "dose_response": {
                "n": 10, "unscored": 0, "metrics": {"gain": estimate(0.8)}, "curve": doses(number), "style": "number",
                "by_rubric": {"noir": {"metrics": {"gain": estimate(0.8)}, "curve": doses(number)}},
            },
            "paraphrase_robustness": {
                "n": 10, "unscored": 0, "metrics": {"wording_sd": estimate(8.0)},
                "by_condition": {"system, words": {"wording_sd": estimate(8.0)}},
                "cells": [
                    {"rubric": rubric, "level": level, "position": "system", "style": "words", "n": 8, "mean": 0.5,
                     "worst": 0.2, "worst_wording": "heldout-1",
                     "accuracy": {"heldout-0": 0.8, "heldout-1": 0.2, HOSTILE: 0.5}}
                    for rubric in RUBRICS for level in LEVELS
                ],
            },
            "drift": {
                "n": 10, "unscored": 0, "metrics": {"mean_words": estimate(80.0)}, "further_failures": {},
                "by_rubric": {rubric: {"score": estimate(50.0)} for rubric in RUBRICS},
                "drift": {"n": 5, "metrics": {}, "by_rubric": {rubric: estimate(-4.0) for rubric in RUBRICS}},
            },
        },
    }  # fmt: skip


def matrix() -> list[dict[str, Any]]:
    return [
        {"steered": steered, "scored": scored, "n": 8, "shift": 50.0 if steered == scored else -6.0}
        | {"ci_low": None, "ci_high": None}
        for steered in RUBRICS
        for scored in RUBRICS
    ]


def curves(number: int) -> list[dict[str, Any]]:
    return [
        {
            "level": level,
            "k": k,
            "statistic": "band_hit",
            "mean_tokens": 100.0 * k,
            **estimate(0.2 + 0.05 * k + number / 9),
        }
        for level in [*LEVELS, "all"]
        for k in (1, 2, 4, 8)
    ]


def doses(number: int) -> list[dict[str, Any]]:
    return [
        {"target": float(target), "trained": target == 50, "mean": target * (0.9 - number / 4), "n": 8}
        | {"ci_low": target * 0.5, "ci_high": float(target)}
        for target in (10, 30, 50, 70, 90)
    ]
