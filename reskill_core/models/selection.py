"""Named columns of features, and networks' views of some of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from reskill_core.models.feature_columns import Columns


class Selection(nn.Module):
    """Columns of the features that a network sees, side by side in the order of the features.

    Args:
        feature_dim: length F of the features.
        spans: first column and last column + 1 of each piece.
    """

    def __init__(self, feature_dim: int, spans: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self._feature_dim, self.spans = feature_dim, _merged(spans)

    @classmethod
    def all(cls, feature_dim: int) -> Selection:
        """Select all columns."""
        return cls(feature_dim, [(0, feature_dim)])

    @classmethod
    def named(cls, feature_dim: int, columns: Columns, names: Sequence[str] | None) -> Selection:
        """Select columns by name; None selects all of ``columns``."""
        return cls(feature_dim, [columns[name] for name in (columns if names is None else names)])

    @property
    def dim(self) -> int:
        """Number of selected columns."""
        return sum(stop - start for start, stop in self.spans)

    def forward(self, features: Tensor) -> Tensor:
        """Map features (..., F) to the selected columns (..., dim)."""
        if self.spans == ((0, self._feature_dim),):
            return features
        pieces = [features[..., start:stop] for start, stop in self.spans] or [features[..., :0]]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=-1)


def _merged(spans: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return tuple(merged)
