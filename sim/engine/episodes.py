"""Batched execution and recording of episodes, for data collection and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import IntArray
from reskill_core.data import Episode
from reskill_core.data.compressed_frames import FrameCompressor
from reskill_core.environment import RestorableVectorEnv, StepResult
from reskill_core.policy import Policy
from reskill_core.spec import Observations, copied, images_of, put_rows, take_rows, vector_of


class _Tape:
    """Recording of the running episodes: (N, T, ...) arrays, and compressed frames of images."""

    def __init__(self, environments: RestorableVectorEnv) -> None:
        spec = environments.spec
        self._frames = [
            {image.name: FrameCompressor(image.frame_shape) for image in spec.obs.images}
            for _ in range(environments.num_envs)
        ]
        shape = (environments.num_envs, spec.horizon)
        self.arrays: dict[str, NDArray[Any]] = {
            "observation": np.zeros((*shape, spec.obs.dim), np.float32),
            "action": np.zeros((*shape, spec.action.dim), np.float32),
            "executed_action": np.zeros((*shape, spec.action.dim), np.float32),
            "sim_state": np.zeros((*shape, environments.state_dim)),
            "reward": np.zeros(shape, np.float32),
        }

    def write(self, places: IntArray, steps: IntArray, **values: NDArray[Any]) -> None:
        for name, value in values.items():
            self.arrays[name][places, steps] = value

    def clear_frames(self, place: int) -> None:
        for compressor in self._frames[place].values():
            compressor.finish()

    def add_frames(self, places: IntArray, observations: Observations) -> None:
        """Add the newest frame of each image."""
        for name, images in images_of(observations).items():
            for place, stack in zip(places, images, strict=True):
                self._frames[place][name].append(stack[-1])

    def episode(self, place: int, length: int) -> dict[str, Any]:
        arrays = {name: array[place, :length].copy() for name, array in self.arrays.items()}
        return {**arrays, "images": {name: compressor.finish() for name, compressor in self._frames[place].items()}}


def run_episodes(
    environments: RestorableVectorEnv,
    policy: Policy,
    seeds: Sequence[int],
    describe: Callable[[int], tuple[str, float]] = lambda place: ("", 0.0),
) -> Iterator[Episode]:
    """Run one episode per seed, with as many in parallel as there are environments.

    An episode depends only on its seed, not on the batch.

    Args:
        environments: the environments.
        policy: the policy, for as many places as there are environments.
        seeds: seeds of the episodes.
        describe: returns the policy's source name and noise scale in a place, for the record.

    Yields:
        Episodes in the order in which they end, without diverged ones.
    """
    waiting = list(reversed(seeds))
    tape = _Tape(environments)
    seed_of, step_of = np.zeros((2, environments.num_envs), dtype=np.int64)

    def start(places: IntArray) -> IntArray:
        places = places[: len(waiting)]
        seed_of[places] = [waiting.pop() for _ in places]
        environments.reset(seed_of[places].tolist(), places.tolist())
        step_of[places] = 0
        for place in places:
            tape.clear_frames(place)
        policy.reset(seed_of[places].tolist(), places.tolist())
        return places

    active = start(np.arange(environments.num_envs))
    observation = copied(environments.observation())
    while len(active):
        steps = step_of[active]
        shown = take_rows(observation, active)
        action = policy.act(shown, active)
        tape.add_frames(active, shown)
        tape.write(
            active,
            steps,
            observation=vector_of(shown),
            action=action.decoded_action,
            executed_action=action.action,
            sim_state=environments.state(active),
        )
        result = environments.step(action.action, active)
        step_of[active] += 1
        tape.write(active, steps, reward=result.reward)
        put_rows(observation, active, result.observation)
        for at in map(int, np.flatnonzero(result.done & ~result.diverged)):
            place = int(active[at])
            tape.add_frames(active[at : at + 1], take_rows(result.observation, slice(at, at + 1)))
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
            put_rows(observation, started, take_rows(environments.observation(), started))


def _outcome(result: StepResult, at: int) -> dict[str, Any]:
    return {
        "final_observation": vector_of(result.observation)[at].astype(np.float32),
        "success": bool(result.success[at]),
        "terminated": bool(result.terminated[at]),
        "truncated": bool(result.truncated[at]),
    }
