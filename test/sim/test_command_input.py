"""What people can do wrong on the command line of every verb: a message, exit code 2, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from reskill_sim.cli.main import main

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``reskill``; gives the exit code and what it said."""

    def call(*arguments: str) -> tuple[int, str]:
        try:
            code = main(arguments)
        except SystemExit as end:
            code = int(end.code or 0)
        found = capsys.readouterr()
        return code, found.out + found.err

    return call


COLLECT = ("collect", "collect/block.yaml", "--quiet", "out=data", "workers=1", "episodes=2", "episodes_per_shard=2")
UNWRITABLE = ("file/below", "/proc/none", "n" * 300, "loop/below")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("a: 1\n")
    Path("loop").symlink_to("loop")
    Path("utf16.yaml").write_bytes("episodes: 3".encode("utf-16"))
    Path("twice.yaml").write_text("episodes: 3\nepisodes: 4\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        *(
            ((*COLLECT, f"{name}={value}"), name)
            for name in ("episodes", "workers")
            for value in ("-1", "10e12", ".nan")
        ),
        ((*COLLECT, "episodes=1:30"), "episodes"),
        ((*COLLECT, "noise_range=[0, .inf]"), "noise_range"),
        (("collect", "utf16.yaml"), "not UTF-8"),
        (("collect", "twice.yaml"), "'episodes' stands here again"),
        (("collect", "loop"), "no configuration file"),
        (("collect", "n" * 300), ""),
        (("train-skills", "skills/block.yaml", "model.decoder_hidden=[1000000000000]"), "decoder_hidden"),
        (("train-skills", "skills/block.yaml", "data=none", "optimiser.learning_rate=1e400"), "too large"),
        (("train-agent", "agents/clean_up.yaml", "num_envs=0"), "num_envs"),
        (("train-agent", "agents/clean_up.yaml", "agent.noise_limit=-1"), "noise_limit"),
        (("train-agent", "agents/clean_up.yaml", "num_envs=4096", "rollout_steps=10000"), "times rollout_steps"),
        (("evaluate", "--policy", "zero", "--task", "block", "--episodes", "-1"), "episodes"),
        (("evaluate", "--policy", "zero", "--task", "block", "--threads", "1000000"), "threads"),
        (("evaluate", "--policy", "zero", "--task", "block", "--vary", "friction=nan"), "friction"),
        (("evaluate", "loop"), "no checkpoint"),
        (("render", "block", "--width", "0"), "--width"),
        (("render", "block", "--episodes", "-1"), "--episodes"),
        (("render", "block", "--starts", "1000000000"), "--starts"),
        (("data", "info", "loop"), "not a folder"),
        (("data", "info", "file"), "not a folder"),
        (("data", "split", "file", "train=nan"), ""),
        (("data", "merge", "file", "--out", "x", "--episodes-per-shard", "0"), "--episodes-per-shard"),
        (("bench", "ros", "--duration", "-1"), "--duration"),
        (("bench", "sim", "--episodes", "1e400"), "--episodes"),
        (("report", "loop"), "no run folder"),
        (("export", "loop", "x"), "no checkpoint"),
    ],
)
def test_input_that_cannot_be_is_refused(arguments: tuple[str, ...], message: str, run: Run) -> None:
    code, said = run(*arguments)
    assert code == 2, said
    assert message in said
    assert "Traceback" not in said
    assert not Path("data").exists()


@pytest.mark.parametrize("out", UNWRITABLE)
@pytest.mark.parametrize(
    "arguments",
    [
        (*COLLECT, "out={}"),
        ("evaluate", "--policy", "zero", "--task", "block", "--episodes", "1000000", "--out", "{}"),
        ("render", "block", "--policy", "zero", "--episodes", "10000", "--out", "{}/a.mp4"),
        ("report", "file", "--out", "{}/a.html"),
        ("bench", "endurance", "--steps", "1000000000000", "--out", "{}"),
        ("study", "studies/seeds.yaml", "out={}"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_where_nothing_can_be_written_is_told_before_the_work(arguments: tuple[str, ...], out: str, run: Run) -> None:
    code, said = run(*(argument.format(out) for argument in arguments))
    assert code == 2
    assert f"{out}" in said
    assert "cannot be written to" in said
    assert "Traceback" not in said


def test_overrides_and_options_stand_anywhere(run: Run) -> None:
    code, said = run("collect", "episodes=1", "--quiet", "collect/block.yaml", "out=data", "profile=fast", "workers=1")
    assert code == 0, said
    assert "data: 1 episodes, 1 new" in said
    assert run("collect", "episodes=1")[0] == 2
    code, said = run("collect", "collect/block.yaml", "episodes=1", "collect/hook.yaml")
    assert code == 2
    assert "one configuration file" in said


def test_names_in_data_sets_do_not_reach_the_terminal_as_commands(run: Run) -> None:
    assert run(*COLLECT)[0] == 0
    (shard,) = Path("data").glob("shard-*.h5")
    with h5py.File(shard, "r+") as file:
        file["source"][:] = b"\x1b]0;owned\x07"
    for arguments in (
        ("data", "info", "data"),
        ("data", "info", "data", "--on-bad-shard", "refuse"),
        ("data", "validate", "data"),
    ):
        _, said = run(*arguments)
        assert all(char.isprintable() or char in "\n\t\r" for char in said), arguments


def test_the_largest_pictures_that_are_allowed_can_be_drawn(run: Run) -> None:
    code, said = run("render", "block", "--starts", "1", "--width", "1280", "--height", "960", "--out", "a.png")
    assert code == 0, said


def test_a_video_that_does_not_fit_is_told_and_leaves_nothing() -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (30000, 30000)); import numpy as np; "
    imports = "from pathlib import Path; from reskill_sim.engine.rendering import write_video; "
    frames = "np.random.default_rng(0).integers(0, 255, (40, 96, 96, 3), dtype=np.uint8)"
    code = f"{limit}{imports}write_video(Path('a.mp4'), {frames}, 25.0)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert found.returncode != 0
    assert "a.mp4 could not be written whole" in found.stderr
    assert list(Path().glob("*.mp4")) == []
    assert list(Path().glob(".part-*")) == []
