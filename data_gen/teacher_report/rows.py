"""Reads judged responses of teachers into numbers: for `cpt teachers`.

One row at a time: of a text only its numbers are kept, and the hashes of its 4-grams where it is in the pool that
responses to other prompts are compared with.
"""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from data_gen.responses import Problems, iter_responses
from data_gen.teacher_report.bias import gram_hashes, mattr, opening, same_opening, sentiment, shared_grams
from data_gen.teacher_report.statistics import LEVELS, LOW, NAN, Cells, Floats, Ints
from judges.measures import words
from rubrics import Rubric, ScoreLevel

Kind = Literal["teacher", "student", "base"]
# passes rows on and shows how far they are of a number, None if it is not known
Progress = Callable[[Iterable[Any], int | None], Iterable[Any]]

# enough for any estimate, and what bounds the memory: 8 bytes per word of these prompts
POOL_PROMPTS = 500


@dataclass(frozen=True)
class Protocol:
    """What must be equal between scores that stand in one report: the judge and the version of its prompt."""

    judge: str
    prompt_version: str

    def __str__(self) -> str:
        return f"{self.judge} (prompt version {self.prompt_version})"


@dataclass
class Writer:
    """The responses of one teacher, student or base model as numbers, added one by one.

    Attributes:
        name: Of the teacher or model.
        kind: What it is in the report.
        rubrics: Ids of all rubrics, the same for all writers of a report.
        prompts: Index of each user prompt by its id.
        openings: Index of each opening by its text.
        grams: Hashes of the responses in the pool: for each (rubric, level) the first response of the first 500
            prompts, by the row's index.
        left_out: Rows that are not counted, by reason.
    """

    name: str
    kind: Kind
    rubrics: Sequence[str]
    prompts: dict[str, int] = field(default_factory=dict)
    openings: dict[str, int] = field(default_factory=dict)
    grams: dict[int, Ints] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    _places: "array[int]" = field(default_factory=lambda: array("q"))
    _numbers: "array[float]" = field(default_factory=lambda: array("d"))
    _pool_sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    _pooled: set[tuple[int, int, int]] = field(default_factory=set)

    def add(
        self, rubric_id: str, level: str, user_prompt_id: str, score: float, text: str, compound: Callable[[str], float]
    ) -> None:
        """Takes one response; `score` is 0-100, `level` one of `LEVELS`, `compound` as in `load_compound`."""
        tokens = words(text)
        rubric, place = self.rubrics.index(rubric_id), LEVELS.index(level)
        prompt = self.prompts.setdefault(user_prompt_id, len(self.prompts))
        begins = opening(tokens)
        begin = self.openings.setdefault(begins, len(self.openings)) if begins else -1
        cell = (rubric, place)
        if self._pool_sizes[cell] < POOL_PROMPTS and (*cell, prompt) not in self._pooled:
            self._pooled.add((*cell, prompt))
            self._pool_sizes[cell] += 1
            self.grams[len(self)] = gram_hashes(tokens)
        in_band = float(ScoreLevel.of(score) == level) if place >= LOW else NAN
        self._places.extend((rubric, place, prompt, begin))
        self._numbers.extend((score, in_band, len(tokens), mattr(tokens), sentiment(text, compound)))

    def __len__(self) -> int:
        return len(self._places) // 4

    @property
    def cells(self) -> Cells:
        """Where each response belongs."""
        rubric, level, prompt, _ = self._table()
        return Cells(rubric, level, prompt, len(self.rubrics), len(self.prompts))

    @property
    def opening_of(self) -> Ints:
        """Index of the opening of each response, -1 for none."""
        begins: Ints = self._table()[3]
        return begins

    @property
    def fewest_others(self) -> int:
        """Fewest responses to other prompts that a response of the pool can be compared with; 0 if none has any."""
        return min((size - 1 for size in self._pool_sizes.values() if size > 1), default=0)

    def numbers(self, topics: int) -> dict[str, Floats]:
        """Every number of each response, nan where it has none.

        Args:
            topics: Other prompts that shared 4-grams are looked for in; 0 gives nan.
        """
        columns = np.frombuffer(self._numbers, dtype=np.float64).reshape(-1, 5).T
        found = dict(zip(("score", "in_band", "words", "mattr", "sentiment"), columns, strict=True))
        for name in ("shared_grams", "shared_grams_other_levels", "same_opening"):
            found[name] = np.full(len(self), NAN)
        cells, pool = self.cells, np.fromiter(self.grams, dtype=np.int64)
        for rubric in np.unique(cells.rubric[pool]):
            rows = pool[cells.rubric[pool] == rubric]
            if topics:
                grams = [self.grams[row] for row in rows]
                own, other = shared_grams(grams, cells.level[rows], cells.prompt[rows], topics)
                found["shared_grams"][rows], found["shared_grams_other_levels"][rows] = own, other
            for level in np.unique(cells.level[rows]):
                here = rows[cells.level[rows] == level]
                found["same_opening"][here] = same_opening(self.opening_of[here])
        return found

    def _table(self) -> Ints:
        return np.frombuffer(self._places, dtype=np.int64).reshape(-1, 4).T


@dataclass(frozen=True)
class Teachers:
    """What the responses files hold: teachers in the order of their names, and what they were judged by."""

    writers: list[Writer]
    protocol: Protocol
    rubric_hashes: dict[str, str]


def read_teachers(
    paths: Sequence[Path],
    rubrics: Mapping[str, Rubric],
    problems: Problems,
    compound: Callable[[str], float],
    limit: int | None = None,
    lines: int | None = None,
    progress: Progress = lambda rows, _: rows,
) -> Teachers:
    """The judged responses of each teacher.

    Rows that are bad or unjudged go to `problems`, and the others on.

    Args:
        paths: Responses files.
        rubrics: Rubrics by id.
        problems: Where bad rows are told.
        compound: Sentiment of a sentence, from `load_compound`.
        limit: User prompts per teacher, the first ones in the files; None takes all.
        lines: Lines of the files, for the progress.
        progress: Passes rows on.

    Raises:
        ValueError: If a file is missing, the rows have different judges or versions of a rubric, or none is judged.
    """
    writers: dict[str, Writer] = {}
    protocol: Protocol | None = None
    for where, row in progress(iter_responses(paths, rubrics, problems), lines):
        if row.judgment is None:
            problems.add("unjudged", f"{where}: no judgment, expected one; judge the rows with `cpt verify --keep all`")
            continue
        found = Protocol(row.judgment.judge, row.judgment.prompt_version)
        protocol = protocol or found
        check_same_judge(where, found, protocol)
        if row.teacher not in writers:
            writers[row.teacher] = Writer(row.teacher, "teacher", sorted(rubrics))
        writer = writers[row.teacher]
        if limit and row.user_prompt_id not in writer.prompts and len(writer.prompts) >= limit:
            writer.left_out["limit"] += 1
            continue
        writer.add(row.rubric, row.level, row.user_prompt_id, row.judgment.score, row.response, compound)
    if problems.counts["edited_rubric"]:
        raise ValueError(
            f"{problems.counts['edited_rubric']} rows were written for another version of their rubric, expected one "
            "rubric hash per rubric in a report; leave these rows out, or restore the rubric"
        )
    if protocol is None:
        raise ValueError(
            f"{', '.join(path.name for path in paths)}: no judged response found among "
            f"{problems.counts.total()} rows; judge them with `cpt verify --keep all`"
        )
    used = {rubric for writer in writers.values() for rubric in np.unique(writer.cells.rubric)}
    hashes = {rubric_id: rubrics[rubric_id].hash for place, rubric_id in enumerate(sorted(rubrics)) if place in used}
    return Teachers([writers[name] for name in sorted(writers)], protocol, hashes)


def check_names(writers: Sequence[Writer]) -> Sequence[Writer]:
    """The writers; raises ValueError if two of a kind have one name, since nothing could tell them apart."""
    for (kind, name), count in Counter((writer.kind, writer.name) for writer in writers).items():
        if count > 1:
            raise ValueError(f"{kind} {name!r} has {count} logs, expected one log per model")
    return writers


def comparable_topics(writers: Iterable[Writer], at_most: int) -> int:
    """Other prompts that every writer of a report can be searched in, at most `at_most`; 0 if there are none."""
    return min([at_most, *(writer.fewest_others for writer in writers)])


def check_same_judge(where: str, found: Protocol, expected: Protocol) -> None:
    """Raises ValueError, naming the place, unless both are the same."""
    if found != expected:
        raise ValueError(
            f"{where}: judged by {found}, expected {expected} as the rows before; scores of different judges cannot "
            "stand in one report, so report them apart"
        )
