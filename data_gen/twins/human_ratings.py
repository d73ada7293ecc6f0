"""Ratings by people as teacher responses: the source of `cpt twins --from-ratings FILE`.

A file is JSONL, JSONL packed with gzip, or Parquet, with rows as in HelpSteer2, arXiv 2406.08673:

    {"prompt": …, "response": …, "verbosity": 3, "complexity": 1, …}

The attribute x rates the rubric `rated_x`. Only prompts of one turn are taken, because a preference row has one. A
rating of r out of m is the score 100 r/m, and the level is the one whose band holds it. The rated responses to a prompt
come from different models, mostly unnamed, and twins are paired within a teacher: so the teacher of all is
"human-rated".
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from data_gen.responses import Problems, ResponseJudgment, TeacherResponse
from rubrics import MAX_SCORE, Rubric, ScoreLevel
from rubrics.files import read_jsonl

RUBRIC_PREFIX = "rated_"
HELPSTEER2_MAX_RATING = 4.0
_TURN_MARK = re.compile(r"<extra_id_\d>(?:System|User|Assistant)\b")


def rating_score(rating: float, max_rating: float = HELPSTEER2_MAX_RATING) -> float:
    """Score, 0-100, of a rating from 0 to `max_rating`, in proportion.

    Rounded to a millionth of a point, so that a mean that is a cut but for the last digit of a float, such as
    1.6000000000000003 of 4, falls on the cut.
    """
    return round(rating / max_rating * MAX_SCORE, 6)


def responses_from_ratings(
    paths: Iterable[Path],
    rubrics: Mapping[str, Rubric],
    problems: Problems,
    max_rating: float = HELPSTEER2_MAX_RATING,
) -> Iterator[tuple[str, TeacherResponse]]:
    """One teacher response per response and attribute rated, each after "FILE:LINE", in file order.

    Named in `problems` and left out are rows without prompt and response, prompts of several turns, responses without a
    rating, ratings that are not numbers from 0 to `max_rating`, and second ratings of one response to one prompt on an
    attribute. Ids are hashes of rubric, prompt and response, so they follow the content.

    Args:
        paths: Files named .parquet, .gz (JSONL in gzip) or anything else (JSONL).
        rubrics: Rubrics by id; those whose id begins with `rated_` are used.
        problems: Where bad rows are named.
        max_rating: Top of the scale, which begins at 0; in the unit of the ratings. Means of several raters are fine.

    Raises:
        ValueError: If a file is missing or broken.
    """
    asked = {name.removeprefix(RUBRIC_PREFIX): name for name in rubrics if name.startswith(RUBRIC_PREFIX)}
    hashes = {name: rubrics[name].hash for name in asked.values()}  # slow to take for every row
    seen: set[str] = set()
    for where, row in _rows(paths, problems):
        ratings = {attribute: row[attribute] for attribute in asked if row.get(attribute) is not None}
        if problem := _problem(row):
            problems.add(problem[0], f"{where}: {problem[1]}")
            continue
        if not ratings:
            problems.add("no_rating", f"{where}: got no rating, expected one or more on {', '.join(asked)}")
        for attribute, rating in ratings.items():
            # true and false are ints to Python; NaN fails the comparison
            if not isinstance(rating, int | float) or isinstance(rating, bool) or not 0 <= rating <= max_rating:
                expected = f"expected a number from 0 to {max_rating:g}"
                problems.add("bad_rating", f"{where}: {attribute}: got {rating!r}, {expected}")
                continue
            response = _response(row, attribute, asked[attribute], hashes[asked[attribute]], max_rating)
            if response.id in seen:
                again = f"got a second {attribute} rating of one response to one prompt, expected one"
                problems.add("repeated_rating", f"{where}: {again}; the first stays")
            else:
                seen.add(response.id)
                yield where, response


def _rows(paths: Iterable[Path], problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in paths:
        if path.suffix == ".parquet":
            try:
                rows: Any = enumerate(pl.read_parquet(path).iter_rows(named=True), start=1)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise ValueError(f"{path}: not readable as Parquet ({error}), expected rated responses") from error
        else:
            rows = read_jsonl(path, skip=lambda message: problems.add("bad_row", message))
        yield from ((f"{path}:{number}", row) for number, row in rows)


def _problem(row: Mapping[str, Any]) -> tuple[str, str] | None:
    for field in ("prompt", "response"):
        text = row.get(field)
        if not isinstance(text, str) or not text.strip():
            return "bad_row", f"{field}: got {repr(text)[:60]}, expected a text, and a column per attribute"
    if mark := _TURN_MARK.search(row["prompt"]):
        return "multi_turn", f"prompt: got turns marked {mark.group()!r}, expected one turn of the user"
    return None


def _response(
    row: Mapping[str, Any], attribute: str, rubric: str, rubric_hash: str, max_rating: float
) -> TeacherResponse:
    prompt, text, rating = row["prompt"], row["response"], row[attribute]
    score = rating_score(rating, max_rating)
    return TeacherResponse(
        id=_hash(rubric, prompt, text),
        user_prompt_id=_hash(prompt),
        user_prompt=prompt,
        rubric=rubric,
        rubric_hash=rubric_hash,
        level=ScoreLevel.of(score),
        response=text,
        teacher="human-rated",
        params={"attribute": attribute, "rating": rating},
        judgment=ResponseJudgment(score=score, judge="human", prompt_version=f"ratings-0-{max_rating:g}-v1"),
    )


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
