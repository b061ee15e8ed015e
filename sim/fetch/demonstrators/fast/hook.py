"""Fast script of the hook tasks: takes the hook in motion, reaches beyond the object and pulls it at full speed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_sim.fetch.demonstrators.fast.grasp import Grasp
from reskill_sim.fetch.demonstrators.motions import CLOSE, Reading, command, displacement, first_match

# Distances from the hook's observed point, near the end of its handle, to its head, and along the head to its tip [m].
HEAD_M, TIP_M = 0.65, 0.185
FLAT = np.array([1.0, 1.0, 0.0])


@dataclass(frozen=True)
class ReachAndPull:
    """Controller that keeps the hook low: its head passes beside the object rather than over it.

    Attributes:
        grasp: grasp of the handle.
        grip_m: grasp position along the handle, from the observed point; closer to the head the hook swings less [m].
        carry_m: height of the hook while reaching [m].
        pull_m: height of the hook while pulling [m].
        beyond_m: target distance of the head beyond the object [m].
        clear_m: distance of the head beyond the object from which on its tip may pass behind the object [m].
        beside_m: distance along y between tip and object until then [m].
        cover_m: target distance of the tip past the object [m].
        covered_m: minimum distance of the tip past the object for pulling [m].
        captured_m: minimum distance of the head beyond the object for pulling [m].
        speed: pulling speed, in action units.
        slow_down: action per metre of distance to the goal.
        steer: maximum action along y for moving the object sideways to the goal.
        centring: action along y per metre of the tip's position error.
        swing: action along y per radian of the hook's rotation, which keeps the head in place while the hook swings.
        ahead: prediction of the object's motion, in displacements of the last step.
        placed_m: distance to the goal within which the hook stops [m].
    """

    grasp: Grasp
    grip_m: float = 0.2335
    carry_m: float = 0.43
    pull_m: float = 0.425
    beyond_m: float = 0.08
    clear_m: float = 0.041
    beside_m: float = 0.03
    cover_m: float = 0.112
    covered_m: float = 0.011
    captured_m: float = 0.0277
    speed: float = 0.9
    slow_down: float = 40.0
    steer: float = 0.5
    centring: float = 0.5
    swing: float = 9.0
    ahead: float = 0.5
    placed_m: float = 0.03

    def __call__(self, reading: Reading) -> Float64Array:
        """(N, 4) actions of a state machine whose state follows from the observation."""
        hook, target = reading["hook_position"], reading["object_position"]
        moved, fingers = reading["gripper_displacement"], reading["finger_position"].mean(axis=1)
        turn = reading["hook_euler"][:, 2]
        along = np.column_stack([np.cos(turn), np.sin(turn)])
        across = np.column_stack([-along[:, 1], along[:, 0]])
        head = hook[:, :2] + HEAD_M * along
        tip = head + TIP_M * across
        beyond, past = head[:, 0] - target[:, 0], tip[:, 1] - target[:, 1]

        reach = np.empty_like(hook)
        reach[:, 0] = self.beyond_m - beyond
        reach[:, 1] = np.where(beyond > self.clear_m, self.cover_m, -self.beside_m) - past
        reach[:, 2] = self.carry_m - hook[:, 2]

        missing = (reading["goal_position"] - target - self.ahead * displacement(reading, "object")) * FLAT
        distance = np.linalg.norm(missing, axis=1, keepdims=True)
        pull = np.minimum(self.slow_down * distance, self.speed) * missing / np.maximum(distance, 1e-6)
        pull[:, 1] = np.clip(pull[:, 1], -self.steer, self.steer)
        pull[:, 1] += self.centring * (self.cover_m - past) + self.swing * turn
        pull[:, 2] = self.grasp.gain * (self.pull_m - hook[:, 2])
        pull[distance[:, 0] < self.placed_m] = 0.0

        grip = reading["hook_relative_position"].copy()
        grip[:, :2] += self.grip_m * along
        holds = self.grasp.holds(grip, fingers)
        behind = (beyond > self.captured_m) & (past > self.covered_m)
        return first_match(
            [
                (holds & behind, command(pull, CLOSE)),
                (holds, command(self.grasp.gain * reach, CLOSE)),
            ],
            otherwise=self.grasp.action(grip, moved, fingers, np.ones(len(grip))),
        )


reach_and_pull = ReachAndPull(
    Grasp(
        depth_m=0.0107,
        close_within_m=(0.1, 0.02, 0.055),
        inside_m=(0.1, 0.0356, 0.022),
        shut_m=0.045,
        holding_m=(0.005, 0.02),
    )
)
