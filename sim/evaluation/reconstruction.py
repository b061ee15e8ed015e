"""Closed-loop reconstruction of demonstrations by skills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.data import Episode
from reskill_core.data.images import stack_rows
from reskill_core.runtime import SkillModule
from reskill_core.spec import VECTOR, Observations, TaskSpec, copied, put_rows, take_rows, vector_of
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
        metrics: the task's metrics of the reconstruction.
        demonstrated: those of the demonstration.
    """

    seed: int
    source: str
    error_m: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    demonstrated: Mapping[str, float] = field(default_factory=dict)

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
    """
    count, horizon = len(demonstrations), module.horizon
    environments = task.make_env(count, profile, threads)
    environments.set_state(np.stack([episode.sim_state[0] for episode in demonstrations]))
    latents = [window_latents(module, episode) for episode in demonstrations]
    states = np.zeros((count, module.state_dim), np.float32)
    lengths = np.array([episode.num_steps for episode in demonstrations])
    observation = copied(environments.observation())
    tape = _Tape(task.spec, count, int(lengths.max()))
    for step in range(lengths.max()):
        active = np.flatnonzero(lengths > step)
        features = module.features(take_rows(observation, active))
        if step % horizon == 0:
            chosen = np.stack([latents[index][step // horizon] for index in active])
            states[active] = module.begin(features, chosen)
        action, states[active] = module.act(features, states[active])
        tape.observation[active, step], tape.action[active, step] = vector_of(take_rows(observation, active)), action
        result = environments.step(action, active)
        tape.reward[active, step] = result.reward
        tape.success[active] |= result.success
        put_rows(observation, active, result.observation)
    ends = task.result_of(np.stack([episode.final_observation for episode in demonstrations]))
    errors = np.linalg.norm(task.result_of(vector_of(observation)) - ends, axis=1)
    return [
        ReconstructionOutcome(
            episode.seed,
            episode.source,
            float(error),
            metrics=task.metrics(tape.episode(row, episode, final)),
            demonstrated=task.metrics(episode),
        )
        for row, (episode, error, final) in enumerate(zip(demonstrations, errors, vector_of(observation), strict=True))
    ]


class _Tape:
    """What happened in the reconstructions of N demonstrations of up to T steps."""

    def __init__(self, spec: TaskSpec, count: int, steps: int) -> None:
        self.observation = np.zeros((count, steps, spec.obs.dim), np.float32)
        self.action = np.zeros((count, steps, spec.action.dim), np.float32)
        self.reward = np.zeros((count, steps), np.float32)
        self.success = np.zeros(count, np.bool_)

    def episode(self, row: int, demonstration: Episode, final: NDArray[Any]) -> Episode:
        """The reconstruction as an episode, as long as its demonstration; without states and images."""
        steps = demonstration.num_steps
        return replace(
            demonstration,
            observation=self.observation[row, :steps],
            action=self.action[row, :steps],
            executed_action=self.action[row, :steps],
            reward=self.reward[row, :steps],
            sim_state=np.zeros((steps, 0)),
            images={},
            final_observation=final.astype(np.float32),
            success=bool(self.success[row]),
        )


def window_latents(module: SkillModule, episode: Episode) -> NDArray[np.float32]:
    """Compute (W, Z) posterior means of an episode's consecutive windows, the last one ending with the episode."""
    horizon = module.horizon
    starts = np.arange(0, episode.num_steps, horizon)
    starts[-1] = max(0, min(starts[-1], episode.num_steps - horizon))
    steps = starts[:, None] + np.arange(horizon)
    return module.encode(take_rows(_observations(module, episode), steps), episode.action[steps])[0]


def _observations(module: SkillModule, episode: Episode) -> Observations:
    """Observations before each of an episode's steps."""
    if not episode.images:
        return episode.observation
    stacks = {
        image.name: episode.images[image.name].array()[stack_rows(0, episode.num_steps, image.stack)]
        for image in module.task_spec.obs.images
    }
    return {VECTOR: episode.observation, **stacks}
