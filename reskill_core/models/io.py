"""Models and optimisers to and from the arrays of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from reskill_core.checkpoint import Checkpoint
from reskill_core.errors import CheckpointError
from reskill_core.models.config import SkillModelConfig
from reskill_core.models.features import FeatureMap
from reskill_core.models.skill_vae import SkillVae

_OPTIMISER = "optimiser/"


def state_arrays(model: nn.Module) -> dict[str, NDArray[Any]]:
    """A model's parameters and buffers by name, as arrays of their own."""
    return {name: tensor.detach().numpy().copy() for name, tensor in model.state_dict().items()}


def load_state_arrays(model: nn.Module, weights: Mapping[str, NDArray[Any]]) -> None:
    """Inverse of :func:`state_arrays`.

    Raises:
        CheckpointError: names or shapes differ; lists all.
    """
    try:
        model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    except RuntimeError as error:
        raise CheckpointError(f"weights do not fit the model: {error}") from error


def optimiser_arrays(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, NDArray[Any]]:
    """The state of a model's optimiser, by the names of the parameters."""
    return {
        f"{_OPTIMISER}{name}/{key}": value.detach().numpy().copy()
        for name, parameter in model.named_parameters()
        for key, value in optimiser.state.get(parameter, {}).items()
    }


def load_optimiser_arrays(
    model: nn.Module, optimiser: torch.optim.Optimizer, arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Inverse of :func:`optimiser_arrays`; entries of other owners are left alone."""
    parameters = dict(model.named_parameters())
    for path, array in arrays.items():
        name, _, key = path.removeprefix(_OPTIMISER).rpartition("/")
        if path.startswith(_OPTIMISER) and name in parameters:
            optimiser.state[parameters[name]][key] = torch.from_numpy(np.array(array))


def torch_model(config: SkillModelConfig, features: FeatureMap, action_dim: int, checkpoint: Checkpoint) -> SkillVae:
    """The model of a checkpoint, in evaluation mode."""
    model = SkillVae(config, features, action_dim)
    load_state_arrays(model, checkpoint.weights)
    return model.eval()
