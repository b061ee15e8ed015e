"""A machine that has something else to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def busy_machine(loops: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that take every processor they get.

    In a session each: Linux shares processors out by session first, so that loops in the session of the tests would
    together get one share, taken from the tests, and hardly disturb graphs, which run in sessions of their own.
    """
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command, start_new_session=True) for _ in range(loops)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()
