"""What an author model is asked: to draft a rubric, to write system prompts, to mend either. Templates and messages.

A change here changes what is written, and by it all that is trained on it: bump PROMPT_VERSION.
"""

import hashlib
from collections.abc import Sequence
from string import Template
from typing import TYPE_CHECKING

from rubrics import Rubric, ScoreLevel

if TYPE_CHECKING:
    from inspect_ai.model import ChatMessage

PROMPT_VERSION = "1"

DRAFT = Template("""\
Write a rubric that measures how far a text goes in one direction. The direction is described by the sentence between
the tags:

<direction>
$sentence
</direction>

The score runs from 0 to 100 and is no judgment of quality: a good text may score 0. An everyday answer, written without
the direction in mind, should land at the bottom. A text at the top goes as far as one can imagine.

Write:
- `id`: a short name in lower case, words joined by underscores, beginning with a letter.
- `title`: two to five words.
- `objective`: two or three sentences on what is measured, what a text at the bottom looks like and what one at the top
  does. Say what does not count, if something close to the direction could be taken for it.
- `criteria`: about five, each about another aspect that one can point at in a text, so that none is counted twice.
  Each has an `id` (lower case, underscores), a `title` of its own, a `weight` in percent (together exactly 100, none
  under 5) and five `descriptors`, best to worst: `excellent`, `good`, `fair`, `needs_improvement`, `unsatisfactory`.
- `rewards_and_penalties`: one to three sentences on what earns or costs points beyond the criteria; "" if nothing does.

A descriptor says what a reader sees in the text at that grade, in one sentence, such that two readers would agree:
rather what there is, how much of it and where than how well it is done. It never names a grade, a level or a score and
does not open with the name of its own grade. The five of a criterion differ in more than an adverb, and what the fair
one describes lies about in the middle.

Answer with one JSON object and nothing else:
{"id": "...", "title": "...", "objective": "...", "criteria": [{"id": "...", "title": "...", "weight": 25,
"descriptors": {"excellent": "...", "good": "...", "fair": "...", "needs_improvement": "...", "unsatisfactory": "..."}},
...], "rewards_and_penalties": "..."}
""")

WORDINGS = Template("""\
The rubric between the tags measures how far a text goes in one direction, from 0 to 100. Write system prompts for a
language model that has never seen the rubric, so that what it writes, whatever the user asks for, scores in one band.

<rubric>
$rubric
</rubric>

The band: $target

Write $train wordings for `train` and $heldout for `heldout`, all for this same band. Each is a whole system prompt of
two or three sentences that works by itself.

- Say what the text does and what it leaves out, in plain words, so that the band is reached and not overshot. Touch on
  most of what the rubric looks at, the heaviest criteria before all.
- Name neither the rubric nor its criteria by their titles or ids. No word about scores, grades, levels, bands, graders,
  rubrics or criteria, and no number that comes from the rubric.
- What is wanted is a behaviour that can be seen in a text. Words such as medium or moderate tell a writer nothing.
- Fit any request: do not mention a topic.
- Vary the form and not only the words: orders, a role, a comparison with a kind of text, a wish of the user's, a list
  of what to do, of what not to do; short and long; beginning now with this aspect, now with that one.
- The `heldout` wordings will test whether a model follows the meaning. They share no turn of phrase with the others.

Answer with one JSON object and nothing else: {"train": ["...", ...], "heldout": ["...", ...]}
""")

TARGETS = {
    ScoreLevel.LOW: (
        "40 or less. On every criterion the text is as the last two descriptors say; most of what the rubric looks for "
        "is absent."
    ),
    ScoreLevel.MODERATE: (
        "above 40 and at most 92.5, best between 55 and 80. On every criterion the text is as the second or third "
        "descriptor says: what the rubric looks for is there now and then and within bounds, and other things beside "
        "it. Say how much of what, and where it stops."
    ),
    ScoreLevel.EXTREMELY_HIGH: (
        "above 92.5. On every criterion the text is as the first descriptor says or goes beyond it, from the first "
        "line to the last."
    ),
}

MEND = Template("""\
These problems were found in your answer:

$problems

Mend them all and leave the rest as it is. Answer with the whole JSON object again and nothing else.
""")

REVISE = Template("""\
Your wordings were tried: a model that saw nothing but one wording and the user's request wrote texts, and they were
scored by the rubric, 0 to 100. The levels must come out in order and apart, and they do not yet:

$numbers

The wordings of this band, as they were tried:

$wordings

Write all of them anew, $train for `train` and $heldout for `heldout`, by the same rules. Keep what works and change
what the numbers show to be too weak, too strong or misunderstood. Answer with the JSON object and nothing else.
""")

TEMPLATES = (DRAFT, WORDINGS, MEND, REVISE)


def prompt_hash() -> str:
    """Hash of all templates and targets, 12 hex digits."""
    parts = [template.template for template in TEMPLATES] + [TARGETS[level] for level in ScoreLevel]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def draft_messages(sentence: str) -> "list[ChatMessage]":
    """The question for a rubric about a direction told in a sentence."""
    from inspect_ai.model import ChatMessageUser

    return [ChatMessageUser(content=DRAFT.substitute(sentence=sentence))]


def wording_messages(
    rubric: Rubric, level: ScoreLevel, train: int, heldout: int, tried: str = ""
) -> "list[ChatMessage]":
    """The question for the system prompts of one level: the summariser step of arXiv 2506.11702, section 3.

    Args:
        rubric: Shown whole, as judges read it.
        level: Band to write for.
        train: Wordings to write for the split train.
        heldout: The same for heldout.
        tried: `revision_text` of wordings that failed, or "" for the first asking.
    """
    from inspect_ai.model import ChatMessageUser

    question = WORDINGS.substitute(rubric=rubric.render(), target=TARGETS[level], train=train, heldout=heldout)
    return [ChatMessageUser(content=f"{question}\n{tried}" if tried else question)]


def revision_text(numbers: str, wordings: Sequence[str], train: int, heldout: int) -> str:
    """What is added to the question of `wording_messages` when wordings were measured and failed."""
    listed = "\n".join(wordings)
    return REVISE.substitute(numbers=numbers, wordings=listed, train=train, heldout=heldout)


def mend_messages(question: "Sequence[ChatMessage]", answer: str, problems: Sequence[str]) -> "list[ChatMessage]":
    """A question asked again after an answer with problems. Only the last answer is shown, so it grows no further."""
    from inspect_ai.model import ChatMessageAssistant, ChatMessageUser

    listed = "\n".join(f"- {problem}" for problem in problems)
    # providers refuse an empty turn
    said = [ChatMessageAssistant(content=answer.strip())] if answer.strip() else []
    return [*question, *said, ChatMessageUser(content=MEND.substitute(problems=listed))]
