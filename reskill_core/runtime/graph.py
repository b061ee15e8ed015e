"""An exported network (ONNX), run by ONNX Runtime on one thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray


class Graph:
    """A network with named inputs and outputs.

    Args:
        content: the ONNX file.

    Attributes:
        inputs: names of the inputs.

    Raises:
        ValueError: it is none, or needs something that ONNX Runtime lacks.
    """

    def __init__(self, content: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # Networks for one robot take microseconds: waking a second thread takes longer.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # Its own exceptions have no common base but this.
            raise ValueError(f"not a network that ONNX Runtime can run: {error}") from error
        self.inputs = tuple(item.name for item in self._session.get_inputs())

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Outputs, in their order.

        Raises:
            ValueError: an input is missing or has another shape or type than the network takes.
        """
        try:
            outputs: list[NDArray[Any]] = self._session.run(None, inputs)
        except Exception as error:
            raise ValueError(f"the network cannot be run: {error}") from error
        return outputs
