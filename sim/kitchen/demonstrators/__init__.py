"""Scripted demonstrators of the kitchen: chains of subtasks through the arm's joint velocities.

A subtask is a script (``scripts.py``): places for the hand relative to a handle, one after the other. The inverse
kinematics of all places of a batch is solved at once (``motion.py``). A demonstrator sees what a learner sees, the
measured coordinates; all it remembers is which phase it is in and which subtasks have been completed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from reskill_core.arrays import Float64Array, IntArray
from reskill_core.config import config_from_dict
from reskill_core.environment import Places
from reskill_core.errors import SimulationError, require_choice
from reskill_core.runtime import SkillAction
from reskill_core.seeding import episode_rng
from reskill_core.spec import vector_of
from reskill_sim.engine.family import DEFAULT_NOISE_RANGE, MIXED, NO_SETTINGS
from reskill_sim.engine.smooth_noise import smooth_noise
from reskill_sim.kitchen.demonstrators.arm import NUM_JOINTS
from reskill_sim.kitchen.demonstrators.choreography import choreography
from reskill_sim.kitchen.demonstrators.motion import arm_actions
from reskill_sim.kitchen.demonstrators.scripts import OPEN
from reskill_sim.kitchen.subtasks import COMPLETED_WITHIN, SUBTASKS, distances
from reskill_sim.kitchen.task import KitchenSettings, KitchenTask, coordinates

CHAIN = "chain"
# Chains of subtasks, or one subtask alone. A chain is of as many as the task needs, out of the task's: all four in the
# default task. With ``ordered`` they are the task's first ones, otherwise they and their order are drawn for each
# episode.
KINDS = (CHAIN, *SUBTASKS)
# Range of the pace of an episode, as a factor on the speed of the hand.
PACE = (0.85, 1.0)
_NAMES = list(SUBTASKS)
_NOTHING_LEFT = -1


class Demonstrator:
    """Policy that completes a chain of subtasks with noisy actions, and again what did not succeed.

    The noisy action is executed, the noise-free action is the label (``decoded_action``). Fingers have no noise.

    Args:
        task: the task, with its settings.
        kind: one of ``KINDS``, or ``mixed`` for chains.
        noise_range: lowest and highest noise scale of an episode, in action units (standard deviation per joint).
        num_envs: number of parallel episodes.

    Raises:
        ConfigError: there is no such kind, or the task does not have that subtask.
        SimulationError: the range of noise is turned around or negative.
    """

    def __init__(
        self,
        task: KitchenTask,
        kind: str = MIXED,
        noise_range: tuple[float, float] = DEFAULT_NOISE_RANGE,
        num_envs: int = 1,
    ) -> None:
        require_choice("demonstrator of task 'kitchen'", kind, (MIXED, *KINDS))
        self._settings = task.settings
        if kind not in (MIXED, CHAIN):
            require_choice("demonstrated subtask of the task's settings", kind, task.settings.subtasks)
        if not 0 <= noise_range[0] <= noise_range[1]:
            raise SimulationError(f"noise range must be 0 <= low <= high, got {noise_range}")
        self.task = task.spec
        self._kind = CHAIN if kind == MIXED else kind
        self._noise_range = noise_range
        self._scripts = choreography()
        self.noise_scale: Float64Array = np.zeros(num_envs)
        self._noise = np.zeros((num_envs, task.spec.horizon, NUM_JOINTS))
        self._pace = np.ones(num_envs)
        self._chain = np.full((num_envs, len(_NAMES) + 1), _NOTHING_LEFT)
        self._completed = np.zeros((num_envs, len(_NAMES)), dtype=np.bool_)
        self._at, self._phase, self._steps, self._clock = np.zeros((4, num_envs), dtype=np.int64)

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> None:
        """Start new episodes; everything random follows from their seeds."""
        chosen = range(len(self._at)) if places is None else places
        for place, seed in zip(chosen, seeds, strict=True):
            rng = episode_rng(int(seed), "demonstrator")
            chain = self._drawn_chain(rng)
            self._chain[place] = _NOTHING_LEFT
            self._chain[place, : len(chain)] = chain
            self.noise_scale[place] = rng.uniform(*self._noise_range)
            self._noise[place] = self.noise_scale[place] * smooth_noise(rng, self.task.horizon, NUM_JOINTS)
            self._pace[place] = rng.uniform(*PACE)
            self._completed[place] = False
            self._at[place] = self._steps[place] = self._clock[place] = 0
            self._phase[place] = _NOTHING_LEFT

    def act(self, observations: Any, places: Places | None = None) -> SkillAction:
        """Answer observations (n, 59) of the episodes in ``places`` (all by default)."""
        vectors = np.asarray(vector_of(self.task.obs.check(observations)), dtype=np.float64)
        chosen = np.arange(len(self._at)) if places is None else np.asarray(places)
        clean = self._clean(vectors, chosen)
        noise = np.zeros_like(clean, dtype=np.float32)
        # The noise repeats in an episode that runs beyond its horizon.
        noise[:, :NUM_JOINTS] = self._noise[chosen, self._clock[chosen] % self.task.horizon]
        self._clock[chosen] += 1
        return SkillAction.demonstrated(self.task.action, clean, noise)

    def source(self, place: int = 0) -> str:
        """Return the kind: ``chain``, or the name of the subtask."""
        return self._kind

    def chain(self, place: int = 0) -> tuple[str, ...]:
        """Return the subtasks of an episode, in their order."""
        return tuple(_NAMES[number] for number in self._chain[place] if number != _NOTHING_LEFT)

    # ------------------------------------------------------------------ internals

    def _drawn_chain(self, rng: np.random.Generator) -> list[int]:
        if self._kind != CHAIN:
            return [_NAMES.index(self._kind)]
        names = self._settings.subtasks
        order = range(len(names)) if self._settings.ordered else rng.permutation(len(names))
        return [_NAMES.index(names[number]) for number in order[: self._settings.num_needed]]

    def _clean(self, vectors: Float64Array, chosen: IntArray) -> Float64Array:
        """(n, 9) noise-free actions."""
        scripts = self._scripts
        joints = vectors[:, :NUM_JOINTS]
        state = scripts.arm.state(joints)
        self._completed[chosen] |= distances(tuple(_NAMES), coordinates(vectors)) < COMPLETED_WITHIN
        self._begin(vectors, chosen)
        # What has ended goes on with its next phase in this same step.
        phases = self._phase[chosen]
        aim = scripts.aim(phases, vectors, state)
        over = scripts.over(phases, vectors, state, aim) | (self._steps[chosen] >= scripts.steps[phases])
        over &= (phases != _NOTHING_LEFT) & (self._steps[chosen] > 0)
        if over.any():
            self._end(chosen[over])
            self._begin(vectors, chosen)
            phases = self._phase[chosen]
            aim = scripts.aim(phases, vectors, state)
        busy = phases != _NOTHING_LEFT
        aim.step_m *= self._pace[chosen]
        # Who has nothing left to do stays there.
        aim.joints[~busy] = joints[~busy]
        aim.force[~busy] = 0.0
        self._steps[chosen] += 1
        actions = np.empty((len(chosen), self.task.action.dim))
        actions[:, :NUM_JOINTS] = arm_actions(scripts.arm, state, joints, aim)
        actions[:, NUM_JOINTS:] = np.where(busy, scripts.fingers[phases], OPEN)[:, None]
        return actions

    def _begin(self, vectors: Float64Array, chosen: IntArray) -> None:
        """Begin the next subtasks of places without a phase, leaving out what is completed already."""
        waiting = self._phase[chosen] == _NOTHING_LEFT
        for _ in _NAMES:
            subtask = self._chain[chosen, self._at[chosen]]
            done = waiting & (subtask != _NOTHING_LEFT) & self._completed[chosen, subtask]
            if not done.any():
                break
            self._at[chosen[done]] += 1
        subtask = self._chain[chosen, self._at[chosen]]
        begun = waiting & (subtask != _NOTHING_LEFT)
        self._phase[chosen[begun]] = self._scripts.start(subtask[begun], vectors[begun])
        self._steps[chosen[begun]] = 0

    def _end(self, places: IntArray) -> None:
        """End the current phases; after the last of a script, another subtask is due, or the same again."""
        last = self._scripts.last[self._phase[places]]
        self._phase[places] = np.where(last, _NOTHING_LEFT, self._phase[places] + 1)
        self._steps[places] = 0


def make_demonstrator(
    kind: str = MIXED,
    noise_range: tuple[float, float] = DEFAULT_NOISE_RANGE,
    num_envs: int = 1,
    settings: Mapping[str, Any] = NO_SETTINGS,
) -> Demonstrator:
    """Create a demonstrator by name.

    Raises:
        ConfigError: unknown kind or settings; the message lists the valid ones.
    """
    task = KitchenTask(settings=config_from_dict(KitchenSettings, settings, source="settings of kitchen"))
    return Demonstrator(task, kind, noise_range, num_envs)
