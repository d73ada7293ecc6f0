"""How one system prompt asks for several rubrics at once: the same in training data and in the benchmark."""

from collections.abc import Sequence


def joint_system_prompt(wordings: Sequence[str]) -> str:
    """One system prompt that says all the wordings, in the order given, as paragraphs of their own."""
    return "\n\n".join(wordings)
