"""Text that may be shown: what files, messages and people wrote must not command the terminal that it is printed on."""

from __future__ import annotations

_LAYOUT = "\n\t"


def printable(text: str, layout: str = _LAYOUT) -> str:
    r"""Text with everything that is no visible character written as its escape, such as ``\x1b``.

    That holds for control characters, which a terminal obeys, for those that turn the direction of writing, and for
    the stand-ins of bytes that are no text in the name of a file.

    Args:
        text: any text.
        layout: control characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in layout else char.encode("unicode_escape").decode() for char in text
    )


def shortened(value: object, length: int = 80) -> str:
    """A value as Python writes it, cut off where it gets too long for a message."""
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"
