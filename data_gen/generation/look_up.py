"""What of a plan there is already, before a run, and what there is after it, by cell."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from data_gen.generation.plan import Question
from data_gen.generation.response_file import ResponseFile
from data_gen.generation.spend import ExpectedTokens, Forecast
from data_gen.generation.teacher_calls import Teacher, characters, outcome, row_id
from data_gen.responses import CONTROL

if TYPE_CHECKING:
    from model_calls import CallStore

IN_FILE, IN_STORE, TO_ASK = range(3)
Cell = tuple[str, str, str]  # rubric, level, teacher


@dataclass
class LookUp:
    """What there is of a teacher's part of the plan, and what there is not.

    Attributes:
        row_ids: In the order of the plan.
        states: IN_FILE, IN_STORE or TO_ASK for each.
        asked: Rows planned by cell.
        calls: Calls to make.
        characters: Of their messages.
    """

    row_ids: list[str] = field(default_factory=list)
    states: bytearray = field(default_factory=bytearray)
    asked: Counter[Cell] = field(default_factory=Counter)
    calls: int = 0
    characters: int = 0

    def forecast(self, teacher: Teacher, expected: ExpectedTokens, batch: bool) -> Forecast:
        """What asking for the rest will take."""
        found = (len(self.states), self.states.count(IN_FILE), self.states.count(IN_STORE))
        return Forecast(str(teacher.model), *found, self.calls, self.characters, expected, batch)

    def missing(self, questions: Iterable[Question]) -> Iterator[Question]:
        """Those of the plan's questions that have no row in the file."""
        return itertools.compress(questions, self.states)

    def missing_for(self, teacher: Teacher, questions: Callable[[], Iterable[Question]]) -> Iterator[Question]:
        """As `missing`, but of every rubric that is to be cached one question comes before all others.

        So the caches of all rubrics are written side by side at the start, instead of one after another all along.

        Args:
            teacher: Who is asked.
            questions: Gives the plan's questions; called twice, so that they need not be held.
        """
        ahead: dict[str, int] = {}
        for number, question in enumerate(questions()):
            is_next = self.states[number] == TO_ASK and question.rubric.id not in ahead
            if is_next and teacher.caches(question):
                ahead[question.rubric.id] = number
                yield question
        taken = set(ahead.values())
        for number, question in enumerate(questions()):
            if self.states[number] != IN_FILE and number not in taken:
                yield question


def look_up(
    teacher: Teacher,
    questions: Iterable[Question],
    store: "CallStore",
    file: ResponseFile | None,
    step: Callable[[], None] = lambda: None,
) -> LookUp:
    """Finds what has a row, and what at least has a reply; `step` is called after each question."""
    found = LookUp()
    controls: set[str] = set()  # a control is one call for all rubrics
    for question in questions:
        call = teacher.call(question)
        found.row_ids.append(row_id(call.key, question.rubric.id))
        found.asked[question.rubric.id, str(question.level), teacher.name] += 1
        has_row = file is not None and found.row_ids[-1] in file
        state = IN_FILE if has_row else IN_STORE if call.key in store else TO_ASK
        found.states.append(state)
        if state == TO_ASK and call.key not in controls:
            found.calls += 1
            found.characters += characters(call)
            if question.level == CONTROL:
                controls.add(call.key)
        step()
    return found


def cell_table(asked: Counter[Cell], row_ids: Iterable[str], file: ResponseFile) -> list[str]:
    """Lines with what was asked and what there is now, by cell, and a line of totals."""
    kinds = ("got", "whole", "refused", "truncated", "empty")
    wanted = set(row_ids)
    found: dict[Cell, Counter[str]] = {cell: Counter() for cell in asked}
    for row in file.rows():
        if row["id"] in wanted:
            kind = outcome(row.get("stop_reason"), row["response"])
            found[row["rubric"], row["level"], row["teacher"]].update({"got": 1, kind: 1})
    total: Counter[str] = sum(found.values(), Counter())
    names = {cell: f"{cell[0]} {cell[1]}" for cell in asked}
    width = max([len(name) for name in names.values()], default=0) + 2
    lines = [f"{'':<{width}}{'asked':>10}" + "".join(f"{kind:>10}" for kind in kinds) + "  teacher"]
    for cell, count in asked.items():
        numbers = "".join(f"{found[cell][kind]:>10}" for kind in kinds)
        lines.append(f"{names[cell]:<{width}}{count:>10}{numbers}  {cell[2]}")
    return [*lines, f"{'all':<{width}}{asked.total():>10}" + "".join(f"{total[kind]:>10}" for kind in kinds)]
