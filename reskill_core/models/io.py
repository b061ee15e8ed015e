"""Skill VAEs to and from the tensors of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from reskill_core.checkpoint import Checkpoint
from reskill_core.errors import CheckpointError
from reskill_core.models.config import SkillModelConfig
from reskill_core.models.features import FeatureMap
from reskill_core.models.skill_vae import SkillVae


def state_arrays(model: SkillVae) -> dict[str, NDArray[Any]]:
    """A model's parameters and buffers by name, as arrays of their own."""
    return {name: tensor.detach().numpy().copy() for name, tensor in model.state_dict().items()}


def load_state_arrays(model: SkillVae, weights: Mapping[str, NDArray[Any]]) -> None:
    """Inverse of :func:`state_arrays`.

    Raises:
        CheckpointError: names or shapes differ; lists all.
    """
    try:
        model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    except RuntimeError as error:
        raise CheckpointError(f"weights do not fit the model: {error}") from error


def torch_model(config: SkillModelConfig, features: FeatureMap, action_dim: int, checkpoint: Checkpoint) -> SkillVae:
    """The model of a checkpoint, in evaluation mode."""
    model = SkillVae(config, features, action_dim)
    load_state_arrays(model, checkpoint.weights)
    return model.eval()
