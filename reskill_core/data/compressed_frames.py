"""Lossless compression of an image feature's frames over an episode, in small blocks that are read independently.

A block stores its first frame, and of each other frame the difference from the previous one, modulo 256, so that
static pixels become zeros. Blocks are compressed by zlib, whose decoder limits the size of the output. HDF5's own
filters are not used, because they decode data of any size.
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

# Frames per block; an episode's last block may have fewer. Part of the file format.
BLOCK_FRAMES = 8
# Run-length encoding only: for noise it compresses better than the search for longer repetitions, in two thirds of the
# time; static images shrink to a few per cent with either.
_STRATEGY = zlib.Z_RLE

FrameShape = tuple[int, int, int]


def num_blocks(num_frames: Any) -> Any:
    """Number of blocks for an episode's frames; takes an integer or an array."""
    return -(-num_frames // BLOCK_FRAMES)


def compress_block(frames: NDArray[np.uint8]) -> bytes:
    """Compress the frames (n, H, W, C) of a block."""
    differences = frames.copy()
    differences[1:] -= frames[:-1]
    compressor = zlib.compressobj(strategy=_STRATEGY)
    return compressor.compress(differences.data) + compressor.flush()


def decompress_block(block: bytes, num_frames: int, shape: FrameShape) -> NDArray[np.uint8]:
    """Decompress the frames (n, H, W, C) of a block.

    Raises:
        DataError: the block is invalid, or holds another number of bytes.
    """
    size = num_frames * int(np.prod(shape))
    decoder = zlib.decompressobj()
    try:
        # One byte more than expected, to detect longer data.
        data = decoder.decompress(block, size + 1)
    except zlib.error as cause:
        raise DataError(f"a block of images is damaged: {cause}") from cause
    if len(data) != size or not decoder.eof or decoder.unused_data:
        raise DataError(f"a block of {num_frames} images of {shape} does not hold {size} bytes")
    frames = np.frombuffer(data, np.uint8).reshape(num_frames, *shape).copy()
    # Adding frame by frame takes a fortieth of the time of numpy's cumulative sum.
    for before, frame in pairwise(frames):
        frame += before
    return frames


@dataclass(frozen=True, eq=False)
class CompressedFrames:
    """Compressed frames of one image feature, in order.

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
        """Yield the frames (n, H, W, C) of each block.

        Raises:
            DataError: a block is damaged.
        """
        for index, block in enumerate(self.blocks):
            frames = min(BLOCK_FRAMES, self.num_frames - index * BLOCK_FRAMES)
            yield decompress_block(block, frames, self.shape)

    def array(self) -> NDArray[np.uint8]:
        """Decompress all frames (F, H, W, C).

        Raises:
            DataError: a block is damaged.
        """
        return np.concatenate([np.empty((0, *self.shape), np.uint8), *self.decompressed()])


class FrameCompressor:
    """Streaming compressor of an episode's frames, which keeps only a few uncompressed frames in memory."""

    def __init__(self, shape: FrameShape) -> None:
        """Start without frames; each will have the shape (H, W, C)."""
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
        """Return the added frames; the compressor is empty afterwards."""
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
