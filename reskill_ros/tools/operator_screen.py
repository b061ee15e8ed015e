"""Output of the operator's console: lines, above the text that is being typed."""

from __future__ import annotations

import shutil
from contextlib import suppress

from reskill_core.command_line import OutputError
from reskill_core.text import printable

_CLEAR_LINE = "\r\x1b[K"


class OperatorScreen:
    """Terminal without echo; one that was closed is ignored, because the robot has to be stopped then."""

    def __init__(self) -> None:
        self._typed = ""

    def show(self, line: str) -> None:
        """Print a line."""
        self._print(f"{_CLEAR_LINE if self._typed else ''}{line}\r\n{self._typed}")

    def edit(self, prompt: str, text: str) -> None:
        """Show the end of a text that is being typed, after a prompt, in place of what was shown of it before."""
        room = max(shutil.get_terminal_size().columns - len(prompt) - 1, 1)
        self._typed = f"{prompt}{printable(text)[-room:]}"
        self._print(f"{_CLEAR_LINE}{self._typed}")

    def end_edit(self) -> None:
        """Remove the text that was being typed."""
        self._typed = ""
        self._print(_CLEAR_LINE)

    def _print(self, text: str) -> None:
        with suppress(OSError, OutputError):
            print(text, end="", flush=True)
