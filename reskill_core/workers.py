"""Worker processes that end with their parent: in order when the work is done, at once when it is given up."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class WorkerPool(ProcessPoolExecutor):
    """A pool of processes; left with an exception, such as a Ctrl-C, it ends them amid what they do.

    Ctrl-C is for this process alone: a worker that dies of it, or goes on with its next job, leaves the others
    waiting.

    Args:
        workers: number of processes.
    """

    def __init__(self, workers: int) -> None:
        context = get_context("spawn")
        # Whatever becomes of this process, the kernel closes its end, and every worker hears of it.
        readable, self._held = context.Pipe(duplex=False)
        super().__init__(workers, mp_context=context, initializer=_live_while, initargs=(readable,))

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a worker call a function; starts a worker if all are busy and there may be more."""
        # A process inherits the mask of the thread that starts it. A Ctrl-C meanwhile is only late.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(work, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait until all is done, but for an exception."""
        if kind is not None:
            self._held.close()
        super().__exit__(kind, error, traceback)


def _live_while(held: Connection) -> None:
    """In a worker: end when the other end of a pipe is closed."""

    def watch() -> None:
        held.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
