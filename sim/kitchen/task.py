"""Task of the kitchen: complete some subtasks within an episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_core.config import config_to_dict
from reskill_core.parameters import parameter
from reskill_core.spec import (
    JOINT_VELOCITY,
    ActionComponent,
    ActionSpec,
    ObsSpec,
    TaskSpec,
    joint_term,
    named_term,
)
from reskill_sim.engine.task import EpisodeStart, SimulatedTask, Situation
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.kitchen import constants
from reskill_sim.kitchen.subtasks import COMPLETED_WITHIN, SUBTASKS, distances, newly_completed

if TYPE_CHECKING:
    from reskill_core.data import Episode
    from reskill_sim.kitchen.family import KitchenFamily
    from reskill_sim.kitchen.robot import KitchenMechanism

# The 59 values of Gymnasium's FrankaKitchen observation, in its order.
KITCHEN_OBS = ObsSpec(
    frames=(),
    joints=constants.JOINT_NAMES,
    terms=(
        joint_term("arm_position", "joint_position", constants.ARM_JOINTS, "rad"),
        joint_term("finger_position", "joint_position", constants.FINGER_JOINTS, "m"),
        named_term("arm_velocity", len(constants.ARM_JOINTS), "rad/s"),
        named_term("finger_velocity", len(constants.FINGER_JOINTS), "m/s"),
        *(named_term(f"{name}_position", 1, unit) for name, _, unit in constants.FURNITURE),
        named_term("kettle_position", 3, "m", "world"),
        named_term("kettle_quaternion", 4, "1", "world"),
        *(named_term(f"{name}_velocity", 1, f"{unit}/s") for name, _, unit in constants.FURNITURE),
        named_term("kettle_velocity", 3, "m/s", "world"),
        named_term("kettle_angular_velocity", 3, "rad/s", "kettle"),
    ),
)
KITCHEN_ACTION = ActionSpec(
    tuple(
        ActionComponent(name, JOINT_VELOCITY, "m/s" if name in constants.FINGER_JOINTS else "rad/s", scale)
        for name in constants.JOINT_NAMES
        for scale in (constants.ACTION_SCALE,)
    )
)


@dataclass(frozen=True)
class KitchenSettings:
    """Settings of the kitchen task."""

    subtasks: tuple[str, ...] = parameter(
        ("microwave", "kettle", "bottom_burner", "light_switch"),
        "the subtasks of an episode; its reward is the number of those completed",
        choices=tuple(SUBTASKS),
    )
    needed: int = parameter(
        0, "number of them that makes an episode successful and ends it, 0 for all", low=0, high=len(SUBTASKS)
    )
    ordered: bool = parameter(False, "whether a subtask counts only after all those before it in the list")
    noise: float = parameter(
        1.0, "factor on the noise of measurement of the installed environment, 0 for none", low=0.0, high=100.0
    )

    def violations(self) -> list[str]:
        """Check that there are subtasks, each of them once."""
        if not self.subtasks or len(set(self.subtasks)) != len(self.subtasks):
            return [f"subtasks: must name at least one, and each once, got {', '.join(self.subtasks) or 'none'}"]
        if self.needed > len(self.subtasks):
            return [f"needed: must be at most the number of subtasks, {len(self.subtasks)}, got {self.needed}"]
        return []

    @property
    def num_needed(self) -> int:
        """Number of subtasks that makes an episode successful."""
        return self.needed or len(self.subtasks)


class KitchenTask(SimulatedTask):
    """Complete the subtasks of the settings; success is all of them, or as many as needed, and ends the episode.

    The reward of a step is the number of subtasks that it completes. What is remembered is which ones have been
    completed: a subtask stays completed if its objects move away from the goal later.
    """

    hold_steps: int | None = 1
    compares_steps = False

    def __init__(self, variation: Variation = NOMINAL, settings: KitchenSettings | None = None) -> None:
        super().__init__(variation)
        self.settings = settings or KitchenSettings()
        names = self.settings.subtasks
        self.memory_size = len(names)
        order = "in this order" if self.settings.ordered else "in any order"
        amount = f"{self.settings.needed} of " if self.settings.needed else ""
        self.spec = TaskSpec(
            "kitchen",
            KITCHEN_OBS,
            KITCHEN_ACTION,
            control_period_s=constants.CONTROL_PERIOD_S,
            horizon=constants.HORIZON,
            description=f"Franka arm in a kitchen: {amount}{', '.join(names)}, {order}",
            settings=config_to_dict(self.settings),
        )

    @property
    def family(self) -> KitchenFamily:
        """The kitchen family."""
        from reskill_sim.kitchen.family import KITCHEN

        return KITCHEN

    def make_mechanism(self, profile: str) -> KitchenMechanism:
        """Create the arm in the kitchen."""
        # Imported here, because layouts and settings need no MuJoCo.
        from reskill_sim.kitchen.robot import KitchenMechanism

        return KitchenMechanism(self, profile)

    def start_in(self, rng: np.random.Generator, scene: int) -> EpisodeStart:
        """Return the start, which is always the same: episodes differ by the noise of measurement."""
        return EpisodeStart(np.zeros((0, 7)), np.zeros(3), scene)

    def remembered(self, situation: Situation) -> Float64Array:
        """(N, K) which subtasks have been completed, by the true state."""
        # Coordinates follow the time in the physical state.
        qpos = situation.physics[:, 1 : 1 + len(constants.START_QPOS)]
        near = distances(self.settings.subtasks, qpos) < COMPLETED_WITHIN
        before = situation.memory_before > 0.5
        return (before | newly_completed(near, before, self.settings.ordered)).astype(np.float64)

    def success(self, situation: Situation) -> BoolArray:
        """(N,) whether all subtasks have been completed, or as many as needed."""
        return np.asarray(situation.memory.sum(axis=1) > self.settings.num_needed - 0.5)

    def reward(self, situation: Situation, success: BoolArray) -> Float64Array:
        """(N,) number of subtasks that the step completed."""
        return (situation.memory - situation.memory_before).sum(axis=1)

    def metrics(self, episode: Episode) -> dict[str, float]:
        """Number of completed subtasks, and which ones.

        Rewards tell how many subtasks a step completed, and the observation after it which: those nearest to their
        goals.
        """
        names = self.settings.subtasks
        after = np.concatenate([episode.observation[1:], episode.final_observation[None]])
        completed = np.zeros(len(names), dtype=np.bool_)
        for step in np.flatnonzero(episode.reward > 0.5):
            gaps = np.where(completed, np.inf, distances(names, coordinates(after[step : step + 1]))[0])
            count = min(round(float(episode.reward[step])), int((~completed).sum()))
            completed[np.argsort(gaps, kind="stable")[:count]] = True
        return {"subtasks": float(completed.sum()), **dict(zip(names, map(bool, completed), strict=True))}

    def result_of(self, vectors: Float64Array) -> Float64Array:
        """(N, 21) coordinates of the objects [m, rad]."""
        return coordinates(vectors)[:, len(constants.JOINT_NAMES) :]


def coordinates(vectors: Float64Array) -> Float64Array:
    """(n, 30) the model's coordinates in observations (n, 59)."""
    first, last = KITCHEN_OBS.slice("bottom_right_knob_position"), KITCHEN_OBS.slice("kettle_quaternion")
    return np.concatenate([vectors[:, : len(constants.JOINT_NAMES)], vectors[:, first.start : last.stop]], axis=1)
