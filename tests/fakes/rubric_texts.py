"""Rubric texts for tests: one rubric with two criteria, as a table of tabs, of pipes or of Markdown."""

START = "Rococo reviews\n\nObjective: How far a review revels in ornament.\n\n"
GRADES = ["Excellent", "Good", "Fair", "Needs Improvement", "Unsatisfactory"]
ORNAMENT = ["Everywhere.", "Often.", "At times.", "Once.", "Never."]
WIT = ["It sparkles.", "It is lively.", "It is mild.", "It is faint.", "No wit."]
USUAL = [["Criterion", "Weight", *GRADES], ["Ornament", "60%", *ORNAMENT], ["Wit", "40%", *WIT]]


def tabs(*rows: list[str]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def pipes(*rows: list[str]) -> str:
    return "".join(" | ".join(row) + "\n" for row in rows)


def markdown(*rows: list[str]) -> str:
    lines = [f"| {' | '.join(row)} |\n" for row in rows]
    return "".join([lines[0], "|" + " :--- |" * len(rows[0]) + "\n", *lines[1:]])
