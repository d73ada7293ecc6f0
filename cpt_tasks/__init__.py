"""Benchmarks of configurability for inspect-ai. Tasks are found by name: `inspect eval cpt_tasks/rubric_adherence`."""
