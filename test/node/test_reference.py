"""docs/ros_interface.md: it says what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from reskill_core.resources import config_folder
from reskill_ros.tools.reference import main

REPOSITORY = config_folder().parent
PAGE = REPOSITORY / "docs" / "ros_interface.md"


@pytest.fixture(autouse=True)
def discovery_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line changes it for its process; other tests get back theirs."""
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")


def test_the_page_is_up_to_date() -> None:
    """If not, `python -m reskill_ros.tools.reference docs/ros_interface.md` writes it."""
    assert main([str(PAGE), "--check"]) == 0


def test_what_is_out_of_date_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With ``--check`` nothing is written; without, the page is."""
    start = "| `gate.resume_after` | integer | "
    old = PAGE.read_text().replace(f"{start}`3`", f"{start}`2`")
    path = tmp_path / "page.md"
    path.write_text(old)
    assert main([str(path), "--check"]) == 1
    _, _, _, removed, added = capsys.readouterr().out.splitlines()
    assert removed.startswith(f"-{start}`2`")
    assert added.startswith(f"+{start}`3`")
    assert path.read_text() == old
    assert main([str(path)]) == 0
    assert path.read_text() == PAGE.read_text()


def test_every_node_message_and_service_has_a_section() -> None:
    sections = {line.removeprefix("### ") for line in PAGE.read_text().splitlines()}
    for pattern in ("reskill_ros/nodes/*_node.py", "msg/*.msg", "srv/*.srv"):
        files = list(REPOSITORY.glob(pattern))
        assert files
        assert {file.stem for file in files} <= sections
