"""Network of a state estimator in torch, and its loss; :mod:`reskill_core.runtime.estimator` acts with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from reskill_core.estimation.config import EstimatorConfig
from reskill_core.models.networks import Mlp


class MemberNetwork(nn.Module):
    """Recurrent network from normalised observations and last actions to corrections, at first zero.

    Args:
        inputs_dim: length O + K · A of the inputs of a step.
        obs_dim: length O of an observation.
        width: width of its layers and of its recurrent state.
    """

    def __init__(self, inputs_dim: int, obs_dim: int, width: int) -> None:
        super().__init__()
        self.input = Mlp((inputs_dim, width))
        self.recurrent = nn.GRU(width, width, batch_first=True)
        self.output = Mlp((2 * width, width, obs_dim), zero_last=True)

    def forward(self, inputs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map inputs (N, T, O + K · A) of T steps to corrections (N, T, O) and the last recurrent state (1, N, H)."""
        entered = functional.elu(self.input(inputs))
        remembered, hidden = self.recurrent(entered, hidden)
        return self.output(torch.cat([remembered, entered], dim=-1)), hidden


class EstimatorNetwork(nn.Module):
    """Ensemble of networks that learn the same.

    Args:
        config: configuration of the estimator.
        obs_dim: length O of an observation.
        action_dim: length A of an action.
    """

    def __init__(self, config: EstimatorConfig, obs_dim: int, action_dim: int) -> None:
        super().__init__()
        inputs_dim = obs_dim + config.actions * action_dim
        self.members = nn.ModuleList(MemberNetwork(inputs_dim, obs_dim, config.hidden) for _ in range(config.members))


def estimation_loss(corrections: Tensor, targets: Tensor, is_known: Tensor) -> Tensor:
    """Mean Huber loss of corrections (N, T, O) in the steps (N, T) whose target is known."""
    losses = functional.smooth_l1_loss(corrections, targets, reduction="none").mean(dim=-1)
    return (losses * is_known).sum() / is_known.sum().clamp(min=1)
