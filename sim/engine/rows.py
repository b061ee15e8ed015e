"""State rows: the complete state of an environment as one row of float64 numbers."""

from __future__ import annotations

import numpy as np

from reskill_core.arrays import Float64Array
from reskill_sim.engine.mechanism import Mechanism
from reskill_sim.engine.task import SimulatedTask
from reskill_sim.engine.variation import NOMINAL

# Values that describe an episode's arm, one number each where they vary.
OF_ARMS = ("lateness", "speed", "speed_limit", "lag", "overshoot", "unsteadiness", "force_limit")


class RowLayout:
    """Layout of a state row.

    Attributes:
        physics: MuJoCo's state.
        sensors: values of all sensors.
        history: readings of ``num_earlier`` earlier control steps, newest first; one is needed for displacements, if
            the task compares steps, and one per earlier frame of a stack of images. A reading consists of the positions
            of observed joints, and the sensors.
        pending: delayed actions that have not taken effect yet, newest first.
        goal: position of the goal [m].
        step: control steps since the start of the episode.
        held: number of consecutive steps in success.
        scene: number of the scene.
        seed: seed of the episode.
        delays: delays of perception and of actions [control steps].
        lateness: share of a control period by which actions come later still; empty if it does not vary.
        speed: factor on commanded velocities; empty if it does not vary.
        speed_limit: largest share of full speed that the arm reaches; empty if it does not vary.
        lag: time constant with which velocities follow commands [s]; empty if they always follow at once.
        overshoot: share by which velocities exceed a changed command; empty if they never do.
        unsteadiness: standard deviation of how far the arm is ahead, as share of motion; empty if it never is.
        force_limit: largest force of the arm [N]; empty if it does not vary.
        followed: velocities with which the arm followed the last command, an action; empty like ``lag``.
        rates: their rates of change [1/s]; empty like ``overshoot``.
        finger_start: position of the fingers at the start [m]; empty if the gripper is always closed.
        memory: what the task remembers of the episode.
    """

    physics: slice
    sensors: slice
    history: slice
    pending: slice
    goal: slice
    step: slice
    held: slice
    scene: slice
    seed: slice
    delays: slice
    lateness: slice
    speed: slice
    speed_limit: slice
    lag: slice
    overshoot: slice
    unsteadiness: slice
    force_limit: slice
    followed: slice
    rates: slice
    finger_start: slice
    memory: slice

    def __init__(self, mechanism: Mechanism, task: SimulatedTask) -> None:
        perception_delay, action_delay = task.variation.perception_delay[1], task.variation.action_delay[1]
        varied = {name: int(value != NOMINAL.ranges[name]) for name, value in task.variation.ranges.items()}
        stack = max((image.stack for image in task.spec.obs.images), default=1)
        compared = task.compares_steps or perception_delay > 0
        self.num_earlier = max(int(compared), stack - 1) + perception_delay
        self.reading_size = len(task.spec.obs.joints) + mechanism.model.nsensordata
        sizes = {
            "physics": mechanism.layout.width,
            "sensors": mechanism.model.nsensordata,
            "history": self.num_earlier * self.reading_size,
            "pending": (action_delay + varied["lateness"]) * task.spec.action.dim,
            "goal": 3,
            "step": 1,
            "held": 1,
            "scene": 1,
            "seed": 1,
            "delays": 2,
            **{name: varied[name] for name in OF_ARMS},
            "followed": varied["lag"] * task.spec.action.dim,
            "rates": varied["overshoot"] * task.spec.action.dim,
            "finger_start": varied["finger_start"],
            "memory": task.memory_size,
        }
        self.width = 0
        for name, size in sizes.items():
            setattr(self, name, slice(self.width, self.width + size))
            self.width += size
        # The physical state comes first.
        self.time, self.qpos, self.qvel = mechanism.layout.time, mechanism.layout.qpos, mechanism.layout.qvel


def pushed(queue: Float64Array, newest: Float64Array) -> Float64Array:
    """(n, K) queue with a new entry at the front and without its oldest one; an empty queue stays empty."""
    if queue.shape[1] <= newest.shape[1]:
        return newest[:, : queue.shape[1]]
    return np.concatenate([newest, queue], axis=1)[:, : queue.shape[1]]
