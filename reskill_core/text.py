"""Text that is safe to print: no control characters from files, messages or users reach the terminal."""

from __future__ import annotations

_LAYOUT = "\n\t"


def printable(text: str, layout: str = _LAYOUT) -> str:
    r"""Replace non-printable characters by their escapes, such as ``\x1b``.

    This includes control characters, characters that change the direction of writing, and the surrogates that stand for
    undecodable bytes in file names.

    Args:
        text: any text.
        layout: control characters to keep.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char in layout else char.encode("unicode_escape").decode() for char in text
    )


def shortened(value: object, length: int = 80) -> str:
    """Return the ``repr`` of a value, cut off if it is too long for a message."""
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"
