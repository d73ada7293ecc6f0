"""Data generation in stages: teacher responses, verification, twins. Between stages the interface is a file."""
