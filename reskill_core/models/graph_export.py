"""Export of a skill model to ONNX graphs, for inference without torch and in any language.

========  ============================================  ==========================
graph     inputs                                        outputs
========  ============================================  ==========================
features  vector (N, O), images (N, stack, H, W, C)     features (N, F)
begin     features (N, F), latent (N, Z)                state (N, S)
act       features (N, F), state (N, S)                 action (N, A), following (N, S)
prior     noise (N, Z), features (N, F)                 latent (N, Z)
========  ============================================  ==========================

``prior`` is missing if the skill prior is not a map from noise.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reskill_core.errors import TrainingError
from reskill_core.models.distributions import NoiseMapped
from reskill_core.models.skill_model import SkillModel
from reskill_core.runtime.graph import Graph
from reskill_core.spec import TaskSpec
from reskill_core.spec.observations import VECTOR

_ROWS = 3
# Tolerance between a graph and its model, which both compute in float32.
_TOLERANCE = 1e-4


def export_graphs(model: SkillModel, task: TaskSpec) -> dict[str, bytes]:
    """Export the graphs of a model, and compare each with the model on random inputs.

    Raises:
        TrainingError: a part cannot be exported, or its graph differs from the model, for example because of Python
            branches on values of tensors.
    """
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(0)
            return _exported(model, task)
    finally:
        model.train(was_training)


def _exported(model: SkillModel, task: TaskSpec) -> dict[str, bytes]:
    vector = torch.randn(_ROWS, task.obs.dim)
    images = {image.name: torch.randint(0, 256, (_ROWS, *image.shape), dtype=torch.uint8) for image in task.obs.images}
    names = (VECTOR, *images)

    def features_of(*parts: Tensor) -> Tensor:
        return model.features(dict(zip(names, parts, strict=True)) if images else parts[0])

    def latent_of(noise: Tensor, features: Tensor) -> Tensor:
        prior = model.prior_of(features)
        assert isinstance(prior, NoiseMapped)
        return prior.from_noise(noise)

    features = features_of(vector, *images.values())
    latent = torch.randn(_ROWS, model.config.latent_dim)
    state = model.decoder.begin(features, latent)
    graphs = {
        "features": export_graph(model, features_of, {VECTOR: vector, **images}, ("features",)),
        "begin": export_graph(model, model.decoder.begin, {"features": features, "latent": latent}, ("state",)),
        "act": export_graph(model, model.decoder.act, {"features": features, "state": state}, ("action", "following")),
    }
    if isinstance(model.prior_of(features), NoiseMapped):
        graphs["prior"] = export_graph(model, latent_of, {"noise": latent, "features": features}, ("latent",))
    return graphs


class _Part(nn.Module):
    """Function of a model, as a module with the model's parameters."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model, self._function = model, function

    def forward(self, *inputs: Tensor) -> Any:
        return self._function(*inputs)


def export_graph(
    model: nn.Module, function: Callable[..., Any], inputs: Mapping[str, Tensor], outputs: tuple[str, ...]
) -> bytes:
    """Export a function of a module's parameters as an ONNX graph, and compare both on the inputs.

    Args:
        model: module with the parameters.
        function: function from tensors, with one row per place, to tensors.
        inputs: example inputs by name, in the order of the function's arguments, with more than one row.
        outputs: names of the outputs.

    Raises:
        TrainingError: the function cannot be exported, or its graph differs from it.
    """
    part = _Part(model, function).eval()
    try:
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "graph.onnx"
            # The tracing exporter takes a hundredth of the time of its successor; its warnings recommend that one.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                part,
                tuple(inputs.values()),
                str(file),
                dynamo=False,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_axes={name: {0: "N"} for name in (*inputs, *outputs)},
            )
            graph = file.read_bytes()
        _compare(type(model).__name__, graph, part, inputs, outputs)
    except TrainingError:
        raise
    except Exception as error:  # The exporter has many, without a common base.
        raise TrainingError(
            f"the part of {type(model).__name__} that gives {outputs[0]} has no graph: {error}"
        ) from error
    return graph


def _compare(name: str, graph: bytes, part: nn.Module, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> None:
    session = Graph(graph)
    # Compare with a different number of rows than in the trace, and with values of both signs.
    for sign in (1, -1):
        other = {
            key: tensor[1:] if tensor.dtype == torch.uint8 else sign * tensor[1:] for key, tensor in inputs.items()
        }
        expected = part(*other.values())
        found = session.run({key: other[key].numpy() for key in session.inputs})
        _require_same(name, outputs, found, expected if isinstance(expected, tuple) else (expected,))


def _require_same(
    name: str, outputs: tuple[str, ...], found: Sequence[NDArray[Any]], expected: tuple[Tensor, ...]
) -> None:
    for output, mine, theirs in zip(outputs, found, expected, strict=True):
        if mine.shape != tuple(theirs.shape) or not np.allclose(mine, theirs.numpy(), rtol=_TOLERANCE, atol=_TOLERANCE):
            raise TrainingError(
                f"the exported graph of {name} gives another {output} than the model does: what it computes must be "
                "the same operations whatever the values and the number of rows"
            )
