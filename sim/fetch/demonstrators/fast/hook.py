"""Take the hook in passing, reach beyond the object on the shortest way and pull it to the goal at full speed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reskill_sim.fetch.demonstrators.fast.grasp import Grasp
from reskill_sim.fetch.demonstrators.motions import CLOSE, FloatArray, Reading, command, displacement, first_match

# From the observed point of the hook, near the end of its handle, along the handle to its head, and along the head
# to its tip [m].
HEAD_M, TIP_M = 0.65, 0.185
FLAT = np.array([1.0, 1.0, 0.0])


@dataclass(frozen=True)
class ReachAndPull:
    """Keep the hook low: its head comes behind the object from the side, over the table rather than over the object.

    Attributes:
        grasp: how the handle is taken.
        grip_m: where along the handle, from its observed point; the nearer to the head, the less the hook swings [m].
        carry_m: height at which it is carried [m].
        pull_m: height at which it pulls [m].
        beyond_m: how far beyond the object the head goes [m].
        clear_m: how far beyond it has to be for its tip to pass behind the object [m].
        beside_m: distance along y between tip and object until then [m].
        cover_m: how far the tip goes past the object [m].
        covered_m: how far the tip has to be past it for pulling [m].
        captured_m: how far beyond the object the head has to be for pulling [m].
        speed: of pulling, in action units.
        slow_down: action per metre of distance to the goal.
        steer: highest action along y for bringing the object to the goal sideways.
        centring: action along y per metre by which the tip is not where it should be.
        swing: action along y per radian of the hook's turn; what keeps the head in place while the hook swings back.
        ahead: displacements of the object that it is taken to go on for.
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

    def __call__(self, reading: Reading) -> FloatArray:
        """(N, 4) actions, whose state is read off the observation alone."""
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
