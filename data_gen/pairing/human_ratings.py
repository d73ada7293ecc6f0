"""Turns ratings by people into teacher responses: the source of `cpt twins --from-ratings FILE`.

The rating of one response on one attribute becomes one `TeacherResponse`: a rating of r out of m is the score 100 r/m,
and the level is the one whose band holds it. `rated_rows.py` says what a file looks like. The responses to one
prompt may stand anywhere in it.

Twins are paired within one (rubric, prompt, teacher), and the rated responses to a prompt come from different models,
often unnamed. So the teacher of all rows is "human-rated", and the model, if named, is in `params`.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from data_gen.pairing.rated_rows import BadRow, RatedResponse, read_rated, short
from data_gen.responses import Problems, ResponseJudgment, TeacherResponse
from rubrics import MAX_SCORE, Rubric, ScoreLevel

TEACHER = "human-rated"
JUDGE = "human"
RUBRIC_PREFIX = "rated_"
HELPSTEER2_MAX_RATING = 4.0


def responses_from_ratings(
    path: Path,
    rubrics: Mapping[str, Rubric],
    problems: Problems,
    attributes: Mapping[str, str] | None = None,
    max_rating: float = HELPSTEER2_MAX_RATING,
) -> Iterator[TeacherResponse]:
    """One teacher response per response and attribute rated, in file order, read row by row.

    Counted in `problems` and left out are a row or response that cannot be used ("bad_row"), a prompt of several turns
    ("multi_turn"), a response without a rating on any attribute asked for ("no_rating"), a rating that is not a number
    from 0 to `max_rating` ("bad_rating"), and a response to one prompt rated again on an attribute ("repeated_rating",
    the first one stays). A response that lacks some of the attributes is used for the others.

    The id of a row is a hash of rubric, prompt and response, its `user_prompt_id` one of the prompt; `params` has
    attribute, rating, and the model and id that the file names. The teacher is always `TEACHER`, so that
    any two can be paired.

    Args:
        path: File named .parquet, .gz (JSONL in gzip) or anything else (JSONL).
        rubrics: Rubrics by id.
        problems: Where bad rows are told.
        attributes: Attribute -> id of the rubric that it rates; None takes attribute x for each rubric `rated_x`.
        max_rating: Top of the scale, which begins at 0; in the unit of the ratings. Means of several raters are fine.

    Raises:
        ValueError: At once if the file is missing, an attribute is given no rubric of `rubrics` or one that another
            has, or the scale has no width; while reading as `read_rated`.
    """
    if not path.is_file():
        raise ValueError(f"{path}: not found, expected rated responses in JSONL, JSONL in gzip or Parquet")
    if not 0 < max_rating < math.inf:
        raise ValueError(f"max_rating: got {max_rating!r}, expected a number above 0, such as 4 for ratings of 0 to 4")
    return _responses(path, _attributes(attributes, rubrics), problems, max_rating)


def rating_score(rating: float, max_rating: float = HELPSTEER2_MAX_RATING) -> float:
    """Score, 0-100, of a rating from 0 to `max_rating`, in proportion.

    Rounded to a millionth of a point, so that a mean that is a cut but for the last digit of a float, such as
    1.6000000000000003 of 4, falls on the cut.
    """
    return round(rating / max_rating * MAX_SCORE, 6)


@dataclass(frozen=True)
class _Attribute:
    name: str
    rubric: str
    rubric_hash: str  # taken once: it is not quick


def _attributes(attributes: Mapping[str, str] | None, rubrics: Mapping[str, Rubric]) -> list[_Attribute]:
    if attributes is None:
        rated = [rubric_id for rubric_id in rubrics if rubric_id.startswith(RUBRIC_PREFIX)]
        attributes = {rubric_id.removeprefix(RUBRIC_PREFIX): rubric_id for rubric_id in rated}
    if not attributes:
        raise ValueError(f"attributes: got none, expected some, or a rubric {RUBRIC_PREFIX}… among {sorted(rubrics)}")
    for attribute, rubric_id in attributes.items():
        if rubric_id not in rubrics:
            raise ValueError(f"attributes: {attribute!r} rates {rubric_id!r}, expected one of {sorted(rubrics)}")
    if len(set(attributes.values())) < len(attributes):
        raise ValueError(f"attributes: got {dict(attributes)}, expected a rubric of its own for each")
    return [_Attribute(name, rubric_id, rubrics[rubric_id].hash) for name, rubric_id in attributes.items()]


def _responses(
    path: Path, attributes: list[_Attribute], problems: Problems, max_rating: float
) -> Iterator[TeacherResponse]:
    seen: set[str] = set()
    for where, rated in read_rated(path):
        for found in [rated] if isinstance(rated, BadRow) else _by_attribute(rated, attributes, max_rating):
            if isinstance(found, BadRow):
                problems.add(found.kind, f"{where}: {found.message}")
            elif found.id in seen:
                again = f"a second {found.params['attribute']} rating of one response to one prompt"
                problems.add("repeated_rating", f"{where}: got {again}, expected one; the first stays")
            else:
                seen.add(found.id)
                yield found


def _by_attribute(
    rated: RatedResponse, attributes: list[_Attribute], max_rating: float
) -> Iterator[TeacherResponse | BadRow]:
    given = [attribute for attribute in attributes if rated.ratings.get(attribute.name) is not None]
    if not given:
        asked = ", ".join(attribute.name for attribute in attributes)
        yield BadRow("no_rating", f"got no rating of {short(rated.text)}, expected one or more on {asked}")
    for attribute in given:
        rating = rated.ratings[attribute.name]
        if _is_rating(rating, max_rating):
            yield _response(rated, attribute, rating, max_rating)
        else:
            field = f"{rated.rating_field}{attribute.name}"
            yield BadRow("bad_rating", f"{field}: got {short(rating)}, expected a number from 0 to {max_rating:g}")


def _is_rating(value: object, max_rating: float) -> TypeGuard[int | float]:
    # true and false are ints to Python; NaN fails the comparison
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= max_rating


def _response(rated: RatedResponse, attribute: _Attribute, rating: float, max_rating: float) -> TeacherResponse:
    score = rating_score(rating, max_rating)
    params: dict[str, str | int | float | bool] = {"attribute": attribute.name, "rating": rating}
    if rated.model is not None:
        params["model"] = rated.model
    if rated.source_id is not None:
        params["source_id"] = rated.source_id
    return TeacherResponse(
        id=_hash(attribute.rubric, rated.user_prompt, rated.text),
        user_prompt_id=_hash(rated.user_prompt),
        user_prompt=rated.user_prompt,
        rubric=attribute.rubric,
        rubric_hash=attribute.rubric_hash,
        level=ScoreLevel.of(score),
        response=rated.text,
        teacher=TEACHER,
        params=params,
        judgment=ResponseJudgment(score=score, judge=JUDGE, prompt_version=f"ratings-0-{max_rating:g}-v1"),
    )


def _hash(*parts: str) -> str:
    """First 16 hex digits of the SHA-256 of the parts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
