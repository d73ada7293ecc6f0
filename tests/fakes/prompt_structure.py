"""What no text of a student can do to the prompt of a judge: close its block, open another, or fill in a field."""

import re
import unicodedata

from judges import judge_messages
from rubrics import load_rubric

REVERIE = load_rubric("reverie")
HARMLESS = "The rain fell all night long on the street, and nobody who lived there came out to look at it."


def blocks(response: str, user_prompt: str = "Describe.") -> tuple[str, str]:
    """The block of the rubric, and that of the response."""
    [user] = judge_messages(REVERIE, user_prompt, response)
    rubric_block, response_block = user.content
    return rubric_block.text, response_block.text  # type: ignore[union-attr]


def nonce_of(block: str) -> str:
    """The ending of our tags; the first one stands before any text of the student."""
    return str(re.findall(r"<user_prompt_(\w+)>", block)[0])


def check_structure(response: str, user_prompt: str = "Describe.") -> None:
    """Fails unless the prompt differs from that of a harmless response by the response alone, verbatim."""
    (rubric_block, block), (harmless_rubric_block, harmless) = (
        blocks(text, user_prompt) for text in (response, HARMLESS)
    )
    assert rubric_block == harmless_rubric_block
    nonce = nonce_of(block)
    assert nonce not in response + user_prompt
    opening, closing = (f"<{slash}response_{nonce}>" for slash in ("", "/"))
    before, own, after = re.fullmatch(f"(.*{opening}\n)(.*)(\n{closing}.*)", block, re.DOTALL).groups()  # type: ignore[union-attr]
    assert own == response
    assert f"{before}{HARMLESS}{after}".replace(nonce, nonce_of(harmless)) == harmless
    # a reader that folds look-alikes and drops invisible characters still sees each tag once
    folded = re.sub(r"[\u200b-\u200f\u2060\ufeff\u00ad]", "", unicodedata.normalize("NFKC", block)).lower()
    for tag in ("user_prompt", "response"):
        assert folded.count(f"<{tag}_{nonce}>") == folded.count(f"</{tag}_{nonce}>") == 1
