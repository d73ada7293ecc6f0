"""How data stands in the page: JSON that no text in it can break out of, and compressed blobs opened on demand."""

import base64
import gzip
import json
from typing import Any

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
