"""Files that were made to do harm: a shard is read only if all of it stands in it, and nothing is waited for."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from two_shards import (
    BAD,
    SPEC,
    two_shards,  # noqa: F401 - a fixture
)

from reskill_core.checkpoint import load_checkpoint, save_checkpoint
from reskill_core.config import config_from_dict
from reskill_core.data import DatasetWriter, DemoDataset, validate
from reskill_core.data.seal import SEAL_BYTES, Seal, check_seal
from reskill_core.errors import CheckpointError, ConfigError, DataError
from reskill_core.files import plain_name_fault
from reskill_core.rl.config import AgentTrainingConfig


def fingerprints(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Which files there are, and when they were changed last."""
    found = {path.name: path.lstat() for path in folder.iterdir() if path.suffix == ".h5"}
    return {name: (status.st_ino, status.st_size, status.st_mtime_ns) for name, status in found.items()}


def refused(folder: Path, reason: str) -> None:
    """The shard is named everywhere with the reason, the rest can be read and added to, and nothing is changed."""
    before = fingerprints(folder)
    with pytest.raises(DataError, match=rf"{BAD}.*{reason}"):
        DemoDataset.open(folder)
    assert DemoDataset.open(folder, on_bad_shard="skip").seed.tolist() == [0, 1]
    assert any(BAD in problem for problem in validate(folder).problems)
    # What the index says is not what would keep it from being looked at.
    (folder / "manifest.json").unlink()
    with DatasetWriter(folder, SPEC) as writer:
        assert writer.next_index == 2
    assert fingerprints(folder) == before


# ---------------------------------------------------------------------- what stands in the file


def replace_array(file: h5py.File, name: str, **how: object) -> None:
    array = file[name][()]
    del file[name]
    file.create_dataset(name, data=array, **how)


def soft_link(file: h5py.File, folder: Path) -> None:
    file.move("reward", "hidden")
    file["reward"] = h5py.SoftLink("/hidden")


def soft_link_to_nowhere(file: h5py.File, folder: Path) -> None:
    del file["reward"]
    file["reward"] = h5py.SoftLink("/nowhere")


def external_link(file: h5py.File, folder: Path) -> None:
    del file["reward"]
    file["reward"] = h5py.ExternalLink(str(folder.parent / "secret.h5"), "/reward")


def link_of_the_text(file: h5py.File, folder: Path) -> None:
    del file["extra"]
    file["extra"] = h5py.ExternalLink(str(folder.parent / "secret.h5"), "/extra")


def external_storage(file: h5py.File, folder: Path) -> None:
    count = len(file["reward"])
    del file["reward"]
    file.create_dataset("reward", (count,), "<f4", external=[(str(folder.parent / "secret.h5"), 0, 4 * count)])


def virtual(file: h5py.File, folder: Path) -> None:
    count = len(file["reward"])
    layout = h5py.VirtualLayout((count,), "<f4")
    layout[:] = h5py.VirtualSource(str(folder.parent / "secret.h5"), "reward", (count,))
    del file["reward"]
    file.create_virtual_dataset("reward", layout)


def packed(file: h5py.File, folder: Path) -> None:
    replace_array(file, "observation", compression="gzip")


def bomb(file: h5py.File, folder: Path) -> None:
    """A kilobyte that stands for terabytes."""
    file.attrs["num_steps"] = 10**11
    for name, shape in (("observation", (10**11, 5)), ("reward", (10**11,))):
        dtype = file[name].dtype
        del file[name]
        file.create_dataset(name, shape, dtype, chunks=(1024, *shape[1:]), compression="gzip")


def never_written(file: h5py.File, folder: Path) -> None:
    """Contiguous arrays that were only declared, in sizes that no memory holds."""
    count = 10**11
    file.attrs["num_steps"] = count
    for name, width in (("observation", 5), ("action", 4), ("executed_action", 4), ("reward", 0), ("sim_state", 3)):
        dtype = file[name].dtype
        del file[name]
        file.create_dataset(name, (count, width) if width else (count,), dtype)


def group(file: h5py.File, folder: Path) -> None:
    del file["reward"]
    file.create_group("reward")


def objects(file: h5py.File, folder: Path) -> None:
    count = len(file["source"])
    del file["source"]
    file.create_dataset("source", data=["x" * 10_000] * count, dtype=h5py.string_dtype())


def long_text(file: h5py.File, folder: Path) -> None:
    del file["extra"]
    file.create_dataset("extra", (), h5py.string_dtype(length=2**31 - 1))


def many_texts(file: h5py.File, folder: Path) -> None:
    del file["extra"]
    file.create_dataset("extra", data=["{}"] * 10)


def attribute_of_many(file: h5py.File, folder: Path) -> None:
    del file.attrs["num_steps"]
    file.attrs["num_steps"] = np.arange(10)


def attribute_of_another_type(file: h5py.File, folder: Path) -> None:
    del file.attrs["spec"]
    file.attrs["spec"] = 5


def no_attribute(file: h5py.File, folder: Path) -> None:
    del file.attrs["provenance"]


CONTENTS: list[tuple[Callable[[h5py.File, Path], None], str]] = [
    (soft_link, "reward is a link"),
    (soft_link_to_nowhere, "reward is a link"),
    (external_link, "reward is a link"),
    (link_of_the_text, "extra is a link"),
    (external_storage, "reward does not stand in the file"),
    (virtual, "reward does not stand in the file"),
    (packed, "observation does not stand in the file"),
    (bomb, "observation does not stand in the file"),
    (never_written, "observation says it has 2000000000000 bytes, but they are not there"),
    (group, "reward is missing"),
    (objects, "source is object"),
    (long_text, "extra is no text"),
    (many_texts, "extra is no text"),
    (attribute_of_many, "attribute num_steps holds more than one value"),
    (attribute_of_another_type, "attribute spec is no text"),
    (no_attribute, "attribute provenance is missing"),
]


@pytest.mark.parametrize(("change", "reason"), CONTENTS, ids=lambda value: getattr(value, "__name__", ""))
def test_contents_that_are_not_in_the_file_are_not_read(
    folder: Path, change: Callable[[h5py.File, Path], None], reason: str
) -> None:
    """Also where the seal is that of the harmful file."""
    path = folder / BAD
    with h5py.File(path, "r+") as file:
        change(file, folder)
        file.flush()
        state = file["sim_state"]
        start = state.id.get_offset() if state.id.get_storage_size() else SEAL_BYTES
        stop = start + state.id.get_storage_size()
    image = path.read_bytes()[SEAL_BYTES:]
    path.write_bytes(Seal.of(image, start, stop).to_bytes() + image)
    check_seal(path)
    refused(folder, reason)


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 600), (600, 512), (600, 10**9), (10**30, 10**30 + 1)],
    ids=["before", "turned", "after", "far"],
)
def test_a_seal_about_what_is_not_there_is_refused(folder: Path, start: int, stop: int) -> None:
    path = folder / BAD
    content = path.read_bytes()
    path.write_bytes(Seal(len(content), start, stop, "0" * 64).to_bytes() + content[SEAL_BYTES:])
    refused(folder, "its simulator states are not inside it")


def test_simulator_states_elsewhere_than_sealed_are_refused(folder: Path) -> None:
    path = folder / BAD
    image = path.read_bytes()[SEAL_BYTES:]
    path.write_bytes(Seal.of(image, SEAL_BYTES, SEAL_BYTES).to_bytes() + image)
    refused(folder, "sim_state stands elsewhere than the seal says")


@pytest.mark.parametrize(
    ("array", "text", "reason"),
    [
        *(("source", text, "source must be a printable name") for text in ("../../x", "a/b", "a\\b", "..", "\x1b[2J")),
        ("label", "a\nb", "a label is one line without control characters"),
        ("label", "\x1b[2J", "a label is one line without control characters"),
    ],
)
def test_texts_that_could_do_harm_are_refused(folder: Path, array: str, text: str, reason: str) -> None:
    path = folder / BAD
    seal = check_seal(path)
    with h5py.File(path, "r+") as file:
        file[array][:] = text.encode()
    image = path.read_bytes()[SEAL_BYTES:]
    path.write_bytes(Seal.of(image, seal.state_start, seal.state_stop).to_bytes() + image)
    with pytest.raises(DataError, match=rf"{BAD}: episode 0: {reason}"):
        DemoDataset.open(folder)
    assert DemoDataset.open(folder, on_bad_shard="skip").seed.tolist() == [0, 1]


# ---------------------------------------------------------------------- what the file is


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_out(path: Path) -> None:
    path.symlink_to("../secret.h5")


def link_to_nowhere(path: Path) -> None:
    path.symlink_to("nowhere.h5")


def folder_of_that_name(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (pipe, "it is not a regular file"),
        (device, "it is a link out of its folder"),
        (link_out, "it is a link out of its folder"),
        (link_to_nowhere, "does not exist"),
        (folder_of_that_name, "it is not a regular file"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.timeout(30)
def test_what_is_no_file_of_the_folder_is_not_opened(folder: Path, make: Callable[[Path], None], reason: str) -> None:
    (folder / BAD).unlink()
    make(folder / BAD)
    refused(folder, reason)


@pytest.mark.timeout(30)
def test_a_pipe_in_place_of_the_index_is_not_waited_for(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    assert DemoDataset.open(folder).num_episodes == 4


def test_each_index_has_one_name(folder: Path) -> None:
    """Other names that would stand for it are not looked at."""
    for name in ("shard-0000001.h5", "shard-٠٠٠٠٠١.h5", "shard-000001.h5\n", "Shard-000001.h5"):
        (folder / name).write_bytes(b"something else")
    assert DemoDataset.open(folder).num_episodes == 4


@pytest.mark.timeout(30)
def test_a_gap_of_a_billion_is_counted_at_once(folder: Path) -> None:
    (folder / BAD).rename(folder / "shard-999999999.h5")
    (folder / "manifest.json").unlink()
    (note,) = [note for note in validate(folder).notes if "not written yet" in note]
    assert note.startswith("999999998 shards were not written yet, first shard-000001.h5")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\\b", "a\0b", "a\nb", "\x1b[0m"])
def test_names_that_must_not_become_files(name: str) -> None:
    assert plain_name_fault(name)
    assert not plain_name_fault("agent mode é-1.2")


@pytest.mark.parametrize("name", ["../../x", "a/b", ".."])
def test_names_in_a_configuration_do_not_lead_out_of_a_folder(name: str) -> None:
    """Those of a run that somebody else made, too."""
    document = {"skills": "s", "out": "o", "task": "clean_up", "variant": "agent"}
    assert config_from_dict(AgentTrainingConfig, document).variant == "agent"
    for key in ("task", "variant"):
        with pytest.raises(ConfigError, match=f"{key}: .*{re.escape(name)}"):
            config_from_dict(AgentTrainingConfig, {**document, key: name})


@pytest.mark.timeout(30)
def test_a_pipe_in_a_checkpoint_is_not_waited_for(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "checkpoint", "test", {"w": np.zeros(1)}, {})
    weights = folder / "weights.safetensors"
    weights.unlink()
    os.mkfifo(weights)
    # Sealed as if it were an empty file.
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][weights.name] = {"size": 0, "sha256": hashlib.sha256(b"").hexdigest()}
    sealed = (json.dumps(manifest["files"], indent=1) + "\n").encode()
    manifest["sha256"] = hashlib.sha256(sealed).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=f"{weights.name}: it is not a regular file"):
        load_checkpoint(folder, "test")
