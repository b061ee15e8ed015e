"""Shards: HDF5 files of episodes, written atomically."""

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
from reskill_core.data.compressed_frames import CompressedFrames, num_blocks
from reskill_core.data.episode import Arrays, Episode, faulty_episodes, pack, select, unpack
from reskill_core.data.images import StoredFrames
from reskill_core.data.schema import ARRAYS, ENDS, LABEL, SIM_STATE, ArrayField, DatasetSpec, image_blocks, image_ends
from reskill_core.data.seal import SEAL_BYTES, Seal, check_seal
from reskill_core.data.world import DataWorld
from reskill_core.errors import DataError
from reskill_core.files import atomic_write_bytes, part_path

_MAX_ATTRIBUTE_BYTES = 60_000  # An HDF5 object header takes 64 KiB.
# Exceptions that h5py, json or the specification raise for damaged bytes.
_DAMAGE = (
    *(OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError),
    *(MemoryError, OverflowError, RecursionError),
)


@dataclass(frozen=True)
class ShardEntry:
    """Entry of a shard in the index.

    Attributes:
        num_episodes: number of episodes.
        num_steps: total number of steps.
        size_bytes: size of the file.
        sha256: SHA-256 of the file.
    """

    num_episodes: int
    num_steps: int
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class ShardHeader:
    """Attributes of a shard.

    Attributes:
        spec: specification of the data.
        num_episodes: number of episodes.
        num_steps: total number of steps.
        provenance: code and library versions, and entries added by the writer.
        version: format version of the file.
    """

    spec: DatasetSpec
    num_episodes: int
    num_steps: int
    provenance: dict[str, Any]
    version: int


@dataclass(frozen=True, eq=False)
class Shard:
    """Contents of a shard.

    Attributes:
        path: the file.
        header: its attributes.
        arrays: its arrays by name, see :data:`reskill_core.data.schema.ARRAYS`.
        extra: metadata of this shard.
        sim_state_offset: offset of the simulator states in the file [byte], row by row.
        images: locations of the frames, by image feature.
    """

    path: Path
    header: ShardHeader
    arrays: Arrays
    extra: dict[str, Any]
    sim_state_offset: int
    images: Mapping[str, StoredFrames]

    def __len__(self) -> int:
        return len(self.arrays[ENDS])

    @property
    def world(self) -> DataWorld:
        """Simulation settings of its episodes."""
        spec = self.header.spec
        return DataWorld.of_shard(spec.profile, self.header.provenance, self.extra, spec.task.settings)

    def episode(self, index: int) -> Episode:
        """Return episode ``index`` of this shard."""
        return unpack(self.arrays, index, self.frames(index))

    def frames(self, index: int) -> dict[str, CompressedFrames]:
        """Read the images of episode ``index`` from the file, by image feature.

        Raises:
            DataError: the file was removed or truncated meanwhile.
        """
        features = self.header.spec.task.obs.images
        return {item.name: self.images[item.name].episode(index, item.frame_shape) for item in features}

    def faults(self) -> dict[int, list[str]]:
        """List faults in the values, by episode."""
        return faulty_episodes(self.arrays)

    def keep(self, mask: NDArray[np.bool_]) -> Shard:
        """Return a copy with only the episodes selected by ``mask`` (E,)."""
        images = {name: stored.keep(mask) for name, stored in self.images.items()}
        return replace(self, arrays=select(self.arrays, mask), images=images)


def write_shard(
    path: Path,
    episodes: Sequence[Episode],
    spec: DatasetSpec,
    provenance: Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
) -> ShardEntry:
    """Write episodes to a new shard, atomically and flushed to disk.

    Args:
        path: the new file.
        episodes: the episodes, in order.
        spec: specification of the episodes.
        provenance: provenance of the episodes, ready for JSON, at most about 50 KB.
        extra: metadata of this shard (such as messages dropped while recording), ready for JSON.

    Raises:
        DataError: the file exists, an episode does not fit the specification, or the disk refuses.
    """
    if path.exists():
        raise DataError(f"{path} exists; shards are never overwritten, choose another index")
    arrays = pack(episodes, spec)
    image = _file_image(arrays, spec, provenance, extra or {})
    try:
        # The file is built in memory and written at once: no unfinished HDF5 file reaches the disk.
        atomic_write_bytes(path, image)
    except OSError as cause:
        part_path(path).unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {cause.strerror}; nothing was stored of these episodes") from cause
    return ShardEntry(len(episodes), int(arrays[ENDS][-1]), len(image), hashlib.sha256(image).hexdigest())


def read_header(path: Path) -> ShardHeader:
    """Read the attributes of a shard, without its arrays.

    Raises:
        DataError: it is missing, damaged or of another format version.
    """
    with _opened(path) as (file, _):
        return _header(file)


def read_shard(path: Path, sim_state: bool = True) -> Shard:
    """Read a shard without its images, which are read on demand.

    Args:
        path: the file.
        sim_state: False leaves out the simulator states, the bulk of the arrays.

    Raises:
        DataError: it is missing, damaged or not in the documented layout; lists every fault in its layout.
    """
    with _opened(path) as (file, seal):
        header = _header(file)
        datasets = _datasets(file, header, seal)
        arrays = {name: dataset[()] for name, dataset in datasets.items() if sim_state or name != SIM_STATE}
        later = (field for field in ARRAYS if field.since > header.version)
        arrays |= {field.name: np.zeros(_shape(field, header), field.dtype) for field in later}
        lengths = np.diff(arrays[ENDS], prepend=0)
        if not len(lengths) or lengths.min() <= 0 or arrays[ENDS][-1] != header.num_steps:
            raise ValueError(f"episode_ends must rise to the number of steps, {header.num_steps}")
        for name in ("source", LABEL):
            np.char.decode(arrays[name])  # Raises here rather than at the first use.
        images = _images(file, path, header, seal, lengths)
        return Shard(path, header, arrays, json.loads(_extra(file)), seal.state_start, images)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[h5py.File, Seal]]:
    """Open a shard for reading, and convert all exceptions caused by damage to one error with its name."""
    try:
        if path.resolve().parent != path.parent.resolve():
            raise ValueError("it is a link out of its folder")
        seal = check_seal(path)
        # Shards never change, so no lock is needed (some network file systems have none).
        with h5py.File(path, "r", locking=False) as file:
            yield file, seal
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (*_DAMAGE, DataError) as cause:
        raise DataError(f"{path} cannot be read, it is damaged or not a shard: {cause}") from cause


def _header(file: h5py.File) -> ShardHeader:
    form = _text(file, schema.ATTR_FORMAT)
    if form != schema.FORMAT:
        raise ValueError(f"its format is {form!r}, expected {schema.FORMAT!r}")
    version = _number(file, schema.ATTR_VERSION)
    if version not in schema.READABLE_VERSIONS:
        readable = ", ".join(map(str, schema.READABLE_VERSIONS))
        raise ValueError(f"it has format version {version}, this program reads {readable}")
    return ShardHeader(
        _parse_spec(_text(file, schema.ATTR_SPEC)),
        _number(file, schema.ATTR_EPISODES),
        _number(file, schema.ATTR_STEPS),
        dict(json.loads(_text(file, schema.ATTR_PROVENANCE))),
        version,
    )


def _attribute(file: h5py.File, name: str) -> Any:
    """Value of a scalar attribute; larger attributes are not read."""
    if name not in file.attrs:
        raise ValueError(f"attribute {name} is missing")
    attribute = file.attrs.get_id(name)
    if attribute.shape != () or attribute.get_storage_size() > _MAX_ATTRIBUTE_BYTES:
        raise ValueError(f"attribute {name} holds more than one value")
    return file.attrs[name]


def _text(file: h5py.File, name: str) -> str:
    value = _attribute(file, name)
    if not isinstance(value, str) or len(value) > _MAX_ATTRIBUTE_BYTES:
        raise ValueError(f"attribute {name} is no text of at most {_MAX_ATTRIBUTE_BYTES} characters")
    return value


def _number(file: h5py.File, name: str) -> int:
    value = _attribute(file, name)
    if not isinstance(value, (int, np.integer)):
        raise ValueError(f"attribute {name} is no integer")
    return int(value)


def _own_dataset(file: h5py.File, name: str) -> h5py.Dataset | None:
    """HDF5 dataset stored contiguously in this file; None if there is none of that name.

    Raises:
        ValueError: it is a link, or its contents are external, virtual or compressed.
    """
    if name not in file:
        # Dangling links are refused, too.
        if not isinstance(file.get(name, default=None, getlink=True), (h5py.HardLink, type(None))):
            raise ValueError(f"{name} is a link")
        return None
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name} is a link")
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset):
        return None
    layout = dataset.id.get_create_plist()
    if layout.get_layout() != h5py.h5d.CONTIGUOUS or layout.get_external_count():
        raise ValueError(f"{name} does not stand in the file as it is: it is packed, in another file or put together")
    return dataset


def _place_fault(dataset: h5py.Dataset, name: str, seal: Seal) -> str:
    """Why an array's data is not at its declared place in the file; empty if it is."""
    start = dataset.id.get_offset() if dataset.size else SEAL_BYTES
    if dataset.id.get_storage_size() != dataset.nbytes or start is None or start + dataset.nbytes > seal.size:
        return f"{name} says it has {dataset.nbytes} bytes, but they are not there"
    if name == SIM_STATE and (start, start + dataset.nbytes) != (seal.state_start, seal.state_stop):
        return f"{name} stands elsewhere than the seal says"
    return ""


def _extra(file: h5py.File) -> str:
    dataset = _own_dataset(file, schema.EXTRA)
    kind = None if dataset is None else h5py.check_string_dtype(dataset.dtype)
    # Only variable-length strings, stored elsewhere in the file: a fixed length could be declared arbitrarily large.
    if dataset is None or dataset.shape != () or kind is None or kind.length is not None:
        raise ValueError(f"{schema.EXTRA} is no text")
    return str(dataset.asstr()[()])


def _datasets(file: h5py.File, header: ShardHeader, seal: Seal) -> dict[str, h5py.Dataset]:
    """Arrays of a shard, not read yet, after checking their layout."""
    found: dict[str, h5py.Dataset] = {}
    faults = []
    for field in (field for field in ARRAYS if field.since <= header.version):
        dataset = found[field.name] = _own_dataset(file, field.name)
        shape = _shape(field, header)
        if not isinstance(dataset, h5py.Dataset):
            faults.append(f"{field.name} is missing")
        elif dataset.shape != shape or dataset.dtype != field.dtype:
            expected = f"{np.dtype(field.dtype)}{shape}"
            faults.append(f"{field.name} is {dataset.dtype}{dataset.shape}, expected {expected}")
        elif fault := _place_fault(dataset, field.name, seal):
            faults.append(fault)
    if faults:
        raise ValueError("; ".join(faults))
    return found


def _shape(field: ArrayField, header: ShardHeader) -> tuple[int, ...]:
    rows = header.num_steps if field.rows == "step" else header.num_episodes
    return (rows, *header.spec.row_shape(field))


def _images(
    file: h5py.File, path: Path, header: ShardHeader, seal: Seal, lengths: NDArray[np.int64]
) -> dict[str, StoredFrames]:
    """Locations of the frames of each image feature, after checking their layout."""
    found = {}
    num_frames = lengths + 1
    for feature in header.spec.task.obs.images:
        shapes = {
            image_blocks(feature.name): ("u1", (-1,)),
            image_ends(feature.name): ("<i8", (num_blocks(num_frames).sum(),)),
        }
        blocks, ends = (_image_array(file, name, *expected, seal) for name, expected in shapes.items())
        places = ends[()]
        if np.diff(places, prepend=0).min() <= 0 or places[-1] != blocks.size:
            raise ValueError(f"{image_ends(feature.name)} must rise to the number of bytes, {blocks.size}")
        found[feature.name] = StoredFrames.of_shard(path, blocks.id.get_offset(), places, num_frames)
    return found


def _image_array(file: h5py.File, name: str, dtype: str, shape: tuple[int, ...], seal: Seal) -> h5py.Dataset:
    """Array of images, not read yet; a length of -1 is any.

    Raises:
        ValueError: it is missing, or not in the documented layout.
    """
    dataset = _own_dataset(file, name)
    if dataset is None:
        raise ValueError(f"{name} is missing")
    fits = len(dataset.shape) == 1 and shape[0] in (-1, dataset.shape[0])
    if not fits or dataset.dtype != dtype:
        raise ValueError(f"{name} is {dataset.dtype}{dataset.shape}, expected {np.dtype(dtype)}{shape}")
    if fault := _place_fault(dataset, name, seal):
        raise ValueError(fault)
    return dataset


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
        # Empty states have no offset in the file.
        state_start = file[SIM_STATE].id.get_offset() if arrays[SIM_STATE].size else SEAL_BYTES
        image: bytes = file.id.get_file_image()
    return Seal.of(image, state_start, state_start + arrays[SIM_STATE].nbytes).to_bytes() + image
