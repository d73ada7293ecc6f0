"""Rubric texts for tests: one rubric with two criteria, laid out as people do."""

START = "Rococo reviews\n\nObjective: How far a review revels in ornament.\n\n"
GRADES = ["Excellent", "Good", "Fair", "Needs Improvement", "Unsatisfactory"]
ORNAMENT = ["Everywhere.", "Often.", "At times.", "Once.", "Never."]
WIT = ["It sparkles.", "It is lively.", "It is mild.", "It is faint.", "No wit."]


def tabs(*rows: list[str]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


def pipes(*rows: list[str]) -> str:
    return "".join(" | ".join(row) + "\n" for row in rows)


def markdown(*rows: list[str]) -> str:
    lines = [f"| {' | '.join(row)} |\n" for row in rows]
    return "".join([lines[0], "|" + " :--- |" * len(rows[0]) + "\n", *lines[1:]])


def listed(title: str, texts: list[str], grades: list[str] = GRADES) -> str:
    return f"{title}\n" + "".join(f"- {grade}: {text}\n" for grade, text in zip(grades, texts, strict=True)) + "\n"


def rows(header: list[str], ornament: list[str], wit: list[str], cells: slice = slice(None)) -> tuple[list[str], ...]:
    return [*header, *GRADES[cells]], [*ornament, *ORNAMENT[cells]], [*wit, *WIT[cells]]


USUAL = rows(["Criterion", "Weight"], ["Ornament", "60%"], ["Wit", "40%"])
BOLD = [[f"**{cell}**" for cell in USUAL[0]], ["**Ornament**", "**60%**", *ORNAMENT], USUAL[2]]
POINTS = [
    [
        "Criteria",
        "%",
        *(f"{g} ({p})" for g, p in zip(GRADES, ["90-100", "70–89", "50-69", "30-49", "<30"], strict=True)),
    ]
]
VARIANTS = ["Outstanding", "Very good / Proficient", "Satisfactory", "Poor", "Inadequate"]
US_SCHOOL = ["Excellent", "Very Good", "Good", "Fair", "Poor"]
REVERSED = [[*reversed(row)] for row in USUAL]
FOUR = rows(["Criterion", "Weight"], ["Ornament", "60%"], ["Wit", "40%"], slice(4))
NO_CRITERION = "is neither a row of the criteria's table nor a grade of a criterion"


def prompts(*counts: int) -> str:
    names = [f"{level}, {split}" for level in ("Low", "Moderate", "Extremely high") for split in ("train", "heldout")]
    blocks = [
        f"### {name}\n" + "".join(f"- {name} wording {n}. Do it.\n" for n in range(count))
        for name, count in zip(names, counts, strict=True)
    ]
    return "## System prompts\n\n" + "\n".join(blocks)
