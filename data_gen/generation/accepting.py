"""Asks until enough responses lie in the band of their level, by a judge: `cpt generate --accept N`.

A teacher does not always hit the level, so a fixed number of samples leaves some cells short. Here a cell is a
(rubric, user prompt, level, teacher). It is asked in rounds, each as large as what is still lacking, so that no more
than N are accepted. All that was asked is kept, with its judgment: how often a teacher misses is part of the data.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import anyio

from data_gen.generation.generate import Asking
from data_gen.generation.look_up import Cell
from data_gen.generation.plan import Plan, Question
from data_gen.generation.spend import CHARACTERS_PER_TOKEN
from data_gen.generation.teacher_calls import Teacher, outcome, row_id, row_of
from data_gen.responses import CONTROL, ResponseJudgment, TeacherResponse
from judges import Judge, JudgeFailure
from judges.cost import cost_usd
from judges.judgment import is_no_response
from rubrics import Rubric, ScoreLevel

# of a verdict, for the budget: a guess, as in `cpt judge forecast`
CRITERION_TOKENS, THINKING_TOKENS, TEMPLATE_TOKENS = 60, 300, 600


@dataclass(frozen=True)
class AcceptingJudge:
    """Who decides what is accepted.

    Attributes:
        judge: Asked about whole responses of 15 words or more.
        name: As its judgments name it.
        prompt_version: Likewise.
    """

    judge: Judge
    name: str
    prompt_version: str


@dataclass
class Accepting:
    """A run that asks until each cell has enough.

    Attributes:
        asking: The run.
        plan: Its questions are the cells.
        judge: Who decides.
        wanted: Accepted responses per cell.
        max_samples: Askings per cell at most.
        asked: Askings by rubric, level and teacher.
        short: Cells that stayed short, in words.
        judge_failures: Responses without a judgment, by failure mode.
    """

    asking: Asking
    plan: Plan
    judge: AcceptingJudge
    wanted: int
    max_samples: int
    asked: Counter[Cell] = field(default_factory=Counter)
    short: list[str] = field(default_factory=list)
    judge_failures: Counter[str] = field(default_factory=Counter)
    _row_ids: dict[tuple[int, int], list[str]] = field(default_factory=dict)

    async def run(self, teachers: Sequence[Teacher]) -> None:
        """Fills the cells of all teachers, many at a time."""
        async with anyio.create_task_group() as group:
            for place, teacher in enumerate(teachers):
                cells = enumerate(self.plan.questions())
                for _ in range(teacher.workers):
                    group.start_soon(self._work, place, teacher, cells)

    def row_ids(self) -> list[str]:
        """Ids of all that was asked: by teacher, then in the order of the plan, with the samples of a cell together."""
        return [row_id for _, row_ids in sorted(self._row_ids.items()) for row_id in row_ids]

    async def _work(self, place: int, teacher: Teacher, cells: Iterator[tuple[int, Question]]) -> None:
        for number, cell in cells:  # shared by the workers of a teacher
            if self.asking.stopped:
                return
            questions = await self._fill(teacher, cell)
            self._row_ids[place, number] = [row_id(teacher.call(one).key, cell.rubric.id) for one in questions]
            self.asked[cell.rubric.id, str(cell.level), teacher.name] += len(questions)
            self.asking.progress.step()

    async def _fill(self, teacher: Teacher, cell: Question) -> list[Question]:
        """Asks until there are enough accepted responses; gives what was asked."""
        most = self.wanted if cell.level == CONTROL else self.max_samples
        questions: list[Question] = []
        accepted: list[bool | None] = []

        async def one(number: int) -> None:
            accepted[number] = await self._is_accepted(teacher, questions[number])

        # a call that failed ends the cell: another in its place would be one too many once it is asked again
        while None not in accepted and (lacking := min(self.wanted - sum(map(bool, accepted)), most - len(accepted))):
            async with anyio.create_task_group() as group:
                for _ in range(lacking):
                    questions.append(self.plan.resample(cell, len(questions)))
                    accepted.append(None)
                    group.start_soon(one, len(accepted) - 1)
        if None not in accepted and accepted.count(True) < self.wanted:
            where = f"{cell.rubric.id} {cell.level} {cell.user_prompt_id} {teacher.name}"
            self.short.append(f"{where}: {accepted.count(True)} of {self.wanted} in {len(accepted)} askings")
        return questions

    async def _is_accepted(self, teacher: Teacher, question: Question) -> bool | None:
        """Whether the response to a question counts; None if that cannot be said for now."""
        row = self.asking.file.get(row_id(teacher.call(question).key, question.rubric.id))
        is_new = row is None
        if row is None:
            reply = await self.asking.reply(teacher, question)
            if reply is None:
                return None
            row = row_of(teacher, question, reply)
        is_usable = outcome(row.stop_reason, row.response) == "whole" and not is_no_response(row.response)
        judgment: ResponseJudgment | bool | None = row.judgment
        if is_usable and question.level != CONTROL and not self._is_judged(row):
            judgment = await self._judgment(question.rubric, row)
            if isinstance(judgment, ResponseJudgment):
                row, is_new = row.model_copy(update={"judgment": judgment}), True
        if is_new:
            self.asking.file.append(row)
        if question.level == CONTROL or not is_usable:
            return question.level == CONTROL
        if not isinstance(judgment, ResponseJudgment):
            return judgment
        return ScoreLevel.of(judgment.score) is question.level

    def _is_judged(self, row: TeacherResponse) -> bool:
        by = (row.judgment.judge, row.judgment.prompt_version) if row.judgment else None
        return by == (self.judge.name, self.judge.prompt_version)

    async def _judgment(self, rubric: Rubric, row: TeacherResponse) -> "ResponseJudgment | bool | None":
        """The judgment of a row; False if the judge failed for good, None if it could not be asked."""
        cost = self._cost(rubric, row)
        if self.asking.stopped or not self.asking.may_spend(cost):
            return None
        try:
            judgment = await self.judge.judge.judge(rubric, row.user_prompt, row.response)
        except JudgeFailure as failure:
            self.judge_failures[failure.mode] += 1
            self.asking.budget.pay(self.judge.name, failure.usage)
            return False
        except Exception as error:  # as for teachers, whatever a provider's client raises
            self.asking.fail(error, "judge: ")
            return None
        finally:
            self.asking.budget.release(cost)
        self.asking.failures.in_a_row = 0
        self.asking.budget.pay(self.judge.name, judgment.usage_paid)
        return ResponseJudgment.of(judgment)

    def _cost(self, rubric: Rubric, row: TeacherResponse) -> float | None:
        read = len(rubric.render()) + len(row.user_prompt) + len(row.response)
        written = CRITERION_TOKENS * (len(rubric.criteria) + 1) + THINKING_TOKENS
        usage = {"input_tokens": read // CHARACTERS_PER_TOKEN + TEMPLATE_TOKENS, "output_tokens": written}
        return cost_usd(self.judge.name, usage, prices=self.asking.budget.prices)
