"""How well teachers hit the levels, and what else tells their levels apart. `cpt teachers`."""
