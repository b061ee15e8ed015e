"""Progress bars: live for people, seldom in log files."""

from __future__ import annotations

import io

import pytest

from reskill_core.progress import progress_bar


class _Stream(io.StringIO):
    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def _drawn(terminal: bool, shown: bool, monkeypatch: pytest.MonkeyPatch) -> str:
    """What 30 steps of 0.03 s draw, on a clock that no other process slows down."""
    stream, now_s = _Stream(terminal), 1000.0
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr("tqdm.std.time", lambda: now_s)
    for _ in progress_bar(range(30), shown=shown, unit="steps"):
        now_s += 0.03
    return stream.getvalue()


def test_a_terminal_gets_a_live_bar_and_a_log_file_its_beginning_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    live, logged = (_drawn(terminal, True, monkeypatch) for terminal in (True, False))
    assert live.count("\r") >= 4
    assert logged.count("\r") == 2
    assert "30/30" in live
    assert "30/30" in logged


def test_nothing_is_drawn_where_nothing_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _drawn(True, False, monkeypatch) == ""
