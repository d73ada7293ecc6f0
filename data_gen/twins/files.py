"""Preference files out of twins and pairs within a level: what they become, in JSONL or Parquet, as rows are made.

They train unchanged with TRL's `DPOTrainer` and `trl dpo`. A row is half a twin or one pair; columns: docs/files.md.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # it ships no types

from data_gen.twins.history import HISTORY
from data_gen.twins.inputs import Responses
from data_gen.twins.pairing import KINDS, SIDES, TWIN, only
from rubrics.files import whole_file
from rubrics.pictures import load_picture

TWINS_AT_A_TIME = 4_000


def preference_rows(
    twins: pl.DataFrame, responses: Responses, wordings: pl.DataFrame, id_digits: int = 12
) -> Iterator[pl.DataFrame]:
    """Both rows of every twin, next to each other, the one that chooses the first response first; in tables.

    A pair within a level gives one row, which chooses the first response.

    Args:
        twins: With wordings drawn, and earlier turns where there are some (`draw_history`). With a column `kind`, its
            values are a column of the rows too.
        responses: What they are made of.
        wordings: `train_wordings` of their rubrics.
        id_digits: Length of `pair_id`, a hash, in hex digits.
    """
    parts = ((kind, part) for kind in KINDS for part in only(kind, twins).iter_slices(TWINS_AT_A_TIME))
    for of_kind, slice_ in parts:
        part = _with_texts(slice_, responses)
        names = part.select(pl.concat_str("id_first", "id_second", "repeat", separator=" ")).to_series()
        ids = [hashlib.sha256(name.encode()).hexdigest()[:id_digits] for name in names]
        part = part.with_columns(pair_id=pl.Series(ids, dtype=pl.String))
        choices = (SIDES, SIDES[::-1]) if of_kind == TWIN else (SIDES,)
        halves = [_half(part, *sides, wordings).with_row_index() for sides in choices]
        yield pl.concat(halves).sort("index", maintain_order=True).drop("index")


def _with_texts(twins: pl.DataFrame, responses: Responses) -> pl.DataFrame:
    earlier = _history(twins)
    if earlier and responses.has_pictures:
        raise ValueError("--history: got responses about pictures, expected responses to texts; leave out the former")
    rows = pl.concat([twins[name] for name in (*SIDES, *earlier)]).unique().to_frame("row")
    is_near = pl.col("row").is_between(rows["row"].min(), rows["row"].max())  # lets whole parts be skipped
    texts = responses.texts.filter(is_near).join(rows.lazy(), on="row", how="semi").collect()
    for side in SIDES:
        of_side = texts.select("row", pl.col("id", "response").name.suffix(f"_{side}"))
        twins = twins.join(of_side, left_on=side, right_on="row", how="left", maintain_order="left")
    for name in earlier:
        of_turn = texts.select("row", pl.col("user_prompt", "response").name.suffix(f"_{name}"))
        twins = twins.join(of_turn, left_on=name, right_on="row", how="left", maintain_order="left")
    user_prompts = texts.select("row", "user_prompt_id", "user_prompt", *(["image"] if responses.has_pictures else []))
    return twins.join(user_prompts, left_on="first", right_on="row", how="left", maintain_order="left")


def _history(twins: pl.DataFrame) -> list[str]:
    return [name for name in twins.columns if name.startswith(HISTORY)]


def _half(twins: pl.DataFrame, chosen: str, rejected: str, wordings: pl.DataFrame) -> pl.DataFrame:
    """The rows that choose the response of one side, "first" or "second"."""
    asked = twins.join(
        wordings,
        left_on=["rubric", f"level_{chosen}", f"wording_{chosen}"],
        right_on=["rubric", "level", "number"],
        how="left",
        maintain_order="left",
    )
    earlier = [
        _message(role, f"{text}_{name}")
        for name in _history(twins)
        for role, text in (("user", "user_prompt"), ("assistant", "response"))
    ]
    scores = [pl.col(f"score_{chosen}").alias("score_chosen"), pl.col(f"score_{rejected}").alias("score_rejected")]
    has_pictures = "image" in asked.columns
    message = _message_of_parts if has_pictures else _message
    return asked.select(
        pl.concat_list(message("system", "system"), *earlier, message("user", "user_prompt")).alias("prompt"),
        pl.concat_list(_message("assistant", f"response_{chosen}")).alias("chosen"),
        pl.concat_list(_message("assistant", f"response_{rejected}")).alias("rejected"),
        *("pair_id", "rubric"),
        pl.col(f"level_{chosen}").cast(pl.String).alias("level"),
        pl.col(f"level_{rejected}").cast(pl.String).alias("rejected_level"),
        *([] if asked["score_first"].has_nulls() else scores),
        *("user_prompt_id", "teacher", "wording"),
        *(["kind"] if "kind" in asked.columns else []),
        *([pl.concat_list(_data_uri(asked)).list.drop_nulls().alias("images")] if has_pictures else []),
    )


def _message(role: str, column: str) -> pl.Expr:
    return pl.struct(role=pl.lit(role), content=pl.col(column))


def _message_of_parts(role: str, column: str) -> pl.Expr:
    """A message whose content is a list of parts: of the user's, first a place for its image, if it has one."""
    text = pl.struct(type=pl.lit("text"), text=pl.col(column))
    if role != "user":
        return pl.struct(role=pl.lit(role), content=pl.concat_list(text))
    image = pl.struct(type=pl.lit("image"), text=pl.lit(None, pl.String))
    parts = pl.when(pl.col("image").is_null()).then(pl.concat_list(text)).otherwise(pl.concat_list(image, text))
    return pl.struct(role=pl.lit(role), content=parts)


def _data_uri(rows: pl.DataFrame) -> pl.Expr:
    uris = {file: load_picture(file).data_uri for file in rows["image"].drop_nulls().unique()}
    return pl.col("image").replace_strict(uris, return_dtype=pl.String)


def write_preferences(folder: Path, name: str, formats: Sequence[str], tables: Iterator[pl.DataFrame]) -> int:
    """Writes one file in each format, "jsonl" or "parquet", as the rows come; returns how many rows.

    Nothing is left under the names unless all is written.
    """
    count, parquet = 0, None
    with ExitStack() as stack:
        files = {kind: stack.enter_context(whole_file(folder / f"{name}.{kind}", binary=True)) for kind in formats}
        for rows in tables:
            count += len(rows)
            if "jsonl" in files:
                rows.write_ndjson(files["jsonl"])
            if "parquet" in files:
                table = rows.to_arrow()
                parquet = parquet or stack.enter_context(
                    pq.ParquetWriter(files["parquet"], table.schema, compression="zstd")
                )
                parquet.write_table(table)
    return count
