"""The measured judge: deterministic, no model, no key, for English.

Scores rubrics whose every criterion carries a measure. To it a response in another script holds no words.
"""

from typing import Any

from judges.counting import english_words, normalised
from judges.judgment import MIN_RESPONSE_WORDS, NO_RESPONSE, CriterionJudgment, Judgment, weighted_total
from judges.measures import MEASURES, PICTURE_MEASURES
from rubrics import Rubric
from rubrics.pictures import Picture

MEASURED = "measured"
# 1 counted curly apostrophes as the end of a word, and zero-width characters as its end or as text
MEASURES_VERSION = "2"


def measure(rubric: Rubric, response: str, picture: Picture | None = None) -> Judgment:
    """Judgment of a response from its text statistics alone, and from what is in the picture that it is about.

    A text of fewer than 15 English words scores 0 with reason "no_response", one in another script too.

    Raises:
        ValueError: If a criterion has no measure, names a statistic that does not exist, or needs a picture that there
            is none of.
    """
    check_measurable(rubric)
    if problem := picture_problem(rubric, picture):
        raise ValueError(problem)
    about: dict[str, Any] = {"judge": MEASURED, "prompt_version": MEASURES_VERSION, "rubric_hash": rubric.hash}
    about |= {"cost_usd": 0.0}
    text, objects = normalised(response), picture.objects if picture else ()
    if len(english_words(text)) < MIN_RESPONSE_WORDS:
        return Judgment(score=0, reason=NO_RESPONSE, **about)
    criteria = []
    for criterion in rubric.criteria:
        assert criterion.measure is not None  # check_measurable ran
        name = criterion.measure.statistic
        value = MEASURES[name](text) if name in MEASURES else PICTURE_MEASURES[name](text, objects)
        reason = f"{name} = {value:.3g}"
        criteria.append(CriterionJudgment(id=criterion.id, score=criterion.measure.score(value), reason=reason))
    total = weighted_total(rubric, {criterion.id: criterion.score for criterion in criteria})
    return Judgment(score=total, criteria=tuple(criteria), total=total, **about)


def picture_problem(rubric: Rubric, picture: Picture | None) -> str:
    """What is wrong where a rubric measures what is said of a picture, and the user prompt has none; "" if nothing."""
    for criterion in rubric.criteria:
        if picture is None and criterion.measure and criterion.measure.statistic in PICTURE_MEASURES:
            return (
                f"rubric {rubric.id!r}: {criterion.measure.statistic} measures what a response says of a picture, got "
                "a user prompt without one; name its file as `image`, or ask the user prompts of the family pictures"
            )
    return ""


def check_measurable(rubric: Rubric) -> None:
    """Raises ValueError unless every criterion of the rubric has a measure with a known statistic."""
    for criterion in rubric.criteria:
        where = f"rubric {rubric.id!r}: criterion {criterion.id!r}"
        if criterion.measure is None:
            raise ValueError(
                f"{where} has no measure, expected one on every criterion; use judge=model for this rubric"
            )
        if criterion.measure.statistic not in (known := MEASURES.keys() | PICTURE_MEASURES.keys()):
            raise ValueError(f"{where} measures {criterion.measure.statistic!r}, expected one of {sorted(known)}")


class MeasuredJudge:
    """The measured judge behind the `Judge` interface."""

    async def judge(self, rubric: Rubric, user_prompt: str, response: str, picture: Picture | None = None) -> Judgment:
        """As `measure`; the text of the user prompt plays no part."""
        return measure(rubric, response, picture)
