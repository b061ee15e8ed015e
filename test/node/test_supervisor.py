"""Processes that belong together: all end in order, and nobody is left behind."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from ros_graph import TIMEOUT_S

from reskill_core.process import UNKNOWN_EXIT_CODE
from reskill_ros.graphs.supervisor import Process, supervise

WAIT = (
    "import signal, time; signal.signal(signal.SIGTERM, lambda *_: exit(0)); print('up', flush=True); time.sleep(600)"
)


def python(code: str, name: str = "worker", primary: bool = False, required: bool = True) -> Process:
    return Process(name, [sys.executable, "-c", code], primary=primary, required=required)


def run(*processes: Process, grace_s: float = 10.0) -> tuple[int, str]:
    output = io.StringIO()
    return supervise(processes, output=output, grace_s=grace_s).exit_code, output.getvalue()


def test_all_end_when_the_primary_one_has_finished(tmp_path: Path) -> None:
    up = f"import pathlib; up = pathlib.Path({str(tmp_path / 'up')!r})"
    other = WAIT.replace("print(", f"{up}; up.touch(); print(")
    main_code = f"{up}\nwhile not up.exists(): pass\nprint('done')"
    code, output = run(python(other, "other"), python(main_code, "main", primary=True))
    assert code == 0
    assert "[main] done" in output


def test_all_end_in_order_when_nobody_reads_their_output_any_more() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print('up', flush=True); "
    with os.fdopen(writer, "w") as output:
        # Killed it would be 137: it is asked to end, and does so by itself.
        assert supervise([python(f"{code}signal.pause()")], output=output, grace_s=60.0).exit_code == 7
        with contextlib.suppress(BrokenPipeError):
            output.close()


def test_the_exit_code_is_that_of_the_first_failure() -> None:
    failing = "import sys; sys.exit(7)"
    code, output = run(python(WAIT.replace("exit(0)", "exit(9)"), "late"), python(failing, "first"))
    assert code == 7
    assert "first failed with exit code 7" in output


def test_an_exit_code_that_got_lost_is_a_failure_unless_all_are_ending(tmp_path: Path) -> None:
    up = f"import pathlib; up = pathlib.Path({str(tmp_path / 'up')!r})"
    other = WAIT.replace("print(", f"{up}; up.touch(); print(").replace("exit(0)", f"exit({UNKNOWN_EXIT_CODE})")
    code, output = run(python(other, "other"), python(f"{up}\nwhile not up.exists(): pass", "main", primary=True))
    assert (code, "failed" in output) == (0, False)
    code, output = run(python(f"import sys; sys.exit({UNKNOWN_EXIT_CODE})", "first"))
    assert (code, output) == (UNKNOWN_EXIT_CODE, f"[reskill-up] first failed with exit code {UNKNOWN_EXIT_CODE}\n")


def test_a_process_killed_by_a_signal_is_a_failure() -> None:
    code, _ = run(python(WAIT), python("import os; os.kill(os.getpid(), 9)", "victim"))
    assert code == 128 + 9


def test_a_process_that_ends_without_being_asked_to_is_a_failure() -> None:
    code, output = run(python(WAIT), python("pass", "quitter"))
    assert code == 1
    assert "quitter ended although it should keep running" in output


def test_without_one_that_is_not_required_the_others_go_on(tmp_path: Path) -> None:
    file = str(tmp_path / "pid")
    extra = f"import os, pathlib; pathlib.Path({file!r}).write_text(str(os.getpid())); exit(3)"
    survivor = f"""
import os, pathlib
file = pathlib.Path({file!r})
while not (file.exists() and file.read_text()):
    pass
while os.path.exists("/proc/" + file.read_text()):
    pass
print("finished")
"""
    code, output = run(python(extra, "extra", required=False), python(survivor, "main", primary=True))
    assert "[main] finished" in output
    assert code == 3


def test_what_does_not_end_is_killed(tmp_path: Path) -> None:
    deaf = str(tmp_path / "deaf")
    stubborn = f"""
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path({deaf!r}).touch()
time.sleep(600)
"""
    main_code = f"import pathlib\nwhile not pathlib.Path({deaf!r}).exists(): pass"
    code, output = run(python(stubborn, "stubborn"), python(main_code, "main", primary=True), grace_s=0.3)
    assert code == 128 + 9
    assert "stubborn does not end, it is killed" in output


def test_long_lines_and_bytes_that_are_no_text_are_passed_on() -> None:
    code, output = run(python("import os; os.write(1, b'\\xff' + b'x' * 200000 + b'\\nlast')", "loud", primary=True))
    assert code == 0
    assert output.endswith("[loud] last\n")


SUPERVISOR = """
import sys
from reskill_ros.graphs.supervisor import Process, supervise
sys.exit(supervise([Process("worker", [sys.executable, "-c", sys.argv[1]])]).exit_code)
"""


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 0),
        (signal.SIGTERM, 0),
        (signal.SIGHUP, 0),
        (signal.SIGQUIT, 0),
        (signal.SIGUSR1, 0),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_no_process_outlives_the_supervisor(number: signal.Signals, code: int) -> None:
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, WAIT], stdout=subprocess.PIPE, text=True)
    assert supervisor.stdout is not None
    assert supervisor.stdout.readline() == "[worker] up\n"
    (child,) = psutil.Process(supervisor.pid).children()
    os.kill(supervisor.pid, number)
    assert supervisor.wait(TIMEOUT_S) == code
    end_s = time.monotonic() + TIMEOUT_S
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end_s, "the worker still runs"
    supervisor.stdout.close()
