"""Frames of one image feature over an episode, compressed without loss in blocks of a few, each read by itself.

Within a block the first frame stands as it is and each other as its difference to the one before, modulo 256: what
does not move becomes zeros. Blocks are compressed by zlib, whose decoder is told how much to produce at most. HDF5's
own filters are not used: they decode whatever a file holds, whose size nobody bounds.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.errors import DataError

# Frames of a block; the last one of an episode may have fewer. Part of the file format.
BLOCK_FRAMES = 8
# Runs of equal bytes alone: noise gets smaller than by the search for longer repetitions, in two thirds of the time,
# and what is still is a few per cent of its size by either.
_STRATEGY = zlib.Z_RLE

FrameShape = tuple[int, int, int]


def num_blocks(num_frames: Any) -> Any:
    """Number of blocks that an episode's frames take; of an integer or an array of them."""
    return -(-num_frames // BLOCK_FRAMES)


def compress_block(frames: NDArray[np.uint8]) -> bytes:
    """Compress the frames (n, H, W, C) of a block."""
    differences = frames.copy()
    differences[1:] -= frames[:-1]
    compressor = zlib.compressobj(strategy=_STRATEGY)
    return compressor.compress(differences.data) + compressor.flush()


def decompress_block(block: bytes, num_frames: int, shape: FrameShape) -> NDArray[np.uint8]:
    """The frames (n, H, W, C) of a block.

    Raises:
        DataError: the block is none, or holds another number of bytes.
    """
    size = num_frames * int(np.prod(shape))
    decoder = zlib.decompressobj()
    try:
        # One byte more than there may be, so that there being more shows.
        data = decoder.decompress(block, size + 1)
    except zlib.error as cause:
        raise DataError(f"a block of images is damaged: {cause}") from cause
    if len(data) != size or not decoder.eof or decoder.unused_data:
        raise DataError(f"a block of {num_frames} images of {shape} does not hold {size} bytes")
    frames = np.frombuffer(data, np.uint8).reshape(num_frames, *shape).copy()
    # One addition after the other takes a fortieth of the time of numpy's cumulative sum.
    for before, frame in pairwise(frames):
        frame += before
    return frames


@dataclass(frozen=True, eq=False)
class CompressedFrames:
    """Frames of one image feature, in order.

    Attributes:
        shape: (H, W, C) of a frame.
        num_frames: number F of frames.
        blocks: the compressed blocks.
    """

    shape: FrameShape
    num_frames: int
    blocks: tuple[bytes, ...]

    @classmethod
    def of(cls, frames: NDArray[np.uint8]) -> CompressedFrames:
        """Compress frames (F, H, W, C).

        Raises:
            DataError: they have another type or number of axes.
        """
        frames = np.asarray(frames)
        if frames.ndim != 4:
            raise DataError(f"images must have the axes frame, height, width and channel, got {frames.shape}")
        compressor = FrameCompressor(_frame_shape(frames.shape[1:]))
        for frame in frames:
            compressor.append(frame)
        return compressor.finish()

    def __len__(self) -> int:
        return self.num_frames

    def decompressed(self) -> Iterator[NDArray[np.uint8]]:
        """The frames (n, H, W, C) of one block after the other.

        Raises:
            DataError: a block is damaged.
        """
        for index, block in enumerate(self.blocks):
            frames = min(BLOCK_FRAMES, self.num_frames - index * BLOCK_FRAMES)
            yield decompress_block(block, frames, self.shape)

    def array(self) -> NDArray[np.uint8]:
        """All frames (F, H, W, C), decompressed.

        Raises:
            DataError: a block is damaged.
        """
        return np.concatenate([np.empty((0, *self.shape), np.uint8), *self.decompressed()])


class FrameCompressor:
    """Compresses the frames of an episode as they come, so that few of them are in memory as they are."""

    def __init__(self, shape: FrameShape) -> None:
        """Start without frames, each of which will have the shape (H, W, C)."""
        self._shape = shape
        self._pending: list[NDArray[np.uint8]] = []
        self._blocks: list[bytes] = []
        self._num_frames = 0

    def append(self, frame: NDArray[np.uint8]) -> None:
        """Add a frame (H, W, C); it is copied.

        Raises:
            DataError: it has another shape or type.
        """
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise DataError(f"an image must be uint8{self._shape}, got {frame.dtype}{frame.shape}")
        self._pending.append(frame.copy())
        self._num_frames += 1
        if len(self._pending) == BLOCK_FRAMES:
            self._compress()

    def finish(self) -> CompressedFrames:
        """What was added; the compressor is empty afterwards."""
        if self._pending:
            self._compress()
        result = CompressedFrames(self._shape, self._num_frames, tuple(self._blocks))
        self._blocks, self._num_frames = [], 0
        return result

    def _compress(self) -> None:
        self._blocks.append(compress_block(np.stack(self._pending)))
        self._pending.clear()


def _frame_shape(shape: Sequence[int]) -> FrameShape:
    height, width, channels = shape
    return (height, width, channels)
