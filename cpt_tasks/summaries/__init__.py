"""How a report reads a log of each benchmark: one module per benchmark, with its `SECTION`."""
