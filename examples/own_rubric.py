"""Write a rubric of one's own and make the benchmark's samples of it.

python examples/own_rubric.py [FILE.yaml]
"""

import sys
from pathlib import Path

from cpt_tasks.benchmarks.rubric_adherence.task import adherence_grid
from rubrics import load_rubric

# the quickest way is to copy one of rubrics/library/ and change it; `cpt rubric lint FILE` says what is wrong with it
path = Path([*sys.argv[1:], "newscast.yaml"][0])
text = Path("rubrics/library/broadcast.yaml").read_text(encoding="utf-8")
path.write_text(text.replace("id: broadcast", f"id: {path.stem}", 1), encoding="utf-8")

rubric = load_rubric(str(path))
print(f"{rubric.id}, hash {rubric.hash}: {[criterion.id for criterion in rubric.criteria]}")
sample = adherence_grid(str(path), levels="extremely_high", limit_per_cell=1)[0]
for message in sample.input:
    print(f"[{message.role}] {message.text}")
print(
    f"benchmark a model on it: inspect eval cpt_tasks/rubric_adherence --model ... -T judge=measured -T rubrics={path}"
)
