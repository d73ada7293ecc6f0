"""Ratings by people as teacher responses: the source of `cpt twins --from-ratings FILE`.

A file is JSONL, packed with gzip if its name ends in .gz, with rows as in HelpSteer2, arXiv 2406.08673:

    {"prompt": …, "response": …, "verbosity": 3, "complexity": 1, …}

The attribute x rates the rubric `rated_x`. A rating of r out of m is the score 100 r/m, and the level is the one whose
band holds it. The rated responses to a prompt come from different models, mostly unnamed, and twins are paired within a
teacher: so the teacher of all is "human-rated".
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from data_gen.responses import Problems, ResponseJudgment, TeacherResponse, content_id
from rubrics import MAX_SCORE, Rubric, ScoreLevel
from rubrics.files import read_jsonl

RUBRIC_PREFIX = "rated_"
_TURN_MARK = re.compile(r"<extra_id_\d>(?:System|User|Assistant)\b")


def responses_from_ratings(
    paths: Iterable[Path], rubrics: Mapping[str, Rubric], problems: Problems, max_rating: float = 4.0
) -> Iterator[tuple[str, TeacherResponse]]:
    """One teacher response per response and attribute rated, each after "FILE:LINE", in file order.

    Named in `problems` and left out are rows without prompt and response, prompts of several turns (a preference row
    has one), responses without a rating, ratings off the scale, and second ratings of one response to one prompt on an
    attribute. Ids are hashes of rubric, prompt and response, so they follow the content. Of the rubrics, by id, those
    whose id begins with `rated_` are used. `max_rating` is the top of the scale, which begins at 0.

    Raises:
        ValueError: If a file is missing or broken.
    """
    hashes = {name: rubric.hash for name, rubric in rubrics.items() if name.startswith(RUBRIC_PREFIX)}  # slow to take
    seen: set[str] = set()
    for path in paths:
        for number, row in read_jsonl(path, skip=lambda message: problems.add("bad_row", message)):
            ratings = {name: row.get(name.removeprefix(RUBRIC_PREFIX)) for name in hashes}
            given = {name: rating for name, rating in ratings.items() if rating is not None}
            if problem := _problem(row, given):
                problems.add(problem[0], f"{path}:{number}: {problem[1]}")
                continue
            for rubric, rating in given.items():
                where = f"{path}:{number}: {rubric.removeprefix(RUBRIC_PREFIX)}"
                # true and false are ints to Python; NaN fails the comparison
                if not isinstance(rating, int | float) or isinstance(rating, bool) or not 0 <= rating <= max_rating:
                    problems.add("bad_rating", f"{where}: got {rating!r}, expected a number from 0 to {max_rating:g}")
                    continue
                response = _response(row["prompt"], row["response"].strip(), rubric, hashes[rubric], rating, max_rating)
                if response.id in seen:
                    again = "got a second rating of one response to one prompt, expected one; the first stays"
                    problems.add("repeated_rating", f"{where}: {again}")
                    continue
                seen.add(response.id)
                yield f"{path}:{number}", response


def _problem(row: Mapping[str, Any], ratings: Mapping[str, Any]) -> tuple[str, str] | None:
    for field in ("prompt", "response"):
        text = row.get(field)
        if not isinstance(text, str) or not text.strip():
            return "bad_row", f"{field}: got {repr(text)[:60]}, expected a text, and a column per attribute"
    if mark := _TURN_MARK.search(row["prompt"]):
        return "multi_turn", f"prompt: got turns marked {mark.group()!r}, expected one turn of the user"
    return None if ratings else ("no_rating", "got no rating, expected one, such as verbosity")


def _response(
    prompt: str, text: str, rubric: str, rubric_hash: str, rating: float, max_rating: float
) -> TeacherResponse:
    # to a millionth of a point, so that a mean such as 1.6000000000000003 of 4 falls on the cut that it is
    score = round(rating / max_rating * MAX_SCORE, 6)
    return TeacherResponse(
        id=content_id(rubric, prompt, text),
        user_prompt_id=content_id(prompt),
        user_prompt=prompt,
        rubric=rubric,
        rubric_hash=rubric_hash,
        level=ScoreLevel.of(score),
        response=text,
        teacher="human-rated",
        params={"attribute": rubric.removeprefix(RUBRIC_PREFIX), "rating": rating},
        judgment=ResponseJudgment(score=score, judge="human", prompt_version=f"ratings-0-{max_rating:g}-v1"),
    )
