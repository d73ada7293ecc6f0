"""Asks until enough responses lie in the band of their level, by a judge: `cpt generate --accept N`.

A teacher does not always hit the level, so a fixed number of samples leaves some cells short. Here a cell is a
(rubric, user prompt, level, teacher). It is asked in rounds, each as large as what is still lacking, so that no more
than N are accepted. All that was asked is kept, with its judgment: how often a teacher misses is part of the data.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import anyio

from data_gen.generate.asking import Asking
from data_gen.generate.plan import Plan, Question
from data_gen.generate.teachers import CHARACTERS_PER_TOKEN, Teacher, outcome, row_id, row_of
from data_gen.responses import CONTROL, ResponseJudgment, TeacherResponse
from judges import Judge, JudgeFailure
from judges.cost import forecast
from judges.judgment import is_no_response
from rubrics import Rubric, ScoreLevel

# of a verdict, for the budget: a guess, as in `cpt judge forecast`
CRITERION_TOKENS, THINKING_TOKENS, TEMPLATE_TOKENS = 60, 300, 600


@dataclass(frozen=True)
class AcceptingJudge:
    """Who decides, of whole responses of 15 words or more, with the names that its judgments carry."""

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
        known: The row with an id that an earlier run wrote, or None.
        wanted: Accepted responses per cell.
        max_samples: Askings per cell at most.
        judgments: Those made now, by row id.
        short: Cells that stayed short, in words.
        judge_failures: Responses without a judgment, by failure mode.
    """

    asking: Asking
    plan: Plan
    judge: AcceptingJudge
    known: Callable[[str], TeacherResponse | None]
    wanted: int
    max_samples: int
    judgments: dict[str, ResponseJudgment] = field(default_factory=dict)
    short: list[str] = field(default_factory=list)
    judge_failures: Counter[str] = field(default_factory=Counter)
    _asked: dict[tuple[str, int], list[Question]] = field(default_factory=dict)

    async def run(self, teachers: Sequence[Teacher]) -> None:
        """Fills the cells of all teachers, many at a time."""
        async with anyio.create_task_group() as group:
            for teacher in teachers:
                cells = enumerate(self.plan.questions())
                for _ in range(teacher.workers):
                    group.start_soon(self._work, teacher, cells)

    def questions(self, teacher: Teacher) -> list[Question]:
        """What a teacher was asked, in the order of the plan, with the samples of a cell together."""
        cells = sorted(number for name, number in self._asked if name == teacher.name)
        return [question for number in cells for question in self._asked[teacher.name, number]]

    async def _work(self, teacher: Teacher, cells: Iterator[tuple[int, Question]]) -> None:
        for number, cell in cells:  # shared by the workers of a teacher
            if self.asking.stopped:
                return
            questions = self._asked[teacher.name, number] = list[Question]()
            await self._fill(teacher, cell, questions)
            self.asking.step()

    async def _fill(self, teacher: Teacher, cell: Question, questions: list[Question]) -> None:
        """Asks until there are enough accepted responses; what is asked goes to `questions`."""
        most = self.wanted if cell.level == CONTROL else self.max_samples
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

    async def _is_accepted(self, teacher: Teacher, question: Question) -> bool | None:
        """Whether the response to a question counts; None if that cannot be said for now."""
        row = self.known(row_id(teacher.call(question).key, question.rubric.id))
        if row is None:
            reply = await self.asking.reply(teacher, question)
            if reply is None:
                return None
            row = row_of(teacher, question, reply)
        if question.level == CONTROL:
            return True
        if outcome(row.stop_reason, row.response) != "whole" or is_no_response(row.response):
            return False
        judgment = row.judgment
        if judgment is None or (judgment.judge, judgment.prompt_version) != (
            self.judge.name,
            self.judge.prompt_version,
        ):
            try:
                judgment = await self._judgment(question.rubric, row)
            except JudgeFailure as failure:
                self.judge_failures[failure.mode] += 1
                self.asking.pay(self.judge.name, failure.usage)
                return False
            if judgment is None:
                return None
            self.judgments[row.id] = judgment
        return ScoreLevel.of(judgment.score) is question.level

    async def _judgment(self, rubric: Rubric, row: TeacherResponse) -> ResponseJudgment | None:
        """The judgment of a row; None if the judge could not be asked. Raises JudgeFailure if it failed for good."""
        read = len(rubric.render()) + len(row.user_prompt) + len(row.response)
        written = CRITERION_TOKENS * (len(rubric.criteria) + 1) + THINKING_TOKENS
        tokens = read // CHARACTERS_PER_TOKEN + TEMPLATE_TOKENS
        usd = forecast(1, tokens, written, self.judge.name, prices=self.asking.prices).cost_usd
        if self.asking.stopped or not self.asking.reserve(usd):
            return None
        try:
            judgment = await self.judge.judge.judge(rubric, row.user_prompt, row.response)
        except JudgeFailure:
            raise
        except Exception as error:  # as for teachers, whatever a provider's client raises
            self.asking.fail(error, "judge: ")
            return None
        finally:
            self.asking.release(usd)
        self.asking.pay(self.judge.name, judgment.usage_paid)
        return ResponseJudgment.of(judgment)
