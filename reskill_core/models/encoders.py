"""Encoders from the steps of a window to the parameters of its posterior."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reskill_core.models.config import EncoderConfig
from reskill_core.models.distributions import DiagonalGaussian
from reskill_core.models.networks import Mlp, soft_limit

# Limits the posterior's standard deviation to (e^-5, e^5): wide enough for any beta, and finite from the first step.
_LOG_STD_LIMIT = 5.0


def gaussian_of(parameters: Tensor) -> DiagonalGaussian:
    """Interpret the output (B, 2 Z) of an encoder as mean and log standard deviation."""
    mean, log_std = parameters.chunk(2, dim=-1)
    return DiagonalGaussian(mean, soft_limit(log_std, _LOG_STD_LIMIT))


class MlpEncoder(nn.Module):
    """Encoder from a flattened window to posterior parameters."""

    def __init__(self, config: EncoderConfig, step_dim: int, horizon: int, out_dim: int) -> None:
        super().__init__()
        self.net = Mlp((horizon * step_dim, *config.hidden, out_dim))

    def forward(self, steps: Tensor) -> Tensor:
        """Map (B, H, F + A) to (B, out)."""
        return self.net(steps.flatten(1))


class LstmEncoder(nn.Module):
    """Encoder from the last state of an LSTM over the window's steps to posterior parameters."""

    def __init__(self, config: EncoderConfig, step_dim: int, horizon: int, out_dim: int) -> None:
        super().__init__()
        width, *head = config.hidden
        self.lstm = nn.LSTM(step_dim, width, batch_first=True)
        self.head = Mlp((width, *head, out_dim))

    def forward(self, steps: Tensor) -> Tensor:
        """Map (B, H, F + A) to (B, out)."""
        return self.head(self.lstm(steps)[0][:, -1])


class ProcessingLstm(nn.Module):
    """Encoder by an LSTM with an embedding of each step and a learnt initial state, for any number of rows.

    The forget gates are biased to 1, so that early steps of a window reach its end from the start of the training.
    """

    def __init__(self, config: EncoderConfig, step_dim: int, horizon: int, out_dim: int) -> None:
        super().__init__()
        width, *head = config.hidden
        self.embed = nn.Linear(step_dim, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        with torch.no_grad():
            self.lstm.get_parameter("bias_hh_l0")[width : 2 * width] = 1.0
        self.initial = nn.Parameter(torch.zeros(2, 1, width))
        self.head = Mlp((width, *head, out_dim))

    def forward(self, steps: Tensor) -> Tensor:
        """Map (B, H, F + A) to (B, out)."""
        hidden, cell = torch.split(self.initial.expand(-1, len(steps), -1).contiguous(), 1)
        return self.head(self.lstm(self.embed(steps), (hidden, cell))[0][:, -1])


ENCODERS: dict[str, type[MlpEncoder] | type[LstmEncoder]] = {"mlp": MlpEncoder, "lstm": LstmEncoder}
