"""Read a log into a pandas frame and plot it.

python examples/read_a_log.py [LOG.eval] [FIGURE.png]
"""

import sys

from cpt_tasks.benchmarks.rubric_adherence.statistics import STATISTICS
from cpt_tasks.statistics.frame import read_log, with_level
from cpt_tasks.statistics.table import estimates_of

defaults = ["results/smollm2-135m/logs/cpt.eval", "scores.png"]
log, figure = [*sys.argv[1:], *defaults[len(sys.argv) - 1 :]]

frame = read_log(log)  # one row per sample and epoch; what the columns are stands in cpt_tasks/statistics/frame.py
print(frame[["rubric", "level", "user_prompt_id", "score", "words"]].head())

for name, estimate in estimates_of(with_level(frame), STATISTICS).items():
    print(f"{name:28} {estimate.text()}")

means = frame.pivot_table(index="rubric", columns="level", values="score")[["low", "moderate", "extremely_high"]]
means.plot.bar(ylabel="mean score (0-100)", rot=20).figure.savefig(figure)
print("written:", figure)
