"""The scripts' phases as arrays, and where they want hands, in batches."""

from __future__ import annotations

from dataclasses import fields
from functools import cache

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array, IntArray
from reskill_sim.engine.variation import World
from reskill_sim.kitchen.constants import START_QPOS
from reskill_sim.kitchen.demonstrators.arm import Arm, ArmState, hand_rotation
from reskill_sim.kitchen.demonstrators.furniture import Furniture
from reskill_sim.kitchen.demonstrators.motion import Aim, distance, reach
from reskill_sim.kitchen.demonstrators.scripts import DOOR_OPEN_RAD, FROM_THE_RIGHT, POSTURES, SCRIPTS, Phase
from reskill_sim.kitchen.model import build_model
from reskill_sim.kitchen.profiles import get_profile
from reskill_sim.kitchen.subtasks import SUBTASKS
from reskill_sim.kitchen.task import KITCHEN_OBS

_SLIDE = list(SUBTASKS).index("slide_cabinet")
_DOOR = KITCHEN_OBS.slice("right_hinge_cabinet_position").start


class Choreography:
    """Phases of all scripts one after the other, numbered.

    Attributes:
        arm: the arm.
        first: (8,) first phase of each script: those of the subtasks, and the second of the slide cabinet.
        last: (P,) whether a phase is the last of its script.
        fingers: (P,) action of the fingers.
        steps: (P,) largest number of control steps.
    """

    def __init__(self) -> None:
        model = build_model(get_profile("exact"), World())
        self.arm, self._furniture = Arm(model), Furniture.of(model)
        scripts = [*SCRIPTS.values(), FROM_THE_RIGHT]
        phases = [phase for script in scripts for phase in script]
        lengths = np.array([len(script) for script in scripts])
        self.first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self.last = np.zeros(len(phases), dtype=np.bool_)
        self.last[np.cumsum(lengths) - 1] = True
        self._subtask = np.repeat([*range(len(SUBTASKS)), _SLIDE], lengths)
        self._value = {
            field.name: np.array([getattr(phase, field.name) for phase in phases]) for field in fields(Phase)
        }
        self.fingers, self.steps = self._value["fingers"], self._value["steps"]
        self._posture = np.array(list(POSTURES.values()))[self._subtask]
        self._joints = np.full(self._posture.shape, np.nan)
        moves = np.flatnonzero(self._value["by_joints"])
        self._joints[moves] = self._joints_for(moves)

    def start(self, subtasks: IntArray, vectors: Float64Array) -> IntArray:
        """(n,) first phase of subtasks (n,) in situations (n, 59)."""
        around = (subtasks == _SLIDE) & (vectors[:, _DOOR] > DOOR_OPEN_RAD)
        return self.first[np.where(around, len(SUBTASKS), subtasks)]

    def aim(self, phases: IntArray, vectors: Float64Array, state: ArmState) -> Aim:
        """Say where phases (n,) want the hands in situations (n, 59)."""
        value = {name: array[phases] for name, array in self._value.items()}
        which = self._subtask[phases]
        now = self._furniture.coordinate(which, vectors)
        ahead = now + self._furniture.sign[which] * value["ahead"]
        handle, direction = self._furniture.handle(which, vectors, now)
        handle_ahead, _ = self._furniture.handle(which, vectors, ahead)
        rotation = hand_rotation(value["yaw"] + value["follow"] * now, value["pitch"])
        pointing = np.where(value["along_hand"][:, None], state.rotation[:, :, 2], rotation[:, :, 2])
        beside = value["offset"] - value["back"][:, None] * pointing
        return Aim(
            grip=handle_ahead + beside,
            held=handle + beside,
            rotation=rotation,
            turn=value["turn"],
            step_m=value["step_m"],
            posture=self._posture[phases],
            force=value["force_n"][:, None] * direction,
            joints=self._joints[phases],
        )

    def over(self, phases: IntArray, vectors: Float64Array, state: ArmState, aim: Aim) -> BoolArray:
        """(n,) whether phases are over, apart from their time."""
        which = self._subtask[phases]
        moved = self._furniture.sign[which] * self._furniture.coordinate(which, vectors)
        until = self._value["until"][phases]
        away, turned = distance(state, aim)
        there = (away < self._value["near_m"][phases]) & (turned < self._value["near_rad"][phases])
        joints = vectors[:, KITCHEN_OBS.slice("arm_position")]
        arrived = np.abs(joints - aim.joints).max(axis=1) < self._value["near_rad"][phases]
        by_joints = self._value["by_joints"][phases]
        lost = np.linalg.norm(aim.held - state.grip, axis=1) > self._value["lost_m"][phases]
        return lost | np.where(np.isfinite(until), moved >= until, np.where(by_joints, arrived, there))

    def _joints_for(self, phases: IntArray) -> Float64Array:
        """(n, 7) joint positions with the hands where phases want them, in the kitchen as it is at the start."""
        kettle = SUBTASKS["kettle"].first
        vectors = np.zeros((len(phases), KITCHEN_OBS.dim))
        vectors[:, KITCHEN_OBS.slice("arm_position")] = self._posture[phases]
        vectors[:, KITCHEN_OBS.slice("kettle_position")] = START_QPOS[kettle : kettle + 3]
        return reach(self.arm, self.aim(phases, vectors, self.arm.state(self._posture[phases])))


@cache
def choreography() -> Choreography:
    """Return the scripts in the installed kitchen, which are the same for all demonstrators."""
    return Choreography()
