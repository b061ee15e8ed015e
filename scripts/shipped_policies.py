"""Recording of how shipped models act, which test/core/test_shipped_policies.py compares them with.

To be repeated for models that are replaced: python -m scripts.shipped_policies agents/clean_up skills/block
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.runtime.loading import load_policy
from reskill_core.spec import VECTOR, Observations, images_of, vector_of
from reskill_sim.families import get_task

FILE = Path(__file__).parents[1] / "test/core/data/shipped_policies.npz"
SEEDS, STEPS = (11, 12), 40


def record(model: str) -> dict[str, NDArray[Any]]:
    """Let a model act; returns observations and actions (T, N, ...) of N episodes by what they are stored under."""
    policy = load_policy(model)
    checkpoint = policy.checkpoint
    environments = get_task(checkpoint.task.name, settings=checkpoint.task.settings).make_env(len(SEEDS))
    policy.reset(SEEDS)
    observation = environments.reset(SEEDS)
    observations, actions = [], []
    for _ in range(STEPS):
        observations.append(_rounded(observation))
        actions.append(policy.act(observations[-1]).action.copy())
        observation = environments.step(actions[-1]).observation
    name = f"{model}/observation"
    vectors = np.stack([vector_of(each) for each in observations])
    images = {key: np.stack([images_of(each)[key] for each in observations]) for key in images_of(observations[0])}
    parts: dict[str, NDArray[Any]] = {f"{name}/vector" if images else name: vectors}
    parts |= {f"{name}/{key}": array for key, array in images.items()}
    return {**parts, f"{model}/action": np.stack(actions)}


def _rounded(observation: Observations) -> Observations:
    """Copy of an observation as it is stored, because a recurrent estimator amplifies what rounding changes."""
    vector, images = vector_of(observation).astype(np.float32), images_of(observation)
    return {VECTOR: vector, **{name: image.copy() for name, image in images.items()}} if images else vector


def main() -> None:
    """Replace the records of the models named on the command line; the others stay as they are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="name of a shipped model")
    models = parser.parse_args().models
    with np.load(FILE) as file:
        kept = {name: file[name] for name in file if "/".join(name.split("/")[:2]) not in models}
    for model in models:
        kept |= record(model)
    np.savez_compressed(FILE, allow_pickle=False, **kept)


if __name__ == "__main__":
    main()
