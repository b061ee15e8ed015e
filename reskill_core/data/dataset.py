"""Data set of demonstrations for training: flat arrays in memory, simulator states and images on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reskill_core.data.columns import Column, Run, SimStates
from reskill_core.data.compressed_frames import CompressedFrames
from reskill_core.data.episode import Arrays, Episode, digests, unpack
from reskill_core.data.images import Images, StoredFrames
from reskill_core.data.loading import OnBadShard, ShardReader
from reskill_core.data.schema import ARRAYS, DIGEST, ENDS, LABEL, MERGED_FROM, SIM_STATE, DatasetSpec
from reskill_core.data.shard import Shard
from reskill_core.data.splits import split_episodes
from reskill_core.data.statistics import Statistics, moments
from reskill_core.data.world import DataWorld
from reskill_core.errors import DataError

T = TypeVar("T")

# Memory for decompressed images if the arrays exceed the limit.
_MIN_CACHE_BYTES = 2**26

_STEP_FIELDS = tuple(item for item in ARRAYS if item.rows == "step" and item.name != SIM_STATE)
_EPISODE_FIELDS = tuple(item for item in ARRAYS if item.rows == "episode" and item.name != ENDS)


class DemoDataset:
    """Data set of all episodes in a folder of shards, in order. Its arrays are read-only.

    Attributes:
        folder: the data set.
        spec: specification of its episodes.
        skipped: damaged shards and episodes that were left out, with reasons.
        provenance: the distinct provenances of its shards that were not merged.
        merged_from: the source data sets recorded in its merged shards.
        worlds: the distinct worlds (simulation settings) of its episodes.
        world_number: (E,) int64, index of each episode's world.
        observation: (N, O) float32, steps of all episodes, concatenated.
        action: (N, A) float32, the labels.
        executed_action: (N, A) float32.
        reward: (N,) float32.
        sim_state: (N, S) float64, read on demand.
        episode_starts: (E,) int64, first row of each episode.
        episode_ends: (E,) int64, row after its last.
        final_observation: (E, O) float32.
        seed: (E,) int64.
        success: (E,) bool.
        terminated: (E,) bool.
        truncated: (E,) bool.
        noise_scale: (E,) float32.
        source: (E,) str.
        label: (E,) str, empty for none.
        digest: (E, 32) uint8, SHA-256 of each episode's contents.
        images: frames by image feature, read on demand.
    """

    def __init__(self, folder: Path, gathered: _Gathered, skipped: Sequence[str]) -> None:
        """Use :meth:`open`."""
        self.folder = folder
        self.spec = gathered.spec
        self.skipped = tuple(skipped)
        self.provenance = tuple(gathered.provenance)
        self.merged_from = tuple(gathered.merged_from)
        self.worlds = tuple(gathered.worlds)
        self.world_number = np.repeat(gathered.world_numbers, [len(lengths) for lengths in gathered.lengths])
        self._arrays = gathered.arrays()
        self.observation = self._arrays["observation"]
        self.action = self._arrays["action"]
        self.executed_action = self._arrays["executed_action"]
        self.reward = self._arrays["reward"]
        self.sim_state = SimStates(gathered.runs, self.spec.sim_state_dim)
        self.episode_ends = self._arrays[ENDS]
        self.episode_starts = np.concatenate([[0], self.episode_ends[:-1]])
        self.final_observation = self._arrays["final_observation"]
        self.seed = self._arrays["seed"]
        self.success = self._arrays["success"]
        self.terminated = self._arrays["terminated"]
        self.truncated = self._arrays["truncated"]
        self.noise_scale = self._arrays["noise_scale"]
        self.source = np.char.decode(self._arrays["source"])
        self.label = np.char.decode(self._arrays[LABEL])
        self.digest = self._arrays[DIGEST]
        self.images = gathered.images()

    @classmethod
    def open(
        cls,
        folder: Path | str,
        on_bad_shard: OnBadShard = "refuse",
        memory_limit_bytes: int = 4 * 2**30,
        scratch: Path | str | None = None,
    ) -> DemoDataset:
        """Open a data set; simulator states and images are read later, on demand.

        Args:
            folder: the data set.
            on_bad_shard: how to treat shards that are missing, damaged or of another kind, and single episodes with
                impossible values: ``refuse`` the data set, or ``skip`` them with a warning.
            memory_limit_bytes: larger arrays are kept in memory-mapped temporary files.
            scratch: folder of those files, by default the data set's own.

        Raises:
            DataError: there is no data set, it has no usable shard, or a shard is damaged; names it.
        """
        folder = Path(folder)
        reader = ShardReader(folder, on_bad_shard)
        gathered: _Gathered | None = None
        for shard, rows in reader:
            if gathered is None:
                gathered = _Gathered(shard.header.spec, memory_limit_bytes, Path(scratch or folder))
            gathered.add(shard, rows)
        if gathered is None:
            raise DataError(f"{folder} has no usable shard:\n" + "\n".join(reader.skipped))
        return cls(folder, gathered, reader.skipped)

    @property
    def num_episodes(self) -> int:
        """Number of episodes E."""
        return len(self.episode_ends)

    @property
    def num_steps(self) -> int:
        """Number of steps N of all episodes."""
        return len(self.observation)

    @property
    def episode_lengths(self) -> NDArray[np.int64]:
        """Number of steps of each episode, (E,)."""
        return self.episode_ends - self.episode_starts

    def episode(self, index: int) -> Episode:
        """Read episode ``index``, with its simulator states.

        Raises:
            DataError: there is no such episode, or its simulator states were damaged.
        """
        return self.episodes(index, index + 1)[0]

    def episodes(self, start: int, stop: int) -> list[Episode]:
        """Read episodes ``start`` to ``stop`` - 1 at once, with their simulator states.

        Raises:
            DataError: there are no such episodes, or their simulator states were damaged.
        """
        if not 0 <= start < stop <= self.num_episodes:
            raise DataError(f"{self.folder} has episodes 0 to {self.num_episodes - 1}, asked for {start} to {stop - 1}")
        rows = slice(int(self.episode_starts[start]), int(self.episode_ends[stop - 1]))
        part = {field.name: self._arrays[field.name][rows] for field in _STEP_FIELDS}
        part |= {field.name: self._arrays[field.name][start:stop] for field in _EPISODE_FIELDS}
        part |= {SIM_STATE: self.sim_state[rows], ENDS: self.episode_ends[start:stop] - rows.start}
        changed = np.flatnonzero(
            (digests(part, lambda index: self._frames(start + index)) != self.digest[start:stop]).any(axis=1)
        )
        if len(changed):
            raise DataError(
                f"{self.folder}: the simulator states or images of episode {start + changed[0]} are not what was"
                " written; see `reskill data validate`"
            )
        return [unpack(part, index, self._frames(start + index)) for index in range(stop - start)]

    def _frames(self, episode: int) -> dict[str, CompressedFrames]:
        return {name: images.episode(episode) for name, images in self.images.items()}

    def split(self, validation_fraction: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draw episode indices for training and validation: disjoint, complete, sorted, deterministic for a seed.

        Raises:
            DataError: the fraction leaves one of them empty.
        """
        fractions = {"train": 1.0 - validation_fraction, "validation": validation_fraction}
        parts = split_episodes(self.num_episodes, fractions, seed)
        return parts["train"], parts["validation"]

    def statistics(self, episode_ids: ArrayLike | None = None) -> Statistics:
        """Compute statistics over all steps, or over those of some episodes.

        Raises:
            DataError: no episode is chosen.
        """
        chosen = np.full(self.num_episodes, episode_ids is None)
        if episode_ids is not None:
            chosen[np.asarray(episode_ids, dtype=np.int64)] = True
        if not chosen.any():
            raise DataError("statistics need at least one episode, got none")
        rows = np.repeat(chosen, self.episode_lengths)
        return Statistics(moments(self.observation, rows), moments(self.action, rows))

    def content_hash(self) -> str:
        """Compute the SHA-256 over the digests of all episodes in order.

        It identifies the episodes and their order, independently of their distribution over shards, the writer and its
        versions.
        """
        return hashlib.sha256(self.digest.tobytes()).hexdigest()


class _Gathered:
    """Accumulated contents of shards."""

    def __init__(self, spec: DatasetSpec, memory_limit_bytes: int, scratch: Path) -> None:
        self.spec = spec
        self.runs: list[Run] = []
        self.provenance: list[Mapping[str, Any]] = []
        self.merged_from: list[Mapping[str, Any]] = []
        self.worlds: list[DataWorld] = []
        self.world_numbers: list[int] = []
        self.lengths: list[NDArray[np.int64]] = []
        self._columns = {field.name: Column(field, spec) for field in (*_STEP_FIELDS, *_EPISODE_FIELDS)}
        self._frames: dict[str, list[StoredFrames]] = {item.name: [] for item in spec.task.obs.images}
        self._num_steps = 0
        self._free_bytes = memory_limit_bytes
        self._scratch = scratch

    def add(self, shard: Shard, rows: Sequence[slice]) -> None:
        """Add a shard, which contains these ``rows`` of its file."""
        fits_before = self._free_bytes >= 0
        for name, column in self._columns.items():
            column.append(shard.arrays[name])
            self._free_bytes -= shard.arrays[name].nbytes
        if fits_before and self._free_bytes < 0:
            for field in _STEP_FIELDS:
                self._columns[field.name].spill(self._scratch)
        for name, stored in shard.images.items():
            self._frames[name].append(stored)
        self.lengths.append(np.diff(shard.arrays[ENDS], prepend=0))
        world = shard.world
        _add_distinct(self.worlds, [world])
        if world.settings != self.spec.task.settings:
            self.spec = replace(self.spec, task=replace(self.spec.task, settings={}))
        self.world_numbers.append(self.worlds.index(world))
        for run in rows:
            stop = self._num_steps + run.stop - run.start
            self.runs.append(Run(self._num_steps, stop, shard.path, run.start, shard.sim_state_offset))
            self._num_steps = stop
        if MERGED_FROM in shard.extra:
            _add_distinct(self.merged_from, shard.extra[MERGED_FROM])
        else:
            _add_distinct(self.provenance, [shard.header.provenance])

    def images(self) -> dict[str, Images]:
        """Return the images of the whole data set; the remaining memory is used to cache decompressed blocks."""
        features = self.spec.task.obs.images
        cache_bytes = max(self._free_bytes, _MIN_CACHE_BYTES) // max(len(features), 1)
        return {item.name: Images(item, StoredFrames.joined(self._frames[item.name]), cache_bytes) for item in features}

    def arrays(self) -> Arrays:
        """Return the arrays of the whole data set."""
        ends = np.cumsum(np.concatenate(self.lengths))
        ends.flags.writeable = False
        return {name: column.finish() for name, column in self._columns.items()} | {ENDS: ends}


def _add_distinct(known: list[T], found: Iterable[T]) -> None:
    known.extend(item for item in found if item not in known)
