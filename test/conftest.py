"""What all tests share: an isolated ROS graph, one thread for maths, and markers and time limits by folder."""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TextIO

import pytest
from hypothesis import HealthCheck, settings

TEST_FOLDER = Path(__file__).parent
# For a machine that has four times as much to do as it has cores: nothing that works comes near them on an idle one.
TIME_LIMITS_S = {"core": 120, "sim": 120, "node": 120, "launch": 180, "e2e": 600}

# Low numbers are what people use by hand; above 101, ports collide with those that the system hands out itself.
ROS_DOMAINS = range(20, 102)


def claim_ros_domain() -> tuple[int, TextIO]:
    """Finds a ROS domain that no other test process on this machine uses.

    Returns:
        The domain, and its locked file: the domain is taken for as long as that is open.
    """
    count = len(ROS_DOMAINS)
    for offset in range(count):
        domain = ROS_DOMAINS[(os.getpid() + offset) % count]
        try:
            lock = open(Path(tempfile.gettempdir()) / f"reskill-ros-domain-{domain}.lock", "w")  # noqa: SIM115 - stays open
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # taken by another process, or the file is another user's
            continue
        return domain, lock
    raise RuntimeError(f"all {count} ROS domains are in use by other test processes")


def is_jazzy() -> bool:
    """Whether this is ROS 2 Jazzy, from pip or installed."""
    if "ROS_DISTRO" in os.environ:
        return os.environ["ROS_DISTRO"] == "jazzy"
    return metadata.version("ros-fastdds").startswith("2.")


# Before anything imports numpy, torch or rclpy; the processes that tests start inherit it.
ros_domain, domain_lock = claim_ros_domain()
os.environ["ROS_DOMAIN_ID"] = str(ros_domain)
# Processes on this machine only, and not by shared memory: see the file.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SYSTEM_DEFAULT"
# The second name is that of Fast DDS 2, which ROS 2 Jazzy has.
profiles = "FASTRTPS_DEFAULT_PROFILES_FILE" if is_jazzy() else "FASTDDS_DEFAULT_PROFILES_FILE"
os.environ[profiles] = str(TEST_FOLDER / "support/fastdds.xml")
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
os.environ.setdefault("MUJOCO_GL", "egl")


# `nohup`, and shells that start something in the background, have these ignored, which processes would inherit that
# tests start and send them to. Ignored by a function, they are not.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


# How long an example takes says how busy the machine is.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_report_header() -> str:
    """Names the ROS domain, for looking at a hanging test from outside."""
    return f"ROS_DOMAIN_ID: {ros_domain}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks every test with its layer, the folder it is in, and gives it that layer's time limit if it has none."""
    for item in items:
        layer = item.path.relative_to(TEST_FOLDER).parts[0]
        item.add_marker(layer)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIME_LIMITS_S[layer]))


def pytest_collection_finish() -> None:
    """Keeps what is loaded by now out of garbage collections, which every graph of a test ends with."""
    gc.collect()
    gc.freeze()
