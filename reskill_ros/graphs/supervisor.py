"""Supervision of a group of processes that end together and do not outlive the supervisor."""

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

# Nodes end within seconds of a signal, even with a blocked callback; longer on a busy machine.
_GRACE_S = 10.0
_LINE_LIMIT = 2**20
_PR_SET_PDEATHSIG = 1
# Not SIGINT, for which Python prints a traceback during start-up.
_STOP = signal.SIGTERM


@dataclass(frozen=True)
class Process:
    """A process to run.

    Attributes:
        name: prefix of each line of its output; if empty, the output is unchanged.
        command: program and arguments.
        primary: all processes are stopped when it has finished.
        required: all processes are stopped when it fails.
    """

    name: str
    command: Sequence[str]
    primary: bool = False
    required: bool = True


@dataclass(frozen=True)
class Outcome:
    """Result of a run of processes.

    Attributes:
        exit_code: exit code of the first failed process (128 + n if ended by signal n), or 0.
        signalled: whether a signal ended the run.
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

    Any signal that would end this process stops all processes with SIGTERM; further signals are ignored, so that a
    second Ctrl-C does not interrupt a robot's safe command. Processes that run after ``grace_s`` are killed.

    Args:
        processes: processes, started in this order.
        environment: environment variables; by default those of this process.
        output: stream for the output of all processes, with the process name before each line.
        grace_s: time from SIGTERM to SIGKILL [s].
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
        # Separate session: Ctrl-C reaches only the supervisor, which stops all processes orderly.
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
            # Stopped before its signal handler was installed.
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
            # The reader is gone: stop orderly, so that a robot gets its safe command.
            self._stopping.set()


def end_with(parent: int) -> None:
    """In a new process, request a SIGTERM from the kernel (Linux) when the parent thread ends for any reason."""
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)


# Loaded before any fork, because loading may not be possible in a new process.
_LIBC = ctypes.CDLL(None)
