"""Decoders from features and latents to actions in [-1, 1]: closed loop, and open loop by an LSTM.

All outputs pass through tanh, in training as in acting: what is executed is what was fitted to the labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reskill_core.models.config import Norm
from reskill_core.models.networks import Mlp
from reskill_core.models.selection import Selection
from reskill_core.models.skill_model import SkillDecoder


class ClosedLoopDecoder(Mlp, SkillDecoder):
    """Decoder from features and latent to actions in every step; its state is the latent, and the time if it sees it.

    Args:
        feature_dim: length F of the features.
        latent_dim: length Z of the latent.
        hidden: widths of the hidden layers.
        action_dim: number A of action components.
        norm: see :class:`~reskill_core.models.networks.Mlp`.
        seen: columns of the features that it sees; all by default.
        clock: steps of a skill, if it sees the time since its beginning, from 0 to 1; 0 if not.
    """

    def __init__(
        self,
        feature_dim: int,
        latent_dim: int,
        hidden: Sequence[int],
        action_dim: int,
        norm: Norm = "batch",
        seen: Selection | None = None,
        clock: int = 0,
    ) -> None:
        seen = Selection.all(feature_dim) if seen is None else seen
        super().__init__((seen.dim + latent_dim + bool(clock), *hidden, action_dim), norm=norm)
        self._state_dim, self._seen, self._clock = latent_dim + bool(clock), seen, clock

    @property
    def state_dim(self) -> int:
        """See :class:`SkillDecoder`."""
        return self._state_dim

    def begin(self, features: Tensor, latent: Tensor) -> Tensor:
        """See :class:`SkillDecoder`."""
        return torch.cat((latent, torch.zeros_like(latent[:, :1])), dim=-1) if self._clock else latent

    def act(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`SkillDecoder`."""
        action = torch.tanh(self(torch.cat((self._seen(features), state), dim=-1)))
        if not self._clock:
            return action, state
        # In skills that are longer than those in training, time stands still at the end.
        time = (state[:, -1:] + 1 / self._clock).clamp(max=1.0)
        return action, torch.cat((state[:, :-1], time), dim=-1)

    def window(self, features: Tensor, latent: Tensor) -> Tensor:
        """See :class:`SkillDecoder`; all steps at once, as one batch for batch normalisation."""
        steps = features.shape[1]
        state = latent[:, None].expand(-1, steps, -1)
        if self._clock:
            time = torch.arange(steps, device=latent.device, dtype=latent.dtype) / self._clock
            state = torch.cat((state, time.clamp(max=1.0)[:, None].expand(len(latent), -1, 1)), dim=-1)
        return torch.tanh(self(torch.cat((self._seen(features), state), dim=-1)))


class OpenLoopDecoder(nn.Module, SkillDecoder):
    """Predicting LSTM: each action follows from the previous one and the latent, without looking again.

    Only the first observation counts, from which the initial state of the LSTM and the input of its first step are
    computed. The state holds latent, previous action, hidden layer and cell.

    Args:
        feature_dim: length F of the features.
        latent_dim: length Z of the latent.
        hidden: width of the LSTM, then the widths of the hidden layers that compute its initial state.
        action_dim: number A of action components.
        seen: columns of the features that it sees; all by default.
    """

    def __init__(
        self,
        feature_dim: int,
        latent_dim: int,
        hidden: Sequence[int],
        action_dim: int,
        seen: Selection | None = None,
    ) -> None:
        super().__init__()
        width, *initial = hidden
        self._seen = Selection.all(feature_dim) if seen is None else seen
        self._sizes = (latent_dim, action_dim, width, width)
        self.initial = Mlp((self._seen.dim + latent_dim, *initial, action_dim + 2 * width))
        # An LSTM's step by hand: torch's own cell has no graph.
        self.gates = nn.Linear(latent_dim + action_dim + width, 4 * width)
        with torch.no_grad():
            self.gates.bias[width : 2 * width] = 1.0
        self.head = nn.Linear(width, action_dim)

    @property
    def state_dim(self) -> int:
        """See :class:`SkillDecoder`."""
        return sum(self._sizes)

    def begin(self, features: Tensor, latent: Tensor) -> Tensor:
        """See :class:`SkillDecoder`."""
        return torch.cat((latent, torch.tanh(self.initial(torch.cat((self._seen(features), latent), dim=-1)))), dim=-1)

    def act(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`SkillDecoder`."""
        latent, _, _, cell = state.split(self._sizes, dim=-1)
        inputs = state[:, : sum(self._sizes[:3])]
        enter, forget, new, leave = self.gates(inputs).chunk(4, dim=-1)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(enter) * torch.tanh(new)
        hidden = torch.sigmoid(leave) * torch.tanh(cell)
        action = torch.tanh(self.head(hidden))
        return action, torch.cat((latent, action, hidden, cell), dim=-1)
