"""Writer of data sets; a kill at any time loses no finished shard."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from reskill_core.data.episode import Episode
from reskill_core.data.manifest import find_parts, find_shards, read_manifest, shard_name, write_manifest
from reskill_core.data.schema import DatasetSpec, require_match
from reskill_core.data.shard import ShardEntry, read_header, write_shard
from reskill_core.data.world import WORLD, DataWorld
from reskill_core.errors import DataError
from reskill_core.files import lock_folder, sha256_of
from reskill_core.provenance import provenance as code_provenance

# Minimum interval between writes of the index: with thousands of small shards, writing it each time would be slow.
_MANIFEST_INTERVAL_S = 1.0
_LOG = logging.getLogger(__name__)


class DatasetWriter:
    """Writer that adds shards to a new or existing data set; one writer at a time.

    Opening it cleans up after a killed writer: unfinished files are removed (and named in :attr:`removed_parts`), and
    the index is rebuilt from the shards. Existing shards are never changed.

    Attributes:
        folder: the data set.
        spec: specification of its episodes.
        removed_parts: names of the unfinished files that were removed.
        damaged: shards that cannot be read, with reasons; they are not changed and their index stays in use.
    """

    def __init__(
        self,
        folder: Path | str,
        spec: DatasetSpec,
        resume: bool = True,
        provenance: Mapping[str, Any] | None = None,
        world: DataWorld | None = None,
    ) -> None:
        """Open a data set for writing.

        Args:
            folder: folder of the data set, made if missing.
            spec: specification of the episodes; its settings are used if no world is given.
            resume: add to existing shards; False refuses a folder that has any.
            provenance: entries to store in every shard, in addition to code and library versions.
            world: simulation settings of the episodes, to store in every shard; None if unknown.

        Raises:
            DataError: the folder holds data of another kind (every difference is listed), is being written by
                another process, has shards and ``resume`` is False, or cannot be written.
        """
        self.folder = Path(folder)
        self.spec = spec
        self._world = world
        self._provenance = {**code_provenance(), **(provenance or {})}
        self._entries: dict[int, ShardEntry] = {}
        self._lowest_free = 0
        self._manifest_time_s = -float("inf")
        self._closed = False
        self._lock = lock_folder(self.folder, DataError)
        try:
            self._open(resume)
        except BaseException:
            self._lock.close()
            raise

    @property
    def indices(self) -> frozenset[int]:
        """Indices of the existing shards."""
        return frozenset(self._taken)

    @property
    def next_index(self) -> int:
        """Lowest index without a shard."""
        while self._lowest_free in self._taken:
            self._lowest_free += 1
        return self._lowest_free

    @property
    def num_episodes(self) -> int:
        """Number of episodes in all shards."""
        return sum(entry.num_episodes for entry in self._entries.values())

    @property
    def num_steps(self) -> int:
        """Number of steps in all shards."""
        return sum(entry.num_steps for entry in self._entries.values())

    def add_shard(
        self,
        episodes: Sequence[Episode],
        index: int | None = None,
        extra: Mapping[str, Any] | None = None,
        world: DataWorld | None = None,
    ) -> Path:
        """Store episodes as one shard.

        Args:
            episodes: one or more episodes.
            index: index of the shard; by default the lowest free one.
            extra: metadata of this shard, ready for JSON.
            world: simulation settings of these episodes; by default those of the writer.

        Raises:
            DataError: the index is in use, an episode does not fit, the file cannot be written, or the writer is
                closed; nothing is stored then.
        """
        if self._closed:
            raise DataError(f"the writer of {self.folder} is closed; open a new one to add to it")
        index = self.next_index if index is None else index
        if index < 0:
            raise DataError(f"the index of a shard must be at least 0, got {index}")
        path = self.folder / shard_name(index)
        spec = self.spec
        if (kept := world or self._world) is not None:
            extra = {**(extra or {}), WORLD: kept.to_dict()}
            spec = replace(spec, task=replace(spec.task, settings=kept.settings))
        self._entries[index] = write_shard(path, episodes, spec, self._provenance, extra)
        self._taken.add(index)
        if time.monotonic() - self._manifest_time_s >= _MANIFEST_INTERVAL_S:
            self._write_manifest()
        return path

    def close(self) -> None:
        """Update the index and release the lock."""
        if not self._closed:
            self._closed = True
            self._write_manifest()
            self._lock.close()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, resume: bool) -> None:
        paths = find_shards(self.folder)
        if paths and not resume:
            raise DataError(f"{self.folder} has {len(paths)} shards already; resume it or choose another folder")
        self._taken = set(paths)
        self.damaged = self._index(paths)
        # Only after these checks may files of this folder be removed.
        self.removed_parts = tuple(path.name for path in find_parts(self.folder))
        for name in self.removed_parts:
            _LOG.warning("%s: removing %s, left unfinished by a writer that was killed", self.folder, name)
            (self.folder / name).unlink()
        self._write_manifest()

    def _index(self, paths: Mapping[int, Path]) -> tuple[str, ...]:
        """Fill the index from the old one if it is valid, otherwise from the shards; returns the damaged shards."""
        known = read_manifest(self.folder) or {}
        damaged: list[str] = []
        spec_checked = False
        for index, path in paths.items():
            entry = known.get(index)
            is_known = entry is not None and path.is_file() and entry.size_bytes == path.stat().st_size
            if entry is not None and is_known and spec_checked:
                self._entries[index] = entry
                continue
            try:
                header = read_header(path)
            except DataError as error:
                _LOG.warning("%s; its index stays taken", error)
                damaged.append(str(error))
                continue
            require_match(self.spec, header.spec, f"{self.folder} cannot be added to, {path.name} does not match")
            spec_checked = True
            if entry is None or not is_known:
                size = path.stat().st_size
                if entry is not None:
                    _LOG.warning("%s has %d bytes, %d were written: it was replaced", path, size, entry.size_bytes)
                entry = ShardEntry(header.num_episodes, header.num_steps, size, sha256_of(path))
            self._entries[index] = entry
        for index in known.keys() - paths.keys():
            _LOG.warning("%s: %s was written but is missing now", self.folder, shard_name(index))
        return tuple(damaged)

    def _write_manifest(self) -> None:
        try:
            write_manifest(self.folder, self.spec, self._entries)
        except OSError as cause:
            # The shards are complete without the index, and it is rebuilt next time.
            _LOG.warning("%s: cannot write the index: %s", self.folder, cause.strerror)
        self._manifest_time_s = time.monotonic()
