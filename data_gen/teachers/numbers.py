"""The numbers of `cpt teachers`: scores as in Table 2 of arXiv 2506.11702, length, shared phrases, carried shares.

A number is a mean per (rubric, level), then over rubrics ("macro"), each weighing the same. Level correlations are
taken within a rubric, without controls, then averaged. Intervals are those of `judges/interval.py`.
"""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from data_gen.responses import CONTROL
from judges.interval import MIN_CLUSTERS, NAN, Bounds, Estimate, estimates
from judges.measures import words
from rubrics import ScoreLevel

GRAM_WORDS = 4
MAX_CLUSTERS = 200  # more user prompts are left out in so many groups
ASKED = [level.value for level in ScoreLevel]
LEVELS = [CONTROL, *ASKED]
MACRO, ALL = "macro", "all"
MEANS = ["score", "in_band", "words", "shared_grams"]
CARRIED = [("score", level) for level in LEVELS] + [("words", level) for level in LEVELS]
CARRIED += [("shared_grams", level) for level in LEVELS] + [("length_rho", ALL)]
BOUNDS: dict[str, Bounds] = {
    "score": (0, 100),
    **dict.fromkeys(("in_band", "accuracy", "shared_grams"), (0, 1)),
    **dict.fromkeys(("tau_b", "rho", "length_rho"), (-1, 1)),
}
KEY = ["rubric", "level", "statistic"]


def measure_responses(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with `in_band` (0, 1, nan for controls), `words`, `shared_grams` and the `cluster` of their interval."""
    rows = rows.reset_index(drop=True)
    hit = [ScoreLevel.of(score) == level for score, level in zip(rows["score"], rows["level"], strict=True)]
    rows["in_band"] = pd.Series(hit, dtype=float).where(rows["level"] != CONTROL)
    tokens = rows["response"].map(words)
    rows["words"] = tokens.map(len)
    rows["shared_grams"] = NAN
    for _, cell in rows.groupby(["writer", "kind", "rubric", "level"]):
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


def statistics(rows: pd.DataFrame) -> "pd.Series[float]":
    """All numbers of one writer, by (rubric or "macro", level or "all", statistic); nan where undefined."""
    cells: Any = rows.groupby(["rubric", "level"])[MEANS].mean().stack(future_stack=True)
    by_rubric: dict[Any, float] = {}
    for rubric, mine in rows[rows["level"] != CONTROL].groupby("rubric"):
        level = mine["level"].map(ASKED.index)
        score = {name: cells.get((rubric, name, "score"), NAN) for name in ASKED}
        in_band = [cells[rubric, name, "in_band"] for name in ASKED if name in set(mine["level"])]
        by_rubric |= {
            (rubric, ALL, "dynamic_range"): score["extremely_high"] - score["low"],
            (rubric, ALL, "accuracy"): np.mean(in_band),
            (rubric, ALL, "tau_b"): _correlation(stats.kendalltau, level, mine["score"]),
            (rubric, ALL, "rho"): _correlation(stats.spearmanr, level, mine["score"]),
            (rubric, ALL, "length_rho"): _correlation(stats.spearmanr, level, mine["words"]),
        }
    found: Any = pd.concat([cells, pd.Series(by_rubric, dtype=float)]).rename_axis(KEY)
    macro = pd.concat({MACRO: found.groupby(["level", "statistic"]).mean()}, names=["rubric"])
    both: pd.Series[float] = pd.concat([macro, found])
    return both


def numbers(rows: pd.DataFrame) -> pd.DataFrame:
    """Every number of every writer: writer, kind, rubric, level, statistic, n (responses), user_prompts, estimate."""
    table = []
    for (kind, writer), mine in rows.groupby(["kind", "writer"], sort=False):
        of_all: Any = estimates(mine, _by_key, _bounds(mine), "cluster")
        for (rubric, level, statistic), estimate in of_all.items():
            if statistic == "in_band" and level == CONTROL:
                continue
            cell = mine if rubric == MACRO else mine[mine["rubric"] == rubric]
            cell = cell[cell["level"] == level] if level != ALL else cell[cell["level"] != CONTROL]
            prompts = cell["user_prompt_id"].nunique()
            shown = estimate if prompts >= MIN_CLUSTERS else Estimate(estimate.value)
            table.append((writer, kind, rubric, level, statistic, len(cell), prompts, shown))
    return pd.DataFrame(table, columns=["writer", "kind", *KEY, "n", "user_prompts", "estimate"])


def carried(rows: pd.DataFrame, teacher: str, student: str, base: str) -> pd.DataFrame:
    """How much of a teacher's numbers a student took over, over the rubrics that all three have.

    Carried share: (student - base) / (teacher - base): 0 is like the base model, 1 like the teacher; nan where the
    interval of the difference of teacher and base holds 0, or there is none. Student and base are paired by prompt.

    Returns:
        statistic, level, teacher, base and student (means), difference and share (estimates).
    """
    names = {"teacher": teacher, "student": student, "base": base}
    mine = pd.concat([rows[(rows["kind"] == kind) & (rows["writer"] == name)] for kind, name in names.items()])
    has_all = mine.groupby("rubric")["kind"].nunique() == len(names)
    mine = mine[mine["rubric"].isin(has_all.index[has_all])]
    if mine.empty:
        return pd.DataFrame()
    fewest = mine.groupby("kind")["user_prompt_id"].nunique().min()

    def compared(part: pd.DataFrame) -> dict[Any, float]:
        of = {kind: _by_key(part[part["kind"] == kind]) for kind in names}
        values: dict[Any, float] = {}
        for statistic, level in CARRIED:
            t, b, s = (of[kind].get((MACRO, level, statistic), NAN) for kind in ("teacher", "base", "student"))
            share = (s - b) / (t - b) if t != b else NAN
            values |= {(statistic, level, name): x for name, x in zip("tbsdr", (t, b, s, t - b, share), strict=True)}
        return values

    of_all: Any = estimates(mine, compared, {}, "cluster")
    table = []
    for statistic, level in CARRIED:
        t, b, s, difference, share = (of_all[statistic, level, name] for name in "tbsdr")
        if np.isnan(difference.value) or np.isnan(s.value):
            continue
        clear = fewest >= MIN_CLUSTERS and difference.ci_low * difference.ci_high > 0
        table.append((statistic, level, t.value, b.value, s.value, difference, share if clear else Estimate(NAN)))
    return pd.DataFrame(table, columns=["statistic", "level", "teacher", "base", "student", "difference", "share"])


def _by_key(rows: pd.DataFrame) -> dict[Any, float]:
    return statistics(rows).to_dict()


def _bounds(rows: pd.DataFrame) -> dict[Any, Bounds]:
    return {key: BOUNDS[key[2]] for key in _by_key(rows) if key[2] in BOUNDS}


def _correlation(of: Any, first: "pd.Series[int]", second: "pd.Series[float]") -> float:
    return float(of(first, second).statistic) if first.nunique() > 1 and second.nunique() > 1 else NAN
