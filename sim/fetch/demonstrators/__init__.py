"""Scripted controllers: demonstrators with seeded noise for collecting data, and the fastest scripts.

A controller is a stateless function from named observation slices to noise-free actions, so that its behaviour can be
learnt from observations. Its style may be drawn for each episode: the variation in the demonstrations is what a skill's
latent encodes, and thus what an agent can choose from later. A new demonstrator is one file in this folder and one line
in ``CONTROLLERS``.

On the tasks with rewards, two scripts bound the return that a learner can be expected to reach: the demonstrators, as
used for collecting data, are a lower bound, and ``FAST_SCRIPTS``, tuned to each task's reward, approximately an upper
bound.
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
from reskill_sim.engine.smooth_noise import smooth_noise
from reskill_sim.fetch.demonstrators.fast import FAST_SCRIPTS
from reskill_sim.fetch.demonstrators.hook import hook
from reskill_sim.fetch.demonstrators.motions import MANNER_DIM, Controller, Reading
from reskill_sim.fetch.demonstrators.pick_and_place import pick_and_place, pick_and_put_away, pick_and_stack
from reskill_sim.fetch.demonstrators.push import push
from reskill_sim.fetch.tasks import get_task

# The controllers of each task; "mixed" draws one of them for each episode.
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
    """Policy that executes a controller's actions with added noise.

    The noisy action is executed, the noise-free action is the label (``decoded_action``): a learner sees how to recover
    from the effects of noise. The noise scale is drawn for each episode from a range, or fixed.

    Args:
        task: specification of the task.
        kind: name of one of the task's controllers, or ``mixed``.
        noise_range: lowest and highest noise scale, in action units (standard deviation per axis).
        num_envs: number of parallel episodes.
        controllers: controllers by name, instead of the task's demonstrators.
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
        """Start new episodes; everything random follows from their seeds."""
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
        noise = np.zeros_like(clean, dtype=np.float32)
        # The noise repeats in an episode that runs beyond its horizon.
        noise[:, :3] = self._noise[chosen, self._step[chosen] % self.task.horizon]
        self._step[chosen] += 1
        return SkillAction.demonstrated(self.task.action, clean, noise)

    def source(self, place: int = 0) -> str:
        """Return the name of an episode's controller."""
        return self._names[self._choice[place]]


def make_demonstrator(
    task_name: str,
    kind: str = MIXED,
    noise_range: tuple[float, float] = DEFAULT_NOISE_RANGE,
    num_envs: int = 1,
) -> Demonstrator:
    """Create the demonstrator of a task by name.

    Raises:
        ConfigError: unknown task or kind; the message lists the valid ones.
    """
    return Demonstrator(get_task(task_name).spec, kind, noise_range, num_envs)


def make_fast_script(task_name: str, num_envs: int = 1) -> Demonstrator:
    """Create the fast script of a task by name, without noise.

    Raises:
        ConfigError: the task has none; the message lists the tasks that have one.
    """
    require_choice("task with a fast script", task_name, tuple(FAST_SCRIPTS))
    script = {"fast": FAST_SCRIPTS[task_name]}
    return Demonstrator(get_task(task_name).spec, "fast", (0.0, 0.0), num_envs, script)
