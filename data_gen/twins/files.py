"""Preference files out of twins: what a twin becomes, in JSONL or Parquet, written as the rows are made.

They train unchanged with TRL's `DPOTrainer` and `trl dpo`. Columns of a row, which is half a twin; scores are 0-100:

    prompt             system prompt and user prompt
    chosen, rejected   the response that fits the system prompt, and the one that fits that of the other half
    pair_id            shared by the two halves of a twin, and by no other row
    rubric, level      what the system prompt asks for; `level` is that of `chosen`, `rejected_level` that of `rejected`
    score_chosen, score_rejected    by `rubric`
    user_prompt_id, teacher (who wrote `chosen`), wording (rubric, level and number)
    chat_template_kwargs    passed to the chat template by TRL; only if asked for
    rejected_teacher        only in data whose twins may be of two teachers
    with_rubric, with_level, with_rejected_level, with_score_chosen, with_score_rejected, with_wording
                            the second rubric of a composition; null in other rows; only in data with compositions
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from data_gen.twins.inputs import Responses
from data_gen.twins.pairing import Wordings
from rubrics import ScoreLevel, joint_system_prompt
from rubrics.files import whole_file

TWINS_PER_READ, TWINS_PER_WRITE = 20_000, 2_500


class PairIds:
    """Gives every twin of a data set its id: the beginning of a hash, as long as it must be to be the only one."""

    def __init__(self) -> None:
        # sorted, with a last one above all; as a set of numbers, a million would take 100 MB
        self._given = np.array([np.iinfo(np.int64).max])
        self._longer: set[str] = set()

    def new(self, twins: Iterable[tuple[object, ...]]) -> list[str]:
        """First 12 hex digits of the SHA-256 of each twin's parts joined by spaces; 24 where those are given already.

        Raises:
            AssertionError: If a twin was given an id of 24 digits before.
        """
        digests = [hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest() for parts in twins]
        beginnings = np.array([int(digest[:12], 16) for digest in digests], dtype=np.int64)
        is_new = np.zeros(len(digests), dtype=bool)
        is_new[np.unique(beginnings, return_index=True)[1]] = True
        is_new &= self._given[np.searchsorted(self._given, beginnings)] != beginnings
        fresh = np.sort(beginnings[is_new])
        self._given = np.insert(self._given, np.searchsorted(self._given, fresh), fresh)
        for place in np.flatnonzero(~is_new):
            assert digests[place][:24] not in self._longer, f"the twin {digests[place]} was made twice"
            self._longer.add(digests[place][:24])
        return [digest[:12] if short else digest[:24] for digest, short in zip(digests, is_new, strict=True)]


def preference_rows(
    twins: pl.DataFrame,
    responses: Responses,
    wordings: Wordings,
    pair_ids: PairIds,
    chat_template_kwargs: dict[str, Any] | None = None,
    across_teachers: bool = False,
) -> Iterator[pl.DataFrame]:
    """Both rows of every twin, next to each other, the one that chooses the first response first; in tables."""
    for block in twins.iter_slices(TWINS_PER_READ):
        rows = pl.concat([block["first"], block["second"]])
        is_near = pl.col("row").is_between(rows.min(), rows.max())  # lets whole parts be skipped
        texts = responses.texts.filter(is_near).join(rows.unique().to_frame("row").lazy(), on="row", how="semi")
        read = texts.collect()
        for part in block.iter_slices(TWINS_PER_WRITE):
            with_texts = _with_texts(part, read, responses, wordings)
            identity = ["id_first", "id_second", *["rubric", "with_rubric"] * ("with_rubric" in part.columns), "repeat"]
            parts = (
                parts if None not in parts else (*parts[:2], parts[-1]) for parts in with_texts[identity].iter_rows()
            )
            with_texts = with_texts.with_columns(pair_id=pl.Series(pair_ids.new(parts), dtype=pl.String))
            halves = [
                _half(with_texts, chosen, rejected, chat_template_kwargs, across_teachers)
                for chosen, rejected in (("_first", "_second"), ("_second", "_first"))
            ]
            side_by_side = np.arange(2 * len(part)).reshape(2, -1).T.ravel()
            yield pl.concat(halves)[side_by_side]


def _with_texts(twins: pl.DataFrame, texts: pl.DataFrame, responses: Responses, wordings: Wordings) -> pl.DataFrame:
    for side in ("first", "second"):
        columns = texts.select(
            side=pl.col("row"), **{f"{name}_{side}": name for name in ("id", "response", "teacher_name")}
        )
        twins = twins.join(columns, left_on=side, right_on="side", how="left", maintain_order="left")
    user_prompts = texts.select("row", "user_prompt_id", "user_prompt")
    twins = twins.join(user_prompts, left_on="first", right_on="row", how="left", maintain_order="left")
    for prefix in ["", "with_"] if "with_rubric" in twins.columns else [""]:
        names = pl.Series([rubric.id for rubric in responses.rubrics])
        levels = pl.Series([level.value for level in ScoreLevel])
        twins = twins.with_columns(names.gather(twins[f"{prefix}rubric"]).alias(f"{prefix}rubric"))
        for side in ("_first", "_second"):
            numbers, ranks = twins[f"{prefix}wording{side}"], twins[f"{prefix}rank{side}"]
            twins = twins.with_columns(
                wordings.texts.gather(numbers).alias(f"{prefix}system{side}"),
                wordings.names.gather(numbers).alias(f"{prefix}wording{side}"),
                levels.gather(ranks).alias(f"{prefix}level{side}"),
            )
    return twins


def _half(
    twins: pl.DataFrame, chosen: str, rejected: str, kwargs: dict[str, Any] | None, across_teachers: bool
) -> pl.DataFrame:
    """The rows that choose the response of one side; the columns' suffixes say which."""
    twins = twins.rename(lambda name: name.replace(chosen, "_chosen").replace(rejected, "_rejected"))
    system = twins["system_chosen"]
    if "with_rubric" in twins.columns:
        both = twins.select("system_chosen", "with_system_chosen", "swapped_chosen").iter_rows()
        system = pl.Series([_joint(*wordings) for wordings in both])
    asked = {"": _asked(""), "with_": _asked("with_") if "with_rubric" in twins.columns else {}}
    wording = asked[""].pop("wording")
    return twins.select(
        prompt=pl.concat_list(_message("system", system), _message("user", pl.col("user_prompt"))),
        chosen=pl.concat_list(_message("assistant", pl.col("response_chosen"))),
        rejected=pl.concat_list(_message("assistant", pl.col("response_rejected"))),
        pair_id="pair_id",
        **asked[""],
        user_prompt_id="user_prompt_id",
        teacher="teacher_name_chosen",
        wording=wording,
        **({"chat_template_kwargs": pl.lit(pl.Series([kwargs])).first()} if kwargs is not None else {}),
        **({"rejected_teacher": "teacher_name_rejected"} if across_teachers else {}),
        **asked["with_"],
    )


def _asked(prefix: str) -> dict[str, str]:
    """Names of columns about one rubric asked for, and where their values are."""
    columns = {"rubric": "rubric", "level": "level_chosen", "rejected_level": "level_rejected"}
    columns |= {"score_chosen": "score_chosen", "score_rejected": "score_rejected", "wording": "wording_chosen"}
    return {f"{prefix}{name}": f"{prefix}{source}" for name, source in columns.items()}


def _joint(one: str, two: str | None, swapped: bool | None) -> str:
    return one if two is None else joint_system_prompt([two, one] if swapped else [one, two])


def _message(role: str, content: pl.Expr | pl.Series) -> pl.Expr:
    return pl.struct(role=pl.lit(role), content=content)


def check_whole(rows: pl.DataFrame) -> None:
    """Raises AssertionError, naming the twin, unless every two rows are the two halves of one twin."""
    one, other = rows[::2], rows[1::2]
    assert len(one) == len(other), f"the twin {one['pair_id'][-1]} has one half, expected two"
    systems, users = ([half["prompt"].list.get(place) for half in (one, other)] for place in (0, 1))
    whole = (one["pair_id"] == other["pair_id"]) & (one["chosen"] == other["rejected"])
    whole &= (one["rejected"] == other["chosen"]) & (users[0] == users[1]) & (systems[0] != systems[1])
    if not whole.all():
        first, second = (half["pair_id"].filter(~whole)[0] for half in (one, other))
        raise AssertionError(f"the twin {first} is followed by {second}, expected its mirror")


def write_preferences(folder: Path, name: str, formats: Sequence[str], tables: Iterator[pl.DataFrame]) -> int:
    """Writes one file in each format, "jsonl" or "parquet", as the rows come; returns how many rows.

    Nothing is left under the names unless all is written.

    Raises:
        AssertionError: If a twin is not whole.
    """
    count, parquet = 0, None
    with ExitStack() as stack:
        files = {
            ending: stack.enter_context(whole_file(folder / f"{name}.{ending}", binary=True)) for ending in formats
        }
        for rows in tables:
            check_whole(rows)
            count += len(rows)
            if "jsonl" in files:
                rows.write_ndjson(files["jsonl"])
            if "parquet" in files:
                import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types

                table = rows.to_arrow()
                parquet = parquet or stack.enter_context(
                    pq.ParquetWriter(files["parquet"], table.schema, compression="zstd")
                )
                parquet.write_table(table)
    return count
