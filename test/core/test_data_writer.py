"""The writer: resumes without gaps, refuses what does not match, and survives being killed at any moment."""

from __future__ import annotations

import json
import logging
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from reskill_core.data import DatasetWriter, DemoDataset, validate
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec
from reskill_core.errors import DataError
from reskill_core.spec import ActionSpec

SPEC = synthetic_spec(observation_dim=5, sim_state_dim=3)


def fill(folder: Path, shards: int, episodes: int = 2) -> None:
    with DatasetWriter(folder, SPEC) as writer:
        for _ in range(shards):
            first_seed = writer.next_index * episodes
            writer.add_shard(synthetic_episodes(SPEC, episodes, first_seed, min_steps=3, max_steps=5))


def test_resuming_continues_the_numbers(tmp_path: Path) -> None:
    fill(tmp_path / "data", 2)
    fill(tmp_path / "data", 3)
    names = sorted(path.name for path in (tmp_path / "data").glob("*.h5"))
    assert names == [f"shard-{index:06d}.h5" for index in range(5)]
    dataset = DemoDataset.open(tmp_path / "data")
    assert dataset.seed.tolist() == list(range(10))
    manifest = json.loads((tmp_path / "data" / "manifest.json").read_text())
    assert manifest["num_episodes"] == 10
    assert sorted(manifest["shards"]) == names
    assert not validate(tmp_path / "data").notes


def test_shards_of_parallel_workers_stand_in_order_and_gaps_are_filled(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, SPEC) as writer:
        for index in (2, 0):
            writer.add_shard(synthetic_episodes(SPEC, 1, index), index)
        assert writer.indices == {0, 2}
    with DatasetWriter(tmp_path, SPEC) as writer:
        assert writer.next_index == 1
        writer.add_shard(synthetic_episodes(SPEC, 1, 1))
        assert writer.next_index == 3
        assert writer.num_episodes == 3
        with pytest.raises(DataError, match="exists"):
            writer.add_shard(synthetic_episodes(SPEC, 1, 9), 2)
    assert DemoDataset.open(tmp_path).seed.tolist() == [0, 1, 2]


def test_mismatch_lists_every_difference_and_touches_nothing(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    (tmp_path / ".part-1-shard-000001.h5").write_bytes(b"half")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    components = list(SPEC.task.action.components)
    components[2] = replace(components[2], scale=1.0)
    task = replace(
        SPEC.task,
        name="hook",
        control_period_s=0.02,
        obs=synthetic_spec(8).task.obs,
        action=ActionSpec(tuple(components)),
    )
    with pytest.raises(DataError) as caught:
        DatasetWriter(tmp_path, replace(SPEC, task=task, profile="fast", sim_state_dim=4))
    for text in (
        "task.name: 'synthetic' != 'hook'",
        "task.control_period_s: 0.04 != 0.02",
        "task.obs.terms[1].size: 2 != 5",
        "task.action.components[2].scale: 1.25 != 1.0",
        "profile: 'exact' != 'fast'",
        "sim_state_dim: 3 != 4",
    ):
        assert text in str(caught.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_without_resume_existing_data_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    with pytest.raises(DataError, match="has 1 shards already"):
        DatasetWriter(tmp_path, SPEC, resume=False)


def test_a_closed_writer_adds_nothing(tmp_path: Path) -> None:
    with DatasetWriter(tmp_path, SPEC) as writer:
        pass
    with pytest.raises(DataError, match="is closed"):
        writer.add_shard(synthetic_episodes(SPEC, 1))


def test_bad_episodes_leave_the_data_set_as_it_was(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    bad = replace(synthetic_episodes(SPEC, 1, 7)[0], reward=np.zeros(1, np.float32))
    with DatasetWriter(tmp_path, SPEC) as writer:
        with pytest.raises(DataError, match="reward"):
            writer.add_shard([bad])
        assert writer.next_index == 1
        writer.add_shard(synthetic_episodes(SPEC, 2, 2))
    assert not validate(tmp_path).problems


def test_unfinished_files_are_removed_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fill(tmp_path, 1)
    for name in (".part-17-shard-000001.h5", ".part-17-manifest.json"):
        (tmp_path / name).write_bytes(b"half")
    (tmp_path / "notes.part").write_text("not ours")
    assert len([note for note in validate(tmp_path).notes if "unfinished" in note]) == 2
    with caplog.at_level(logging.WARNING), DatasetWriter(tmp_path, SPEC) as writer:
        assert writer.removed_parts == (".part-17-manifest.json", ".part-17-shard-000001.h5")
    assert ".part-17-shard-000001.h5" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".lock",
        "manifest.json",
        "notes.part",
        "shard-000000.h5",
    ]


@pytest.mark.parametrize("content", [None, "", '{"shards": 3}', '{"shards": {"x": {}}}'])
def test_index_is_made_anew_when_it_is_missing_or_damaged(tmp_path: Path, content: str | None) -> None:
    fill(tmp_path, 3)
    manifest = tmp_path / "manifest.json"
    right = manifest.read_text()
    manifest.unlink()
    if content is not None:
        manifest.write_text(content)
    assert DemoDataset.open(tmp_path).num_episodes == 6
    fill(tmp_path, 0)
    assert manifest.read_text() == right


def test_f30_index_is_made_anew_after_a_kill_before_it_was_written(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    old = (tmp_path / "manifest.json").read_bytes()
    fill(tmp_path, 2)
    right = (tmp_path / "manifest.json").read_bytes()
    (tmp_path / "manifest.json").write_bytes(old)
    assert DemoDataset.open(tmp_path).num_episodes == 6
    report = validate(tmp_path)
    assert not report.problems
    assert "does not list 2 of 3 shards" in report.notes[0]
    with DatasetWriter(tmp_path, SPEC) as writer:
        assert (writer.num_episodes, writer.next_index) == (6, 3)
    assert (tmp_path / "manifest.json").read_bytes() == right


def test_damaged_shards_are_reported_and_left_alone(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    path = tmp_path / "shard-000001.h5"
    path.write_bytes(path.read_bytes()[:1000])
    with DatasetWriter(tmp_path, SPEC) as writer:
        assert "shard-000001.h5" in writer.damaged[0]
        assert writer.next_index == 3
    assert path.stat().st_size == 1000


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/data cannot be written to"):
        DatasetWriter(tmp_path / "file" / "data", SPEC)


WRITER = """
import sys
from pathlib import Path
from reskill_core.data import DatasetWriter
from reskill_core.data.synthetic import synthetic_episodes, synthetic_spec
spec = synthetic_spec(observation_dim=5, sim_state_dim=3)
with DatasetWriter(Path(sys.argv[1]), spec) as writer:
    print("ready", flush=True)
    while True:
        seed = 2 * writer.next_index
        print(writer.add_shard(synthetic_episodes(spec, 2, seed, min_steps=3, max_steps=5)).name, flush=True)
"""


def start_writer(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_second_writer_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    process = start_writer(tmp_path)
    try:
        with pytest.raises(DataError, match="being written to by somebody else"):
            DatasetWriter(tmp_path, SPEC)
    finally:
        process.kill()
        process.communicate()
    with DatasetWriter(tmp_path, SPEC) as writer:
        assert writer.next_index >= 0


@pytest.mark.timeout(600)
def test_twenty_kills_lose_nothing_that_was_finished(tmp_path: Path) -> None:
    rng = random.Random(0)
    acknowledged: set[str] = set()
    for _ in range(20):
        process = start_writer(tmp_path)
        assert process.stdout is not None
        # A random moment within the writing of one of the first few shards.
        finished = [process.stdout.readline() for _ in range(rng.randrange(3))]
        time.sleep(rng.uniform(0, 0.01))
        process.send_signal(signal.SIGKILL)
        lines = [*finished, *process.communicate()[0].split("\n")]
        acknowledged |= {line.strip() for line in lines if line.strip().endswith(".h5")}
        names = {path.name for path in tmp_path.glob("*.h5")}
        assert acknowledged <= names
        if names:
            assert not validate(tmp_path).problems
    fill(tmp_path, 1)
    in_order = sorted(path.name for path in tmp_path.glob("*.h5"))
    assert len(in_order) > 5
    assert in_order == [f"shard-{index:06d}.h5" for index in range(len(in_order))]
    report = validate(tmp_path)
    assert not report.problems
    assert not report.notes
    assert DemoDataset.open(tmp_path).seed.tolist() == list(range(2 * len(in_order)))
