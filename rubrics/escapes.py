r"""Marks by which any text can stand in a Markdown line or table cell, and be read back as it was.

| written | read as |
|---|---|
| backslash, then a punctuation mark: `\|` `\*` `\_` `\<` `\&` `\\` | that mark |
| `&#124;` or `&#x7C;` | the character of that number, in Unicode |
| `&amp;` `&lt;` `&gt;` `&quot;` `&nbsp;` | as in HTML; the last one as a space |
| `<br>`, with the spaces after it | a line break |

All of them show as meant when the Markdown is displayed.
"""

import re
import sys

LINE_BREAK = "<br>"

_MARK = re.compile(
    r"\\([!-/:-@\[-`{-~])|&#(?:[xX]([0-9a-fA-F]{1,6})|([0-9]{1,7}));|&(amp|lt|gt|quot|nbsp);|<br\s*/?>[ \t]*"
)
_NAMES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "nbsp": " "}
_SPECIAL = re.compile(r"[\\|*_<&]")
_SURROGATES = range(0xD800, 0xE000)  # no characters of their own: text with one cannot be written as UTF-8


def unescape(text: str) -> str:
    """The text with its marks read, in one pass; what is no mark stays as it is."""
    return _MARK.sub(_read_mark, text)


def escape(text: str, line_break: str = LINE_BREAK, *, shield: bool = False) -> str:
    r"""The text with marks for all that might be read as something else: `unescape(escape(text)) == text`.

    Args:
        text: Any text.
        line_break: What is written for each "\n".
        shield: Write the first character of each line as a number, so that the line looks like nothing else (a
            heading, a list item, the name of a field).
    """
    return line_break.join(_escape_line(line, shield) for line in text.split("\n"))


def _read_mark(mark: re.Match[str]) -> str:
    punctuation, hexadecimal, decimal, name = mark.groups()
    if punctuation:
        return punctuation
    if name:
        return _NAMES[name]
    if not (hexadecimal or decimal):
        return "\n"
    number = int(hexadecimal, 16) if hexadecimal else int(decimal)
    return chr(number) if number <= sys.maxunicode and number not in _SURROGATES else mark.group()


def _escape_line(line: str, shield: bool) -> str:
    first = len(line) - len(line.lstrip())
    last = len(line.rstrip()) - 1
    written = []
    for position, character in enumerate(line):
        outside = not first <= position <= last
        if outside or (shield and position == 0) or _is_odd(character):
            written.append(f"&#{ord(character)};")
        else:
            written.append(_SPECIAL.sub(r"\\\g<0>", character))
    return "".join(written)


def _is_odd(character: str) -> bool:
    # tabs part cells, carriage returns lines; the rest cannot be seen, or not typed
    return character != " " and (character.isspace() or not character.isprintable())
