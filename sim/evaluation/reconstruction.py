"""Closed-loop reconstruction of demonstrations by skills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import BoolArray, IntArray
from reskill_core.data import Episode
from reskill_core.environment import StepResult
from reskill_core.runtime import SkillModule
from reskill_core.spec import TaskSpec, copied, put_rows, take_rows, vector_of
from reskill_sim.engine.task import Task

RECONSTRUCTED_M = 0.03


@dataclass(frozen=True)
class ReconstructionOutcome:
    """Outcome of the reconstruction of one demonstration.

    Attributes:
        seed: seed of the demonstration.
        source: its demonstrator.
        error_m: distance between the results of the demonstration and of its reconstruction, such as the final
            positions of the object [m].
        metrics: the task's metrics of the reconstruction, within the demonstration's time.
        demonstrated: those of the demonstration.
        prolonged: those of the reconstruction if its last skill goes on until success or the end of an episode.
    """

    seed: int
    source: str
    error_m: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    demonstrated: Mapping[str, float] = field(default_factory=dict)
    prolonged: Mapping[str, float] = field(default_factory=dict)

    @property
    def reconstructed(self) -> bool:
        """Whether the result is within 3 cm of the demonstration's."""
        return self.error_m < RECONSTRUCTED_M


def reconstruct(
    task: Task, module: SkillModule, demonstrations: Sequence[Episode], threads: int, profile: str
) -> list[ReconstructionOutcome]:
    """Reconstruct demonstrations in closed loop, from their recorded start states.

    Each demonstration is divided into consecutive windows, and the posterior mean of each is decoded at the
    observations of the simulation, not of the demonstration. The last steps use the window that ends with the episode.
    Its skill then goes on, because what a demonstration reached in its very last step comes a little late if the
    reconstruction was slower.
    """
    count, horizon = len(demonstrations), module.horizon
    environments = task.make_env(count, profile, threads)
    environments.set_state(np.stack([episode.sim_state[0] for episode in demonstrations]))
    latents = [window_latents(module, episode) for episode in demonstrations]
    states = np.zeros((count, module.state_dim), np.float32)
    lengths = np.array([episode.num_steps for episode in demonstrations])
    observation = copied(environments.observation())
    tape = Tape(task.spec, count, max(task.spec.horizon, int(lengths.max())))
    at_length = vector_of(observation).copy()
    for step in range(tape.steps):
        active = np.flatnonzero((lengths > step) | ~tape.success)
        if not len(active):
            break
        now = take_rows(observation, active)
        features = module.features(now)
        if step % horizon == 0:
            windows = [min(step // horizon, len(latents[index]) - 1) for index in active]
            chosen = np.stack([latents[index][window] for index, window in zip(active, windows, strict=True)])
            states[active] = module.begin(features, chosen)
        action, states[active] = module.act(features, states[active])
        result = environments.step(action, active)
        put_rows(observation, active, result.observation)
        tape.record(step, active, vector_of(now), action, result)
        ended = lengths == step + 1
        at_length[ended] = vector_of(observation)[ended]
    ends = task.result_of(np.stack([episode.final_observation for episode in demonstrations]))
    errors = np.linalg.norm(task.result_of(at_length) - ends, axis=1)
    final = vector_of(observation)
    return [
        ReconstructionOutcome(
            episode.seed,
            episode.source,
            float(errors[row]),
            metrics=task.metrics(tape.episode(row, episode, episode.num_steps, at_length[row])),
            demonstrated=task.metrics(episode),
            prolonged=task.metrics(tape.episode(row, episode, int(tape.lengths[row]), final[row])),
        )
        for row, episode in enumerate(demonstrations)
    ]


class Tape:
    """What happened in the reconstructions of N demonstrations of up to T steps.

    Attributes:
        steps: T.
        lengths: (N,) steps recorded of each.
    """

    def __init__(self, spec: TaskSpec, count: int, steps: int) -> None:
        self.steps = steps
        self.lengths = np.zeros(count, np.int64)
        self._observation = np.zeros((count, steps, spec.obs.dim), np.float32)
        self._action = np.zeros((count, steps, spec.action.dim), np.float32)
        self._reward = np.zeros((count, steps), np.float32)
        self._success_at = np.full(count, steps)

    @property
    def success(self) -> BoolArray:
        """(N,) whether there has been success."""
        return self._success_at < self.steps

    def record(self, step: int, rows: IntArray, observation: Any, action: Any, result: StepResult) -> None:
        """Record a step of some rows: vectors before it, and its result."""
        self._observation[rows, step], self._action[rows, step] = observation, action
        self._reward[rows, step] = result.reward
        succeeded = rows[result.success]
        self._success_at[succeeded] = np.minimum(self._success_at[succeeded], step)
        self.lengths[rows] = step + 1

    def episode(self, row: int, demonstration: Episode, steps: int, final: NDArray[Any]) -> Episode:
        """The first steps of a reconstruction as an episode; without states and images."""
        return replace(
            demonstration,
            observation=self._observation[row, :steps],
            action=self._action[row, :steps],
            executed_action=self._action[row, :steps],
            reward=self._reward[row, :steps],
            sim_state=np.zeros((steps, 0)),
            images={},
            final_observation=final.astype(np.float32),
            success=bool(self._success_at[row] < steps),
        )


def window_latents(module: SkillModule, episode: Episode) -> NDArray[np.float32]:
    """Compute (W, Z) posterior means of an episode's consecutive windows, the last one ending with the episode."""
    horizon = module.horizon
    starts = np.arange(0, episode.num_steps, horizon)
    starts[-1] = max(0, min(starts[-1], episode.num_steps - horizon))
    steps = starts[:, None] + np.arange(horizon)
    observations = episode.observations(module.task_spec.obs)
    return module.encode(take_rows(observations, steps), episode.action[steps])[0]
