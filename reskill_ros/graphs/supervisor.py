"""Runs processes that belong together: one's end ends all, none outlives the supervisor."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from reskill_core.command_line import OutputError
from reskill_core.process import UNKNOWN_EXIT_CODE, ending_signals

# Nodes end within seconds of a signal, also with a callback that hangs; a busy machine takes longer.
_GRACE_S = 10.0
_LINE_LIMIT = 2**20
_PR_SET_PDEATHSIG = 1
# Not SIGINT: a Python that is still starting up answers that with a traceback.
_STOP = signal.SIGTERM


@dataclass(frozen=True)
class Process:
    """A process to run.

    Attributes:
        name: put before each line of its output; without one the output is left as it is.
        command: program and arguments.
        primary: when it has finished, all is finished.
        required: when it fails, all is stopped.
    """

    name: str
    command: Sequence[str]
    primary: bool = False
    required: bool = True


@dataclass(frozen=True)
class Outcome:
    """How a run of processes ended.

    Attributes:
        exit_code: of the first that failed (128 + n when a signal n ended it), or 0.
        signalled: a signal ended it.
    """

    exit_code: int
    signalled: bool


def supervise(
    processes: Sequence[Process],
    environment: Mapping[str, str] | None = None,
    output: TextIO = sys.stdout,
    grace_s: float = _GRACE_S,
) -> Outcome:
    """Run processes until a primary one has finished, a required one has failed, or a signal arrives.

    Any signal that would end this process makes all of them end, with SIGTERM; further ones change nothing, so that
    a second Ctrl-C does not cut off a robot's safe command. What still runs ``grace_s`` later is killed.

    Args:
        processes: what to run, started in this order.
        environment: environment variables, by default those of this process.
        output: where their output goes, each line with the name of its process in front.
        grace_s: time between being asked to end and being killed [s].
    """
    return asyncio.run(_Supervisor(environment, output, grace_s).run(processes))


class _Supervisor:
    def __init__(self, environment: Mapping[str, str] | None, output: TextIO, grace_s: float) -> None:
        self._environment = environment
        self._output = output
        self._grace_s = grace_s
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._exit_code = 0
        self._signalled = False

    async def run(self, processes: Sequence[Process]) -> Outcome:
        loop = asyncio.get_running_loop()
        signals = ending_signals()
        for number in signals:
            loop.add_signal_handler(number, self._on_signal)
        try:
            stopper = asyncio.create_task(self._stop())
            watchers = []
            for item in processes:
                if not self._stopping.is_set():
                    watchers.append(asyncio.create_task(self._watch(await self._start(item), item)))
            await asyncio.gather(*watchers)
            stopper.cancel()
        finally:
            self._signal_all(signal.SIGKILL)
            for number in signals:
                loop.remove_signal_handler(number)
        return Outcome(self._exit_code, self._signalled)

    async def _start(self, item: Process) -> asyncio.subprocess.Process:
        parent = os.getpid()
        # A session of its own: Ctrl-C reaches the supervisor alone, which then ends all in order.
        process = await asyncio.create_subprocess_exec(
            *item.command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE if item.name else None,
            stderr=asyncio.subprocess.STDOUT if item.name else None,
            env=self._environment,
            limit=_LINE_LIMIT,
            start_new_session=True,
            preexec_fn=lambda: end_with(parent),
        )
        self._running[item.name] = process
        if self._stopping.is_set():
            process.send_signal(_STOP)
        return process

    async def _watch(self, process: asyncio.subprocess.Process, item: Process) -> None:
        if process.stdout is not None:
            async for line in process.stdout:
                self._print(item.name, line.decode(errors="replace").rstrip())
        code = await process.wait()
        del self._running[item.name]
        self._ended(item, code if code >= 0 else 128 - code)

    def _ended(self, item: Process, code: int) -> None:
        expected = self._stopping.is_set() or item.primary
        if self._stopping.is_set() and code in (128 + _STOP, UNKNOWN_EXIT_CODE):
            # Asked to end before it could handle that.
            code = 0
        if code == 0 and not expected and item.required:
            self._print("reskill-up", f"{item.name} ended although it should keep running")
            code = 1
        elif code != 0 and item.name:
            self._print("reskill-up", f"{item.name} failed with exit code {code}")
        self._exit_code = self._exit_code or code
        if item.primary or (code != 0 and item.required):
            self._stopping.set()

    async def _stop(self) -> None:
        await self._stopping.wait()
        self._signal_all(_STOP)
        await asyncio.sleep(self._grace_s)
        for name in self._running:
            self._print("reskill-up", f"{name} does not end, it is killed")
        self._signal_all(signal.SIGKILL)

    def _on_signal(self) -> None:
        self._signalled = True
        self._stopping.set()

    def _signal_all(self, number: signal.Signals) -> None:
        for process in self._running.values():
            if process.returncode is None:
                process.send_signal(number)

    def _print(self, name: str, line: str) -> None:
        try:
            print(f"[{name}] {line}", file=self._output, flush=True)
        except (OSError, OutputError):
            # Nobody reads any more: all is ended in order, for a robot must not be left to a SIGKILL.
            self._stopping.set()


def end_with(parent: int) -> None:
    """In a new process: ask the kernel (Linux) for a SIGTERM when the thread that started it ends, however it ends."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)


# Loaded before any fork: a new process may not be able to.
_LIBC = ctypes.CDLL(None)
