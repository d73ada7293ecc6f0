"""Statistics of judged responses: the frame that logs are read into, and what is computed on it."""
