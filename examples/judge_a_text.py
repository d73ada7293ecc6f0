"""Judge one text by a rubric, without a key.

python examples/judge_a_text.py
"""

import asyncio

from judges import MeasuredJudge  # ModelJudge() asks Claude, or the model that you give it
from rubrics import ScoreLevel, load_rubric

TEXT = """\
Look at that! The first drum comes round the corner, and you can hear the whole street wake up. Run to the kerb,
you will miss it! Here is the band, here are the horses, and what a noise! You see the child? Wave! Now!"""

rubric = load_rubric("broadcast")
print(rubric.title, "-", rubric.objective)
print("A system prompt for it:", rubric.wordings(ScoreLevel.EXTREMELY_HIGH, "train")[0])

judgment = asyncio.run(MeasuredJudge().judge(rubric, "Describe a parade passing through town.", TEXT))
print(f"Score {judgment.score:.1f} of 100, so the level is {ScoreLevel.of(judgment.score).value}")
for criterion in judgment.criteria:
    print(f"  {criterion.id}: {criterion.score:.1f} ({criterion.reason})")
