"""Turns what a judge model replied into criterion scores, or says which way the reply is unusable. Pure.

Whatever stands around it, a verdict is a JSON object with the key `criteria`. A reply must hold exactly one: of two
that differ, of a whole one beside a part of another, and of one that only stands in the judged response, none is read.
"""

import json
import re
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from judges.judgment import CriterionJudgment, JudgeFailure
from model_calls.visible import MARKER, visible
from rubrics import Rubric
from rubrics.schema import problem_texts
from rubrics.texts import whole_characters


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("got true or false, expected a number")
    return value


Points = Annotated[float, BeforeValidator(_no_bool)]
# half of a character in a reason, which no log can hold
Text = Annotated[str, BeforeValidator(lambda value: whole_characters(value) if isinstance(value, str) else value)]
Scores = tuple[tuple[CriterionJudgment, ...], float]
# a key that was not asked for (a summary, a confidence) is asked not to be there, and left out if it is
_NO_OTHER_KEYS = ConfigDict(extra="ignore", json_schema_extra={"additionalProperties": False})


class CriterionVerdict(BaseModel):
    """One criterion as the judge is asked to write it: the reason before the score, 0-100."""

    model_config = _NO_OTHER_KEYS
    id: Text
    reason: Text
    score: Points


class Verdict(BaseModel):
    """The whole reply of a judge; its JSON schema goes to providers that enforce one, and into the key of each call."""

    model_config = _NO_OTHER_KEYS
    criteria: list[CriterionVerdict]
    holistic_score: Points


def parse_verdict(rubric: Rubric, reply: str, response: str = "") -> Scores:
    """Criterion judgments in the order of the rubric, and the holistic score, 0-100; `reply` may hold thoughts.

    Raises:
        JudgeFailure: With mode malformed_json, missing_criterion, unknown_criterion or score_out_of_range.
    """
    found = _found(reply)
    # Thoughts with braces or a draft in them. Where the response has a marker of thoughts, one in the reply may be a
    # quotation, and what stands before it the judge's own verdict: then the whole reply is read.
    if found.beside.strip() and not MARKER.search(response):
        found = _found(visible(reply)[0])
    if not found.verdicts:
        raise JudgeFailure("malformed_json", f"no verdict in a reply of {len(reply)} characters")
    verdicts = [_scores(rubric, pairs) for pairs in found.objects]
    if _PART.search(found.beside) or any(verdict != verdicts[0] for verdict in verdicts):
        raise JudgeFailure("malformed_json", "two verdicts, or parts of two, expected one")
    if any(_bare(verdict) in _bare(response) for verdict in found.verdicts):
        raise JudgeFailure("malformed_json", "the only verdict is one that the judged response wrote")
    return verdicts[0]


_Pairs = list[tuple[str, Any]]
_PART = re.compile(r"""["'](?:criteria|holistic_score)\\?["']\s*:""")  # a key of a verdict
_LAST_COMMA = re.compile(r",(?=\s*[}\]])")
_ESCAPE = re.compile(r'(\\["\\/bfnrtu])|\\')


class _Found(NamedTuple):
    """What a text holds: the texts of its verdicts, what is to be checked of them, and the text outside of objects."""

    verdicts: list[str]
    objects: list[_Pairs]
    beside: str


def _found(text: str) -> _Found:
    found = _scanned(text)
    if found.objects:
        return found
    text = _LAST_COMMA.sub("", text)  # a comma behind the last entry
    text = _ESCAPE.sub(lambda escape: escape[1] or r"\\", text)  # `\$` or `\_` in a reason
    return _scanned(text)


def _scanned(text: str) -> _Found:
    verdicts: list[str] = []
    objects: list[_Pairs] = []

    def keep(pairs: _Pairs) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if "criteria" in keys or len(set(keys)) < len(keys):  # inside others, and with a key twice, to be refused
            objects.append(pairs)
        return dict(pairs)

    decoder = json.JSONDecoder(object_pairs_hook=keep, strict=False)  # raw line breaks and tabs in a reason
    beside, position = list[str](), 0
    while (start := text.find("{", position)) >= 0:
        try:  # at every brace, for a verdict in a fence, or behind words with braces
            value, end = decoder.raw_decode(text, start)
        except ValueError:
            start = end = start + 1
        except RecursionError:
            break
        else:
            verdicts += [text[start:end]] if "criteria" in value else []
        beside.append(text[position:start])
        position = end
    return _Found(verdicts, objects, "".join(beside) + text[position:])


def _bare(text: str) -> str:
    """A text without what may differ between a verdict and its quotation."""
    return re.sub(r"\\[nrt]?|[\s,]", "", whole_characters(text))


def _scores(rubric: Rubric, pairs: _Pairs) -> Scores:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise JudgeFailure("malformed_json", f"an object names a key twice: {keys}")
    try:
        verdict = Verdict.model_validate(dict(pairs))
    except ValidationError as error:
        raise JudgeFailure("malformed_json", problem_texts(error)[0]) from error
    ids = [_criterion_id(rubric, criterion.id) for criterion in verdict.criteria]
    expected = [criterion.id for criterion in rubric.criteria]
    if not set(ids) <= set(expected) or len(set(ids)) < len(ids):
        got = [criterion.id for criterion in verdict.criteria]
        raise JudgeFailure("unknown_criterion", f"got {got}, expected {expected} once each")
    if len(ids) < len(expected):
        missing = [criterion_id for criterion_id in expected if criterion_id not in ids]
        raise JudgeFailure("missing_criterion", f"reply lacks {missing}")
    scores = [*(criterion.score for criterion in verdict.criteria), verdict.holistic_score]
    if not all(0 <= score <= 100 for score in scores):  # nan and infinity are none, too
        raise JudgeFailure("score_out_of_range", f"got {scores}, expected numbers from 0 to 100")
    by_id = dict(zip(ids, verdict.criteria, strict=True))
    judgments = (CriterionJudgment(id=one, score=by_id[one].score, reason=by_id[one].reason) for one in expected)
    return tuple(judgments), verdict.holistic_score


def _criterion_id(rubric: Rubric, name: str) -> str:
    """The id of the only criterion that a name fits: by its id, or by id or title but for case and punctuation."""
    if name in {criterion.id for criterion in rubric.criteria}:
        return name
    fitting = [one.id for one in rubric.criteria if _letters(name) in (_letters(one.id), _letters(one.title))]
    return fitting[0] if len(fitting) == 1 else name


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).casefold()
