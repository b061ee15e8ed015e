"""Differential inverse kinematics: actions that move hands to where scripts want them, in batches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_sim.kitchen import constants
from reskill_sim.kitchen.demonstrators.arm import NUM_JOINTS, Arm, ArmState, rotation_vector

# Movement commanded by an action of 1 in a control period [rad].
STEP_RAD = constants.ACTION_SCALE * constants.CONTROL_PERIOD_S
# Share of the remaining distance and angle covered in a control step, and the largest angle [rad].
GAIN, TURN_PER_STEP = 0.7, 0.15
# Weight of an error of orientation [rad] beside one of position [m], squared. Far from the target it falls to a tenth,
# so that the hand first gets there.
TURN_WEIGHT, FAR_WEIGHT, NEAR_M, FAR_M = 0.05, 0.1, 0.08, 0.33
# Damping of joint movements, and the pull to the posture at rest within what the hand leaves free.
DAMPING, POSTURE_WEIGHT, POSTURE_GAIN, POSTURE_STEP = 2e-4, 1e-3, 0.4, 0.1
# Movements in joint space: share of the distance, and the largest movement of shoulder and wrist in a step [rad].
JOINT_GAIN, JOINT_STEP = 0.5, np.array([0.075] * 4 + [0.09] * 3)
LIMIT_MARGIN_RAD = 0.03


@dataclass
class Aim:
    """Where hands should go, for a batch of N.

    Attributes:
        grip: (N, 3) target of the grip [m].
        held: (N, 3) where it would be beside the handle as that is now [m].
        rotation: (N, 3, 3) target orientation.
        turn: (N, 3) weights of errors of orientation about the hand's axes.
        step_m: (N,) largest distance in a control step [m].
        posture: (N, 7) joint positions to stay close to [rad].
        force: (N, 3) force to exert [N].
        joints: (N, 7) joint positions to go to instead, straight in joint space [rad]; NaN where the hand leads.
    """

    grip: Float64Array
    held: Float64Array
    rotation: Float64Array
    turn: Float64Array
    step_m: Float64Array
    posture: Float64Array
    force: Float64Array
    joints: Float64Array


def arm_actions(arm: Arm, state: ArmState, joints: Float64Array, aim: Aim) -> Float64Array:
    """(N, 7) actions, against gravity and with the force, from joint positions (N, 7)."""
    torque = state.gravity + np.einsum("nij,ni->nj", state.jacobian[:, :3], aim.force)
    held = torque / (arm.stiffness * STEP_RAD)
    # Movements within the limits of the action and of the joints.
    low = np.maximum((-1.0 - held) * STEP_RAD * arm.reached, arm.low + LIMIT_MARGIN_RAD - joints)
    high = np.minimum((1.0 - held) * STEP_RAD * arm.reached, arm.high - LIMIT_MARGIN_RAD - joints)
    moved = np.where(
        np.isfinite(aim.joints), _joint_step(joints, aim.joints), _hand_step(state, joints, aim, low, high)
    )
    return np.asarray(np.clip(np.clip(moved, low, high) / (STEP_RAD * arm.reached) + held, -1.0, 1.0))


def reach(arm: Arm, aim: Aim, steps: int = 200) -> Float64Array:
    """(N, 7) joint positions with the hands where they should be, on the way from the postures without obstacles."""
    joints = aim.posture.copy()
    for _ in range(steps):
        room = arm.low + LIMIT_MARGIN_RAD - joints, arm.high - LIMIT_MARGIN_RAD - joints
        joints += np.clip(_hand_step(arm.state(joints), joints, aim, *room), -0.1, 0.1)
    return joints


def distance(state: ArmState, aim: Aim) -> tuple[Float64Array, Float64Array]:
    """Return distances (N,) [m] and angles (N,) [rad] of hands from where they should be."""
    turned = rotation_vector(aim.rotation @ state.rotation.transpose(0, 2, 1))
    return np.linalg.norm(aim.grip - state.grip, axis=1), np.linalg.norm(turned, axis=1)


def _joint_step(joints: Float64Array, goal: Float64Array) -> Float64Array:
    left = goal - joints
    steps = np.abs(left / JOINT_STEP).max(axis=1, keepdims=True)
    return left * np.minimum(JOINT_GAIN, 1.0 / np.maximum(steps, 1e-9))


def _hand_step(state: ArmState, joints: Float64Array, aim: Aim, low: Float64Array, high: Float64Array) -> Float64Array:
    """(N, 7) joint movements of a control step: least squares of hand and posture within bounds."""
    away = aim.grip - state.grip
    to_hand = state.rotation.transpose(0, 2, 1)
    turn = _limited(rotation_vector(aim.rotation @ to_hand), TURN_PER_STEP)
    wanted = np.concatenate([_limited(away, aim.step_m[:, None]), np.einsum("nij,nj->ni", to_hand, turn)], axis=1)
    jacobian = np.concatenate([state.jacobian[:, :3], to_hand @ state.jacobian[:, 3:]], axis=1)

    far = np.clip((np.linalg.norm(away, axis=1) - NEAR_M) / (FAR_M - NEAR_M), 0.0, 1.0)
    weights = np.ones_like(wanted)
    weights[:, 3:] = TURN_WEIGHT * aim.turn * (1.0 - (1.0 - FAR_WEIGHT) * far)[:, None]
    weighted = (jacobian * weights[:, :, None]).transpose(0, 2, 1)
    matrix, right = weighted @ jacobian, np.einsum("nij,nj->ni", weighted, wanted)
    posture = POSTURE_WEIGHT * (1.0 + 4.0 * far)[:, None]
    diagonal = np.arange(NUM_JOINTS)
    matrix[:, diagonal, diagonal] += DAMPING + posture
    right = right + posture * np.clip(POSTURE_GAIN * (aim.posture - joints), -POSTURE_STEP, POSTURE_STEP)
    return _bounded_solution(matrix, right, low, high)


def _bounded_solution(
    matrix: Float64Array, right: Float64Array, low: Float64Array, high: Float64Array, rounds: int = 3
) -> Float64Array:
    """(N, 7) minimisers of x·Mx/2 - r·x within bounds, by fixing what exceeds them and solving for the rest."""
    solution = np.linalg.solve(matrix, right[..., None])[..., 0]
    fixed: BoolArray = np.zeros(solution.shape, dtype=np.bool_)
    diagonal = np.arange(solution.shape[1])
    for _ in range(rounds):
        over = (solution < low) | (solution > high)
        if not (over & ~fixed).any():
            break
        fixed |= over
        free, at_bound = ~fixed, np.where(fixed, np.clip(solution, low, high), 0.0)
        reduced = matrix * free[:, :, None] * free[:, None, :]
        reduced[:, diagonal, diagonal] += fixed
        rest = (right - np.einsum("nij,nj->ni", matrix, at_bound)) * free + at_bound
        solution = np.linalg.solve(reduced, rest[..., None])[..., 0]
    return np.asarray(np.clip(solution, low, np.maximum(low, high)))


def _limited(error: Float64Array, largest: Float64Array | float) -> Float64Array:
    """The share of errors (N, 3) to correct in a step, at most some length."""
    return error * np.minimum(GAIN, largest / np.maximum(np.linalg.norm(error, axis=1, keepdims=True), 1e-9))
