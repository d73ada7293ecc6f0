"""The numbers of `cpt teachers`: scores as in Table 2 of arXiv 2506.11702, length, shared phrases.

A number is a mean per (rubric, level), then over rubrics ("macro"), each weighing the same. Level correlations are
taken within a rubric, without controls, over all pairs of responses (those to one user prompt too), then averaged.
Intervals are those of `judges/interval.py`.
"""

from collections import Counter
from typing import Any

import pandas as pd
from scipy import stats

from data_gen.responses import CONTROL
from judges.counting import words
from judges.interval import NAN, Bounds, Estimate, can_leave_out, estimates
from rubrics import ScoreLevel

GRAM_WORDS = 4
MAX_CLUSTERS = 200  # more user prompts are left out in so many groups
ASKED = [level.value for level in ScoreLevel]
LEVELS = [CONTROL, *ASKED]
MACRO, ALL = "macro", "all"
MEANS = ["score", "in_band", "words", "shared_grams"]
BOUNDS: dict[str, Bounds] = {
    "score": (0, 100),
    **dict.fromkeys(("in_band", "accuracy", "shared_grams"), (0, 1)),
    **dict.fromkeys(("order", "tau_b", "rho", "length_rho"), (-1, 1)),
}
Numbers = dict[Any, float]  # by (rubric or "macro", level or "all", statistic)


def measure_responses(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with `in_band` (0, 1, nan for controls), `words`, `shared_grams` and the `cluster` of their interval."""
    rows = rows.reset_index(drop=True)
    hit = [ScoreLevel.of(score) == level for score, level in zip(rows["score"], rows["level"], strict=True)]
    rows["in_band"] = pd.Series(hit, dtype=float).where(rows["level"] != CONTROL)
    tokens = rows["response"].map(words)
    rows["words"] = tokens.map(len)
    rows["shared_grams"] = NAN
    for _, cell in rows.groupby(["writer", "rubric", "level"]):
        rows.loc[cell.index, "shared_grams"] = shared_grams(tokens[cell.index], cell["user_prompt_id"])
    rows["cluster"] = pd.factorize(rows["user_prompt_id"])[0] % MAX_CLUSTERS
    return rows


def shared_grams(tokens: "pd.Series[Any]", prompts: "pd.Series[str]") -> list[float]:
    """Share, 0-1, of a response's different runs of four words that a response to another prompt has, too.

    The mean over all other user prompts, so that their number does not matter. Upper and lower case are the same. nan
    for a response under four words, and where there is no other prompt.
    """
    grams = [set(zip(*([w.lower() for w in one][i:] for i in range(GRAM_WORDS)), strict=False)) for one in tokens]
    of_prompt: dict[str, set[tuple[str, ...]]] = {}
    for prompt, own in zip(prompts, grams, strict=True):
        of_prompt.setdefault(prompt, set()).update(own)
    having = Counter(gram for own in of_prompt.values() for gram in own)
    others = len(of_prompt) - 1
    return [sum(having[g] - 1 for g in own) / len(own) / others if own and others else NAN for own in grams]


def statistics(rows: pd.DataFrame) -> Numbers:
    """All numbers of one writer; nan where undefined."""
    cells: Any = rows.groupby(["rubric", "level"])[MEANS].mean().stack(future_stack=True)
    by_rubric: Numbers = {}
    for rubric, mine in rows[rows["level"] != CONTROL].groupby("rubric"):
        level = mine["level"].map(ASKED.index)
        low, high = (cells.get((rubric, name, "score"), NAN) for name in (ASKED[0], ASKED[-1]))
        by_rubric |= {
            (rubric, ALL, "dynamic_range"): high - low,
            (rubric, ALL, "accuracy"): mine.groupby("level")["in_band"].mean().mean(),
            (rubric, ALL, "order"): _correlation(stats.somersd, level, mine["score"]),
            (rubric, ALL, "tau_b"): _correlation(stats.kendalltau, level, mine["score"]),
            (rubric, ALL, "rho"): _correlation(stats.spearmanr, level, mine["score"]),
            (rubric, ALL, "length_rho"): _correlation(stats.spearmanr, level, mine["words"]),
        }
    every: Any = pd.concat([cells, pd.Series(by_rubric, dtype=float)]).rename_axis(["rubric", "level", "statistic"])
    macro = pd.concat({MACRO: every.groupby(["level", "statistic"]).mean()}, names=["rubric"])
    both: Numbers = pd.concat([macro, every]).to_dict()
    return {key: value for key, value in both.items() if key[1:] != (CONTROL, "in_band")}


def numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """A row per number: writer, kind ("teacher", as schema 3 has it), rubric, level, statistic and what follows.

    That is n (responses), user_prompts, value, ci_low, ci_high.
    """
    table = []
    for writer, mine in list[Any](rows.groupby("writer", sort=False)):
        found = estimates(mine, statistics, _bounds(mine), "cluster")
        if not can_leave_out(mine["rubric"], mine["cluster"]):
            found |= {key: Estimate(estimate.value) for key, estimate in found.items() if key[0] == MACRO}
        table += _rows_of(writer, mine, found)
    return pd.DataFrame(table).astype(dict.fromkeys(("value", "ci_low", "ci_high"), float))


def _bounds(rows: pd.DataFrame) -> dict[Any, Bounds]:
    """The range of each number: of tau-b and rho up to what the ties of levels and scores leave room for."""
    asked = rows[rows["level"] != CONTROL]
    best = asked.assign(rank=asked["level"].map(ASKED.index)).sort_values(["rubric", "rank"])
    scores = asked.sort_values(["rubric", "score"])["score"].to_numpy()
    ceilings = statistics(best.assign(score=scores)) if len(best) else {}
    bounds = {key: BOUNDS[key[2]] for key in statistics(rows) if key[2] in BOUNDS}
    return bounds | {key: (-1, ceilings[key]) for key in bounds if key[2] in ("tau_b", "rho")}


def _rows_of(writer: str, mine: pd.DataFrame, of_all: Any) -> list[dict[str, Any]]:
    table = []
    for (rubric, level, statistic), estimate in of_all.items():
        cell = mine if rubric == MACRO else mine[mine["rubric"] == rubric]
        cell = cell[cell["level"] == level] if level != ALL else cell[cell["level"] != CONTROL]
        # a share of phrases is one of pairs of user prompts, which leaving one out does not measure
        shown = Estimate(estimate.value) if statistic == "shared_grams" else estimate
        about = {"writer": writer, "kind": "teacher", "rubric": rubric, "level": level, "statistic": statistic}
        table.append(about | {"n": len(cell), "user_prompts": cell["user_prompt_id"].nunique()} | shown.to_json())
    return table


def _correlation(of: Any, first: "pd.Series[int]", second: "pd.Series[float]") -> float:
    return float(of(first, second).statistic) if first.nunique() > 1 and second.nunique() > 1 else NAN
