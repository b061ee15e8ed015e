"""Names of the contents of a skill module's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Keys of the checkpoint document, in addition to ``task``, which every kind has.
MODEL_KEY = "model"
NORMALISER_KEY = "normaliser"
# Only where features are more than those of a vector.
COLUMNS_KEY = "feature_columns"

# Prefix of weights that contain an exported graph as bytes.
GRAPHS = "graphs/"

Weights = Mapping[str, NDArray[Any]]


def model_weights(weights: Weights) -> dict[str, NDArray[Any]]:
    """Select the model's parameters and buffers from the weights of a checkpoint."""
    return {name: array for name, array in weights.items() if not name.startswith(GRAPHS)}


def graph_weights(weights: Weights) -> dict[str, NDArray[Any]]:
    """Select the exported graphs from the weights of a checkpoint."""
    return {name: array for name, array in weights.items() if name.startswith(GRAPHS)}


def packed_graphs(graphs: Mapping[str, bytes]) -> dict[str, NDArray[Any]]:
    """Convert graphs by name to weights of a checkpoint."""
    return {f"{GRAPHS}{name}": np.frombuffer(graph, np.uint8) for name, graph in graphs.items()}


def unpacked_graphs(weights: Weights) -> dict[str, bytes]:
    """Convert weights of a checkpoint back to graphs by name; other weights are ignored."""
    return {name.removeprefix(GRAPHS): array.tobytes() for name, array in graph_weights(weights).items()}
