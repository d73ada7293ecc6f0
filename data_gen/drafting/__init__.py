"""Rubrics and system prompts written by a model, and the check that levels come out in order."""
