"""Two that write at the same time: one does, the other is refused, and a lock ends with its process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from two_shards import (
    SPEC,
    two_shards,  # noqa: F401 - a fixture
)

from reskill_core.data import DatasetWriter, DemoDataset, validate
from reskill_core.data.operations import merge
from reskill_core.data.synthetic import synthetic_episodes
from reskill_core.errors import DataError
from reskill_core.files import WriteLock, lock_folder, lock_new

HOLD = """
import sys
from pathlib import Path
from reskill_core.data import DatasetWriter
from reskill_core.data.synthetic import synthetic_spec
writer = DatasetWriter(Path(sys.argv[1]), synthetic_spec(observation_dim=5, sim_state_dim=3))
print("open", flush=True)
sys.stdin.read()
"""


def test_a_second_writer_is_refused_in_this_process_as_in_another(folder: Path) -> None:
    before = sorted(path.name for path in folder.iterdir())
    first = DatasetWriter(folder, SPEC)
    with pytest.raises(DataError, match="data is being written to by somebody else; wait for it or stop it"):
        DatasetWriter(folder, SPEC)
    first.add_shard(synthetic_episodes(SPEC, 1, 9))
    first.close()
    DatasetWriter(folder, SPEC).close()
    assert sorted(path.name for path in folder.iterdir()) == sorted([*before, "shard-000002.h5"])


def test_a_lock_ends_with_its_process_however_that_ends(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    with pytest.raises(DataError, match="written to by somebody else"):
        DatasetWriter(folder, SPEC)
    process.kill()
    process.communicate()
    DatasetWriter(folder, SPEC).close()


def test_children_do_not_hold_their_parents_locks(tmp_path: Path) -> None:
    """A worker that outlives its parent keeps nobody out, and its end lets nobody in."""
    lock = lock_folder(tmp_path, DataError)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    with pytest.raises(DataError):
        lock_folder(tmp_path, DataError)
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writable)
        os.read(readable, 1)
        os._exit(0)
    lock.close()
    lock_folder(tmp_path, DataError).close()
    os.close(writable)
    os.waitpid(child, 0)
    os.close(readable)


def test_of_many_that_make_a_new_thing_one_does(tmp_path: Path) -> None:
    target = tmp_path / "target"
    held: list[WriteLock] = []
    refusals: list[str] = []

    def try_to() -> None:
        try:
            held.append(lock_new(target, DataError))
        except DataError as error:
            refusals.append(str(error))

    threads = [threading.Thread(target=try_to) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), len(refusals)) == (1, 19)
    held[0].close()
    assert not list(tmp_path.iterdir())
    target.mkdir()
    with pytest.raises(DataError, match="target exists"):
        lock_new(target, DataError)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_two_merges_into_one_target_the_second_is_refused(folder: Path, tmp_path: Path) -> None:
    """While the first one runs; it is not disturbed."""
    target = tmp_path / "all"
    refusals: list[str] = []

    def second(done: int, total: int) -> None:
        with pytest.raises(DataError) as caught:
            merge([folder], target)
        refusals.append(str(caught.value))

    merge([folder], target, episodes_per_shard=2, progress=second)
    assert len(refusals) == 2
    assert all("all is being written to by somebody else" in text for text in refusals)
    assert DemoDataset.open(target).num_episodes == 4
    assert not validate(target).problems
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "data", "secret.h5"]
