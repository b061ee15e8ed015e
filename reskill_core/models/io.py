"""Conversion of models and optimisers to and from the arrays of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from reskill_core.checkpoint import Checkpoint
from reskill_core.config import config_from_dict, config_to_dict
from reskill_core.errors import CheckpointError
from reskill_core.models.config import SkillModelConfig
from reskill_core.models.feature_columns import columns_document, plain_columns
from reskill_core.models.registry import skill_model_kind
from reskill_core.models.skill_document import COLUMNS_KEY, MODEL_KEY, NORMALISER_KEY, model_weights, packed_graphs
from reskill_core.models.skill_model import SkillModel
from reskill_core.spec import TaskSpec

_OPTIMISER = "optimiser/"


def state_arrays(model: nn.Module) -> dict[str, NDArray[Any]]:
    """Copy a model's parameters and buffers to arrays by name."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in model.state_dict().items()}


def load_state_arrays(model: nn.Module, weights: Mapping[str, NDArray[Any]]) -> None:
    """Load the arrays of :func:`state_arrays` into a model.

    Raises:
        CheckpointError: names or shapes differ; lists all.
    """
    try:
        model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    except RuntimeError as error:
        raise CheckpointError(f"weights do not fit the model: {error}") from error


def optimiser_arrays(model: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, NDArray[Any]]:
    """Return the state of a model's optimiser, by parameter name."""
    return {
        f"{_OPTIMISER}{name}/{key}": value.detach().cpu().numpy().copy()
        for name, parameter in model.named_parameters()
        for key, value in optimiser.state.get(parameter, {}).items()
    }


def load_optimiser_arrays(
    model: nn.Module, optimiser: torch.optim.Optimizer, arrays: Mapping[str, NDArray[Any]]
) -> None:
    """Load the arrays of :func:`optimiser_arrays` into an optimiser; other entries are ignored."""
    parameters = dict(model.named_parameters())
    for path, array in arrays.items():
        name, _, key = path.removeprefix(_OPTIMISER).rpartition("/")
        if path.startswith(_OPTIMISER) and name in parameters:
            parameter = parameters[name]
            # As the optimiser keeps it, the number of steps remains on the CPU.
            device = torch.device("cpu") if key == "step" else parameter.device
            optimiser.state[parameter][key] = torch.from_numpy(np.array(array)).to(device)


def module_contents(model: SkillModel, task: TaskSpec) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return weights and document of a skill module's checkpoint; the trainer adds to the document.

    Raises:
        TrainingError: the model needs exported graphs for inference, and cannot be exported.
    """
    section = config_to_dict(model.config)
    weights = state_arrays(model)
    if not skill_model_kind(section).has_runtime:
        from reskill_core.models.graph_export import export_graphs

        weights |= packed_graphs(export_graphs(model, task))
    document = {"task": task.to_dict(), MODEL_KEY: section, NORMALISER_KEY: model.normaliser()}
    if model.feature_columns != plain_columns(model.feature_dim):
        document[COLUMNS_KEY] = columns_document(model.feature_columns)
    return weights, document


def torch_model(checkpoint: Checkpoint) -> SkillModel:
    """Load the model of a skill module's checkpoint, in evaluation mode.

    Raises:
        CheckpointError: it is incomplete, such as the skills in an agent's checkpoint, which lack the encoder.
    """
    model = _untrained(checkpoint)
    load_state_arrays(model, model_weights(checkpoint.weights))
    return model.eval()


def acting_model(checkpoint: Checkpoint) -> SkillModel:
    """Load the acting parts of a skill module's checkpoint, or of the skills in an agent's; the rest is untrained.

    Raises:
        CheckpointError: the weights do not fit the model.
    """
    model = _untrained(checkpoint)
    load_state_arrays(model, {**state_arrays(model), **model_weights(checkpoint.weights)})
    return model.eval()


def _untrained(checkpoint: Checkpoint) -> SkillModel:
    document = checkpoint.document
    config = config_from_dict(SkillModelConfig, document[MODEL_KEY], source=f"the model of {checkpoint.folder}")
    kind = skill_model_kind(document[MODEL_KEY])
    return kind.load_model().restored(config, checkpoint.task, document[NORMALISER_KEY])
