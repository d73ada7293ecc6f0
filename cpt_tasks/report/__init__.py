"""Tables, figures, summary.json and the page, computed from eval logs."""
