"""Teacher responses: which questions, asking, the responses file. Command: `cpt generate`."""
