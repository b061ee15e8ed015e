"""Batched quaternion arithmetic; quaternions are unit, scalar first (w, x, y, z), body to world."""

from __future__ import annotations

import numpy as np

from reskill_core.arrays import Float64Array


def matrix_from_quat(quat_wxyz: Float64Array) -> Float64Array:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4)."""
    w, x, y, z = np.moveaxis(quat_wxyz, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    # Filling an array takes a third of the time of stacking.
    matrices = np.empty((*np.shape(quat_wxyz)[:-1], 3, 3))
    for number, row in enumerate(rows):
        for column, entry in enumerate(row):
            matrices[..., number, column] = entry
    return matrices


def euler_from_quat(quat_wxyz: Float64Array) -> Float64Array:
    """Euler angles (..., 3) [rad], the rotations about the fixed x, y and z axes in the Fetch environments' convention.

    The rotation matrix is R = Rx(e0) Ry(e1) Rz(e2); where cos(e1) vanishes, e0 is set to zero.
    """
    matrix = matrix_from_quat(quat_wxyz)
    cos_y = np.hypot(matrix[..., 2, 2], matrix[..., 1, 2])
    regular = cos_y > np.finfo(np.float64).eps * 4
    return np.stack(
        [
            np.where(regular, np.arctan2(-matrix[..., 1, 2], matrix[..., 2, 2]), 0.0),
            np.arctan2(matrix[..., 0, 2], cos_y),
            np.where(
                regular,
                np.arctan2(-matrix[..., 0, 1], matrix[..., 0, 0]),
                np.arctan2(matrix[..., 1, 0], matrix[..., 1, 1]),
            ),
        ],
        axis=-1,
    )


def multiply_quat(left_wxyz: Float64Array, right_wxyz: Float64Array) -> Float64Array:
    """Hamilton product (..., 4)."""
    w1, x1, y1, z1 = np.moveaxis(left_wxyz, -1, 0)
    w2, x2, y2, z2 = np.moveaxis(right_wxyz, -1, 0)
    return np.stack(
        [
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ],
        axis=-1,
    )


def rotation_vector_between(from_wxyz: Float64Array, to_wxyz: Float64Array) -> Float64Array:
    """World-frame rotation vector (..., 3) [rad] from one orientation to the other, the shorter way."""
    relative = multiply_quat(to_wxyz, from_wxyz * np.array([1.0, -1.0, -1.0, -1.0]))
    relative = np.where(relative[..., :1] < 0, -relative, relative)
    sine = np.linalg.norm(relative[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, relative[..., :1])
    # For small angles, angle / sine tends to 2.
    return relative[..., 1:] * np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0)
