"""What a skill module's checkpoint stores, and under which names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Keys of the checkpoint document beside ``task``, which every kind has.
MODEL_KEY = "model"
NORMALISER_KEY = "normaliser"

# Prefix of the weights that hold an exported graph each, as bytes.
GRAPHS = "graphs/"

Weights = Mapping[str, NDArray[Any]]


def model_weights(weights: Weights) -> dict[str, NDArray[Any]]:
    """Parameters and buffers of the model, of all weights of a checkpoint."""
    return {name: array for name, array in weights.items() if not name.startswith(GRAPHS)}


def graph_weights(weights: Weights) -> dict[str, NDArray[Any]]:
    """Exported graphs, of all weights of a checkpoint."""
    return {name: array for name, array in weights.items() if name.startswith(GRAPHS)}


def packed_graphs(graphs: Mapping[str, bytes]) -> dict[str, NDArray[Any]]:
    """Graphs by name as weights of a checkpoint."""
    return {f"{GRAPHS}{name}": np.frombuffer(graph, np.uint8) for name, graph in graphs.items()}


def unpacked_graphs(weights: Weights) -> dict[str, bytes]:
    """Inverse of :func:`packed_graphs`; other weights are left out."""
    return {name.removeprefix(GRAPHS): array.tobytes() for name, array in graph_weights(weights).items()}
