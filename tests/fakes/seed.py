"""The seed responses of the measured rubrics, as rows and read."""

from pathlib import Path

from data_gen.responses import Problems, iter_responses
from rubrics import load_rubrics
from rubrics.files import read_jsonl

ROOT = Path(__file__).parents[2]
SEED_FILE = ROOT / "data_gen" / "seed" / "responses.jsonl"
SEED_ROWS = [row for _, row in read_jsonl(SEED_FILE)]
RUBRICS = {rubric.id: rubric for rubric in load_rubrics("measured")}
SEED = [row for _, row in iter_responses([SEED_FILE], RUBRICS, Problems())]
LABYRINTH = [row for row in SEED if row.rubric == "labyrinth"]
