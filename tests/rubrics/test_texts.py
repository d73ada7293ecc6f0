"""Texts as they come: control tokens and ordinary mark-up, encodings, marks at the head, halves of characters."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rubrics.files import read_jsonl, read_text, write_jsonl
from rubrics.texts import control_token, whole_characters

CONTROL_TOKENS = [
    *("<|im_end|>", "<|eot_id|>", "<|endoftext|>", "<|start_header_id|>", "<|START_OF_TURN_TOKEN|>", "<|channel|>"),
    *("<end_of_turn>", "<bos>", "<unused94>", "<|turn>", "<turn|>", "<EOS_TOKEN>", "<extra_id_1>"),
    *("[INST]", "[/INST]", "</s>", "<s>", "<<SYS>>", "<</SYS>>", "[SYSTEM_PROMPT]", "[/THINK]", "[gMASK]", "[|user|]"),
    *("<｜User｜>", "<｜end▁of▁sentence｜>", "</think>", "<tool_call>", "<seed:think>", "◁think▷"),
    "<end_of_utterance>",
]
ORDINARY = [
    *("<b>bold</b>", "Dear <name>,", "<think twice>", "a < b | c > d", "x <| f |> y", "(<|>)", "|x|", "[1] [THE END]"),
    *("[inst]", "<sub>2</sub>", "<strong>", "<start of turn>", "||spoiler||", "<3", "<im_end>", "im_end", "s>t", "◁ ▷"),
]


def test_control_tokens_of_every_family_are_seen_wherever_they_stand() -> None:
    assert [control_token(f"Some text.{token}More of it.") for token in CONTROL_TOKENS] == CONTROL_TOKENS


def test_ordinary_mark_up_is_no_control_token() -> None:
    assert [control_token(text) for text in ORDINARY] == [""] * len(ORDINARY)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_another_encoding_is_refused_in_one_sentence_that_says_how_to_convert(encoding: str, tmp_path: Path) -> None:
    path, name = tmp_path / "rows.jsonl", encoding[:6].upper()
    path.write_bytes('{"a": "ü"}\n{"a": "v"}\n'.encode(encoding))
    skipped: list[str] = []
    with pytest.raises(
        ValueError, match=f"rows.jsonl: in {name}, expected UTF-8; convert it with `iconv -f {name} -t "
    ):
        list(read_jsonl(path, skip=skipped.append))
    assert skipped == []
    with pytest.raises(ValueError, match=f"^in {name}, expected UTF-8; convert it"):
        read_text(path)


def test_a_byte_order_mark_is_no_text_at_the_head_or_where_two_files_were_put_together(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"a": 1}\n\xef\xbb\xbf\n\xef\xbb\xbf{"a": 2}\n'))
    assert list(read_jsonl(path)) == [(1, {"a": 1}), (3, {"a": 2})]
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: 2\n")
    assert read_text(path) == "a: 1\nb: 2\n"
    path.write_bytes("ü".encode("latin-1"))
    with pytest.raises(ValueError, match=r"^not UTF-8 \(.*at byte 0\), save the file as UTF-8"):
        read_text(path)


def test_half_a_character_is_marked_and_two_halves_are_one() -> None:
    texts = ["a \ud83d", "\ude00 b", "\ud83d\ude00", "\ufeffA", "\U0001f600 \ufffd"]
    assert [whole_characters(text) for text in texts] == ["a \ufffd", "\ufffd b", "\U0001f600", *texts[3:]]


@given(texts=st.lists(st.text(st.characters())), is_escaped=st.booleans())
def test_half_a_character_is_read_as_a_mark_and_all_else_as_it_is(
    texts: list[str], is_escaped: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("halves") / "rows.jsonl"
    text = json.dumps({"a": texts}, ensure_ascii=is_escaped)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    [(_, row)] = read_jsonl(path)
    assert row == {"a": [whole_characters(text) for text in texts]}  # two halves in their order are one character
    write_jsonl(path, [{"a": texts}])
    path.read_text(encoding="utf-8")  # whole in UTF-8 whatever was written
    assert list(read_jsonl(path)) == [(1, row)]
