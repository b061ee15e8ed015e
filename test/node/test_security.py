"""F48: where security is asked for and cannot be had, nothing starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from geometry_msgs.msg import TwistStamped
from ros_graph import MakeGraph

UP = ["-m", "reskill_ros.graphs.process_launcher", "collect", "task:=block", "episodes:=1"]
NODES = [
    ["-m", f"reskill_ros.nodes.{name}"] for name in ("command_node", "policy_node", "sim_node", "observation_node")
]


def started(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command that ends by itself."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=100)


def assert_refused(process: subprocess.CompletedProcess[str], reason: str) -> None:
    assert process.returncode == 2, process.stderr
    assert process.stdout == ""
    error = process.stderr.splitlines()[-1]
    assert error.startswith("error: ROS_SECURITY_ENABLE is true, but ")
    assert reason in error
    assert "docs/safety.md" in error
    assert "Traceback" not in process.stderr


@pytest.mark.parametrize("arguments", [UP, *NODES], ids=lambda arguments: arguments[1])
def test_f48_without_a_keystore_nothing_starts(arguments: list[str], make_graph: MakeGraph) -> None:
    twists = make_graph().listen(TwistStamped, "command/twist")
    process = started(arguments, ROS_SECURITY_ENABLE="true", ROS_SECURITY_KEYSTORE="")
    assert_refused(process, "ROS_SECURITY_KEYSTORE names no keystore")
    assert not twists


@pytest.mark.skipif("ROS_DISTRO" in os.environ, reason="an installed ROS 2 may have a middleware with security")
@pytest.mark.parametrize("strategy", ["Permissive", "Enforce"])
@pytest.mark.parametrize("arguments", [UP, NODES[0]], ids=lambda arguments: arguments[1])
def test_f48_with_a_middleware_that_knows_no_security_nothing_starts(
    arguments: list[str], strategy: str, tmp_path: Path
) -> None:
    (tmp_path / "enclaves").mkdir()
    process = started(
        arguments,
        ROS_SECURITY_ENABLE="true",
        ROS_SECURITY_KEYSTORE=str(tmp_path),
        ROS_SECURITY_STRATEGY=strategy,
        # Where there is no such enclave, ROS 2 itself would go on unprotected.
        ROS_SECURITY_ENCLAVE_OVERRIDE="/nobody",
    )
    assert_refused(process, "the middleware cannot protect anything (error creating node: This Fast DDS version")
