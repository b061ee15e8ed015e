"""How a process of this package begins and ends: Ctrl-C ends it at any time, without a traceback.

Nothing here takes long to import: whoever starts a process imports this first, and the rest through :func:`start`.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

# Environment variable with the process id of the launcher whose end is a node's end, too.
LAUNCHER = "RESKILL_LAUNCHER"

# What asyncio says of a process that it signals at the very moment at which the process ends: signalling asks whether
# it still runs, and so takes the exit code away from what waits for it. No process of this package ends with it.
UNKNOWN_EXIT_CODE = 255

# They end no process, or cannot be caught.
_HARMLESS = {"SIGCHLD", "SIGCONT", "SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGWINCH", "SIGKILL"}
# The process itself has failed: no code of it can be relied on any more.
_CRASHES = {"SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP"}
# Asked for by people and by launchers; shells start background jobs with SIGINT and SIGQUIT ignored.
_REQUESTS = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM}


def start(module: str) -> NoReturn:
    """Import a module and run its ``main`` as this process.

    The first Ctrl-C raises a KeyboardInterrupt in ``main``, the second ends the process at once. In the middle of an
    import there is nothing to tidy up, and the first one ends it; so it is when ``main`` has returned.
    """
    try:
        # A shell's background job may have it ignored.
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
    """Signals that end this process as things are, but for those of a crash and the one nobody can catch.

    What is ignored is left out, such as SIGHUP under ``nohup``; but nothing that is a request to end.
    """
    named = {item.value for item in signal.Signals if item.name in _HARMLESS | _CRASHES}
    ending = (signal.SIG_DFL, signal.default_int_handler, _interrupt)
    return {
        int(number)
        for number in signal.valid_signals() - named
        if number in _REQUESTS or signal.getsignal(number) in ending
    }


def reskill() -> NoReturn:
    """The ``reskill`` command."""
    start("reskill_sim.cli.main")


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    if _is_importing(frame):
        # An exception would come out of there as whatever the module makes of it.
        os.kill(os.getpid(), number)
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _unraisable(event: Any) -> None:
    """An interrupt that hit a place from which no exception can come, a destructor for example."""
    if isinstance(event.exc_value, KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    sys.__unraisablehook__(event)


def _end_at_once() -> None:
    """Let SIGINT end the process while the interpreter tidies up."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
