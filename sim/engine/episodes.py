"""Run episodes in a batch and keep what happened, for collecting data and for evaluation alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.data import Episode
from reskill_core.environment import RestorableVectorEnv, StepResult
from reskill_core.policy import Policy

IntArray = NDArray[np.int64]


class _Tape:
    """(N, T, ...) arrays that the running episodes are recorded on."""

    def __init__(self, environments: RestorableVectorEnv) -> None:
        spec = environments.spec
        shape = (environments.num_envs, spec.horizon)
        self.arrays: dict[str, NDArray[Any]] = {
            "observation": np.zeros((*shape, spec.obs.dim), np.float32),
            "action": np.zeros((*shape, spec.action.dim), np.float32),
            "executed_action": np.zeros((*shape, spec.action.dim), np.float32),
            "sim_state": np.zeros((*shape, environments.state_dim)),
            "reward": np.zeros(shape, np.float32),
        }

    def write(self, envs: IntArray, steps: IntArray, **values: NDArray[Any]) -> None:
        for name, value in values.items():
            self.arrays[name][envs, steps] = value

    def episode(self, env: int, length: int) -> dict[str, Any]:
        return {name: array[env, :length].copy() for name, array in self.arrays.items()}


def run_episodes(
    environments: RestorableVectorEnv,
    policy: Policy,
    seeds: Sequence[int],
    describe: Callable[[int], tuple[str, float]] = lambda place: ("", 0.0),
) -> Iterator[Episode]:
    """Run one episode for each seed, as many at a time as there are environments.

    What an episode contains depends on its seed alone, not on the batch it ran in.

    Args:
        environments: where they run.
        policy: who acts; has as many places as there are environments.
        seeds: one for each episode.
        describe: name of the policy's source and its noise scale in a place, for the record.

    Yields:
        Episodes in the order in which they end. Those in which the physics broke down are left out.
    """
    waiting = list(reversed(seeds))
    tape = _Tape(environments)
    seed_of, step_of = np.zeros((2, environments.num_envs), dtype=np.int64)

    def start(places: IntArray) -> IntArray:
        places = places[: len(waiting)]
        seed_of[places] = [waiting.pop() for _ in places]
        environments.reset(seed_of[places].tolist(), places.tolist())
        step_of[places] = 0
        policy.reset(seed_of[places].tolist(), places.tolist())
        return places

    active = start(np.arange(environments.num_envs))
    observation = environments.observation()
    while len(active):
        steps = step_of[active]
        action = policy.act(observation[active], active)
        tape.write(
            active,
            steps,
            observation=observation[active],
            action=action.decoded_action,
            executed_action=action.action,
            sim_state=environments.state(active),
        )
        result = environments.step(action.action, active)
        step_of[active] += 1
        tape.write(active, steps, reward=result.reward)
        observation[active] = result.observation
        for at in map(int, np.flatnonzero(result.done & ~result.diverged)):
            place = int(active[at])
            source, noise_scale = describe(place)
            yield Episode(
                **tape.episode(place, int(steps[at]) + 1),
                **_outcome(result, at),
                seed=int(seed_of[place]),
                noise_scale=noise_scale,
                source=source,
            )
        if result.done.any():
            started = start(active[result.done])
            active = np.sort(np.concatenate([active[~result.done], started]))
            observation[started] = environments.observation()[started]


def _outcome(result: StepResult, at: int) -> dict[str, Any]:
    return {
        "final_observation": result.observation[at].astype(np.float32),
        "success": bool(result.success[at]),
        "terminated": bool(result.terminated[at]),
        "truncated": bool(result.truncated[at]),
    }
