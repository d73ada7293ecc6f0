"""Replies of a judge of the rubric `reverie` (comparison 55 %, sensation 45 %), and a response that can be judged."""

import json
from typing import Any

RESPONSE = "The rain fell like a curtain and the street smelled of smoke and wet stone that night, all night long."


def verdict(comparison: float = 80, sensation: float = 60, holistic: float = 70, **extra: Any) -> str:
    """A whole verdict as JSON."""
    criteria = [
        {"id": "comparison", "reason": "One simile.", "score": comparison},
        {"id": "sensation", "reason": "Two senses.", "score": sensation},
    ]
    return json.dumps({"criteria": criteria, "holistic_score": holistic} | extra)
