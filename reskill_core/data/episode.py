"""Demonstration episodes, and their representation as arrays of a shard."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.data.compressed_frames import CompressedFrames
from reskill_core.data.images import stack_rows
from reskill_core.data.schema import (
    ACTION_LIMIT,
    ARRAYS,
    DIGEST,
    DIGEST_BYTES,
    DIGESTED_FIELDS,
    ENDS,
    EPISODE_FIELDS,
    FIELDS,
    LABEL,
    MAX_SOURCE_BYTES,
    ArrayField,
    DatasetSpec,
    image_blocks,
    image_ends,
)
from reskill_core.errors import DataError
from reskill_core.files import plain_name_fault
from reskill_core.labels import label_fault
from reskill_core.spec import Observations, ObsSpec

Arrays = dict[str, NDArray[Any]]
EpisodeImages = Mapping[str, CompressedFrames]


@dataclass(frozen=True, eq=False)
class Episode:
    """Demonstration of T steps. Row t of each array belongs to the step from time t to t + 1.

    Setting ``sim_state[0]`` in the simulator and executing ``executed_action`` reproduces the episode.

    Attributes:
        observation: (T, O) observations before each step; their vectors if they have images.
        action: (T, A) the demonstrator's noise-free actions, in [-1, 1]: the labels.
        executed_action: (T, A) the executed actions, in [-1, 1].
        reward: (T,) reward of each step.
        sim_state: (T, S) complete simulator state before each step; S is 0 without a simulator.
        final_observation: (O,) observation after the last step.
        seed: seed of the episode; -1 if it has none.
        success: whether the task was solved.
        terminated: whether it ended in a terminal state.
        truncated: whether it was cut off, by the horizon or externally.
        noise_scale: noise scale of the demonstrator.
        source: name of the demonstrator or policy, at most 64 bytes.
        label: instruction or remark, one line of at most 256 bytes; empty for none.
        images: frames by image feature: the newest one before each step, and the one after the last step, T + 1 in
            total.
    """

    observation: NDArray[np.float32]
    action: NDArray[np.float32]
    executed_action: NDArray[np.float32]
    reward: NDArray[np.float32]
    sim_state: NDArray[np.float64]
    final_observation: NDArray[np.float32]
    seed: int
    success: bool
    terminated: bool
    truncated: bool
    noise_scale: float
    source: str
    label: str = ""
    images: EpisodeImages = dataclasses.field(default_factory=dict)

    @property
    def num_steps(self) -> int:
        """Number of steps T."""
        return len(self.observation)

    def observations(self, layout: ObsSpec) -> Observations:
        """Observations before each step, as a policy sees them: (T, O), and the frame stacks (T, stack, H, W, C)."""
        return layout.observation(
            self.observation,
            {
                image.name: self.images[image.name].array()[stack_rows(0, self.num_steps, image.stack)]
                for image in layout.images
            },
        )


def pack(episodes: Sequence[Episode], spec: DatasetSpec) -> Arrays:
    """Stack episodes into the arrays of a shard, in the stored types.

    Raises:
        DataError: there are none, or one does not fit the specification or has impossible values; lists all faults.
    """
    if not episodes:
        raise DataError("a shard needs at least one episode, got none")
    faults = [f"episode {i}: {fault}" for i, episode in enumerate(episodes) for fault in _misfits(episode, spec)]
    if not faults:
        arrays = {field.name: _stack(episodes, field) for field in EPISODE_FIELDS}
        arrays[ENDS] = np.cumsum([episode.num_steps for episode in episodes], dtype=FIELDS[ENDS].dtype)
        faults = [f"episode {i}: {fault}" for i, found in faulty_episodes(arrays).items() for fault in found]
        if not faults:
            images = [_in_order(episode.images, spec) for episode in episodes]
            return arrays | {DIGEST: digests(arrays, images.__getitem__)} | _image_arrays(images)
    raise DataError("episodes cannot be stored:\n" + "\n".join(f"  - {fault}" for fault in faults))


def unpack(arrays: Mapping[str, NDArray[Any]], index: int, images: EpisodeImages) -> Episode:
    """Extract episode ``index`` from the arrays of :func:`pack`, with its images; its arrays are views."""
    rows = episode_rows(arrays, index)
    values: dict[str, Any] = {
        field.name: arrays[field.name][rows if field.rows == "step" else index] for field in EPISODE_FIELDS
    }
    for name in ("seed", "success", "terminated", "truncated", "noise_scale"):
        values[name] = values[name].item()
    texts = {name: values[name].decode() for name in _TEXT_FAULTS}
    return Episode(**{**values, **texts, "images": images})


def episode_rows(arrays: Mapping[str, NDArray[Any]], index: int) -> slice:
    """Return the step rows of episode ``index``."""
    ends = arrays[ENDS]
    return slice(int(ends[index - 1]) if index else 0, int(ends[index]))


def select(arrays: Arrays, keep: NDArray[np.bool_]) -> Arrays:
    """Select the episodes given by the mask ``keep`` (E,)."""
    if keep.all():
        return arrays
    lengths = np.diff(arrays[ENDS], prepend=0)
    step_mask = np.repeat(keep, lengths)
    kept = {name: array[step_mask if FIELDS[name].rows == "step" else keep] for name, array in arrays.items()}
    return kept | {ENDS: np.cumsum(lengths[keep])}


def faulty_episodes(arrays: Mapping[str, NDArray[Any]]) -> dict[int, list[str]]:
    """List faults in the values by episode: not finite, an action out of range, an invalid source or label.

    Missing arrays are not checked.
    """
    faults: dict[int, list[str]] = {}
    for field in ARRAYS:
        array = arrays.get(field.name)
        if array is None or array.dtype.kind != "f":
            continue
        checks = {"has a value that is not finite": ~np.isfinite(array)}
        if field.width == "action":
            checks[f"has a value beyond {ACTION_LIMIT:g}"] = np.abs(array) > ACTION_LIMIT
        for text, bad in checks.items():
            rows = np.flatnonzero(bad.reshape(len(array), -1).any(axis=1))
            for episode, place in _places(field, rows, arrays[ENDS]).items():
                faults.setdefault(episode, []).append(f"{field.name} {text}{place}")
    for name, fault_of in _TEXT_FAULTS.items():
        texts = arrays.get(name, np.empty(0, dtype="S1"))
        for text in np.unique(texts):
            if fault := fault_of(text.decode()):
                for row in np.flatnonzero(texts == text):
                    faults.setdefault(int(row), []).append(fault)
    return dict(sorted(faults.items()))


def _places(field: ArrayField, rows: NDArray[np.int64], ends: NDArray[np.int64]) -> dict[int, str]:
    """Episodes of rows of an array, each with the step of its first row."""
    if field.rows == "episode":
        return {int(row): "" for row in rows}
    episodes, first = np.unique(np.searchsorted(ends, rows, side="right"), return_index=True)
    steps = rows[first] - np.concatenate([[0], ends])[episodes]
    return {int(episode): f" at step {step}" for episode, step in zip(episodes, steps, strict=True)}


def digests(arrays: Mapping[str, NDArray[Any]], images: Callable[[int], EpisodeImages]) -> NDArray[np.uint8]:
    """Compute the SHA-256 (E, 32) of each episode: of name, type, shape and bytes of its rows of every array.

    Arrays are in schema order, without labels, followed by the frames of images in the order of the layout. The digest
    does not depend on the episode's position, its shard, or the compression of its frames.

    Args:
        arrays: arrays of the episodes.
        images: returns the images of an episode by its index.

    Raises:
        DataError: images are damaged.
    """
    result = np.empty((len(arrays[ENDS]), DIGEST_BYTES), np.uint8)
    for i in range(len(result)):
        rows = {"step": episode_rows(arrays, i), "episode": slice(i, i + 1)}
        sha = hashlib.sha256()
        for field in DIGESTED_FIELDS:
            values = arrays[field.name][rows[field.rows]]
            sha.update(f"{field.name} {field.dtype} {values.shape}\n".encode())
            sha.update(values.tobytes())
        for name, frames in images(i).items():
            sha.update(f"{image_blocks(name)} |u1 {(len(frames), *frames.shape)}\n".encode())
            for block in frames.decompressed():
                sha.update(block.data)
        result[i] = np.frombuffer(sha.digest(), np.uint8)
    return result


def _misfits(episode: Episode, spec: DatasetSpec) -> list[str]:
    """Faults in lengths, widths and scalar types, which prevent stacking an episode."""
    faults = [] if episode.num_steps else ["has no steps"]
    for field in EPISODE_FIELDS:
        value = getattr(episode, field.name)
        shape = spec.row_shape(field)
        if field.rows == "step":
            shape = (episode.num_steps, *shape)
        if np.shape(value) != shape:
            faults.append(f"{field.name} has shape {np.shape(value)}, expected {shape}")
        elif field.dtype[1] == "f" and not np.can_cast(np.asarray(value).dtype, np.float64, "same_kind"):
            faults.append(f"{field.name} has type {np.asarray(value).dtype}, expected numbers")
    faults += _image_misfits(episode, spec)
    if not isinstance(episode.seed, (int, np.integer)) or not -(2**63) <= episode.seed < 2**63:
        faults.append(f"seed must be an integer of 64 bits, got {episode.seed!r}")
    faults += [fault for name, fault_of in _TEXT_FAULTS.items() if (fault := fault_of(getattr(episode, name)))]
    return faults


def _image_misfits(episode: Episode, spec: DatasetSpec) -> list[str]:
    features = spec.task.obs.images
    faults = [f"has images {name!r} that the observation does not have" for name in _unknown(episode.images, spec)]
    for feature in features:
        frames = episode.images.get(feature.name)
        expected = (episode.num_steps + 1, *feature.frame_shape)
        shape = None if frames is None else (len(frames), *frames.shape)
        if shape != expected:
            faults.append(f"has images {feature.name!r} of shape {shape}, expected {expected}")
    return faults


def _unknown(images: EpisodeImages, spec: DatasetSpec) -> list[str]:
    return sorted(images.keys() - {feature.name for feature in spec.task.obs.images})


def _in_order(images: EpisodeImages, spec: DatasetSpec) -> EpisodeImages:
    return {feature.name: images[feature.name] for feature in spec.task.obs.images}


def _image_arrays(images: Sequence[EpisodeImages]) -> Arrays:
    """Compressed frames of all episodes, concatenated, and the end of each block."""
    arrays: Arrays = {}
    for name in images[0]:
        blocks = [block for episode in images for block in episode[name].blocks]
        arrays[image_blocks(name)] = np.frombuffer(b"".join(blocks), np.uint8)
        arrays[image_ends(name)] = np.cumsum([len(block) for block in blocks], dtype="<i8")
    return arrays


def _source_fault(value: object) -> str:
    """Why a value is not a valid source name; empty if it is."""
    if not isinstance(value, str) or len(value.encode()) > MAX_SOURCE_BYTES or plain_name_fault(value):
        return (
            f"source must be a printable name of 1 to {MAX_SOURCE_BYTES} bytes without path separators, got {value!r}"
        )
    return ""


_TEXT_FAULTS: dict[str, Callable[[object], str]] = {"source": _source_fault, LABEL: label_fault}


def _stack(episodes: Sequence[Episode], field: ArrayField) -> NDArray[Any]:
    values = [getattr(episode, field.name) for episode in episodes]
    if field.dtype[1] == "S":
        values = [value.encode() for value in values]
    # Values too large for float32 become infinite here, which the check for finite values reports.
    with np.errstate(over="ignore"):
        if field.rows == "episode":
            return np.array(values, dtype=field.dtype)
        return np.concatenate([np.asarray(value, dtype=field.dtype) for value in values])
