"""Labels of episodes: what somebody says about one, such as an instruction or a remark."""

from __future__ import annotations

import unicodedata

MAX_LABEL_BYTES = 256
# Control characters, surrogates, and separators of lines and paragraphs: the same in every version of Unicode.
_REFUSED = ("Cc", "Cs", "Zl", "Zp")


def label_fault(label: object) -> str:
    """Return why a value cannot be the label of an episode, for a message; empty if it can.

    A label is one line of text in any language, at most 256 bytes of UTF-8; the empty text is no label.
    """
    if not isinstance(label, str):
        return f"a label must be text, got {label!r}"
    # A character has at least one byte; what is too long is neither examined nor shown as a whole.
    if len(label) > MAX_LABEL_BYTES or len(label.encode(errors="replace")) > MAX_LABEL_BYTES:
        return f"a label has at most {MAX_LABEL_BYTES} bytes (UTF-8), got {label[:20]!a}…: shorten it"
    for char in label:
        if unicodedata.category(char) in _REFUSED:
            return f"a label is one line without control characters, got {char!a} in {label!a}: remove it"
    return ""
