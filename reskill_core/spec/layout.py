"""Specifications of observations: a vector of named terms with unit and frame, and named images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reskill_core.errors import SpecError
from reskill_core.parameters import parameter
from reskill_core.spec.observations import VECTOR, Observations

GRIPPER_FRAME = "gripper"
GOAL_FRAME = "goal"

# Maximum length of an observation's vector: more than any robot needs, and small enough for memory.
_MAX_DIM = 10_000
# Maximum size of one observation's images, for the same reason [byte].
_MAX_IMAGE_BYTES = 2**26
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")

# Number of frames (or "any" joints) each kind of term refers to, and its size per reference (0: given by the term).
_FRAME_ARITY = {
    "position": 1,
    "relative_position": 2,
    "displacement": 1,
    "relative_displacement": 2,
    "euler": 1,
    "rotation_displacement": 1,
}
_JOINT_KINDS = ("joint_position", "joint_displacement")
# Entries provided by the environment or the driver, and constant entries.
NAMED = "named"
ZEROS = "zeros"
TERM_KINDS = (*_FRAME_ARITY, *_JOINT_KINDS, NAMED, ZEROS)


@dataclass(frozen=True)
class ObsTerm:
    """Named slice of an observation's vector.

    Attributes:
        name: unique name of the slice.
        kind: how it is computed, one of ``TERM_KINDS``:
            ``position`` of a frame [m]; ``relative_position`` of the first frame to the second [m];
            ``displacement`` of a frame over the last control period [m] (the Fetch convention of velocity times
            period); ``relative_displacement`` the same, minus that of the second frame; ``euler`` angles of a frame
            [rad]; ``rotation_displacement`` rotation vector over the last control period [rad];
            ``joint_position`` and ``joint_displacement`` of joints [m or rad]; ``named`` for entries that the
            environment or the driver provides under the name of the term [unit]; ``zeros`` as padding.
        of: the frames or joints it refers to.
        size: number of entries.
        unit: unit of the entries.
        frame: coordinate frame of the entries; empty if there is none, as for joints.
    """

    name: str
    kind: str
    of: tuple[str, ...]
    size: int = field(metadata={"low": 1, "high": 1000})
    unit: str
    frame: str = "world"

    def __post_init__(self) -> None:
        if self.kind not in TERM_KINDS:
            raise SpecError(f"term {self.name!r}: unknown kind {self.kind!r}; allowed: {', '.join(TERM_KINDS)}")
        expected_size = 3 if self.kind in _FRAME_ARITY else len(self.of)
        if self.kind not in (ZEROS, NAMED) and self.size != expected_size:
            raise SpecError(f"term {self.name!r}: kind {self.kind!r} has size {expected_size}, got {self.size}")
        if self.kind in _FRAME_ARITY and len(self.of) != _FRAME_ARITY[self.kind]:
            raise SpecError(
                f"term {self.name!r}: kind {self.kind!r} refers to {_FRAME_ARITY[self.kind]} frame(s), got {self.of}"
            )
        if self.kind == NAMED and self.of:
            raise SpecError(f"term {self.name!r}: kind {NAMED!r} refers to nothing else, got {self.of}")


def frame_term(name: str, kind: str, *of: str) -> ObsTerm:
    """Create an observation term of one or two frames, in world coordinates."""
    return ObsTerm(name, kind, of, 3, "rad" if kind in ("euler", "rotation_displacement") else "m")


def joint_term(name: str, kind: str, joints: tuple[str, ...], unit: str = "m") -> ObsTerm:
    """Create an observation term of joints."""
    return ObsTerm(name, kind, joints, len(joints), unit, frame="")


def named_term(name: str, size: int, unit: str, frame: str = "") -> ObsTerm:
    """Create an observation term that the environment or the driver provides under its name."""
    return ObsTerm(name, NAMED, (), size, unit, frame)


def zeros_term(name: str, size: int) -> ObsTerm:
    """Create a term of padding."""
    return ObsTerm(name, ZEROS, (), size, "1", frame="")


@dataclass(frozen=True)
class ImageFeature:
    """Named image of an observation: uint8, its newest ``stack`` frames.

    Attributes:
        name: unique name: a letter, then letters, digits and underscores.
        height: height H of a frame [pixel].
        width: width W of a frame [pixel].
        channels: channels C of a pixel: 1 for grey, 3 for RGB.
        stack: number of frames, oldest first, one control step apart. At the start of an episode the first frame is
            repeated.
    """

    name: str
    height: int = parameter(low=1, high=4096)
    width: int = parameter(low=1, high=4096)
    channels: int = parameter(3, low=1, high=4)
    stack: int = parameter(1, low=1, high=16)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name == VECTOR:
            raise SpecError(
                f"an image must be named by a letter, then letters, digits and underscores, and not {VECTOR!r}; "
                f"got {self.name!r}"
            )

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """Shape (H, W, C) of one frame."""
        return (self.height, self.width, self.channels)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape (stack, H, W, C) of the feature in one observation."""
        return (self.stack, *self.frame_shape)


@dataclass(frozen=True)
class ObsSpec:
    """Layout of an observation: a vector, and optionally images.

    Attributes:
        frames: names of the frames whose poses are needed, by convention ``gripper`` first and ``goal`` last.
        joints: names of the joints whose positions are needed.
        terms: slices of the vector, in order.
        images: the images; without any, an observation is just the vector.
    """

    frames: tuple[str, ...]
    joints: tuple[str, ...]
    terms: tuple[ObsTerm, ...]
    images: tuple[ImageFeature, ...] = ()

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        if len(set(names)) != len(names):
            raise SpecError(f"observation terms have duplicate names: {names}")
        images = [image.name for image in self.images]
        if len(set(images)) != len(images):
            raise SpecError(f"images have duplicate names: {images}")
        for term in self.terms:
            known = self.joints if term.kind in _JOINT_KINDS else self.frames
            unknown = [name for name in term.of if name not in known]
            if unknown:
                raise SpecError(f"term {term.name!r} refers to unknown {unknown}; known: {', '.join(known)}")

    @cached_property
    def _slices(self) -> dict[str, slice]:
        slices, start = {}, 0
        for term in self.terms:
            slices[term.name] = slice(start, start + term.size)
            start += term.size
        return slices

    @cached_property
    def dim(self) -> int:
        """Length O of the vector."""
        return sum(term.size for term in self.terms)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the slices, in order."""
        return tuple(self._slices)

    @property
    def named(self) -> tuple[ObsTerm, ...]:
        """Terms provided by the environment or the driver, in order."""
        return tuple(term for term in self.terms if term.kind == NAMED)

    @property
    def objects(self) -> tuple[str, ...]:
        """Names of the frames that are neither the gripper nor the goal."""
        return tuple(name for name in self.frames if name not in (GRIPPER_FRAME, GOAL_FRAME))

    def slice(self, name: str) -> slice:
        """Return the slice of a term in the vector.

        Raises:
            SpecError: no term has that name.
        """
        try:
            return self._slices[name]
        except KeyError:
            raise SpecError(f"no observation term {name!r}; terms: {', '.join(self.names)}") from None

    def zeros(self, rows: int) -> Observations:
        """Create zero observations of ``rows`` environments, with black images."""
        vector = np.zeros((rows, self.dim))
        return self.observation(vector, {item.name: np.zeros((rows, *item.shape), np.uint8) for item in self.images})

    def observation(self, vector: NDArray[Any], images: Mapping[str, NDArray[np.uint8]]) -> Observations:
        """Combine observations from their parts; just the vector if the layout has no images.

        Args:
            vector: (N, O).
            images: (N, stack, H, W, C) uint8 by image feature.
        """
        return {VECTOR: vector, **{item.name: images[item.name] for item in self.images}} if self.images else vector

    def check(self, observations: Mapping[str, ArrayLike] | ArrayLike) -> Observations:
        """Check that observations have this layout, with any leading axes, and return them as arrays.

        Raises:
            SpecError: a part is missing, unknown, or has another shape or type.
        """
        if not isinstance(observations, Mapping):
            if self.images:
                names = ", ".join((VECTOR, *(item.name for item in self.images)))
                raise SpecError(f"an observation of this layout is a mapping of {names}, got an array")
            return self._checked_vector(observations)
        expected = {VECTOR, *(item.name for item in self.images)}
        if not self.images or observations.keys() != expected:
            needed = f"the parts {', '.join(sorted(expected))}" if self.images else "no parts, it is a vector"
            raise SpecError(f"an observation of this layout has {needed}; got {', '.join(sorted(observations))}")
        vector = self._checked_vector(observations[VECTOR])
        images = {item.name: np.asarray(observations[item.name]) for item in self.images}
        for item in self.images:
            shape = (*vector.shape[:-1], *item.shape)
            if images[item.name].shape != shape or images[item.name].dtype != np.uint8:
                got = f"{images[item.name].dtype}{images[item.name].shape}"
                raise SpecError(f"image {item.name!r} must be uint8{shape}, got {got}")
        return {VECTOR: vector, **images}

    def _checked_vector(self, vector: ArrayLike) -> NDArray[Any]:
        array = np.asarray(vector)
        if array.ndim == 0 or array.shape[-1] != self.dim:
            raise SpecError(f"observation has shape {array.shape}, its last axis must have length {self.dim}")
        return array

    def violations(self) -> list[str]:
        """Check the sizes."""
        faults = []
        if not (0 if self.images else 1) <= self.dim <= _MAX_DIM:
            faults.append(f"must have from 1 to {_MAX_DIM} entries, got {self.dim}")
        if (size := sum(int(np.prod(image.shape)) for image in self.images)) > _MAX_IMAGE_BYTES:
            faults.append(f"images must have at most {_MAX_IMAGE_BYTES} bytes in all, got {size}")
        return faults
