"""The tasks as Gymnasium environments: one at a time, or many as one vector environment over one simulator.

Both give the same episodes, bit for bit, for the same seeds and actions. Both can be copied (``copy.deepcopy``) and
pickled in the middle of an episode: the copy goes on as the original does, and by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from reskill_core.config import config_from_dict
from reskill_core.errors import SimulationError, SpecError
from reskill_core.observation import SensorFrame
from reskill_core.seeding import drawn_episode
from reskill_core.spec import GOAL_FRAME, ObsTerm, TaskSpec
from reskill_sim.engine.rendering import Image, Renderer
from reskill_sim.engine.simulator import IntArray, Simulator
from reskill_sim.engine.variation import NOMINAL, Variation
from reskill_sim.fetch.tasks import TASKS, get_task
from reskill_sim.fetch.tasks.base import BoolArray, FloatArray, Situation, Task

# Observations end somewhere, as Gymnasium asks of a space. An object that a hook flings away stays within 10 m in an
# episode; this is cut off only where physics is about to break down.
FAR_M = 100.0

_METADATA: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 25}

Observation = FloatArray | dict[str, FloatArray]


@dataclass(frozen=True)
class _Outcome:
    """What a control step led to, in Gymnasium's terms, for the n environments stepped.

    Attributes:
        observation: (n, O).
        reward: (n,).
        terminated: (n,).
        truncated: (n,) at the horizon, or because physics broke down.
        info: (n,) values by name.
    """

    observation: FloatArray
    reward: FloatArray
    terminated: BoolArray
    truncated: BoolArray
    info: dict[str, NDArray[Any]]


class _GoalView:
    """A task as one of reaching goals: observations without the goal, and rewards for any goal.

    Raises:
        SimulationError: the task's reward needs more than the positions of one object and the goal, or they are not
            perceived as they are.
    """

    def __init__(self, task: Task) -> None:
        if task.goal_object is None:
            having = ", ".join(name for name in TASKS if get_task(name).goal_object is not None)
            raise SimulationError(
                f"task {task.spec.name!r} has no goal form: its reward depends on more than where an object and its "
                f"goal are; tasks that have: {having}"
            )
        if task.variation.perceives_otherwise:
            raise SimulationError(
                "goals need objects to be perceived as they are: leave perception_noise and perception_delay at 0"
            )
        self._task = task
        self._object = task.goal_object
        self._achieved, self._desired = (_position_slice(task.spec, frame) for frame in (self._object, GOAL_FRAME))
        kept = [term for term in task.spec.obs.terms if term.kind != "zeros" and GOAL_FRAME not in term.of]
        self._kept = np.concatenate([np.arange(task.spec.obs.dim)[task.spec.obs.slice(term.name)] for term in kept])

    def space(self, bound: FloatArray) -> spaces.Dict:
        """The space of what :meth:`split` makes of observations between ``-bound`` and ``bound`` (O,)."""
        return spaces.Dict({name: _box(part) for name, part in self.split(bound).items()})

    def split(self, observation: FloatArray) -> dict[str, FloatArray]:
        """Observation (..., O) as dictionary; a goal left in ``observation`` would contradict a relabelled one."""
        return {
            "observation": observation[..., self._kept],
            "achieved_goal": observation[..., self._achieved].copy(),
            "desired_goal": observation[..., self._desired].copy(),
        }

    def reward(self, achieved: ArrayLike, desired: ArrayLike) -> FloatArray:
        """(...) reward of having the object at positions (..., 3) [m] with goals at (..., 3) [m]."""
        situation, shape = self._situation(achieved, desired)
        return self._task.reward(situation, self._task.success(situation)).reshape(shape)

    def success(self, achieved: ArrayLike, desired: ArrayLike) -> BoolArray:
        """(...) success of having the object at positions (..., 3) [m] with goals at (..., 3) [m]."""
        situation, shape = self._situation(achieved, desired)
        return self._task.success(situation).reshape(shape)

    def _situation(self, achieved: ArrayLike, desired: ArrayLike) -> tuple[Situation, tuple[int, ...]]:
        """A situation of which nothing is known but where object and goal are, and the leading dimensions."""
        object_pos, goal_pos = np.broadcast_arrays(
            np.asarray(achieved, dtype=np.float64), np.asarray(desired, dtype=np.float64)
        )
        if object_pos.shape[-1:] != (3,):
            raise SpecError(f"goals have shape {object_pos.shape}, their last axis must have length 3")
        shape = object_pos.shape[:-1]
        count, obs = int(np.prod(shape)), self._task.spec.obs
        positions = np.full((count, len(obs.frames), 3), np.nan)
        positions[:, obs.frames.index(self._object)] = object_pos.reshape(-1, 3)
        positions[:, obs.frames.index(GOAL_FRAME)] = goal_pos.reshape(-1, 3)
        frame = SensorFrame(
            np.full((count, len(obs.joints)), np.nan), positions, np.full((count, len(obs.frames), 4), np.nan)
        )
        return Situation(obs.frames, frame, frame, np.full(count, np.nan)), shape


class _Episodes:
    """Episodes of N environments in Gymnasium's terms; what the single and the vector environment share.

    Args:
        task: name of the task.
        num_envs: number of environments N.
        profile: fidelity profile.
        threads: threads that share the environments.
        goal_dict: whether observations are dictionaries with goals.
        variation: how the world varies from episode to episode.
        max_episode_steps: truncates earlier than the task's horizon.
    """

    def __init__(
        self,
        task: str,
        num_envs: int,
        profile: str,
        threads: int,
        goal_dict: bool,
        variation: Variation | Mapping[str, Any],
        max_episode_steps: int | None,
    ) -> None:
        if not isinstance(variation, Variation):
            variation = config_from_dict(Variation, variation, source="the variation")
        if max_episode_steps is not None and max_episode_steps < 1:
            raise SimulationError(f"max_episode_steps must be at least 1, got {max_episode_steps}")
        self.task = get_task(task, variation)
        self.goals = _GoalView(self.task) if goal_dict else None
        self.simulator = Simulator(self.task, num_envs, profile, threads)
        self.action_space = spaces.Box(-1.0, 1.0, (self.task.spec.action.dim,), np.float32)
        self._bound = np.concatenate([np.full(term.size, _bound(term)) for term in self.task.spec.obs.terms])
        self.observation_space: spaces.Space[Any] = self.goals.space(self._bound) if self.goals else _box(self._bound)
        self.horizon = min(self.task.spec.horizon, max_episode_steps or self.task.spec.horizon)
        self._success_steps = np.zeros(num_envs, dtype=np.int64)
        self._renderer: Renderer | None = None

    def reset(self, seeds: Sequence[int], indices: Sequence[int]) -> FloatArray:
        """Start episodes with these seeds; returns (N, O) observations of all environments."""
        self._success_steps[list(indices)] = 0
        return self._within(self.simulator.reset(seeds, indices))

    def step(self, actions: ArrayLike, indices: IntArray) -> _Outcome:
        """Advance some environments by actions (n, A).

        Raises:
            SpecError: the actions have the wrong shape.
        """
        array = np.asarray(actions, dtype=np.float32)
        if array.shape != (len(indices), self.task.spec.action.dim):
            raise SpecError(f"actions have shape {array.shape}, expected {(len(indices), self.task.spec.action.dim)}")
        everybody = len(indices) == self.simulator.num_envs
        result = self.simulator.step(array, None if everybody else indices)
        steps = self.simulator.step_count[indices]
        success_steps = np.where(result.success, self._success_steps[indices] + 1, 0)
        self._success_steps[indices] = success_steps
        info: dict[str, NDArray[Any]] = {"is_success": result.success, "diverged": result.diverged}
        if self.goals:
            info |= {"step": steps, "success_steps": success_steps}
        truncated = result.truncated | result.diverged | ((steps >= self.horizon) & ~result.terminated)
        return _Outcome(self._within(result.observation), result.reward, result.terminated, truncated, info)

    def view(self, observation: FloatArray) -> Observation:
        """Observations (..., O) in the form of the observation space."""
        return self.goals.split(observation) if self.goals else observation

    def render(self, index: int) -> Image:
        """Picture of one environment."""
        if self._renderer is None:
            self._renderer = Renderer(self.task, profile=self.simulator.profile)
        return self._renderer.render(self.simulator.state([index])[0])

    def close(self) -> None:
        """Give the graphics memory back."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def __getstate__(self) -> dict[str, Any]:
        """All but the renderer, which holds memory of the graphics card; who draws gets another one."""
        return {**vars(self), "_renderer": None}

    def _within(self, observation: FloatArray) -> FloatArray:
        return np.clip(observation, -self._bound, self._bound)


class _GoalMethods:
    """What hindsight relabelling calls: outcomes for goals that an episode did not have.

    Goals are (3,) or (N, 3) positions [m]; ``info`` is what :meth:`step` returned with them: one dictionary, of numbers
    or of arrays, or a sequence of dictionaries.
    """

    _episodes: _Episodes

    def compute_reward(self, achieved_goal: ArrayLike, desired_goal: ArrayLike, info: Any = None) -> Any:
        """Reward () or (N,) of arriving at ``achieved_goal``; needs no info."""
        return self._goals.reward(achieved_goal, desired_goal)[()]

    def compute_terminated(self, achieved_goal: ArrayLike, desired_goal: ArrayLike, info: Any) -> Any:
        """Whether () or (N,) the episode is over for good there.

        It is if that is success, and success had held for long enough. For how long it would have held for another
        goal than the episode's, one transition cannot tell: there, both have to be reached.
        """
        enough = self._episodes.task.hold_steps
        success = self._goals.success(achieved_goal, desired_goal)
        if enough is None:
            return np.zeros_like(success)[()]
        return (success & (_of(info, "success_steps") >= enough) & ~_of(info, "diverged"))[()]

    def compute_truncated(self, achieved_goal: ArrayLike, desired_goal: ArrayLike, info: Any) -> Any:
        """Whether () or (N,) the episode is cut off there: at the horizon, or because physics broke down."""
        cut_off = (_of(info, "step") >= self._episodes.horizon) | _of(info, "diverged")
        return (cut_off & ~self.compute_terminated(achieved_goal, desired_goal, info))[()]

    @property
    def _goals(self) -> _GoalView:
        if self._episodes.goals is None:
            raise SimulationError("outcomes for other goals need goal_dict=True when the environment is made")
        return self._episodes.goals


class FetchEnv(_GoalMethods, gymnasium.Env[Any, NDArray[np.float32]]):
    """One task as a Gymnasium environment.

    ``reset(seed=s)`` starts the simulator's episode s; without a seed the episode's seed is drawn from ``np_random``.
    ``info`` of a reset has that ``seed``; that of a step has ``is_success``, whether the task is solved right now, and
    ``diverged``: physics broke down, the episode is truncated, the observation is the last good one.

    Args:
        task: name of the task.
        profile: fidelity profile.
        goal_dict: observations are dictionaries of ``observation`` (without the goal), ``achieved_goal`` (3,) [m] and
            ``desired_goal`` (3,) [m].
        render_mode: ``rgb_array`` or None.
        variation: how the world varies from episode to episode; a dictionary of its fields will do.

    Raises:
        ConfigError: there is no such task or profile, or the variation is out of range.
        SimulationError: ``goal_dict`` and the task's reward needs more than goals.
    """

    metadata = _METADATA

    def __init__(
        self,
        task: str,
        profile: str = "fast",
        goal_dict: bool = False,
        render_mode: str | None = None,
        variation: Variation | Mapping[str, Any] = NOMINAL,
    ) -> None:
        self._episodes = _Episodes(task, 1, profile, 0, goal_dict, variation, None)
        self.metadata = _metadata(self._episodes.task, render_mode)
        self.render_mode = render_mode
        self.action_space, self.observation_space = self._episodes.action_space, self._episodes.observation_space
        self._only = np.zeros(1, dtype=np.int64)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode; there are no options."""
        super().reset(seed=seed)
        episode_seed = drawn_episode(self.np_random) if seed is None else seed
        observation = self._episodes.reset([episode_seed], [0])[0]
        return self._episodes.view(observation), {"seed": episode_seed}

    def step(self, action: ArrayLike) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advance by one control period with an action (A,) in [-1, 1].

        Raises:
            SpecError: the action has the wrong shape.
        """
        outcome = self._episodes.step(np.asarray(action)[None], self._only)
        return (
            self._episodes.view(outcome.observation[0]),
            float(outcome.reward[0]),
            bool(outcome.terminated[0]),
            bool(outcome.truncated[0]),
            {name: values[0].item() for name, values in outcome.info.items()},
        )

    def render(self) -> Image | None:
        """Picture (height, width, 3), or None without a render mode."""
        return None if self.render_mode is None else self._episodes.render(0)

    def close(self) -> None:
        """Give the graphics memory back."""
        self._episodes.close()


class FetchVectorEnv(_GoalMethods, VectorEnv[Any, NDArray[np.float32], NDArray[Any]]):
    """N environments of one task, stepped together over one simulator.

    Episodes, infos and autoreset are those of N :class:`FetchEnv` in Gymnasium's own vector environments.

    Args:
        task: name of the task.
        num_envs: number of environments N.
        profile: fidelity profile.
        goal_dict: as of :class:`FetchEnv`.
        render_mode: ``rgb_array`` or None.
        variation: as of :class:`FetchEnv`.
        threads: threads that share the environments; 0 steps them in the calling thread. Results are the same.
        autoreset_mode: when an environment whose episode is over starts the next one.
        max_episode_steps: truncates earlier than the task's horizon.

    Raises:
        ConfigError: there is no such task or profile, or the variation is out of range.
        SimulationError: ``goal_dict`` and the task's reward needs more than goals.
    """

    metadata = _METADATA

    def __init__(
        self,
        task: str,
        num_envs: int = 1,
        profile: str = "fast",
        goal_dict: bool = False,
        render_mode: str | None = None,
        variation: Variation | Mapping[str, Any] = NOMINAL,
        threads: int = 0,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        max_episode_steps: int | None = None,
    ) -> None:
        self._episodes = _Episodes(task, num_envs, profile, threads, goal_dict, variation, max_episode_steps)
        self.num_envs = num_envs
        self._mode = AutoresetMode(autoreset_mode)
        self.metadata = _metadata(self._episodes.task, render_mode) | {"autoreset_mode": self._mode}
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
        """The environments' generators, which seeds of episodes without a given seed are drawn from."""
        return tuple(generator for generator, _ in self._random)

    @property
    def np_random_seed(self) -> tuple[int, ...]:  # type: ignore[override]
        """The environments' last given seeds."""
        return tuple(seed for _, seed in self._random)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start episodes.

        Args:
            seed: of the first environment, the others' follow one by one; or one for each.
            options: ``reset_mask``, (N,) bool, leaves the others as they are.

        Raises:
            SimulationError: not one seed for each environment, or a mask of another shape or type.
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

    def step(self, actions: ArrayLike) -> tuple[Any, FloatArray, BoolArray, BoolArray, dict[str, Any]]:
        """Advance by one control period with actions (N, A) in [-1, 1].

        With autoreset in the next step, an environment whose episode is over starts the next one instead: its action is
        not used and its reward is 0.

        Raises:
            SpecError: the actions have the wrong shape.
            ResetNeeded: an episode is over, or has not begun, and nothing but :meth:`reset` starts the next one.
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
            observation[going], reward[going] = outcome.observation, outcome.reward
            terminated[going], truncated[going] = outcome.terminated, outcome.truncated
            info = self._spread(outcome.info, going) | info
        self._over = terminated | truncated
        return self._episodes.view(observation), reward, terminated, truncated, info

    def render(self) -> tuple[Image, ...] | None:
        """A picture (height, width, 3) of each environment, or None without a render mode."""
        if self.render_mode is None:
            return None
        return tuple(self._episodes.render(place) for place in range(self.num_envs))

    def close_extras(self, **kwargs: Any) -> None:
        """Give the graphics memory back."""
        self._episodes.close()

    def _step_everybody(self, actions: NDArray[np.float32]) -> tuple[Any, FloatArray, BoolArray, BoolArray, Any]:
        outcome = self._episodes.step(actions, self._everybody)
        observation, info = self._episodes.view(outcome.observation), self._spread(outcome.info, self._everybody)
        over = outcome.terminated | outcome.truncated
        if over.any() and self._mode is AutoresetMode.SAME_STEP:
            finished = np.flatnonzero(over)
            last = np.full(self.num_envs, None, dtype=object)
            for place in finished:
                last[place] = self._episodes.view(outcome.observation[place])
            going = np.flatnonzero(~over)
            of_last = self._spread({name: values[finished] for name, values in outcome.info.items()}, finished)
            started, info = self._start(finished, [None] * finished.size)
            observation = self._episodes.view(started)
            info |= {"final_obs": last, "_final_obs": over, "final_info": of_last, "_final_info": over}
            info |= self._spread({name: values[going] for name, values in outcome.info.items()}, going)
        else:
            self._over = over
        return observation, outcome.reward, outcome.terminated, outcome.truncated, info

    def _start(self, places: IntArray, seeds: Sequence[int | None]) -> tuple[FloatArray, dict[str, Any]]:
        """Start episodes in some environments, with drawn seeds for None; (N, O) observations of all, and the info."""
        given = [
            drawn_episode(self._random[place][0]) if seed is None else int(seed)
            for place, seed in zip(places, seeds, strict=True)
        ]
        observation = self._episodes.reset(given, places.tolist())
        self._begun[places], self._over[places] = True, False
        return observation, self._spread({"seed": np.array(given, dtype=np.int64)}, places)

    def _spread(self, info: Mapping[str, NDArray[Any]], places: IntArray) -> dict[str, Any]:
        """Values (n,) of some environments as Gymnasium has them: (N,) each, with a mask of where they are from."""
        spread: dict[str, Any] = {}
        for name, values in info.items() if places.size else ():
            spread[name], spread[f"_{name}"] = np.zeros(self.num_envs, values.dtype), np.zeros(self.num_envs, np.bool_)
            spread[name][places], spread[f"_{name}"][places] = values, True
        return spread


def _metadata(task: Task, render_mode: str | None) -> dict[str, Any]:
    """Metadata of one environment.

    Raises:
        SimulationError: there is no such render mode.
    """
    if render_mode not in (None, *_METADATA["render_modes"]):
        raise SimulationError(f"unknown render mode {render_mode!r}; there are: {', '.join(_METADATA['render_modes'])}")
    return {**_METADATA, "render_fps": round(task.spec.control_rate_hz)}


def _box(bound: FloatArray) -> spaces.Box:
    return spaces.Box(-bound, bound, dtype=np.float64)


def _position_slice(spec: TaskSpec, frame: str) -> slice:
    """Where an observation has the position of a frame."""
    return next(spec.obs.slice(term.name) for term in spec.obs.terms if term.kind == "position" and term.of == (frame,))


def _bound(term: ObsTerm) -> float:
    """Absolute value that the entries of an observation's slice do not exceed."""
    if term.kind == "zeros":
        return 1.0
    return np.pi if term.unit == "rad" else FAR_M


def _of(info: Any, name: str) -> NDArray[Any]:
    """A value of an info: () or (N,)."""
    return np.asarray(info[name] if isinstance(info, Mapping) else [one[name] for one in info])
