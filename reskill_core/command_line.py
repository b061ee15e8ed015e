"""The edge of every command: what it prints is fit for a terminal, and every way to fail has its exit code.

0 is success, 1 a verdict (such as an invalid data set) or, with a traceback, a fault of ours, 2 what the user can
change, told in a message: arguments, files, space, memory.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any, TextIO

from reskill_core.errors import ReskillError
from reskill_core.text import printable

FAULT, USER_ERROR, INTERRUPTED = 1, 2, 130
# What goes wrong outside of this program; everything else is a fault of it.
USER_ERRORS = (ReskillError, OSError, MemoryError)


class OutputError(BaseException):
    """Standard output cannot be written to; nothing that handles errors of files shall take it for one of its own."""


class IntermixedParser(argparse.ArgumentParser):
    """Takes options between positional arguments also below subcommands, where argparse itself does not."""

    _is_intermixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As of argparse."""
        if self._is_intermixing or any(action.nargs == argparse.PARSER for action in self._get_positional_actions()):
            return super().parse_known_args(args, namespace)
        self._is_intermixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_intermixing = False


def run_command(work: Callable[[], int], interrupted: str = "interrupted") -> int:
    """Run a command and turn what it raises into an exit code and a message.

    Args:
        work: returns the exit code of a command that has not failed.
        interrupted: what to say after Ctrl-C.
    """
    with printable_output():
        try:
            code = work()
            if sys.stdout is not None:
                sys.stdout.flush()
            return code
        except OutputError as error:
            # Nothing more can go there, also not what is still buffered when the process ends.
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error.__cause__, BrokenPipeError):
                # The reader, such as head, has seen enough.
                return 0
            print(f"error: standard output: {message_of(error.__cause__)}", file=sys.stderr)
            return USER_ERROR
        except USER_ERRORS as error:
            print(f"error: {message_of(error)}", file=sys.stderr)
            return USER_ERROR
        except KeyboardInterrupt:
            print(interrupted, file=sys.stderr)
            return INTERRUPTED
        except Exception:
            traceback.print_exc()
            return FAULT


def message_of(error: BaseException | None) -> str:
    """What to tell people about an error, above all about one of :data:`USER_ERRORS`."""
    if isinstance(error, OSError) and error.strerror:
        names = " and ".join(os.fsdecode(name) for name in (error.filename, error.filename2) if name is not None)
        return printable(f"{names}: {error.strerror}" if names else error.strerror)
    if isinstance(error, MemoryError):
        return printable(f"not enough memory: {error}".rstrip(": "))
    return printable(str(error))


@contextmanager
def printable_output() -> Iterator[None]:
    """Meanwhile, what is printed commands no terminal, whatever file it was read from."""
    with redirect_stdout(_Printable.of(sys.stdout)), redirect_stderr(_Printable.of(sys.stderr, is_essential=False)):
        yield


class _Printable:
    """A stream whose text is made printable; of progress bars the return to the start of the line is left."""

    def __init__(self, stream: TextIO, is_essential: bool) -> None:
        self._stream, self._is_essential = stream, is_essential

    @classmethod
    def of(cls, stream: TextIO | None, is_essential: bool = True) -> Any:
        """A stream made printable; None, where the process was started without it, stays None."""
        return None if stream is None else cls(stream, is_essential)

    def write(self, text: str) -> int:
        """Write a text, with escapes for what the stream's encoding does not have either."""
        shown = printable(text, layout="\n\t" if self._is_essential else "\n\t\r")
        encoding = self._stream.encoding or "utf-8"
        with self._failing():
            self._stream.write(shown.encode(encoding, "backslashreplace").decode(encoding))
        return len(text)

    def writelines(self, lines: Sequence[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand on what is buffered."""
        with self._failing():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._is_essential:
                raise OutputError(str(error)) from error
