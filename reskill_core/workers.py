"""Worker processes that end with their parent: in order when the work is done, immediately when it is aborted."""

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
    """Process pool that ends its workers immediately if it is left with an exception, such as a Ctrl-C.

    Only this process handles Ctrl-C: a worker that died of it, or went on with its next job, would leave the others
    waiting.

    Args:
        workers: number of processes.
    """

    def __init__(self, workers: int) -> None:
        context = get_context("spawn")
        # However this process ends, the kernel closes its end of the pipe, which every worker notices.
        readable, self._held = context.Pipe(duplex=False)
        super().__init__(workers, mp_context=context, initializer=_live_while, initargs=(readable,))

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedule a call in a worker; starts a worker if all are busy and more are allowed."""
        # A process inherits the signal mask of the thread that starts it. A Ctrl-C meanwhile is only delayed.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(work, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for the workers, unless an exception was raised."""
        if kind is not None:
            self._held.close()
        super().__exit__(kind, error, traceback)


def _live_while(held: Connection) -> None:
    """End this worker when the other end of the pipe is closed."""

    def watch() -> None:
        held.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
