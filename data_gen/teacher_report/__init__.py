"""How well teachers hit the levels, their biases, and what students took over. Command: `cpt teachers`."""
