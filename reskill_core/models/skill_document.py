"""What a skill module's checkpoint stores, and under which names."""

from __future__ import annotations

# Keys of the checkpoint document beside ``task``, which every kind has.
MODEL_KEY = "model"
NORMALISER_KEY = "normaliser"
