"""What the shipped models do stays what it was when they were evaluated, however they are computed.

``data/shipped_policies.npz`` holds observations (T, 2, O) of two episodes each, with images one array per part, and the
actions (T, 2, A) that the models answered them with in the version that they were shipped with. They are replaced only
together with the models, by scripts/shipped_policies.py.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reskill_core.models.skill_document import GRAPHS
from reskill_core.resources import shipped_models
from reskill_core.runtime.agent import ESTIMATOR_KEY
from reskill_core.runtime.loading import load_policy
from reskill_core.spec import Observations

with np.load(Path(__file__).parent / "data" / "shipped_policies.npz") as file:
    RECORDED: dict[str, NDArray[np.float32]] = dict(file)
SEEDS = [11, 12]


def test_every_shipped_model_is_recorded() -> None:
    assert {"/".join(name.split("/")[:2]) for name in RECORDED} == set(shipped_models())


@pytest.mark.parametrize("model", shipped_models())
def test_shipped_models_act_as_they_did(model: str) -> None:
    policy = load_policy(model)
    policy.reset(SEEDS)
    answers = np.stack([policy.act(observation).action for observation in recorded_observations(model)])
    # Other processors round differently, above all ONNX Runtime, which computes exported graphs; the recurrent state of
    # an estimator amplifies that: observations that were rounded to float32 changed actions by 2e-5.
    tolerance = 1e-5 if any(GRAPHS in name for name in policy.checkpoint.weights) else 1e-6
    tolerance = 2e-4 if ESTIMATOR_KEY in policy.checkpoint.document else tolerance
    np.testing.assert_allclose(answers, RECORDED[f"{model}/action"], rtol=0.0, atol=tolerance)
    assert np.abs(answers).max() > 0.1


def recorded_observations(model: str) -> list[Observations]:
    """Observations of each step, of both episodes."""
    name = f"{model}/observation"
    if name in RECORDED:
        return list(RECORDED[name])
    parts = {key.removeprefix(f"{name}/"): array for key, array in RECORDED.items() if key.startswith(f"{name}/")}
    return [{part: array[step] for part, array in parts.items()} for step in range(len(parts["vector"]))]


def test_the_recorded_episodes_differ() -> None:
    """Otherwise comparing with them would show little."""
    for name, actions in RECORDED.items():
        if name.endswith("/action"):
            assert not np.allclose(actions[:, 0], actions[:, 1], atol=1e-3)
