"""What can be seen of a reply: the answer, without the chain of thought that some models write before it.

Providers of an API take thoughts out themselves. Local models and servers without a reasoning parser leave them in the
text, between markers that differ by family.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inspect_ai.model import ModelOutput

# templates of R1's kind open the block in the prompt, so an opening marker may be missing in the reply
_OPENING = (
    r"<think(?:\s[^>\n]*)?>",  # DeepSeek, Qwen, GLM, Nemotron, LFM, MiniMax, Olmo; inspect's own, with attributes
    r"<thinking>|<thought>|<reasoning>",  # prompted for; EXAONE
    r"<seed:think>",  # Seed-OSS
    r"\[THINK\]",  # Magistral
    r"◁think▷",  # Kimi
    r"<\|START_THINKING\|>",  # Command A
    r"<\|inner_prefix\|>",  # Apertus
    r"<\|channel>thought\b",  # Gemma 4
    r"<unused94>thought\b",  # MedGemma
    r"(?:<\|start\|>assistant)?<\|channel\|>(?:analysis|commentary)<\|message\|>",  # gpt-oss
)
_CLOSING = (
    r"</(?:think|thinking|thought|reasoning|seed:think)>",
    r"\[/THINK\]|◁/think▷|<\|END_THINKING\|>|<\|inner_suffix\|>|<channel\|>|<unused95>",
    r"(?:<\|end\|>)?(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>",
)
THOUGHT_OPENED = "thought_opened"  # in the metadata of a sample whose prompt ends in an opening marker
OPENED = re.compile(rf"(?:{'|'.join(_OPENING)})\s*\Z")
MARKER = re.compile(f"(?P<opening>{'|'.join(_OPENING)})|(?P<closing>{'|'.join(_CLOSING)})")
_STARTS = ("<", "[", "◁")  # of every marker
_GPT_OSS_WITHOUT_TOKENS = re.compile(r"\Aanalysis(?=\S)(?P<thought>.*?)assistantfinal(?P<answer>.*)", re.DOTALL)


def visible(text: str, opened: bool = False) -> tuple[str, str]:
    """The answer that a reader sees, and the chain of thought, "" where there is none.

    A thought stands between the markers of its family; nested ones count as one. One that is never closed takes the
    rest of the text, one that is closed but not opened all text before it. Markers that are opened behind other text
    on a line and closed on the same line, or never, are text about markers and stay. A text without a thought comes
    back as it is; of one with a thought, white space around the answer is taken too. Where the prompt `opened` the
    thought, a text that never closes it is all thought.
    """
    if opened and not any(marker["closing"] for marker in MARKER.finditer(text)):
        return "", text.strip()
    bare = _GPT_OSS_WITHOUT_TOKENS.match(text)
    if bare:
        return bare["answer"].strip(), bare["thought"].strip()
    if not any(start in text for start in _STARTS):  # as nearly always; matching costs a hundred times as much
        return text, ""
    answer: list[str] = []
    thoughts: list[str] = []
    opening: re.Match[str] | None = None
    depth = end = 0
    for marker in MARKER.finditer(text):
        if marker["opening"]:
            opening = opening or marker
            depth += 1
            continue
        depth = 0 if marker.group().endswith("final<|message|>") else max(0, depth - 1)
        if depth:
            continue
        if opening is None:
            thoughts += [*answer, text[end : marker.start()]]
            answer, end = [], marker.end()
        elif not (_is_inline(text, end, opening) and "\n" not in text[opening.end() : marker.start()]):
            answer.append(text[end : opening.start()])
            thoughts.append(text[opening.end() : marker.start()])
            end = marker.end()
        opening = None
    if opening is not None and not _is_inline(text, end, opening):
        answer.append(text[end : opening.start()])
        thoughts.append(text[opening.end() :])
        end = len(text)
    if not thoughts:
        return text, ""
    return "".join([*answer, text[end:]]).strip(), "\n".join(thoughts).strip()


def answer_of(output: "ModelOutput", facts: Mapping[str, Any]) -> tuple[str, str]:
    """The visible answer of a model of inspect and its chain of thought, whether that is in the text or in blocks.

    `facts` is the metadata of the sample. A refusal is no answer, nor is a provider's error that inspect gives as one:
    a prompt that is too long, without usage.
    """
    stop = output.stop_reason if output.choices else ""
    if stop == "content_filter" or (stop == "model_length" and output.usage is None):
        return "", ""
    answer, thought = visible(output.completion, THOUGHT_OPENED in facts)
    content = output.choices[0].message.content if output.choices else ""
    blocks = [] if isinstance(content, str) else [block for block in content if block.type == "reasoning"]
    # the text of a redacted block is a cipher
    thoughts = [(block.summary or "") if block.redacted else block.reasoning for block in blocks]
    return answer, "\n".join(part for part in (*thoughts, thought) if part)


def _is_inline(text: str, start: int, marker: re.Match[str]) -> bool:
    """Whether other text stands before the marker on its line, after `start`."""
    return bool(text[max(start, text.rfind("\n", 0, marker.start()) + 1) : marker.start()].strip())
