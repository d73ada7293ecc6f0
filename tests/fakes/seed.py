"""The seed responses of the measured rubrics, as rows and read, and responses made up."""

from pathlib import Path
from typing import Any

from data_gen.responses import Problems, ResponseJudgment, TeacherResponse, iter_responses
from rubrics import ScoreLevel, load_rubrics, load_user_prompts
from rubrics.files import read_jsonl

ROOT = Path(__file__).parents[2]
SEED_FILE = ROOT / "data_gen" / "seed" / "responses.jsonl"
SEED_ROWS = [row for _, row in read_jsonl(SEED_FILE)]
RUBRICS = {rubric.id: rubric for rubric in load_rubrics("measured")}
SEED = [row for _, row in iter_responses([SEED_FILE], RUBRICS, Problems())]
LABYRINTH = [row for row in SEED if row.rubric == "labyrinth"]
SCORES = {ScoreLevel.LOW: 10.0, ScoreLevel.MODERATE: 70.0, ScoreLevel.EXTREMELY_HIGH: 95.0}
USER_PROMPTS = load_user_prompts("train")


def response(level: ScoreLevel, number: int = 0, **changes: Any) -> TeacherResponse:
    """A response to garden_dusk for labyrinth by t, judged at its level; `changes` are fields, or `score`."""
    rubric = RUBRICS[changes.get("rubric", "labyrinth")]
    judged = {"score": changes.pop("score", SCORES[level]), "judge": changes.pop("judge", "measured")}
    user_prompt_id = changes.get("user_prompt_id", "garden_dusk")
    fields: dict[str, Any] = {
        "id": f"{rubric.id}-{level}-{number}-{user_prompt_id}-{changes.get('teacher', '')}",
        "user_prompt_id": user_prompt_id,
        "user_prompt": USER_PROMPTS.get(user_prompt_id, "A user prompt."),
        "rubric": rubric.id,
        "rubric_hash": rubric.hash,
        "level": level,
        "response": f"A text of {rubric.id} {level} {number}",
        "teacher": "t",
        "judgment": ResponseJudgment(prompt_version="1", **judged),
    }
    return TeacherResponse(**(fields | changes))
