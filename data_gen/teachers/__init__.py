"""How well teachers hit the levels, what else tells their levels apart, and what students took over. `cpt teachers`."""
