"""Images of a data set, read from the shards and decompressed on demand."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reskill_core.data.compressed_frames import BLOCK_FRAMES, CompressedFrames, FrameShape, decompress_block, num_blocks
from reskill_core.errors import DataError
from reskill_core.spec import ImageFeature

Index = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class StoredFrames:
    """Locations of the compressed frames of one image feature, ordered by episode.

    Attributes:
        paths: the files.
        file: (B,) index of each block's file.
        start: (B,) first byte of each block in its file.
        stop: (B,) byte after the last of each block.
        num_frames: (E,) number of frames of each episode: one more than its steps.
    """

    paths: tuple[Path, ...]
    file: Index
    start: Index
    stop: Index
    num_frames: Index

    @classmethod
    def of_shard(cls, path: Path, offset: int, ends: Index, num_frames: Index) -> StoredFrames:
        """Locate the frames of a whole shard.

        Args:
            path: the shard.
            offset: start of its blocks in the file [byte].
            ends: (B,) end of each block relative to ``offset``.
            num_frames: (E,) number of frames of each episode.
        """
        start = offset + np.concatenate([[0], ends])[:-1]
        return cls((path,), np.zeros(len(ends), np.int64), start, offset + ends, num_frames)

    @classmethod
    def joined(cls, parts: Sequence[StoredFrames]) -> StoredFrames:
        """Concatenate the frames of several shards."""
        file = [np.full(len(part.file), number, np.int64) for number, part in enumerate(parts)]
        return cls(
            tuple(path for part in parts for path in part.paths),
            np.concatenate(file),
            np.concatenate([part.start for part in parts]),
            np.concatenate([part.stop for part in parts]),
            np.concatenate([part.num_frames for part in parts]),
        )

    def keep(self, mask: NDArray[np.bool_]) -> StoredFrames:
        """Select the frames of the episodes given by ``mask`` (E,)."""
        blocks = np.repeat(mask, num_blocks(self.num_frames))
        return replace(
            self,
            file=self.file[blocks],
            start=self.start[blocks],
            stop=self.stop[blocks],
            num_frames=self.num_frames[mask],
        )

    @cached_property
    def first_block(self) -> Index:
        """(E,) index of each episode's first block."""
        blocks = num_blocks(self.num_frames)
        return np.cumsum(blocks) - blocks

    @property
    def size_bytes(self) -> int:
        """Compressed size of all blocks [byte]."""
        return int((self.stop - self.start).sum())

    def episode(self, index: int, shape: FrameShape) -> CompressedFrames:
        """Read the frames of an episode: one before each step, and one after the last step.

        Raises:
            DataError: a file was removed or truncated meanwhile.
        """
        count, first = int(self.num_frames[index]), int(self.first_block[index])
        return CompressedFrames(shape, count, tuple(self.read(first, first + num_blocks(count))))

    def read(self, first: int, last: int) -> list[bytes]:
        """Read the compressed blocks ``first`` to ``last`` - 1.

        Raises:
            DataError: a file was removed or truncated meanwhile.
        """
        blocks: list[bytes] = []
        while first < last:
            path = self.paths[self.file[first]]
            try:
                descriptor = os.open(path, os.O_RDONLY)
            except OSError as cause:
                raise DataError(f"cannot read {path}: {cause.strerror}") from cause
            try:
                which = self.file[first]
                while first < last and self.file[first] == which:
                    start, size = int(self.start[first]), int(self.stop[first] - self.start[first])
                    blocks.append(os.pread(descriptor, size, start))
                    if len(blocks[-1]) != size:
                        raise DataError(f"{path} was cut short since it was opened")
                    first += 1
            finally:
                os.close(descriptor)
        return blocks


class Images:
    """Frames of one image feature in all episodes of a data set.

    Decompressed blocks are cached up to a memory limit; the least recently used ones are evicted first.

    Attributes:
        feature: the feature.
        stored: locations of the frames.
    """

    def __init__(self, feature: ImageFeature, stored: StoredFrames, cache_bytes: int) -> None:
        """Set up; nothing is read yet.

        Args:
            feature: the feature.
            stored: locations of its frames.
            cache_bytes: memory for decompressed blocks.
        """
        self.feature = feature
        self.stored = stored
        self._cache: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()
        self._cache_bytes = cache_bytes

    def episode(self, index: int) -> CompressedFrames:
        """Read the frames of an episode: one before each step, and one after the last step.

        Raises:
            DataError: a file was removed or truncated meanwhile.
        """
        return self.stored.episode(index, self.feature.frame_shape)

    def windows(self, episodes: Index, steps: Index, horizon: int) -> NDArray[np.uint8]:
        """Read stacked frames of windows (B, H, stack, H', W', C), observed before each of H consecutive steps.

        Args:
            episodes: (B,) episode of each window.
            steps: (B,) first step of each window within its episode.
            horizon: number H of steps.

        Raises:
            DataError: a file was removed, truncated or damaged meanwhile.
        """
        result = np.empty((len(episodes), horizon, *self.feature.shape), np.uint8)
        for window, (episode, step) in enumerate(zip(episodes.tolist(), steps.tolist(), strict=True)):
            first = max(step - self.feature.stack + 1, 0)
            frames = self._frames(episode, first, step + horizon)
            result[window] = frames[stack_rows(step, horizon, self.feature.stack) - first]
        return result

    def _frames(self, episode: int, start: int, stop: int) -> NDArray[np.uint8]:
        """Frames ``start`` to ``stop`` - 1 of an episode."""
        first_block = int(self.stored.first_block[episode])
        first, last = first_block + start // BLOCK_FRAMES, first_block + num_blocks(stop)
        known = [self._cache.get(number) for number in range(first, last)]
        if any(frames is None for frames in known):
            known = [
                self._decompressed(episode, first + at, data) for at, data in enumerate(self.stored.read(first, last))
            ]
        pieces = []
        for number, frames in enumerate(known, first):
            assert frames is not None
            pieces.append(frames)
            self._keep(number, frames)
        before = (first - first_block) * BLOCK_FRAMES
        return np.concatenate(pieces)[start - before : stop - before]

    def _decompressed(self, episode: int, number: int, data: bytes) -> NDArray[np.uint8]:
        before = (number - int(self.stored.first_block[episode])) * BLOCK_FRAMES
        count = min(BLOCK_FRAMES, int(self.stored.num_frames[episode]) - before)
        try:
            return decompress_block(data, count, self.feature.frame_shape)
        except DataError as cause:
            path = self.stored.paths[self.stored.file[number]]
            raise DataError(f"{path}: image {self.feature.name!r} of episode {episode}: {cause}") from cause

    def _keep(self, number: int, frames: NDArray[np.uint8]) -> None:
        if number in self._cache:
            self._cache.move_to_end(number)
            return
        self._cache[number] = frames
        self._cache_bytes -= frames.nbytes
        while self._cache_bytes < 0:
            self._cache_bytes += self._cache.popitem(last=False)[1].nbytes


def stack_rows(step: int, horizon: int, stack: int) -> Index:
    """Frame indices (H, stack) of the stacks before each of H steps, padded with an episode's first frame."""
    return np.maximum(step + np.arange(horizon)[:, None] + np.arange(1 - stack, 1), 0)
