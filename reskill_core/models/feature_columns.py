"""Names of feature columns: which part of an observation each of them belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reskill_core.spec.observations import VECTOR

# Name of a part of the observation (``vector``, one of its terms, or an image), to first column and last column + 1.
Columns = Mapping[str, tuple[int, int]]


def plain_columns(feature_dim: int) -> Columns:
    """Return the columns of features that all belong to the vector."""
    return {VECTOR: (0, feature_dim)}


def columns_document(columns: Columns) -> dict[str, list[int]]:
    """Convert columns to a document for a checkpoint."""
    return {name: list(span) for name, span in columns.items()}


def columns_from(document: Any, feature_dim: int) -> Columns:
    """Read the columns of a checkpoint's document; all belong to the vector if it has none.

    Raises:
        ValueError: they do not fit the features.
    """
    if document is None:
        return plain_columns(feature_dim)
    columns = {str(name): (int(start), int(stop)) for name, (start, stop) in document.items()}
    if wrong := [name for name, (start, stop) in columns.items() if not 0 <= start <= stop <= feature_dim]:
        raise ValueError(f"feature columns {', '.join(wrong)} are outside the {feature_dim} features")
    return columns
