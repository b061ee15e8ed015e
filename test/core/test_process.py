"""How commands begin and end: whatever Ctrl-C hits, it ends them without a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

PRESS = "signal.raise_signal(signal.SIGINT)"
# What a command's module holds, and how it ends.
INTERRUPTED = {
    "in an import": (f"{PRESS}\ndef main(): return 0", -signal.SIGINT),
    "in an import that makes something else of it": (
        f"try:\n    {PRESS}\nexcept KeyboardInterrupt:\n    raise ImportError\ndef main(): return 0",
        -signal.SIGINT,
    ),
    "in an import of main's": ("def main():\n    import inner", -signal.SIGINT),
    "in main": (f"def main():\n    {PRESS}", 128 + signal.SIGINT),
    "in main, which tidies up and says so": (
        f"def main():\n    try:\n        {PRESS}\n    except KeyboardInterrupt:\n        return 130",
        128 + signal.SIGINT,
    ),
    "again while main tidies up": (
        f"def main():\n    try:\n        {PRESS}\n    finally:\n        {PRESS}",
        -signal.SIGINT,
    ),
    "in a destructor": (
        f"class A:\n    def __del__(self): {PRESS}\ndef main():\n    A()\n    return 0",
        -signal.SIGINT,
    ),
    "when main has returned": (
        f"import atexit\ndef main():\n    atexit.register(lambda: {PRESS})\n    return 0",
        -signal.SIGINT,
    ),
}


@pytest.mark.parametrize("moment", INTERRUPTED)
def test_ctrl_c_ends_a_command_quietly(moment: str, tmp_path: Path) -> None:
    code, expected = INTERRUPTED[moment]
    (tmp_path / "command.py").write_text(f"import signal\n{code}\n")
    (tmp_path / "inner.py").write_text(f"import signal\n{PRESS}\n")
    start = "from reskill_core.process import start\nstart('command')"
    result = subprocess.run([sys.executable, "-c", start], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (expected, "")


def test_what_main_returns_is_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "command.py").write_text("def main(): return 7")
    start = "from reskill_core.process import start\nstart('command')"
    assert subprocess.run([sys.executable, "-c", start], cwd=tmp_path, check=False).returncode == 7


@pytest.mark.parametrize("ignored", ["SIGHUP", "SIGUSR1", "SIGINT"])
def test_ending_signals_are_those_that_would_end_the_process(ignored: str) -> None:
    """What is ignored is not among them, but for what shells ignore in background jobs."""
    code = f"""
import signal
signal.signal(signal.{ignored}, signal.SIG_IGN)
from reskill_core.process import ending_signals
print(*sorted(ending_signals()))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    numbers = set(map(int, found.split()))
    # By hand, from signal(7) of Linux: default action Term or Core, without crashes and without what Python ignores.
    expected = ["HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM", "STKFLT", "XCPU", "VTALRM", "PROF", "IO", "PWR"]
    named = {int(getattr(signal, f"SIG{name}")) for name in expected if hasattr(signal, f"SIG{name}")}
    named.add(16)  # SIGSTKFLT, which Python has no name for before 3.11
    if ignored != "SIGINT":
        named.remove(getattr(signal, ignored))
    real_time = set(range(signal.SIGRTMIN, signal.SIGRTMAX + 1))
    assert numbers == named | real_time
