"""The three forms of text that `cpt rubric import` reads; any other prose is put into the schema by a model.

- the Markdown page that `cpt rubric export` writes (`rubrics/markdown.py`);
- a table: title, objective, then a header line with criterion, weight and the five grades (tabs or pipes), a line for
  each criterion with its weight in percent; what stands below the table are the rewards and penalties;
- the score rubric of Prometheus (arXiv 2310.08491): a criterion with five score descriptions, as JSON
  (`criteria`, `score1_description` to `score5_description`) or text (`[criteria]`, `Score 1: ...` to `Score 5: ...`).
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from rubrics.markdown import as_slug, column_names, read_criteria, read_head, read_page, unescape
from rubrics.schema import GRADES


def read_rubric_text(text: str, name: str) -> dict[str, Any]:
    """The fields of a rubric in a text of one of the three forms, as `Rubric` takes them; what it lacks is left out.

    Args:
        text: The whole text.
        name: Name of its file without ending: the title of a form that has none.

    Raises:
        ValueError: If the text has another form, or something in it has no place in a rubric.
    """
    text = re.sub(r"\r\n?", "\n", text)
    if text.lstrip().startswith("{"):
        return _prometheus_json(text, name)
    lines = text.split("\n")
    header = next(
        (number for number, line in enumerate(lines) if {"criterion", "weight"} <= {*column_names(line)}), None
    )
    if header is not None:
        has_sections = re.search(r"^## ", text, flags=re.MULTILINE)
        return read_page(text) if has_sections else _table_form(lines, header)
    start, *parts = re.split(r"^Score ([1-5]): *", text, flags=re.MULTILINE)
    if parts[::2] == ["1", "2", "3", "4", "5"]:
        criteria = start.strip().removeprefix("[").removesuffix("]")
        return _prometheus(criteria, dict(zip(parts[::2], parts[1::2], strict=True)), name)
    raise ValueError(
        "got prose, expected a page of `cpt rubric export`, a table whose header names criterion, weight and five "
        "grades, or criteria of Prometheus; `cpt rubric draft --from FILE --model MODEL` has a model read all else"
    )


def _table_form(lines: list[str], header: int) -> dict[str, Any]:
    end = next((number for number in range(header, len(lines)) if not lines[number].strip()), len(lines))
    content, rest = read_head("\n".join(lines[:header]))
    if rest and "title" not in content:
        content["title"] = unescape(rest.pop(0))
    if rest:
        content["objective"] = unescape(re.sub(r"^Objective: *", "", "\n".join(rest), flags=re.IGNORECASE))
    content["criteria"] = read_criteria(lines[header:end])
    if below := "\n".join(lines[end:]).strip():
        content["rewards_and_penalties"] = unescape(below)
    return content


def _prometheus_json(text: str, name: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    content = content.get("score_rubric", content)  # rows of BiGGen Bench nest it, others hold it as text
    if isinstance(content, str):
        return read_rubric_text(content, name)
    pairs = content.items() if isinstance(content, dict) else ()
    content = {key.removeprefix("orig_"): value for key, value in pairs}  # of the Feedback Collection
    names = ["criteria", *(f"score{score}_description" for score in "12345")]
    if missing := [key for key in names if not isinstance(content.get(key), str)]:
        raise ValueError(f"got JSON without the texts {missing}, expected those of Prometheus: {', '.join(names)}")
    return _prometheus(content["criteria"], {score: content[f"score{score}_description"] for score in "12345"}, name)


def _prometheus(criteria: str, descriptions: Mapping[str, str], name: str) -> dict[str, Any]:
    title = " ".join(re.split(r"[\W_]+", name)).strip().capitalize() or "Criterion"
    descriptors = {grade: descriptions[score].strip() for grade, score in zip(GRADES, "54321", strict=True)}
    criterion = {"id": as_slug(title) or "criterion", "title": title, "weight": 100, "descriptors": descriptors}
    return {"title": title, "objective": criteria.strip(), "criteria": [criterion]}
