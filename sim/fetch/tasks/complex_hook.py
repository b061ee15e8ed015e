"""Task of pulling objects of many shapes to a goal with a hook, over an uneven table."""

from __future__ import annotations

import math

import numpy as np

from reskill_core.arrays import BoolArray, Float64Array
from reskill_core.spec import TaskSpec
from reskill_sim.engine.task import Situation
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.fetch.scene import Scene
from reskill_sim.fetch.tasks.base import FetchTask, on_the_table, resample
from reskill_sim.fetch.tasks.hook import GOAL_POS_W, HOOK_OBS, HOOK_START_XY
from reskill_sim.fetch.tasks.hook_objects import HELD_OUT_IDS, SPAWN_CENTRE_W, TRAINING_IDS, hook_scene


class ComplexHookTask(FetchTask):
    """Hook task with an object of unknown shape and mass, and low bumps on the table.

    The reward is 1 for every step with the object within 5 cm of the goal, up to 100. Each episode draws one of the
    objects of :mod:`reskill_sim.fetch.tasks.hook_objects`, which also places the bumps. Corrections to the published
    task: training and test objects differ; nothing starts inside a bump; and a diverged simulation ends the episode
    instead of returning an invalid observation.
    """

    success_distance_m = 0.05
    goal_object: str | None = "object"
    name, objects, about = "complex_hook", TRAINING_IDS, "the objects to train with"

    def __init__(self, variation: Variation = NOMINAL) -> None:
        super().__init__(variation)
        self.spec = TaskSpec(
            self.name, HOOK_OBS, horizon=100, description=f"pull an object of any shape with a hook; {self.about}"
        )
        self.scenes = tuple(hook_scene(number) for number in self.objects)

    def place(self, rng: np.random.Generator, scene: Scene) -> tuple[Float64Array, Float64Array]:
        """Draw the object out of reach, clear of bumps and at least 10 cm from the goal; hook and goal are fixed."""
        target, hook = scene.objects
        spread, reach = self.variation.spawn, target.footprint_m
        places = [(fixture.pos[:2], fixture.half_size[0] + reach) for fixture in scene.fixtures]
        places.append((tuple(GOAL_POS_W[:2]), 0.10))
        xy = resample(
            lambda rng: SPAWN_CENTRE_W + spread * rng.uniform(-0.05, 0.05, 2),
            lambda xy: all(math.dist(xy, place) >= distance for place, distance in places),
            rng,
        )
        return np.stack([on_the_table(target, xy), on_the_table(hook, HOOK_START_XY)]), GOAL_POS_W.copy()

    def success(self, situation: Situation) -> BoolArray:
        """(N,) whether the object is within 5 cm of the goal."""
        gap = situation.position("object") - situation.position("goal")
        return np.linalg.norm(gap, axis=-1) < self.success_distance_m

    def reward(self, situation: Situation, success: BoolArray) -> Float64Array:
        """(N,) 1 in success, 0 otherwise."""
        return success.astype(np.float64)


class ComplexHookHeldOutTask(ComplexHookTask):
    """The same task with the held-out test objects."""

    name, objects, about = "complex_hook_held_out", HELD_OUT_IDS, "the objects kept for testing"
