"""Smoke test of the learning side as installed by pip, without checkout and ROS 2. Run by `make smoke`."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import reskill_core
import reskill_sim
from reskill_core.resources import config_folder

INSTALLATION = Path(reskill_core.__file__).parents[1]


def main() -> int:
    """Check the locations of the packages, then start the command line."""
    checkout = Path(__file__).resolve().parents[1]
    print(f"installation: {INSTALLATION.relative_to(checkout)}")
    print(f"simulator:    {Path(reskill_sim.__file__).relative_to(INSTALLATION)}")
    print(f"config:       {config_folder().relative_to(INSTALLATION)}")
    if find_spec("reskill_ros") is not None:
        print("reskill_ros is importable, so this does not show that nothing else needs it", file=sys.stderr)
        return 1
    return subprocess.run([sys.executable, "-m", "reskill_sim.cli.main", "list"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
