"""Relocation of the CMake packages of a pip-installed ROS 2 to this machine.

The ROS 2 wheels export CMake targets with the include folders of the machine that built the wheels
(`/opt/python/cp311-cp311/…`), and CMake refuses targets with folders that do not exist. This script replaces them by
the include folders of the running Python and its numpy. Running it again has no effect.
"""

import re
import sys
import sysconfig
from pathlib import Path

import numpy

BUILD_MACHINE_PYTHON = r"/opt/python/cp\d+-cp\d+"
NUMPY_INCLUDE = re.compile(BUILD_MACHINE_PYTHON + r"/lib/python[\d.]+/site-packages/numpy/(_core|core)/include")
PYTHON_INCLUDE = re.compile(BUILD_MACHINE_PYTHON + r"/include/python[\d.]+")


def relocate(prefix: Path) -> int:
    """Rewrite the exported targets below a prefix.

    Args:
        prefix: Installation prefix of the wheels: the root of the virtual environment.

    Returns:
        Number of files that were changed.
    """
    changed = 0
    for path in prefix.glob("share/*/cmake/*Export.cmake"):
        text = path.read_text()
        relocated = NUMPY_INCLUDE.sub(numpy.get_include(), text)
        relocated = PYTHON_INCLUDE.sub(sysconfig.get_path("include"), relocated)
        if relocated != text:
            path.write_text(relocated)
            changed += 1
    return changed


if __name__ == "__main__":
    print(f"relocated {relocate(Path(sys.prefix))} exported CMake targets")
