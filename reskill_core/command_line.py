"""Common frame of all commands: safe terminal output, and an exit code for every kind of failure.

Exit codes: 0 is success; 1 is a negative result (such as an invalid data set) or, with a traceback, a bug of this
package; 2 is a problem that the user can fix, with a message: arguments, files, disk space, memory.
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
# Errors caused outside of this program; all others are bugs.
USER_ERRORS = (ReskillError, OSError, MemoryError)


class OutputError(BaseException):
    """Standard output cannot be written to; a BaseException, so that handlers of file errors do not catch it."""


class IntermixedParser(argparse.ArgumentParser):
    """Parser that accepts options between positional arguments also in subcommands, unlike argparse itself."""

    _is_intermixing = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, with intermixed options."""
        if self._is_intermixing or any(action.nargs == argparse.PARSER for action in self._get_positional_actions()):
            return super().parse_known_args(args, namespace)
        self._is_intermixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._is_intermixing = False


def run_command(work: Callable[[], int], interrupted: str = "interrupted") -> int:
    """Run a command and turn its exceptions into an exit code and a message.

    Args:
        work: the command; returns its exit code.
        interrupted: message after Ctrl-C.
    """
    with printable_output():
        try:
            code = work()
            if sys.stdout is not None:
                sys.stdout.flush()
            return code
        except OutputError as error:
            # Nothing more can be written there, including what is still buffered when the process ends.
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error.__cause__, BrokenPipeError):
                # The reader, such as head, has closed the pipe.
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
    """Return the message of an error for users, above all of one of :data:`USER_ERRORS`."""
    if isinstance(error, OSError) and error.strerror:
        names = " and ".join(os.fsdecode(name) for name in (error.filename, error.filename2) if name is not None)
        return printable(f"{names}: {error.strerror}" if names else error.strerror)
    if isinstance(error, MemoryError):
        return printable(f"not enough memory: {error}".rstrip(": "))
    return printable(str(error))


@contextmanager
def printable_output() -> Iterator[None]:
    """Escape control characters in everything printed meanwhile."""
    with redirect_stdout(_Printable.of(sys.stdout)), redirect_stderr(_Printable.of(sys.stderr, is_essential=False)):
        yield


class _Printable:
    """Stream that escapes control characters; on standard error, the carriage returns of progress bars are kept."""

    def __init__(self, stream: TextIO, is_essential: bool) -> None:
        self._stream, self._is_essential = stream, is_essential

    @classmethod
    def of(cls, stream: TextIO | None, is_essential: bool = True) -> Any:
        """Wrap a stream; None, if the process was started without it, stays None."""
        return None if stream is None else cls(stream, is_essential)

    def write(self, text: str) -> int:
        """Write a text; characters that the stream's encoding lacks are escaped, too."""
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
        """Flush the stream."""
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
