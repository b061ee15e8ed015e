"""Networks of soft actor-critic in torch; :mod:`reskill_core.rl.sac_actor` evaluates the policy in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from reskill_core.models.distributions import DiagonalGaussian
from reskill_core.models.networks import Mlp, soft_limit


def flattened(network: nn.Module) -> Tensor:
    """Make a network's parameters views into one vector (P,), so that operations on all of them are single ones."""
    parameters = list(network.parameters())
    vector = torch.cat([parameter.detach().ravel() for parameter in parameters])
    for parameter, values in zip(parameters, vector.split([p.numel() for p in parameters]), strict=True):
        parameter.data = values.view_as(parameter)
    return vector


class Descent:
    """Gradient descent by Adam (Kingma and Ba 2015) on a network, with gradients clipped by their norm.

    Args:
        network: the network, on its device.
        learning_rate: learning rate.
        gradient_norm: largest norm of a gradient.

    Attributes:
        vector: (P,) all parameters of the network; see :func:`flattened`.
    """

    def __init__(self, network: nn.Module, learning_rate: float, gradient_norm: float) -> None:
        self._parameters, self._gradient_norm = list(network.parameters()), gradient_norm
        self.vector = flattened(network)
        self._gradient = torch.zeros_like(self.vector)
        for parameter, gradient in zip(
            self._parameters, self._gradient.split([p.numel() for p in self._parameters]), strict=True
        ):
            parameter.grad = gradient.view_as(parameter)
        leaf = nn.Parameter(self.vector)
        leaf.grad = self._gradient
        self._learning_rate = learning_rate
        self._optimiser = torch.optim.Adam([leaf], learning_rate, fused=True)
        # The state before the first step, which otherwise would not exist yet.
        self._moments = {name: torch.zeros_like(self.vector) for name in ("exp_avg", "exp_avg_sq")}
        self._moments["step"] = torch.zeros((), device=self.vector.device)
        self._optimiser.state[leaf] = self._moments

    def step(self, loss: Tensor, rate: float = 1.0) -> None:
        """Take a step down the gradient of a loss, with a factor on the learning rate."""
        self._gradient.zero_()
        loss.backward(inputs=self._parameters)
        norm = torch.linalg.vector_norm(self._gradient)
        self._gradient.mul_((self._gradient_norm / norm.clamp(min=1e-12)).clamp(max=1.0))
        self._optimiser.param_groups[0]["lr"] = rate * self._learning_rate
        self._optimiser.step()

    def tensors(self) -> dict[str, Tensor]:
        """Return parameters and state of the optimiser by name, all one-dimensional."""
        return {"vector": self.vector, **{name: tensor.view(-1) for name, tensor in self._moments.items()}}


class Policy(nn.Module):
    """Diagonal Gaussian over decisions, whose mean and standard deviation depend on the features.

    It is initialised to N(0, initial std) everywhere, exactly. Mean and log standard deviation are bounded smoothly.

    Args:
        columns: (K,) indices of the features that it sees, in ascending order.
        hidden: widths of the hidden layers.
        decisions: length D of a decision.
        mean_limit: means are in (-limit, limit).
        log_std_range: lowest, initial and highest log standard deviation.
    """

    columns: Tensor

    def __init__(
        self,
        columns: Sequence[int],
        hidden: Sequence[int],
        decisions: int,
        mean_limit: float,
        log_std_range: tuple[float, float, float],
    ) -> None:
        super().__init__()
        self.register_buffer("columns", torch.tensor(columns), persistent=False)
        self.net = Mlp((len(columns), *hidden, 2 * decisions), zero_last=True)
        self.decisions, self.mean_limit, self.log_std_range = decisions, mean_limit, log_std_range

    def forward(self, features: Tensor) -> DiagonalGaussian:
        """Return the distributions at features (B, F)."""
        free_mean, free_log_std = self.net(features[:, self.columns]).chunk(2, dim=-1)
        low, initial, high = self.log_std_range
        log_std = initial + torch.where(
            free_log_std > 0, soft_limit(free_log_std, high - initial), soft_limit(free_log_std, initial - low)
        )
        return DiagonalGaussian(soft_limit(free_mean, self.mean_limit), log_std)


class Critics(nn.Module):
    """Independent estimates Q(inputs, decision), each by its own network.

    Layer normalisation keeps estimates from growing outside the data (Ball et al. 2023).

    Args:
        count: number C of critics.
        columns: (K,) indices of the inputs that they see.
        decisions: length D of a decision.
        hidden: widths of the hidden layers.
        layer_norm: whether hidden layers are normalised.
    """

    columns: Tensor

    def __init__(
        self, count: int, columns: Sequence[int], decisions: int, hidden: Sequence[int], layer_norm: bool
    ) -> None:
        super().__init__()
        self.register_buffer("columns", torch.tensor(columns), persistent=False)
        sizes = (len(columns) + decisions, *hidden, 1)
        self.each = nn.ModuleList(_Critic(sizes, layer_norm) for _ in range(count))

    def forward(self, inputs: Tensor, decision: Tensor) -> Tensor:
        """Return (C, B) values of decisions (B, D) at features, and what is privileged, (B, F + P)."""
        seen = torch.cat((inputs[:, self.columns], decision), dim=-1)
        return torch.stack([critic(seen) for critic in self.each])


class _Critic(nn.Module):
    def __init__(self, sizes: Sequence[int], layer_norm: bool) -> None:
        super().__init__()
        self.linear = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in pairwise(sizes))
        self.norm = nn.ModuleList(nn.LayerNorm(size) for size in sizes[1:-1] if layer_norm)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = inputs
        for index, linear in enumerate(self.linear[:-1]):
            hidden = linear(hidden)
            if self.norm:
                hidden = self.norm[index](hidden)
            hidden = functional.relu(hidden)
        return self.linear[-1](hidden)[:, 0]
