"""What the shipped models do stays what it was when they were evaluated, however they are computed.

``data/shipped_policies.npz`` holds observations (T, 2, O) of two episodes each, and the actions (T, 2, A) that the
models answered them with in the version that they were shipped with. They are replaced only together with the models.
"""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from reskill_core.resources import shipped_models
from reskill_core.runtime.loading import load_policy

with np.load(Path(__file__).parent / "data" / "shipped_policies.npz") as file:
    RECORDED: dict[str, NDArray[np.float32]] = dict(file)
SEEDS = [11, 12]


def test_every_shipped_model_is_recorded() -> None:
    assert {name.rpartition("/")[0] for name in RECORDED} == set(shipped_models())


@pytest.mark.parametrize("model", shipped_models())
def test_shipped_models_act_as_they_did(model: str) -> None:
    policy = load_policy(model)
    policy.reset(SEEDS)
    answers = np.stack([policy.act(observation).action for observation in RECORDED[f"{model}/observation"]])
    np.testing.assert_allclose(answers, RECORDED[f"{model}/action"], rtol=0.0, atol=1e-6)
    assert np.abs(answers).max() > 0.1


def test_the_recorded_episodes_differ() -> None:
    """Otherwise comparing with them would show little."""
    for name, actions in RECORDED.items():
        if name.endswith("/action"):
            assert not np.allclose(actions[:, 0], actions[:, 1], atol=1e-3)
