"""Gymnasium vector environment of a task.

For the same seeds and actions its episodes are bit-equal to those of :class:`~reskill_sim.gym.task_env.TaskEnv`. It can
be copied and pickled in the middle of episodes as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from reskill_core.arrays import BoolArray, Float64Array, IntArray
from reskill_core.errors import SimulationError, SpecError
from reskill_core.seeding import drawn_episode
from reskill_core.spec import Observations, put_rows, take_rows
from reskill_sim.engine.family import NO_SETTINGS
from reskill_sim.engine.interfaces import Image
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.gym.goal_methods import GoalMethods
from reskill_sim.gym.gym_episodes import METADATA, GymEpisodes, metadata_of


class TaskVectorEnv(GoalMethods, VectorEnv[Any, NDArray[np.float32], NDArray[Any]]):
    """Gymnasium vector environment of N environments of a task, stepped together in one simulator.

    Episodes, infos and autoreset are those of N :class:`TaskEnv` in Gymnasium's own vector environments.

    Args:
        task: name of the task.
        num_envs: number of environments N.
        profile: fidelity profile; if empty, the family's default for training.
        goal_dict: as for :class:`TaskEnv`.
        render_mode: ``rgb_array`` or None.
        variation: as for :class:`TaskEnv`.
        settings: as for :class:`TaskEnv`.
        threads: threads that share the environments; 0 steps them in the calling thread. Results are the same.
        autoreset_mode: Gymnasium's autoreset mode.
        max_episode_steps: limit below the task's horizon.

    Raises:
        ConfigError: there is no such task or profile, the variation is out of range, or the task does not have these
            settings.
        SimulationError: ``goal_dict`` is set, and the task's reward needs more than goals.
    """

    metadata = METADATA

    def __init__(
        self,
        task: str,
        num_envs: int = 1,
        profile: str = "",
        goal_dict: bool = False,
        render_mode: str | None = None,
        variation: Variation | Mapping[str, Any] = NOMINAL,
        settings: Mapping[str, Any] = NO_SETTINGS,
        threads: int = 0,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
    ) -> None:
        self._episodes = GymEpisodes(
            task, num_envs, profile, threads, goal_dict, variation, settings, max_episode_steps
        )
        self.num_envs = num_envs
        self._mode = AutoresetMode(autoreset_mode)
        self.metadata = metadata_of(self._episodes.task, render_mode) | {"autoreset_mode": self._mode}
        self.render_mode = render_mode
        self.single_action_space = self._episodes.action_space
        self.single_observation_space = self._episodes.observation_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._random: list[tuple[np.random.Generator, int]] = [seeding.np_random() for _ in range(num_envs)]
        self._begun, self._over = np.zeros((2, num_envs), dtype=np.bool_)
        self._everybody = np.arange(num_envs)

    @property  # type: ignore[misc]
    def np_random(self) -> tuple[np.random.Generator, ...]:  # type: ignore[override]
        """Generators of the environments, for the seeds of episodes without a given seed."""
        return tuple(generator for generator, _ in self._random)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """Last given seeds of the environments."""
        return tuple(seed for _, seed in self._random)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episodes.

        Args:
            seed: seed of the first environment, from which the others count up; or one seed per environment.
            options: ``reset_mask``, (N,) bool, selects the environments to reset.

        Raises:
            SimulationError: the number of seeds is wrong, or the mask has a wrong shape or type.
        """
        seeds = [seed] * self.num_envs if seed is None else seed
        if isinstance(seeds, (int, np.integer)):
            seeds = [int(seeds) + place for place in range(self.num_envs)]
        if len(seeds) != self.num_envs:
            raise SimulationError(f"{len(seeds)} seeds for {self.num_envs} environments")
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, dtype=np.bool_))
        if not isinstance(mask, np.ndarray) or mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
            raise SimulationError(f"reset_mask must be an array of {self.num_envs} bool")
        chosen = np.flatnonzero(mask)
        given = [seeds[place] for place in chosen.tolist()]
        for place, one in zip(chosen.tolist(), given, strict=True):
            if one is not None:
                self._random[place] = seeding.np_random(int(one))
        observation, info = self._start(chosen, given)
        return self._episodes.view(observation), info

    def step(self, actions: ArrayLike) -> tuple[Any, Float64Array, BoolArray, BoolArray, dict[str, Any]]:
        """Advance by one control period with actions (N, A) in [-1, 1].

        With next-step autoreset, an environment whose episode has ended starts the next one instead: its action is
        ignored and its reward is 0.

        Raises:
            SpecError: the actions have the wrong shape.
            ResetNeeded: an episode has ended or not begun, and autoreset does not start the next one.
        """
        array = np.asarray(actions, dtype=np.float32)
        if array.shape != self.action_space.shape:
            raise SpecError(f"actions have shape {array.shape}, expected {self.action_space.shape}")
        needy = ~self._begun | (self._over if self._mode is AutoresetMode.DISABLED else False)
        if needy.any():
            raise gymnasium.error.ResetNeeded(f"environments {np.flatnonzero(needy).tolist()} have to be reset")
        waiting = np.flatnonzero(self._over)
        if not waiting.size:
            return self._step_everybody(array)

        observation, info = self._start(waiting, [None] * waiting.size)
        reward = np.zeros(self.num_envs)
        terminated, truncated = np.zeros((2, self.num_envs), dtype=np.bool_)
        going = np.setdiff1d(self._everybody, waiting)
        if going.size:
            outcome = self._episodes.step(array[going], going)
            put_rows(observation, going, outcome.observation)
            reward[going] = outcome.reward
            terminated[going], truncated[going] = outcome.terminated, outcome.truncated
            info = self._spread(outcome.info, going) | info
        self._over = terminated | truncated
        return self._episodes.view(observation), reward, terminated, truncated, info

    def render(self) -> tuple[Image, ...] | None:
        """Render an image (height, width, 3) of each environment; None without a render mode."""
        if self.render_mode is None:
            return None
        return tuple(self._episodes.render(place) for place in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Release graphics memory."""
        self._episodes.close()

    def _step_everybody(self, actions: NDArray[np.float32]) -> tuple[Any, Float64Array, BoolArray, BoolArray, Any]:
        outcome = self._episodes.step(actions, self._everybody)
        observation, info = self._episodes.view(outcome.observation), self._spread(outcome.info, self._everybody)
        over = outcome.terminated | outcome.truncated
        if over.any() and self._mode is AutoresetMode.SAME_STEP:
            finished = np.flatnonzero(over)
            last = np.full(self.num_envs, None, dtype=object)
            for place in finished.tolist():
                last[place] = self._episodes.view(take_rows(outcome.observation, place))
            going = np.flatnonzero(~over)
            of_last = self._spread({name: values[finished] for name, values in outcome.info.items()}, finished)
            started, info = self._start(finished, [None] * finished.size)
            observation = self._episodes.view(started)
            info |= {"final_obs": last, "_final_obs": over, "final_info": of_last, "_final_info": over}
            info |= self._spread({name: values[going] for name, values in outcome.info.items()}, going)
        else:
            self._over = over
        return observation, outcome.reward, outcome.terminated, outcome.truncated, info

    def _start(self, places: IntArray, seeds: Sequence[int | None]) -> tuple[Observations, dict[str, Any]]:
        """Start episodes in some environments, with drawn seeds for None; returns observations of all N, and info."""
        given = [
            drawn_episode(self._random[place][0]) if seed is None else int(seed)
            for place, seed in zip(places, seeds, strict=True)
        ]
        observation = self._episodes.reset(given, places.tolist())
        self._begun[places], self._over[places] = True, False
        return observation, self._spread({"seed": np.array(given, dtype=np.int64)}, places)

    def _spread(self, info: Mapping[str, NDArray[Any]], places: IntArray) -> dict[str, Any]:
        """Values (n,) of some environments in Gymnasium's form: (N,) each, with a mask of these environments."""
        spread: dict[str, Any] = {}
        for name, values in info.items() if places.size else ():
            spread[name], spread[f"_{name}"] = np.zeros(self.num_envs, values.dtype), np.zeros(self.num_envs, np.bool_)
            spread[name][places], spread[f"_{name}"][places] = values, True
        return spread
