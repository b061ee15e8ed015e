"""Scripted controllers: demonstrators for collecting data, disturbed by seeded noise, and the fastest scripts.

A controller is a function from named observation slices to clean actions; it keeps no state, so that what it does
can be learnt from what it sees. In which manner it does so may be drawn for each episode: what varies in the
demonstrations is what a skill's latent tells apart, and so what a learner can choose between later. A new demonstrator
is one file in this folder and one line in ``CONTROLLERS``.

On the tasks that are learnt with rewards, two scripts bracket what a learner can be expected to reach: the
demonstrators, as they are for collecting data, are the floor, and ``FAST_SCRIPTS``, tuned to each task's reward, are
about the ceiling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from reskill_core.environment import Places
from reskill_core.errors import SimulationError, require_choice
from reskill_core.runtime import SkillAction
from reskill_core.seeding import episode_rng
from reskill_core.spec import TaskSpec
from reskill_sim.engine.family import DEFAULT_NOISE_RANGE, MIXED
from reskill_sim.fetch.demonstrators.fast import FAST_SCRIPTS
from reskill_sim.fetch.demonstrators.hook import hook
from reskill_sim.fetch.demonstrators.motions import MANNER_DIM, Controller, Reading
from reskill_sim.fetch.demonstrators.noise import smooth_noise
from reskill_sim.fetch.demonstrators.pick_and_place import pick_and_place, pick_and_put_away, pick_and_stack
from reskill_sim.fetch.demonstrators.push import push
from reskill_sim.fetch.tasks import get_task

# The controllers that solve each task; "mixed" draws one of them for each episode.
CONTROLLERS: dict[str, dict[str, Controller]] = {
    "block": {"pick_and_place": pick_and_place, "push": push},
    "hook": {"hook": hook},
    "slippery_push": {"push": push},
    "clean_up": {"pick_and_place": pick_and_put_away},
    "pyramid_stack": {"pick_and_place": pick_and_stack},
    "complex_hook": {"hook": hook},
    "complex_hook_held_out": {"hook": hook},
}


class Demonstrator:
    """Answers observations with a controller's actions and noise on top.

    The noise is executed, the controller's own action is the label (``decoded_action``): a learner sees how to come
    back from where the noise led. The noise scale is drawn for each episode from a range, or fixed.

    Args:
        task: what is to be demonstrated.
        kind: which of the task's controllers, or ``mixed``.
        noise_range: lowest and highest noise scale, in action units (standard deviation of each axis).
        num_envs: number of episodes demonstrated side by side.
        controllers: by name, instead of the task's demonstrators.
    """

    def __init__(
        self,
        task: TaskSpec,
        kind: str = MIXED,
        noise_range: tuple[float, float] = DEFAULT_NOISE_RANGE,
        num_envs: int = 1,
        controllers: Mapping[str, Controller] | None = None,
    ) -> None:
        if controllers is None:
            require_choice("task with a demonstrator", task.name, tuple(CONTROLLERS))
            controllers = CONTROLLERS[task.name]
        require_choice(f"demonstrator of task {task.name!r}", kind, (MIXED, *controllers))
        if not 0 <= noise_range[0] <= noise_range[1]:
            raise SimulationError(f"noise range must be 0 <= low <= high, got {noise_range}")
        self.task = task
        self._names = list(controllers) if kind == MIXED else [kind]
        self._controllers = [controllers[name] for name in self._names]
        self._noise_range = noise_range
        self._choice = np.zeros(num_envs, dtype=np.int64)
        self._step = np.zeros(num_envs, dtype=np.int64)
        self._noise = np.zeros((num_envs, task.horizon, 3))
        self._manner = np.zeros((num_envs, MANNER_DIM))
        self.noise_scale: NDArray[np.float64] = np.zeros(num_envs)

    def reset(self, seeds: Sequence[int], places: Places | None = None) -> None:
        """Start demonstrating new episodes; everything random follows from their seeds."""
        chosen = range(len(self._choice)) if places is None else places
        for place, seed in zip(chosen, seeds, strict=True):
            rng = episode_rng(int(seed), "demonstrator")
            self._choice[place] = rng.integers(len(self._names))
            self.noise_scale[place] = rng.uniform(*self._noise_range)
            self._noise[place] = self.noise_scale[place] * smooth_noise(rng, self.task.horizon, 3)
            self._manner[place] = rng.uniform(size=MANNER_DIM)
            self._step[place] = 0

    def act(self, observations: NDArray[np.float64], places: Places | None = None) -> SkillAction:
        """Answer observations (n, O) of the episodes in ``places`` (all by default)."""
        chosen = np.arange(len(self._choice)) if places is None else np.asarray(places)
        clean = np.zeros((len(chosen), self.task.action.dim))
        for number, controller in enumerate(self._controllers):
            mine = self._choice[chosen] == number
            if mine.any():
                clean[mine] = controller(Reading(self.task.obs, observations[mine], self._manner[chosen[mine]]))
        residual = np.zeros_like(clean, dtype=np.float32)
        # An episode that is let run beyond its horizon meets the same noise again.
        residual[:, :3] = self._noise[chosen, self._step[chosen] % self.task.horizon]
        self._step[chosen] += 1
        label = self.task.action.clip(clean)
        batch = len(chosen)
        return SkillAction(
            action=self.task.action.clip(label + residual),
            decoded_action=label,
            residual=residual,
            residual_weight=np.ones(batch, dtype=np.float32),
            latent=np.zeros((batch, 0), dtype=np.float32),
            skill_step=np.zeros(batch, dtype=np.int64),
        )

    def source(self, place: int = 0) -> str:
        """Name of the controller that demonstrates an episode."""
        return self._names[self._choice[place]]


def make_demonstrator(
    task_name: str,
    kind: str = MIXED,
    noise_range: tuple[float, float] = DEFAULT_NOISE_RANGE,
    num_envs: int = 1,
) -> Demonstrator:
    """The demonstrator of a task by name.

    Raises:
        ConfigError: unknown task or kind; the message lists those there are.
    """
    return Demonstrator(get_task(task_name).spec, kind, noise_range, num_envs)


def make_fast_script(task_name: str, num_envs: int = 1) -> Demonstrator:
    """The fastest script for a task by name, without noise.

    Raises:
        ConfigError: there is none for that task; the message lists the tasks that have one.
    """
    require_choice("task with a fast script", task_name, tuple(FAST_SCRIPTS))
    script = {"fast": FAST_SCRIPTS[task_name]}
    return Demonstrator(get_task(task_name).spec, "fast", (0.0, 0.0), num_envs, script)
