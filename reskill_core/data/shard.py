"""One HDF5 file of episodes, there whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from reskill_core.data import schema
from reskill_core.data.episode import Arrays, Episode, faulty_episodes, pack, select, unpack
from reskill_core.data.schema import ARRAYS, ENDS, SIM_STATE, ArrayField, DatasetSpec
from reskill_core.data.seal import SEAL_BYTES, Seal, check_seal
from reskill_core.errors import DataError
from reskill_core.files import atomic_write_bytes, part_path

_MAX_ATTRIBUTE_BYTES = 60_000  # An HDF5 object header takes 64 KiB.
# What damaged bytes make h5py, json or the specification raise.
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, MemoryError, RecursionError)


@dataclass(frozen=True)
class ShardEntry:
    """What an index keeps of a shard.

    Attributes:
        num_episodes: number of episodes.
        num_steps: number of steps of all of them.
        size_bytes: size of the file.
        sha256: SHA-256 of the file.
    """

    num_episodes: int
    num_steps: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardHeader:
    """What a shard's attributes say.

    Attributes:
        spec: the kind of data.
        num_episodes: number of episodes.
        num_steps: number of steps of all of them.
        provenance: where the data come from: code and library versions and whatever the writer added.
    """

    spec: DatasetSpec
    num_episodes: int
    num_steps: int
    provenance: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Shard:
    """The contents of one shard.

    Attributes:
        path: the file.
        header: its attributes.
        arrays: its arrays by name, see :data:`reskill_core.data.schema.ARRAYS`.
        extra: facts about this shard alone.
        sim_state_offset: where the simulator states start in the file [byte], row by row.
    """

    path: Path
    header: ShardHeader
    arrays: Arrays
    extra: dict[str, Any]
    sim_state_offset: int

    def __len__(self) -> int:
        return len(self.arrays[ENDS])

    def episode(self, index: int) -> Episode:
        """Episode ``index`` of this shard."""
        return unpack(self.arrays, index)

    def faults(self) -> dict[int, list[str]]:
        """Faults in the values, by episode."""
        return faulty_episodes(self.arrays)

    def keep(self, mask: NDArray[np.bool_]) -> Shard:
        """The same shard with the episodes selected by ``mask`` (E,) only."""
        return replace(self, arrays=select(self.arrays, mask))


def write_shard(
    path: Path,
    episodes: Sequence[Episode],
    spec: DatasetSpec,
    provenance: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> ShardEntry:
    """Write episodes into a new shard; it appears under its name complete and flushed to disk, or not at all.

    Args:
        path: the new file.
        episodes: the episodes, in order.
        spec: what they are.
        provenance: where they come from, ready for JSON, at most about 50 KB.
        extra: facts about this shard alone (such as messages dropped while recording), ready for JSON.

    Raises:
        DataError: the file exists, an episode does not fit the specification, or the disk refuses.
    """
    if path.exists():
        raise DataError(f"{path} exists; shards are never overwritten, choose another index")
    arrays = pack(episodes, spec)
    image = _file_image(arrays, spec, provenance, extra or {})
    try:
        # The file is laid out in memory and written in one go: an unfinished HDF5 file never reaches the disk.
        atomic_write_bytes(path, image)
    except OSError as cause:
        part_path(path).unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {cause.strerror}; nothing was stored of these episodes") from cause
    return ShardEntry(len(episodes), int(arrays[ENDS][-1]), len(image), hashlib.sha256(image).hexdigest())


def read_header(path: Path) -> ShardHeader:
    """Read what a shard holds without reading its arrays.

    Raises:
        DataError: it is missing, damaged or of another format version.
    """
    with _opened(path) as (file, _):
        return _header(file)


def read_shard(path: Path, sim_state: bool = True) -> Shard:
    """Read a shard; ``sim_state`` False leaves out the simulator states, the bulk of it.

    Raises:
        DataError: it is missing, damaged or not laid out as documented; lists every fault in its layout.
    """
    with _opened(path) as (file, seal):
        header = _header(file)
        fields = [field for field in ARRAYS if sim_state or field.name != SIM_STATE]
        arrays = {name: dataset[()] for name, dataset in _datasets(file, fields, header).items()}
        lengths = np.diff(arrays[ENDS], prepend=0)
        if not len(lengths) or lengths.min() <= 0 or arrays[ENDS][-1] != header.num_steps:
            raise ValueError(f"episode_ends must rise to the number of steps, {header.num_steps}")
        np.char.decode(arrays["source"])  # Raises here rather than at the first use.
        return Shard(path, header, arrays, json.loads(file[schema.EXTRA][()]), seal.state_start)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, Seal]]:
    """Open a shard for reading and turn whatever damage in it raises into one error that names it."""
    try:
        seal = check_seal(path)
        # Shards never change, so that no lock is needed (some network file systems have none).
        with h5py.File(path, "r", locking=False) as file:
            yield file, seal
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (*_DAMAGE, DataError) as cause:
        raise DataError(f"{path} cannot be read, it is damaged or not a shard: {cause}") from cause


def _header(file: h5py.File) -> ShardHeader:
    attributes = file.attrs
    if attributes.get(schema.ATTR_FORMAT) != schema.FORMAT:
        raise ValueError(f"its format is {attributes.get(schema.ATTR_FORMAT)!r}, expected {schema.FORMAT!r}")
    version = int(attributes[schema.ATTR_VERSION])
    if version != schema.FORMAT_VERSION:
        raise ValueError(f"it has format version {version}, this program reads {schema.FORMAT_VERSION}")
    return ShardHeader(
        _parse_spec(attributes[schema.ATTR_SPEC]),
        int(attributes[schema.ATTR_EPISODES]),
        int(attributes[schema.ATTR_STEPS]),
        dict(json.loads(attributes[schema.ATTR_PROVENANCE])),
    )


def _datasets(file: h5py.File, fields: Sequence[ArrayField], header: ShardHeader) -> dict[str, h5py.Dataset]:
    """The arrays of a shard, not read yet, once they are known to be laid out as documented."""
    found: dict[str, h5py.Dataset] = {}
    faults = []
    for field in fields:
        dataset = found[field.name] = file.get(field.name)
        rows = header.num_steps if field.rows == "step" else header.num_episodes
        shape = (rows, *header.spec.row_shape(field))
        if not isinstance(dataset, h5py.Dataset):
            faults.append(f"{field.name} is missing")
        elif dataset.shape != shape or dataset.dtype != field.dtype:
            expected = f"{np.dtype(field.dtype)}{shape}"
            faults.append(f"{field.name} is {dataset.dtype}{dataset.shape}, expected {expected}")
    if faults:
        raise ValueError("; ".join(faults))
    return found


@lru_cache(maxsize=16)  # All shards of a data set have the same.
def _parse_spec(text: str) -> DatasetSpec:
    return DatasetSpec.from_dict(json.loads(text))


def _file_image(arrays: Arrays, spec: DatasetSpec, provenance: Mapping[str, Any], extra: Mapping[str, Any]) -> bytes:
    with h5py.File("shard", "w", driver="core", backing_store=False, userblock_size=SEAL_BYTES) as file:
        file.attrs[schema.ATTR_FORMAT] = schema.FORMAT
        file.attrs[schema.ATTR_VERSION] = schema.FORMAT_VERSION
        file.attrs[schema.ATTR_TASK] = spec.task.name
        file.attrs[schema.ATTR_PROFILE] = spec.profile
        file.attrs[schema.ATTR_EPISODES] = len(arrays[ENDS])
        file.attrs[schema.ATTR_STEPS] = int(arrays[ENDS][-1])
        for name, document in ((schema.ATTR_SPEC, spec.to_dict()), (schema.ATTR_PROVENANCE, provenance)):
            text = json.dumps(document, allow_nan=False)
            if len(text) > _MAX_ATTRIBUTE_BYTES:
                raise DataError(f"{name} has {len(text)} characters; at most {_MAX_ATTRIBUTE_BYTES} fit a shard")
            file.attrs[name] = text
        file.create_dataset(schema.EXTRA, data=json.dumps(extra, allow_nan=False))
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
        file.flush()
        # States of no numbers have no place in the file.
        state_start = file[SIM_STATE].id.get_offset() if arrays[SIM_STATE].size else SEAL_BYTES
        image: bytes = file.id.get_file_image()
    return Seal.of(image, state_start, state_start + arrays[SIM_STATE].nbytes).to_bytes() + image
