"""What an agent remembers of the last control steps, as inputs of its networks beside the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reskill_core.arrays import Float32Array, IntArray
from reskill_core.models.config import MemoryConfig


class Memory:
    """Last actions and features in N places, newest first.

    At the start of an episode the actions are zero, and the remembered features are the first ones.

    Args:
        config: what is remembered.
        features_dim: length F of the features.
        action_dim: length A of an action.

    Attributes:
        config: as given.
        dim: length of what is remembered.
    """

    def __init__(self, config: MemoryConfig, features_dim: int, action_dim: int) -> None:
        self.config, self._sizes = config, (features_dim, action_dim)
        self.dim = config.actions * action_dim + config.features * features_dim
        self.start(0)

    def start(self, count: int) -> None:
        """Start episodes in ``count`` places."""
        features_dim, action_dim = self._sizes
        self._actions = np.zeros((count, self.config.actions, action_dim), np.float32)
        self._features = np.zeros((count, self.config.features, features_dim), np.float32)
        self._is_new = np.ones(count, np.bool_)

    def reset(self, places: IntArray) -> None:
        """Start episodes in some places."""
        self._actions[places] = 0.0
        self._is_new[places] = True

    def extended(self, features: Float32Array, places: IntArray) -> Float32Array:
        """Append what is remembered in n places to their features: (…, F) to (…, F + dim)."""
        current = features.reshape(len(places), 1, -1)
        earlier = np.where(self._is_new[places, None, None], current, self._features[places])
        parts = [part.reshape(len(places), -1) for part in (self._actions[places], earlier)]
        remembered = np.concatenate(parts, axis=1)
        return np.concatenate([features, remembered.reshape(*features.shape[:-1], self.dim)], axis=-1, dtype=np.float32)

    def plain(self, features: Float32Array) -> Float32Array:
        """Return extended features without what is remembered."""
        return features[..., : self._sizes[0]]

    def remember(self, features: Float32Array, actions: Float32Array, places: IntArray) -> None:
        """Take the plain features (…, F) and the actions (n, A) of a control step."""
        current = features.reshape(len(places), 1, -1)
        earlier = np.where(self._is_new[places, None, None], current, self._features[places])
        self._features[places] = np.concatenate([current, earlier], axis=1)[:, : self.config.features]
        self._actions[places] = np.concatenate([actions[:, None], self._actions[places]], 1)[:, : self.config.actions]
        self._is_new[places] = False

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the state for :meth:`restore`."""
        kept = {"memory_actions": self._actions, "memory_features": self._features, "memory_is_new": self._is_new}
        return {name: array.copy() for name, array in kept.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore a saved :meth:`state`; other entries are ignored."""
        self._actions, self._features = (np.array(state[f"memory_{name}"]) for name in ("actions", "features"))
        self._is_new = np.array(state["memory_is_new"])
