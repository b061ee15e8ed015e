"""Commands as people run them in a terminal, with everything that they start."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

# Only a failing test waits this long; the machine may be busy.
TIMEOUT_S = 100.0
_MARK = "RESKILL_TEST_COMMAND"
_IMPORT_LINE = "import time:"


class Command:
    """A running command in a session of its own, as a terminal starts it.

    What it starts is found by a mark in the environment, whatever session it is in and whoever its parent is by now.
    With ``trace_imports`` Python says what it imports, which counts how far it has come however busy the machine is.
    """

    def __init__(
        self,
        folder: Path,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        trace_imports: bool = False,
    ) -> None:
        mark = uuid.uuid4().hex
        self._mark = f"{_MARK}={mark}".encode()
        self._log = folder / f"command-{mark}.log"
        variables = {**os.environ, **(environment or {}), _MARK: mark, "ROS_LOG_DIR": str(folder / "ros_log")}
        if trace_imports:
            variables["PYTHONPROFILEIMPORTTIME"] = "1"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=variables,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def imports(self) -> list[str]:
        """Modules imported so far, by any of the processes."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line.rpartition("|")[2].strip() for line in lines if _IMPORT_LINE in line]

    @property
    def output(self) -> str:
        """What was printed so far, but for the imports."""
        lines = self._log.read_text(errors="replace").splitlines(keepends=True)
        return "".join(line for line in lines if _IMPORT_LINE not in line)

    def running(self) -> list[psutil.Process]:
        """All processes of the command that run, itself included."""
        found = []
        for pid in psutil.pids():
            try:
                variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                if self._mark in variables and (process := psutil.Process(pid)).status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (OSError, psutil.Error):
                continue
        return found

    def node(self, name: str) -> psutil.Process | None:
        """The process of a ROS node, if it runs."""
        for process in self.running():
            try:
                if f"__node:={name}" in process.cmdline():
                    return process
            except psutil.Error:
                continue
        return None

    def wait_until(self, condition: Callable[[], object], what: str) -> bool:
        """Wait for something to come true; returns whether it did before the command had ended."""
        end_s = time.monotonic() + TIMEOUT_S
        while not condition():
            if self.process.poll() is not None:
                return False
            assert time.monotonic() < end_s, f"waited {TIMEOUT_S:g} s for {what}:\n{self.output}"
            time.sleep(0.01)
        return True

    def press_ctrl_c(self) -> None:
        """Send SIGINT to all of the process group, as a terminal does."""
        self.signal_group(signal.SIGINT)

    def signal_group(self, number: int) -> None:
        """Send a signal to all of the process group."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def wait(self) -> int:
        """Wait for the end of the command, then of all that it has started; returns its exit code."""
        try:
            code = self.process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the command does not end:\n{self.output}") from None
        end_s = time.monotonic() + TIMEOUT_S
        while left := self.running():
            assert time.monotonic() < end_s, f"left behind: {[process.cmdline() for process in left]}\n{self.output}"
            time.sleep(0.01)
        return code

    def close(self) -> None:
        """End whatever is left."""
        for process in self.running():
            process.kill()
        self.process.wait()
