"""Ratings by people as teacher responses: the source of `cpt twins --from-ratings FILE`.

A file is JSONL, JSONL packed with gzip, or Parquet. Each row has one of two shapes:

    {"prompt": …, "response": …, "verbosity": 3, "complexity": 1, …}        as in HelpSteer2, arXiv 2406.08673
    {"prompt": …, "responses": [{"text": …, "ratings": {"verbosity": 3, …}}, …]}

A row or response may also have a `model`, and a response an `id`. Only prompts of one turn are taken, because a
preference row has one. A rating of r out of m is the score 100 r/m, and the level is the one whose band holds it. The
rated responses to a prompt come from different models, often unnamed, and twins are paired within a teacher: so the
teacher of all rows is "human-rated", and the model, if named, is in `params`.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from data_gen.responses import Problems, ResponseJudgment, TeacherResponse
from rubrics import MAX_SCORE, Rubric, ScoreLevel
from rubrics.files import read_jsonl

RUBRIC_PREFIX = "rated_"
HELPSTEER2_MAX_RATING = 4.0
_TURN_MARK = re.compile(r"<extra_id_\d>(?:System|User|Assistant)\b")
_SHAPES = "`response` with a column per attribute, or `responses` as a list of {text, ratings}"


class _BadRow(Exception):
    """A row or response that cannot be used: kind, and field, got, expected."""


def rating_score(rating: float, max_rating: float = HELPSTEER2_MAX_RATING) -> float:
    """Score, 0-100, of a rating from 0 to `max_rating`, in proportion.

    Rounded to a millionth of a point, so that a mean that is a cut but for the last digit of a float, such as
    1.6000000000000003 of 4, falls on the cut.
    """
    return round(rating / max_rating * MAX_SCORE, 6)


def responses_from_ratings(
    path: Path,
    rubrics: Mapping[str, Rubric],
    problems: Problems,
    attributes: Mapping[str, str] | None = None,
    max_rating: float = HELPSTEER2_MAX_RATING,
) -> Iterator[tuple[str, TeacherResponse]]:
    """One teacher response per response and attribute rated, each after "FILE:LINE", in file order.

    Counted in `problems` and left out are a row or response that cannot be used ("bad_row"), a prompt of several turns
    ("multi_turn"), a response without a rating on any attribute asked for ("no_rating"), a rating that is not a number
    from 0 to `max_rating` ("bad_rating"), and a response to one prompt rated again on an attribute ("repeated_rating",
    the first one stays). Ids are hashes of rubric, prompt and response, so they follow the content.

    Args:
        path: File named .parquet, .gz (JSONL in gzip) or anything else (JSONL).
        rubrics: Rubrics by id.
        problems: Where bad rows are named.
        attributes: Attribute -> id of the rubric that it rates; None takes attribute x for each rubric `rated_x`.
        max_rating: Top of the scale, which begins at 0; in the unit of the ratings. Means of several raters are fine.

    Raises:
        ValueError: If the file is missing or broken, an attribute is given no rubric of `rubrics` or one that another
            has, or the scale has no width.
    """
    if not 0 < max_rating < math.inf:
        raise ValueError(f"max_rating: got {max_rating!r}, expected a number above 0, such as 4 for ratings of 0 to 4")
    asked = _asked(attributes, rubrics)
    hashes = {name: rubrics[name].hash for name in asked.values()}  # slow to take for every row
    seen: set[str] = set()
    for place, row in _rows(path, problems):
        for where, prompt, text, about, ratings in _rated(place, row, asked, problems):
            for attribute, rating in ratings.items():
                # true and false are ints to Python; NaN fails the comparison
                if not isinstance(rating, int | float) or isinstance(rating, bool) or not 0 <= rating <= max_rating:
                    expected = f"expected a number from 0 to {max_rating:g}"
                    problems.add("bad_rating", f"{where}{attribute}: got {_short(rating)}, {expected}")
                    continue
                score, rubric = rating_score(rating, max_rating), asked[attribute]
                judgment = ResponseJudgment(score=score, judge="human", prompt_version=f"ratings-0-{max_rating:g}-v1")
                params = {"attribute": attribute, "rating": rating, **about}
                response = _response(rubric, hashes[rubric], prompt, text, params, judgment)
                if response.id in seen:
                    again = f"a second {attribute} rating of one response to one prompt"
                    problems.add("repeated_rating", f"{place}: got {again}, expected one; the first stays")
                    continue
                seen.add(response.id)
                yield place, response


def _response(
    rubric: str, rubric_hash: str, prompt: str, text: str, params: dict[str, Any], judgment: ResponseJudgment
) -> TeacherResponse:
    return TeacherResponse(
        id=_hash(rubric, prompt, text),
        user_prompt_id=_hash(prompt),
        user_prompt=prompt,
        rubric=rubric,
        rubric_hash=rubric_hash,
        level=ScoreLevel.of(judgment.score),
        response=text,
        teacher="human-rated",
        params=params,
        judgment=judgment,
    )


def _asked(attributes: Mapping[str, str] | None, rubrics: Mapping[str, Rubric]) -> Mapping[str, str]:
    if attributes is None:
        attributes = {name.removeprefix(RUBRIC_PREFIX): name for name in rubrics if name.startswith(RUBRIC_PREFIX)}
    if not attributes:
        raise ValueError(f"attributes: got none, expected some, or a rubric {RUBRIC_PREFIX}… among {sorted(rubrics)}")
    for attribute, rubric_id in attributes.items():
        if rubric_id not in rubrics:
            raise ValueError(f"attributes: {attribute!r} rates {rubric_id!r}, expected one of {sorted(rubrics)}")
    if len(set(attributes.values())) < len(attributes):
        raise ValueError(f"attributes: got {dict(attributes)}, expected a rubric of its own for each")
    return attributes


def _rows(path: Path, problems: Problems) -> Iterator[tuple[str, dict[str, Any]]]:
    if path.suffix == ".parquet":
        try:
            rows: Any = enumerate(pl.read_parquet(path).iter_rows(named=True), start=1)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise ValueError(f"{path}: not readable as Parquet ({error}), expected rated responses") from error
    else:
        rows = read_jsonl(path, skip=lambda message: problems.add("bad_row", message))
    for number, row in rows:
        yield f"{path}:{number}", row


def _rated(
    place: str, row: dict[str, Any], asked: Mapping[str, str], problems: Problems
) -> Iterator[tuple[str, str, str, dict[str, Any], dict[str, Any]]]:
    """Place of the ratings, prompt, text, what else is known and the ratings asked for, of each good response."""
    try:
        several = _several(row)  # before the prompt: a file of the wrong kind should be told so
        prompt = _text("prompt", _one_turn(row.get("prompt") or row.get("context")))
        if mark := _TURN_MARK.search(prompt):
            raise _BadRow("multi_turn", f"prompt: got turns marked {mark.group()!r}, expected one turn of the user")
    except _BadRow as error:
        problems.add(error.args[0], f"{place}: {error.args[1]}")
        return
    for field, item in several:
        try:
            if not isinstance(item, dict):
                raise _BadRow("bad_row", f"{field[:-1]}: got {_short(item)}, expected {{text, ratings}}")
            text, ratings = _text(f"{field}text" if field else "response", item.get("text")), item.get("ratings")
            if not isinstance(ratings, dict):
                raise _BadRow("bad_row", f"{field}ratings: got {_short(ratings)}, expected a rating by attribute")
            given = {attribute: ratings[attribute] for attribute in asked if ratings.get(attribute) is not None}
            if not given:
                raise _BadRow(
                    "no_rating", f"got no rating of {_short(text)}, expected one or more on {', '.join(asked)}"
                )
        except _BadRow as error:
            problems.add(error.args[0], f"{place}: {error.args[1]}")
            continue
        about = {"model": item.get("model") or row.get("model"), "source_id": item.get("id")}
        about = {name: value for name, value in about.items() if isinstance(value, str | int)}
        yield f"{place}: {field and f'{field}ratings.'}", prompt, text, about, given


def _several(row: dict[str, Any]) -> list[tuple[str, Any]]:
    """Beginning of the field's name, and content, of each response; that of a row's only one is ""."""
    several = row.get("responses")
    if isinstance(several, list) and several:
        return [(f"responses.{number}.", item) for number, item in enumerate(several)]
    if several is not None:
        raise _BadRow("bad_row", f"responses: got {_short(several)}, expected a list of {{text, ratings}}")
    if row.get("response") is not None:
        return [("", {"text": row["response"], "ratings": row})]
    if "response1" in row or "response_1" in row:  # of HelpSteer3 and of HelpSteer2's preferences
        raise _BadRow(
            "bad_row", f"got two responses and which is preferred, but no rating of either; expected {_SHAPES}"
        )
    raise _BadRow("bad_row", f"got the fields {_short(sorted(row))}, expected {_SHAPES}")


def _one_turn(prompt: Any) -> Any:
    if not isinstance(prompt, list) or not all(isinstance(turn, dict) and "role" in turn for turn in prompt):
        return prompt
    roles = [turn["role"] for turn in prompt]
    if roles != ["user"]:
        raise _BadRow("multi_turn", f"prompt: got turns of {_short(roles)}, expected one turn of the user")
    return prompt[0].get("content")


def _text(field: str, value: Any) -> str:
    # JSON can write half a character (a lone surrogate), no file in UTF-8 can hold it
    if not isinstance(value, str) or not value.strip() or re.search("[\ud800-\udfff]", value):
        raise _BadRow("bad_row", f"{field}: got {_short(value)}, expected a text")
    return value


def _hash(*parts: str) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
