"""Trainable networks in numpy, with explicit gradients.

For networks of this size automatic differentiation spends most of its time on overhead: with explicit gradients an
update takes a quarter of the time. :mod:`reskill_core.runtime.networks` evaluates the same networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from reskill_core.arrays import Float32Array
from reskill_core.models.config import LEAKY_SLOPE

_SLOPE, _REST = np.float32(LEAKY_SLOPE), np.float32(LEAKY_SLOPE - 1.0)


class Parameters:
    """Named trainable arrays, as views into one vector, so that operations on all of them are vectorised.

    Args:
        shapes: shapes of the arrays by name.

    Attributes:
        vector: (P,) all values.
        gradient: (P,) gradient of the loss.
        values: views into ``vector`` by name.
        gradients: views into ``gradient`` by name.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        size = sum(math.prod(shape) for shape in shapes.values())
        self.vector, self.gradient = np.zeros((2, size), np.float32)
        self.values, self.gradients = (_views(vector, shapes) for vector in (self.vector, self.gradient))


def mlp_shapes(sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the parameters of an :class:`Mlp`, given its widths from input to output."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        shapes |= {f"linear.{index}.weight": (inputs, outputs), f"linear.{index}.bias": (outputs,)}
    return shapes


class Mlp:
    """Linear layers with LeakyReLU between them.

    The last layer is initialised to zero, the others uniformly within one over the square root of their inputs.

    Args:
        parameters: parameters that include those of :func:`mlp_shapes`.
        rng: generator of the initial weights.
    """

    def __init__(self, parameters: Parameters, rng: np.random.Generator) -> None:
        values, gradients = parameters.values, parameters.gradients
        weights = [name for name in values if name.endswith(".weight")]
        biases = [name.removesuffix("weight") + "bias" for name in weights]
        self._layers = [
            (values[w], values[b], gradients[w], gradients[b]) for w, b in zip(weights, biases, strict=True)
        ]
        for weight, bias, *_ in self._layers[:-1]:
            bound = 1.0 / math.sqrt(len(weight))
            for array in (weight, bias):
                array[:] = rng.uniform(-bound, bound, array.shape)
        self._inputs: list[Float32Array] = []

    def __call__(self, inputs: Float32Array) -> Float32Array:
        """Map (B, in) to (B, out), and store activations for :meth:`backward`."""
        self._inputs = []
        outputs = inputs
        for index, (weight, bias, *_) in enumerate(self._layers):
            if index:
                outputs = np.maximum(outputs, outputs * _SLOPE, out=outputs)
            self._inputs.append(outputs)
            outputs = outputs @ weight
            outputs += bias
        return outputs

    def backward(self, gradient: Float32Array) -> None:
        """Compute the gradients of all parameters, given the gradient (B, out) of the last outputs."""
        ones = np.ones(len(gradient), np.float32)
        for index in reversed(range(len(self._layers))):
            weight, _, weight_gradient, bias_gradient = self._layers[index]
            inputs = self._inputs[index]
            np.matmul(inputs.T, gradient, out=weight_gradient)
            np.matmul(ones, gradient, out=bias_gradient)
            if index:
                gradient = gradient @ weight.T
                # LeakyReLU preserves the sign, so its slope follows from the sign of the output.
                slope = (inputs < 0) * _REST
                slope += 1
                gradient *= slope


class Adam:
    """Adam optimiser (Kingma and Ba 2015) with gradient clipping by norm.

    Args:
        parameters: parameters to optimise.
        learning_rate: learning rate; may be changed at any time.
    """

    DECAY, SQUARE_DECAY, EPSILON = 0.9, 0.999, 1e-5

    def __init__(self, parameters: Parameters, learning_rate: float) -> None:
        self._parameters, self.learning_rate = parameters, learning_rate
        self._mean, self._square = np.zeros((2, len(parameters.vector)), np.float32)
        self._steps = 0

    def step(self, gradient_norm: float) -> None:
        """Take an optimisation step, with the gradient clipped to a norm."""
        gradient = self._parameters.gradient
        norm = math.sqrt(float(gradient @ gradient))
        if norm > gradient_norm:
            gradient *= np.float32(gradient_norm / norm)
        self._steps += 1
        self._mean *= np.float32(self.DECAY)
        self._mean += gradient * np.float32(1 - self.DECAY)
        self._square *= np.float32(self.SQUARE_DECAY)
        gradient *= gradient
        gradient *= np.float32(1 - self.SQUARE_DECAY)
        self._square += gradient
        # Bias correction: both averages are initialised to zero.
        mean_share, square_share = 1 - self.DECAY**self._steps, 1 - self.SQUARE_DECAY**self._steps
        size = np.sqrt(self._square)
        size *= np.float32(1 / math.sqrt(square_share))
        size += np.float32(self.EPSILON)
        np.divide(self._mean, size, out=size)
        size *= np.float32(self.learning_rate / mean_share)
        self._parameters.vector -= size

    def state(self) -> dict[str, Any]:
        """Return the state for :meth:`restore`."""
        return {"mean": self._mean.copy(), "square": self._square.copy(), "steps": self._steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore a saved :meth:`state`."""
        self._mean[:], self._square[:], self._steps = state["mean"], state["square"], state["steps"]


def _views(vector: Float32Array, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Float32Array]:
    bounds = np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1]
    parts = np.split(vector, bounds)
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
