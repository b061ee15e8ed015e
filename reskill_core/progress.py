"""Progress bars of long work, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

_TERMINAL_INTERVAL_S = 0.2
_LOG_INTERVAL_S = 15.0


def progress_bar(iterable: Iterable[Any] | None = None, *, shown: bool = True, **options: Any) -> tqdm:
    """Create a ``tqdm`` bar that is live in a terminal and rarely updated in a log file.

    Args:
        iterable: the iterable, as for ``tqdm``.
        shown: whether to draw it.
        options: further options of ``tqdm``.
    """
    interval_s = _TERMINAL_INTERVAL_S if sys.stderr.isatty() else _LOG_INTERVAL_S
    return tqdm(iterable, disable=not shown, mininterval=interval_s, **options)
