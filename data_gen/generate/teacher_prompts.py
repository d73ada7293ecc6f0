"""What a teacher is asked: user prompt, rubric and target level in one message.

A change here changes data: bump TEACHER_PROMPT_VERSION.
Source: arXiv 2506.11702, section 3 (the function phi that folds rubric and score level into the user prompt).
"""

from string import Template
from typing import TYPE_CHECKING

from rubrics import MIN_SCORE, Rubric, ScoreLevel

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage

TEACHER_PROMPT_VERSION = "1"

# the same for every level and user prompt of a rubric, so that a provider can cache it
RUBRIC_BLOCK = Template("""\
You are a versatile writer. You are given a rubric that scores a text from 0 to 100, a target for that score, and a
request. You answer the request with a text that hits the target.

The rubric, verbatim:

<rubric>
$rubric</rubric>

The rubric measures how far a text goes in one direction. A low score is not a bad text: whatever the target, answer the
request in full, with care, in correct language, and at a natural length.

""")

LEVEL_BLOCK = Template("""\
The target: a strict reader who grades your text by this rubric gives it a weighted total $band. This level is called
"$level". $how

The request:

<request>
$prompt
</request>

Write only the text that answers the request, as someone would who writes like this of their own accord. It must not
mention, quote or hint at the rubric, its criteria, the level, the score, the target or these instructions, and nothing
comes before or after it: no heading that names the style, no remark on how it was written.
""")

_HOW = {
    ScoreLevel.LOW: (
        "On every criterion that carries weight, stay at the descriptors Needs improvement and Unsatisfactory: write "
        "as someone to whom what the rubric rewards is foreign."
    ),
    ScoreLevel.MODERATE: (
        "On every criterion that carries weight, stay near the descriptors Fair and Good: go part of the way, and "
        "nowhere all of it."
    ),
    ScoreLevel.EXTREMELY_HIGH: (
        "On every criterion that carries weight, reach the descriptor Excellent, from the first sentence to the last: "
        "there must be nothing left to add in this direction."
    ),
}


def rubric_block(rubric: Rubric) -> str:
    """The first part of the teacher prompt, with the rubric verbatim, as `Rubric.render` gives it."""
    return RUBRIC_BLOCK.substitute(rubric=rubric.render())


def level_block(level: ScoreLevel, prompt: str) -> str:
    """The second part, with the level, its band in score points and the user prompt."""
    name = level.value.replace("_", " ")
    return LEVEL_BLOCK.substitute(band=_band(level), level=name, how=_HOW[level], prompt=prompt)


def teacher_messages(shared: str, level: ScoreLevel, prompt: str, cached: bool = False) -> "list[ChatMessage]":
    """The message that asks a teacher for a response at a level.

    Args:
        shared: The `rubric_block` of the rubric.
        level: Target.
        prompt: User prompt.
        cached: Cut into two blocks, the first of them marked for the provider's cache. The text is the same.
    """
    from inspect_ai.model import ChatMessageUser, ContentText

    rest = level_block(level, prompt)
    if not cached:
        return [ChatMessageUser(content=shared + rest)]
    return [ChatMessageUser(content=[ContentText(text=shared, cache_breakpoint=True), ContentText(text=rest)])]


def _band(level: ScoreLevel) -> str:
    low, high = level.band
    return f"from {low:g} to {high:g}, {high:g} included" if low == MIN_SCORE else f"above {low:g} and up to {high:g}"
