"""Exported networks (ONNX), run by ONNX Runtime on one thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray


class Graph:
    """Network with named inputs and outputs.

    Args:
        content: contents of the ONNX file.

    Attributes:
        inputs: names of the inputs.

    Raises:
        ValueError: it is not an ONNX file, or ONNX Runtime does not support it.
    """

    def __init__(self, content: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Networks for one robot take microseconds, less than waking a second thread.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # Its own exceptions have no common base but this.
            raise ValueError(f"not a network that ONNX Runtime can run: {error}") from error
        self.inputs = tuple(item.name for item in self._session.get_inputs())

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Evaluate the network; returns its outputs in order.

        Raises:
            ValueError: an input is missing or has a wrong shape or type.
        """
        try:
            outputs: list[NDArray[Any]] = self._session.run(None, inputs)
        except Exception as error:
            raise ValueError(f"the network cannot be run: {error}") from error
        return outputs
