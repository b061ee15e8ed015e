"""Rigid transforms by hand, and there and back again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reskill_core.errors import SpecError
from reskill_core.frames import IDENTITY, RigidTransform

metres = st.floats(-10, 10)
vectors = st.tuples(metres, metres, metres)
components = st.floats(-1, 1)


@st.composite
def rotations(draw: st.DrawFn) -> tuple[float, ...]:
    quat = draw(st.tuples(components, components, components, components))
    norm = math.hypot(*quat)
    assume(norm > 0.1)
    return tuple(value / norm for value in quat)


transforms = st.builds(RigidTransform, vectors, rotations())

# The base stands at (1, 2, 0) and is turned to the left by 90 degrees: its x axis is the world's y axis.
LEFT = RigidTransform((1.0, 2.0, 0.0), (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)))


def test_a_turned_base_by_hand() -> None:
    assert LEFT.point((0.5, 0.25, 0.3)) == pytest.approx((0.75, 2.5, 0.3))
    assert LEFT.vector((0.5, 0.25, 0.3)) == pytest.approx((-0.25, 0.5, 0.3))
    assert LEFT.inverse.point((0.75, 2.5, 0.3)) == pytest.approx((0.5, 0.25, 0.3))
    assert LEFT.inverse.vector((0.0, 1.0, 0.0)) == pytest.approx((1.0, 0.0, 0.0))
    position, quat = LEFT.pose((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))
    assert position == pytest.approx((1.0, 2.0, 0.0))
    assert quat == pytest.approx(LEFT.quat_wxyz)


@given(transforms, vectors, rotations())
def test_there_and_back_again(transform: RigidTransform, point: tuple[float, ...], quat: tuple[float, ...]) -> None:
    back = transform.inverse
    assert back.point(transform.point(point)) == pytest.approx(point, abs=1e-9)
    assert transform.vector(back.vector(point)) == pytest.approx(point, abs=1e-9)
    position, turned = back.pose(*transform.pose(point, quat))
    assert position == pytest.approx(point, abs=1e-9)
    assert abs(np.dot(turned, quat)) == pytest.approx(1.0), "the same rotation, whichever sign its quaternion has"
    assert back.inverse.point(point) == pytest.approx(transform.point(point), abs=1e-9)


@given(transforms, vectors, vectors, rotations())
def test_points_vectors_and_poses_agree(
    transform: RigidTransform, point: tuple[float, ...], other: tuple[float, ...], quat: tuple[float, ...]
) -> None:
    """The way from one point to another is a vector, and a pose carries its points along."""
    way = np.subtract(other, point).tolist()
    assert transform.vector(way) == pytest.approx(np.subtract(transform.point(other), transform.point(point)), abs=1e-9)
    assert np.linalg.norm(transform.vector(way)) == pytest.approx(np.linalg.norm(way))
    inner, outer = RigidTransform(point, quat), RigidTransform(*transform.pose(point, quat))
    assert outer.point(other) == pytest.approx(transform.point(inner.point(other)), abs=1e-8)


def test_a_tiny_turn_is_one() -> None:
    """Where the sine is far above rounding, though the cosine is 1."""
    assert RigidTransform(quat_wxyz=(1.0, 0.0, 0.0, 1e-9)).point((1e3, 0.0, 0.0)) == pytest.approx((1e3, 2e-6, 0.0))


@given(vectors, rotations())
def test_without_a_turn_and_an_offset_nothing_changes_by_a_bit(
    point: tuple[float, ...], quat: tuple[float, ...]
) -> None:
    assert IDENTITY.vector(point) == point
    assert IDENTITY.pose(point, quat) == (point, quat)
    assert IDENTITY.inverse == IDENTITY


@pytest.mark.parametrize(
    ("position", "quat", "fault"),
    [
        ((0, 0, 0), (0, 0, 0, 0), "unit quaternion"),
        ((0, 0, 0), (1, 0, 0, 0.1), "of length 1.00499"),
        ((0, 0, 0), (math.nan, 0, 0, 0), "unit quaternion"),
        ((0, 0, 0), (1, 0, 0), "unit quaternion"),
        ((0, math.inf, 0), (1, 0, 0, 0), "finite"),
        ((0, 0), (1, 0, 0, 0), "three finite numbers"),
    ],
)
def test_what_is_no_rigid_transform_is_refused(
    position: tuple[float, ...], quat: tuple[float, ...], fault: str
) -> None:
    with pytest.raises(SpecError, match=fault):
        RigidTransform(position, quat)


def test_a_rounded_quaternion_is_normalised() -> None:
    assert math.hypot(*RigidTransform(quat_wxyz=(0.7071, 0.0, 0.0, 0.7071)).quat_wxyz) == pytest.approx(1.0, abs=1e-15)
