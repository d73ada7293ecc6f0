"""An index of the responses that may train: where each stands in its file, and what pairing needs of it.

First stage of `cpt twins`. One pass over the files keeps about 40 bytes a response, so that millions fit into memory;
the texts stay on disk and are read again when a twin is written.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from data_gen.responses import CONTROL, Problems, ResponseJudgment, TeacherResponse, iter_responses
from rubrics import Rubric, ScoreLevel, all_user_prompts

Numbers = NDArray[np.int64]
Progress = Callable[[Iterator[tuple[str, TeacherResponse]], int], Iterable[tuple[str, TeacherResponse]]]

_COLUMNS = {
    "file": "h",
    "start": "q",
    "length": "i",
    "rank": "b",
    "score": "d",
    "rubric": "h",
    "prompt": "i",
    "teacher": "i",
    "judge": "i",
}
_ALSO_COLUMNS = {"response": "i", "rubric": "h", "judge": "i", "score": "d"}
_ROWS_KEPT = 4096


class Names:
    """Numbers names in the order they come, from 0."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, name: str) -> int:
        """The number of a name, a new one for a new name."""
        number = self._numbers.setdefault(name, len(self.names))
        if number == len(self.names):
            self.names.append(name)
        return number


class Prompts(Names):
    """User prompts by id; each id stands for one text.

    Attributes:
        keys: For each number, the number of the first prompt with the same text (but for case and white space): what
            must not be parted between train and eval.
    """

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[int] = []
        self._texts: dict[str, int] = {}
        self._first: dict[int, int] = {}
        self._test = all_user_prompts("test")
        self._test_texts = {normalised(text) for text in self._test.values()}

    def is_test(self, user_prompt_id: str, text: str) -> bool:
        """Whether the id or the text is that of a test prompt of any family."""
        if user_prompt_id in self._texts and self._texts[user_prompt_id] == hash(text):
            return False  # looked at before
        return user_prompt_id in self._test or normalised(text) in self._test_texts

    def take(self, user_prompt_id: str, text: str) -> int | None:
        """The number of a prompt, or None if its id stood for another text before."""
        if self._texts.setdefault(user_prompt_id, hash(text)) != hash(text):
            return None
        number = self.number(user_prompt_id)
        if number == len(self.keys):
            self.keys.append(self._first.setdefault(hash(normalised(text)), number))
        return number


class ResponseIndex:
    """The responses that may train, numbered from 0 in the order they came.

    Args:
        rubrics: Rubrics whose responses are wanted, by id.
        problems: Where responses that may not train are told.
        with_also: Whether to keep the judgments by other rubrics, for compositions.

    Attributes:
        rubrics: The wanted rubrics, sorted by id; columns hold places in this list.
        prompts: User prompts of the responses.
        teachers: Who wrote them.
        judges: Who judged them, with the version of the judge's prompt.
        controls: How many controls were passed over: they are in no twin.
        unwanted: How many responses were passed over, by rubric, because theirs is not among `rubrics`.
        rated_ids: Ids of the responses that came with human ratings, over all files.
    """

    def __init__(self, rubrics: Mapping[str, Rubric], problems: Problems, with_also: bool = False) -> None:
        self.rubrics = [rubrics[rubric_id] for rubric_id in sorted(rubrics)]
        self.prompts, self.teachers, self.judges = Prompts(), Names(), Names()
        self.controls = 0
        self.unwanted: Counter[str] = Counter()
        self.rated_ids: set[str] = set()
        self.problems = problems
        self.read = lru_cache(maxsize=_ROWS_KEPT)(self._read)
        self._rubric_numbers = {rubric.id: number for number, rubric in enumerate(self.rubrics)}
        self._with_also = with_also
        self._columns: dict[str, array[Any]] = {name: array(code) for name, code in _COLUMNS.items()}
        self._also: dict[str, array[Any]] = {name: array(code) for name, code in _ALSO_COLUMNS.items()}
        self._files: list[BinaryIO] = []

    def __len__(self) -> int:
        return len(self._columns["start"])

    def open(self, path: Path) -> int:
        """Opens a file that responses will be read from, and returns its number."""
        self._files.append(path.open("rb"))
        return len(self._files) - 1

    def close(self) -> None:
        """Closes the files."""
        for file in self._files:
            file.close()

    def offer(self, where: str, row: TeacherResponse, file: int, start: int, length: int) -> None:
        """Takes a response in if it may train; if not, tells why.

        Args:
            where: Place to name in a problem.
            row: The response.
            file: Number of the file that holds it, from `open`.
            start: First byte of its line.
            length: Bytes of its line.
        """
        if row.level == CONTROL:
            self.controls += 1
            return
        if row.rubric not in self._rubric_numbers:
            self.unwanted[row.rubric] += 1
            return
        rubric = self._rubric_numbers[row.rubric]
        if problem := self._problem(row, self.rubrics[rubric]):
            self.problems.add(problem[0], f"{where}: {problem[1]}")
            return
        prompt = self.prompts.take(row.user_prompt_id, row.user_prompt)
        if prompt is None:
            self.problems.add(
                "prompt_mismatch",
                f"{where}: user_prompt_id {row.user_prompt_id!r} stood for another text before, got "
                f"{row.user_prompt[:60]!r}, expected one text for each id",
            )
            return
        assert row.judgment is not None  # _problem looked
        if self._with_also:
            self._take_also(row)
        values = (
            *(file, start, length, ScoreLevel(row.level).rank, row.judgment.score, rubric, prompt),
            *(self.teachers.number(row.teacher), self.judges.number(_judge(row.judgment))),
        )
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)

    def column(self, name: str) -> Numbers:
        """One value for each response: rank, rubric, prompt, teacher or judge, as numbers."""
        return np.array(self._columns[name], dtype=np.int64)

    @property
    def scores(self) -> NDArray[np.float64]:
        """Scores by their own rubrics, 0-100."""
        return np.array(self._columns["score"])

    def judgments(self) -> tuple[Numbers, Numbers, Numbers, NDArray[np.float64]]:
        """Every judgment, own ones and kept others: numbers of response, rubric and judge, and score 0-100.

        In the order of the responses, those of one response in the order of the rubrics.
        """
        also = {name: np.array(column) for name, column in self._also.items()}
        response = np.concatenate([np.arange(len(self)), also["response"].astype(np.int64)])
        rubric = np.concatenate([self.column("rubric"), also["rubric"].astype(np.int64)])
        judge = np.concatenate([self.column("judge"), also["judge"].astype(np.int64)])
        order = np.lexsort((rubric, response))
        return response[order], rubric[order], judge[order], np.concatenate([self.scores, also["score"]])[order]

    def wording_counts(self) -> Numbers:
        """Number of train wordings, shape (rubrics, 3), levels in ascending order."""
        counts = [
            [len(rubric.wordings(level, "train")) if rubric.system_prompts else 0 for level in ScoreLevel]
            for rubric in self.rubrics
        ]
        return np.array(counts, dtype=np.int64).reshape(-1, 3)

    def _problem(self, row: TeacherResponse, rubric: Rubric) -> tuple[str, str] | None:
        if not row.response.strip():
            return "empty_response", "response is empty, expected a text"
        if self.prompts.is_test(row.user_prompt_id, row.user_prompt):
            return "test_prompt", f"answers the test prompt {row.user_prompt[:60]!r}, expected a train prompt"
        if not rubric.system_prompts:
            return (
                "no_system_prompts",
                f"rubric {rubric.id!r} has no system prompts, expected some for each level; write them with "
                "`cpt rubric prompts`",
            )
        if row.judgment is None:
            return "not_verified", "has no judgment, expected one; run `cpt verify` on the file first"
        if ScoreLevel.of(row.judgment.score) is not row.level:
            return "out_of_band", f"scored {row.judgment.score:g}, expected the band of {row.level}"
        return None

    def _take_also(self, row: TeacherResponse) -> None:
        for rubric_id, judgment in (row.also or {}).items():
            rubric = self._rubric_numbers.get(rubric_id)
            if rubric is None or rubric_id == row.rubric or not self.rubrics[rubric].system_prompts:
                continue
            values = (len(self), rubric, self.judges.number(_judge(judgment)), judgment.score)
            for column, value in zip(self._also.values(), values, strict=True):
                column.append(value)

    def _read(self, number: int) -> TeacherResponse:
        file = self._files[self._columns["file"][number]]
        file.seek(self._columns["start"][number])
        return TeacherResponse.model_validate_json(file.read(self._columns["length"][number]))


def index_files(index: ResponseIndex, paths: Iterable[Path], known: Mapping[str, Rubric], progress: Progress) -> None:
    """Offers every good row of responses files to the index.

    Args:
        index: Takes them.
        paths: Files in JSONL.
        known: Rubrics by id that rows may name, wanted or not.
        progress: Passes rows on and shows how far it is of the number of lines.

    Raises:
        ValueError: If a file is missing.
    """
    places: dict[str, tuple[int, Numbers]] = {}
    for path in paths:
        if not path.is_file():
            raise ValueError(f"{path}: not found, expected a responses file in JSONL")
        places[str(path)] = (index.open(path), line_starts(path))
    rows = iter_responses([Path(path) for path in places], known, index.problems)
    for where, row in progress(rows, sum(len(starts) - 1 for _, starts in places.values())):
        path_name, _, line = where.rpartition(":")
        file, starts = places[path_name]
        start, end = int(starts[int(line) - 1]), int(starts[int(line)])
        index.offer(where, row, file, start, end - start)


def index_rated(index: ResponseIndex, path: Path, rows: Iterable[TeacherResponse], spool: Path) -> None:
    """Offers responses made from human ratings to the index.

    Args:
        index: Takes them.
        path: File of the ratings, named in problems.
        rows: What was made of it, with a judgment each.
        spool: File to write them to, so that they can be read again.
    """
    with spool.open("wb") as file:
        number = index.open(spool)
        for row in rows:
            if row.id in index.rated_ids:
                index.problems.add("repeated_id", f"{path}: response {row.id!r} is there twice, expected each id once")
                continue
            index.rated_ids.add(row.id)
            line = row.model_dump_json(exclude_none=True).encode() + b"\n"
            index.offer(f"{path}: response {row.id!r}", row, number, file.tell(), len(line))
            file.write(line)


def line_starts(path: Path) -> Numbers:
    """Where the lines of a file start, then its size: line k, from 0, is the bytes from entry k up to entry k + 1."""
    parts = [np.zeros(1, dtype=np.int64)]
    size = 0
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            parts.append(np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n")) + size + 1)
            size += len(block)
    starts = np.concatenate(parts)
    return starts if starts[-1] == size else np.append(starts, size)


def normalised(text: str) -> str:
    """A user prompt without the differences that do not make it another one: case and white space."""
    return " ".join(text.casefold().split())


def _judge(judgment: ResponseJudgment) -> str:
    return f"{judgment.judge}, prompt version {judgment.prompt_version}"
