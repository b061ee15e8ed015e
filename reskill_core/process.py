"""Start and end of a process of this package: Ctrl-C ends it at any time, without a traceback.

This module is quick to import: entry points import it first, and everything else through :func:`start`.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

# Environment variable with the process id of the launcher; a node ends when that process does.
LAUNCHER = "RESKILL_LAUNCHER"

# Exit code that asyncio reports if it signals a process at the moment the process ends: signalling polls the process,
# which takes the exit code away from the waiter. No process of this package exits with it.
UNKNOWN_EXIT_CODE = 255

# Signals that end no process, or cannot be caught.
_HARMLESS = {"SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGWINCH", "SIGKILL"}
# Signals of a crash, after which no code of the process can be relied on.
_CRASHES = {"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP"}
# Requests to end, by users and launchers; shells start background jobs with SIGINT and SIGQUIT ignored.
_REQUESTS = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}


def start(module: str) -> NoReturn:
    """Import a module and run its ``main`` as this process.

    The first Ctrl-C raises a KeyboardInterrupt in ``main``, the second ends the process immediately. During an import
    and after ``main`` has returned nothing needs cleaning up, so that the first one ends the process immediately.
    """
    try:
        # In a background job of a shell it may be ignored.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, _interrupt)
            sys.unraisablehook = _unraisable
        code = int(import_module(module).main())
        _end_at_once()
    except KeyboardInterrupt:
        _end_at_once()
        code = 128 + signal.SIGINT
    sys.exit(code)


def ending_signals() -> set[int]:
    """Return the signals that would currently end this process, except for crashes and SIGKILL.

    Ignored signals are left out, such as SIGHUP under ``nohup``, except for requests to end.
    """
    named = {item.value for item in signal.Signals if item.name in _HARMLESS | _CRASHES}
    ending = (signal.SIG_DFL, signal.default_int_handler, _interrupt)
    return {
        int(number)
        for number in signal.valid_signals() - named
        if number in _REQUESTS or signal.getsignal(number) in ending
    }


def reskill() -> NoReturn:
    """Run the ``reskill`` command."""
    start("reskill_sim.cli.main")


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    if _is_importing(frame):
        # The module being imported might catch an exception or turn it into another one.
        os.kill(os.getpid(), number)
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _unraisable(event: Any) -> None:
    """Handle an interrupt raised where exceptions cannot propagate, for example in a destructor."""
    if isinstance(event.exc_value, KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    sys.__unraisablehook__(event)


def _end_at_once() -> None:
    """Let SIGINT end the process immediately during interpreter shutdown."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
