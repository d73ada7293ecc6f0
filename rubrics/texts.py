"""What a text must not hold: control tokens of chats, and halves of characters."""

import re

# A control token is what a tokenizer or a chat template takes for the end of a turn, a role, a thought or a tool call
# wherever it stands. Mark-up such as <b>, <name> or [1] is ordinary text.
CONTROL_TOKEN = re.compile(
    r"<\|[^\s|<>]{1,40}\|?>|<[^\s|<>]{1,40}\|>"  # <|im_end|>, <|eot_id|>; Gemma 4's <|turn> and <turn|>
    r"|<｜[^\s｜<>]{1,40}｜>"  # DeepSeek
    r"|</?s>|<<?/?SYS>>?"  # Llama 2, Mistral
    r"|<(?:bos|eos|pad|unk|mask|sop|eop)>|<(?:start|end)_of_\w{1,20}>|<(?:unused|extra_id_)\d+>"  # Gemma, GLM, Nemotron
    r"|<[A-Z]{1,20}_TOKEN>"  # Command R
    r"|</?(?:think|tool_call|tool_response|seed:\w{1,40})>"  # Qwen, Seed-OSS
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|THINK|[gs]MASK)\]"  # Mistral, GLM
    r"|\[\|[^\s|\[\]]{1,40}\|\]"  # EXAONE
    r"|◁/?\w{1,40}▷"  # Kimi
)
BROKEN_CHARACTER = "\ufffd"


def whole_characters(text: str) -> str:
    """A text with U+FFFD for every half of a character (lone surrogate), which no request, log or file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def control_token(text: str) -> str:
    """The first control token in a text; "" if there is none."""
    token = CONTROL_TOKEN.search(text)
    return token[0] if token else ""
