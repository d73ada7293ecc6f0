"""Which responses are on the page in full, where all of them would make it too large."""

import json
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

from cpt_tasks.report.page.records import Record, RunRecords

Chosen = list[list[int]]


def choose_texts(runs: Sequence[RunRecords], budget: int) -> Chosen:
    """For each run the positions, ascending, of the records whose texts are kept.

    Records of one (rubric, level) form a cell. Each cell offers its worst, its median and its best response by how far
    the score lies from what was asked for (from 100 where nothing was), then the others from one end of that order to
    the other, halving the gaps. All cells of all runs are served in turn while the budget lasts, so that none is empty
    while another is full. The same records give the same choice.

    Args:
        runs: Records of each model and benchmark.
        budget: Bytes that the texts may take after compression, about; what they take is estimated from one sample of
            every cell.
    """
    offers = [_offers(run.records) for run in runs]
    rates = [_compression(run.records, offered) for run, offered in zip(runs, offers, strict=True)]
    chosen: list[set[int]] = [set() for _ in runs]
    left = float(budget)
    for number, position in _in_turn(offers):
        left -= text_bytes(runs[number].records[position]) * rates[number]
        if left < 0:
            break
        chosen[number].add(position)
    return [sorted(found) for found in chosen]


def text_bytes(record: Record) -> int:
    """UTF-8 bytes of the texts that belong to this response alone."""
    texts = [record.response, *(f"{found.id}{found.reason}" for found in record.criteria)]
    return sum(len(text.encode()) for text in texts) + 20 * len(record.criteria)


def spread(n: int) -> list[int]:
    """0 .. n-1 with the first, the middle and the last in front, then always the middles of what lies between.

    >>> spread(6)
    [0, 2, 5, 1, 3, 4]
    """
    if n < 3:
        return list(range(n))
    middle = (n - 1) // 2
    order = [0, middle, n - 1]
    gaps = [(0, middle), (middle, n - 1)]
    while gaps:
        halves = []
        for low, high in gaps:
            if high - low > 1:
                between = (low + high) // 2
                order.append(between)
                halves += [(low, between), (between, high)]
        gaps = halves
    return order


def _offers(records: Sequence[Record]) -> list[list[int]]:
    cells: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for position, record in enumerate(records):
        cells[record.rubric, record.level].append(position)
    offers = []
    for positions in cells.values():
        # positions settle ties: records of one log stand in one order
        worst_first = sorted(positions, key=lambda position: (-_distance(records[position]), position))
        offers.append([worst_first[rank] for rank in spread(len(worst_first))])
    return offers


def _distance(record: Record) -> float:
    return -record.score if record.miss is None else abs(record.miss)


def _in_turn(offers: Sequence[Sequence[Sequence[int]]]) -> Iterator[tuple[int, int]]:
    longest = max((len(cell) for cells in offers for cell in cells), default=0)
    for turn in range(longest):
        for number, cells in enumerate(offers):
            for cell in cells:
                if turn < len(cell):
                    yield number, cell[turn]


def _compression(records: Sequence[Record], offers: Sequence[Sequence[int]]) -> float:
    sample = [records[cell[0]] for cell in offers]
    size = sum(map(text_bytes, sample))
    texts = [[record.response, [[found.id, found.reason] for found in record.criteria]] for record in sample]
    return len(zlib.compress(json.dumps(texts, ensure_ascii=False).encode())) / size if size else 1.0
