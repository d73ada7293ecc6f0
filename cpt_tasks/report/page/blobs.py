"""How data stands in the page: JSON that no text in it can break out of, and compressed blobs opened on demand."""

import base64
import gzip
import json
from collections.abc import Iterable, Sequence
from typing import Any

from cpt_tasks.report.page.records import RunRecords

# ends of elements and comments, and the line ends that JSON allows and older scripts do not
_UNSAFE = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def safe_json(value: Any) -> str:
    """JSON for a data block of a page; raises ValueError on nan, which is not JSON."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # a lone surrogate, which a model's text can hold, has no UTF-8
    return text.translate(_UNSAFE).encode("utf-8", "backslashreplace").decode()


def blob(value: Any) -> str:
    """Gzipped JSON in base64: the same bytes for the same value and zlib."""
    return base64.b64encode(gzip.compress(safe_json(value).encode(), 9, mtime=0)).decode()


def score_columns(run: RunRecords, kept: Sequence[int]) -> dict[str, Any]:
    """Every record's numbers in columns; texts named by number, -1 in `text` where the text is left out.

    `kept` holds the positions of the records whose texts are kept, ascending, as `text_columns` has them.
    """
    rows = run.records
    number = {position: index for index, position in enumerate(kept)}
    return {
        **_coded("rubric", (row.rubric for row in rows)),
        **_coded("level", (row.level for row in rows)),
        **_coded("prompt", (row.prompt_id for row in rows)),
        **_coded("wording", (row.wording for row in rows)),
        **_coded("note", (row.note for row in rows)),
        "epoch": [row.epoch for row in rows],
        "score": [round(row.score, 2) for row in rows],
        "miss": [None if row.miss is None else round(row.miss, 2) for row in rows],
        "words": [row.words for row in rows],
        "text": [number.get(position, -1) for position in range(len(rows))],
    }


def text_columns(run: RunRecords, kept: Sequence[int]) -> dict[str, Any]:
    """The texts of the kept records in columns, prompts by number, with the judge's scores and reasons."""
    rows = [run.records[position] for position in kept]
    return {
        **_coded("system", (row.system_prompt for row in rows)),
        **_coded("user", (row.user_prompt for row in rows)),
        "response": [row.response for row in rows],
        "criteria": [[[found.id, round(found.score, 2), found.reason] for found in row.criteria] for row in rows],
        "holistic": [row.holistic for row in rows],
    }


def _coded(name: str, values: Iterable[str]) -> dict[str, Any]:
    values = list(values)
    names = list(dict.fromkeys(values))
    number = {text: index for index, text in enumerate(names)}
    return {name: [number[text] for text in values], f"{name}_names": names}
