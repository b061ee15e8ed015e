"""The edge of every command: exit codes, one message for what a user can change, and no control of the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reskill_core.command_line import IntermixedParser, run_command
from reskill_core.errors import ConfigError, DataError, ReskillError
from reskill_core.files import (
    atomic_write_bytes,
    lock_folder,
    read_json,
    require_writable_file,
    require_writable_folder,
)
from reskill_core.text import printable

RED = "\x1b[31m"
# Limits how large a file this process may write, as a full disk does.
LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0})); "


def failing(error: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConfigError(f"no {RED} colour"), "error: no \\x1b[31m colour\n"),
        (
            FileNotFoundError(2, "No such file or directory", f"a{RED}"),
            "error: a\\x1b[31m: No such file or directory\n",
        ),
        (PermissionError(13, "Permission denied", "a", None, "b"), "error: a and b: Permission denied\n"),
        (OSError(28, "No space left on device"), "error: No space left on device\n"),
        (OSError("broken"), "error: broken\n"),
        (MemoryError("Unable to allocate 7 TiB"), "error: not enough memory: Unable to allocate 7 TiB\n"),
        (MemoryError(), "error: not enough memory\n"),
    ],
)
def test_what_a_user_can_change_is_one_line_and_exit_code_2(
    error: BaseException, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(failing(error)) == 2
    assert capsys.readouterr().err == message


def test_a_fault_of_ours_is_a_traceback_and_exit_code_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(failing(KeyError(RED))) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "\x1b" not in err
    assert run_command(failing(KeyboardInterrupt()), "stopped") == 130
    assert capsys.readouterr().err == "stopped\n"


def test_nothing_that_is_printed_commands_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        print(f"a{RED}\tb\rc\u202edcba\udcff\x9b31m é…")
        print(f"\r50%{RED}", file=sys.stderr)
        return 3

    assert run_command(work) == 3
    found = capsys.readouterr()
    assert found.out == "a\\x1b[31m\tb\\rc\\u202edcba\\udcff\\x9b31m é…\n"
    assert found.err == "\r50%\\x1b[31m\n"


@given(st.text())
def test_printable_text_is_printable_and_else_unchanged(text: str) -> None:
    shown = printable(text)
    assert all(char.isprintable() or char in "\n\t" for char in shown)
    assert printable(shown) == shown
    assert str(ReskillError(text)) == shown


def script(work: str) -> list[str]:
    return [sys.executable, "-c", f"import sys; from reskill_core.command_line import run_command; {work}"]


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [("/dev/full", 2, "error: standard output: No space left on device\n"), ("closed pipe", 0, "")],
)
def test_an_output_that_takes_nothing_more(target: str, code: int, message: str) -> None:
    work = script("sys.exit(run_command(lambda: [print('x' * 99) for _ in range(999)] and 0))")
    if target == "closed pipe":
        reader, output = os.pipe()
        os.close(reader)
    else:
        output = os.open(target, os.O_WRONLY)
    found = subprocess.run(work, stdout=output, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(output)
    assert (found.returncode, found.stderr) == (code, message)


@pytest.mark.parametrize(
    "arguments", [["--big", "c", "x=1", "y=2"], ["x=1", "c", "--big", "y=2"], ["x=1", "--big", "y=2", "c"]]
)
def test_options_may_stand_between_positional_arguments_of_a_verb(arguments: list[str]) -> None:
    root = IntermixedParser()
    verb = root.add_subparsers(parser_class=IntermixedParser).add_parser("verb")
    verb.add_argument("given", nargs="+")
    verb.add_argument("--big", action="store_true")
    positional = [argument for argument in arguments if argument != "--big"]
    assert root.parse_args(["verb", *arguments]) == Namespace(given=positional, big=True)


def test_a_file_that_does_not_fit_leaves_no_part_and_the_old_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    write = f"sys.exit(run_command(lambda: atomic_write_bytes(Path({str(tmp_path / 'a')!r}), bytes(10**6))))"
    work = script(
        f"{LIMITED.format(10**5)} from pathlib import Path; from reskill_core.files import atomic_write_bytes; {write}"
    )
    found = subprocess.run(work, capture_output=True, text=True, timeout=60, check=False)
    assert (found.returncode, found.stderr) == (2, "error: File too large\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_where_nothing_can_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none"), tmp_path / ("n" * 300)):
        with pytest.raises(DataError, match="cannot be written to") as caught:
            require_writable_folder(folder, DataError)
        assert str(folder) in str(caught.value)
        with pytest.raises(DataError, match="cannot be written to"):
            lock_folder(folder, DataError)
    with pytest.raises(DataError, match="is a folder"):
        require_writable_file(tmp_path, DataError)
    require_writable_file(tmp_path / "new" / "file", DataError)
    require_writable_folder(tmp_path / "new", DataError)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_full_disk_is_found_before_the_work(tmp_path: Path) -> None:
    check = f"sys.exit(run_command(lambda: require_writable_folder(Path({str(tmp_path)!r}), ReskillError)))"
    imports = "from pathlib import Path; from reskill_core.errors import ReskillError; "
    imports += "from reskill_core.files import require_writable_folder; "
    work = script(LIMITED.format(100) + imports + check)
    found = subprocess.run(work, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 2
    assert "cannot be written to: File too large" in found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"{}".decode().encode("utf-16"),
        b'{"a": NaN}',
        b'{"a": 1e400}',
        b"[" * 10**5,
        b"9" * 5000,
        b"{",
        b"\0",
        b"",
        b"\xe9",
    ],
)
def test_files_that_are_no_json_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json is not") as caught:
        read_json(tmp_path / "a.json", DataError)
    assert "\n" not in str(caught.value)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero"), tmp_path / "none", tmp_path / ("n" * 300)):
        with pytest.raises(DataError):
            read_json(path, DataError)


def test_a_replaced_file_is_the_new_one(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        atomic_write_bytes(tmp_path / "a", content)
        assert (tmp_path / "a").read_bytes() == content
