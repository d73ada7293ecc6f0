"""The benchmarks, a folder each: its task, its statistics, and what a report says of it."""
