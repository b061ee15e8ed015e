"""Networks that learn, in numpy.

For networks of this size a library that records and differentiates any computation spends most of its time on doing so:
written out, an update takes a quarter of it. :mod:`reskill_core.runtime.networks` evaluates the same networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.models.config import LEAKY_SLOPE

FloatArray = NDArray[np.float32]

_SLOPE, _REST = np.float32(LEAKY_SLOPE), np.float32(LEAKY_SLOPE - 1.0)


class Parameters:
    """Named arrays that learn, each a view into one vector, so that what is done to all of them is done at once.

    Args:
        shapes: of the arrays.

    Attributes:
        vector: (P,) all values.
        gradient: (P,) of what is to become small.
        values: views into ``vector`` by name.
        gradients: views into ``gradient`` by name.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        size = sum(math.prod(shape) for shape in shapes.values())
        self.vector, self.gradient = np.zeros((2, size), np.float32)
        self.values, self.gradients = (_views(vector, shapes) for vector in (self.vector, self.gradient))


def mlp_shapes(sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Shapes of the parameters of an :class:`Mlp` with widths from input to output."""
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (inputs, outputs) in enumerate(pairwise(sizes)):
        shapes |= {f"linear.{index}.weight": (inputs, outputs), f"linear.{index}.bias": (outputs,)}
    return shapes


class Mlp:
    """Linear layers with LeakyReLU between them.

    Its output is zero everywhere at first; the layers before start uniformly within one over the root of their inputs.

    Args:
        parameters: with those of :func:`mlp_shapes`.
        rng: of the initial weights.
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
        self._inputs: list[FloatArray] = []

    def __call__(self, inputs: FloatArray) -> FloatArray:
        """(B, in) to (B, out); remembers what :meth:`backward` needs."""
        self._inputs = []
        outputs = inputs
        for index, (weight, bias, *_) in enumerate(self._layers):
            if index:
                outputs = np.maximum(outputs, outputs * _SLOPE, out=outputs)
            self._inputs.append(outputs)
            outputs = outputs @ weight
            outputs += bias
        return outputs

    def backward(self, gradient: FloatArray) -> None:
        """Gradients of all parameters, from the gradient (B, out) by the last outputs."""
        ones = np.ones(len(gradient), np.float32)
        for index in reversed(range(len(self._layers))):
            weight, _, weight_gradient, bias_gradient = self._layers[index]
            inputs = self._inputs[index]
            np.matmul(inputs.T, gradient, out=weight_gradient)
            np.matmul(ones, gradient, out=bias_gradient)
            if index:
                gradient = gradient @ weight.T
                # LeakyReLU keeps the sign: its slope where the output is negative, 1 elsewhere.
                slope = (inputs < 0) * _REST
                slope += 1
                gradient *= slope


class Adam:
    """Adam (Kingma and Ba 2015) on parameters, with gradients scaled down to a norm.

    Args:
        parameters: that learn.
        learning_rate: may be changed at any time.
    """

    DECAY, SQUARE_DECAY, EPSILON = 0.9, 0.999, 1e-5

    def __init__(self, parameters: Parameters, learning_rate: float) -> None:
        self._parameters, self.learning_rate = parameters, learning_rate
        self._mean, self._square = np.zeros((2, len(parameters.vector)), np.float32)
        self._steps = 0

    def step(self, gradient_norm: float) -> None:
        """Follow the gradient down, scaled to a norm if it is longer."""
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
        # Both averages started at zero; their shares of real gradients so far.
        mean_share, square_share = 1 - self.DECAY**self._steps, 1 - self.SQUARE_DECAY**self._steps
        size = np.sqrt(self._square)
        size *= np.float32(1 / math.sqrt(square_share))
        size += np.float32(self.EPSILON)
        np.divide(self._mean, size, out=size)
        size *= np.float32(self.learning_rate / mean_share)
        self._parameters.vector -= size

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs."""
        return {"mean": self._mean.copy(), "square": self._square.copy(), "steps": self._steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Inverse of :meth:`state`."""
        self._mean[:], self._square[:], self._steps = state["mean"], state["square"], state["steps"]


def _views(vector: FloatArray, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, FloatArray]:
    bounds = np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1]
    parts = np.split(vector, bounds)
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
