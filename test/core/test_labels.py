"""Labels of episodes: one short line of text in any language."""

from __future__ import annotations

import pytest

from reskill_core.labels import MAX_LABEL_BYTES, label_fault


@pytest.mark.parametrize(
    "label",
    [
        "",
        "put the block on the tray",
        "Würfel  auf das Tablett!",
        "把方块放在托盘上",
        "👩\u200d🔧",
        "x" * 256,
        "é" * 128,
    ],
)
def test_one_short_line_is_a_label(label: str) -> None:
    assert label_fault(label) == ""


@pytest.mark.parametrize("char", ["\n", "\r", "\t", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\udcff"])
def test_control_characters_are_refused_by_name(char: str) -> None:
    fault = label_fault(f"lift{char}it")
    assert "without control characters" in fault
    assert f"got {char!a} in" in fault
    assert fault.isprintable()


@pytest.mark.parametrize("label", ["x" * 257, "é" * 129, "把" * 86, "x" * 10**7])
def test_a_long_label_is_refused_in_a_short_message(label: str) -> None:
    fault = label_fault(label)
    assert f"at most {MAX_LABEL_BYTES} bytes" in fault
    assert len(fault) < 200
    assert fault.isprintable()


@pytest.mark.parametrize("label", [None, 7, b"lift"])
def test_what_is_no_text_is_refused(label: object) -> None:
    assert "must be text" in label_fault(label)
