"""Whether the installed gymnasium-robotics runs with the installed MuJoCo."""

from __future__ import annotations

import mujoco

# First MuJoCo version with which the MuJoCo environments of gymnasium-robotics 1.4 fail, since joint types changed.
_STOCK_BELOW = (3, 12)


def stock_fault() -> str:
    """Return why the stock environments of gymnasium-robotics do not run here; empty if they do."""
    if tuple(map(int, mujoco.__version__.split(".")[:2])) < _STOCK_BELOW:
        return ""
    return f"the environments of gymnasium-robotics fail with MuJoCo from 3.12 on, this is {mujoco.__version__}"
