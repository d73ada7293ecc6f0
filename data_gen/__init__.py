"""Data generation in stages: seed responses, twins. Between stages the interface is a JSONL file."""
