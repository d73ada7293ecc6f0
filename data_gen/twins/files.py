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
from collections.abc import Iterator, Mapping, Sequence
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


def pair_ids(twins: Mapping[str, pl.DataFrame], responses: Responses) -> dict[str, pl.DataFrame]:
    """The twins of each file with their `pair_id`: first 12 hex digits of a SHA-256, 24 where those are given already.

    Raises:
        AssertionError: If a twin was made twice.
    """
    ids = responses.texts.select("id").collect().to_series()
    rubric_ids = [rubric.id for rubric in responses.rubrics]

    def digest(first: int, second: int, repeat: int, rubric: int, with_rubric: int | None = None) -> str:
        asked = [] if with_rubric is None else [rubric_ids[rubric], rubric_ids[with_rubric]]
        return hashlib.sha256(" ".join([ids[first], ids[second], *asked, str(repeat)]).encode()).hexdigest()

    columns = ["first", "second", "repeat", "rubric", "with_rubric"]
    together = pl.concat([table.select(name for name in columns if name in table.columns) for table in twins.values()])
    beginnings = np.fromiter((int(digest(*row)[:12], 16) for row in together.iter_rows()), dtype=np.int64)
    again = np.setdiff1d(np.arange(len(together)), np.unique(beginnings, return_index=True)[1])
    longer = {place: digest(*together.row(place))[:24] for place in again.tolist()}
    assert len(set(longer.values())) == len(longer), "a twin was made twice"
    result, start = {}, 0
    for name, table in twins.items():
        parts = [pl.Series(dtype=pl.String)]
        for at in range(start, start + len(table), TWINS_PER_READ):
            places = range(at, min(at + TWINS_PER_READ, start + len(table)))
            parts.append(pl.Series([longer.get(place) or f"{beginnings[place]:012x}" for place in places]))
        result[name] = table.with_columns(pl.concat(parts).alias("pair_id"))
        start += len(table)
    return result


def preference_rows(
    twins: pl.DataFrame,
    responses: Responses,
    wordings: Wordings,
    chat_template_kwargs: dict[str, Any] | None = None,
    across_teachers: bool = False,
) -> Iterator[pl.DataFrame]:
    """Both rows of every twin, next to each other, the one that chooses the first response first; in tables."""
    for block in twins.iter_slices(TWINS_PER_READ):
        rows = pl.concat([block["first"], block["second"]])
        is_near = pl.col("row").is_between(rows.min(), rows.max())  # lets whole parts be skipped
        texts = responses.texts.filter(is_near).join(rows.unique().to_frame("row").lazy(), on="row", how="semi")
        read = texts.collect()
        for twins_part in block.iter_slices(TWINS_PER_WRITE):
            with_texts = _with_texts(twins_part, read, responses, wordings)
            halves = [
                _half(with_texts, chosen, rejected, chat_template_kwargs, across_teachers)
                for chosen, rejected in (("_first", "_second"), ("_second", "_first"))
            ]
            side_by_side = np.arange(2 * len(twins_part)).reshape(2, -1).T.ravel()
            yield pl.concat(halves)[side_by_side]


def _with_texts(twins: pl.DataFrame, texts: pl.DataFrame, responses: Responses, wordings: Wordings) -> pl.DataFrame:
    for side in ("first", "second"):
        columns = texts.select(side=pl.col("row"), **{f"{name}_{side}": name for name in ("response", "teacher_name")})
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
    asked = []
    is_composed = "with_rubric" in twins.columns
    for prefix in ["", "with_"] if is_composed else [""]:
        asked.append(
            [
                pl.col(f"{prefix}rubric"),
                pl.col(f"{prefix}level{chosen}").alias(f"{prefix}level"),
                pl.col(f"{prefix}level{rejected}").alias(f"{prefix}rejected_level"),
                pl.col(f"{prefix}score{chosen}").alias(f"{prefix}score_chosen"),
                pl.col(f"{prefix}score{rejected}").alias(f"{prefix}score_rejected"),
                pl.col(f"{prefix}wording{chosen}").alias(f"{prefix}wording"),
            ]
        )
    system = twins[f"system{chosen}"]
    if is_composed:
        both = zip(system, twins[f"with_system{chosen}"], twins[f"swapped{chosen}"], strict=True)
        system = pl.Series(
            [
                one if not two else joint_system_prompt([two, one] if swapped else [one, two])
                for one, two, swapped in both
            ]
        )
    return twins.select(
        prompt=pl.concat_list(_message("system", system), _message("user", pl.col("user_prompt"))),
        chosen=pl.concat_list(_message("assistant", pl.col(f"response{chosen}"))),
        rejected=pl.concat_list(_message("assistant", pl.col(f"response{rejected}"))),
        pair_id="pair_id",
        **{expression.meta.output_name(): expression for expression in asked[0][:-1]},
        user_prompt_id="user_prompt_id",
        teacher=f"teacher_name{chosen}",
        wording=asked[0][-1],
        **({"chat_template_kwargs": pl.lit(pl.Series([kwargs])).first()} if kwargs is not None else {}),
        **({"rejected_teacher": f"teacher_name{rejected}"} if across_teachers else {}),
        **{expression.meta.output_name(): expression for more in asked[1:] for expression in more},
    )


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
