"""Security of the middleware (SROS 2): programs refuse to start if it is enabled but unavailable.

ROS 2 itself continues unprotected without a keystore, and fails with a message that names no remedy if its middleware
was built without security, as in the wheels.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from reskill_core.errors import ReskillError

ENABLE, KEYSTORE = "ROS_SECURITY_ENABLE", "ROS_SECURITY_KEYSTORE"
_ADVICE = f'unset {ENABLE} to go on without, or see "Access to the network" in docs/safety.md'


class SecurityError(ReskillError):
    """Security is enabled but unavailable."""


def require_security() -> None:
    """Check that messages are protected if ``ROS_SECURITY_ENABLE`` is set.

    Raises:
        SecurityError: there is no keystore, or the middleware does not support security.
    """
    # As in rcl: no other value enables security.
    if os.environ.get(ENABLE) != "true":
        return
    keystore = os.environ.get(KEYSTORE, "")
    if not keystore or not (Path(keystore) / "enclaves").is_dir():
        raise SecurityError(
            f"{ENABLE} is true, but {KEYSTORE} names no keystore (now {keystore!r}): nothing would be protected; "
            f"name a folder that `ros2 security create_keystore` made, {_ADVICE}"
        )
    fault = _middleware_fault()
    if fault:
        raise SecurityError(f"{ENABLE} is true, but the middleware cannot protect anything ({fault}); {_ADVICE}")


def _middleware_fault() -> str:
    """Return the middleware's error for an enclave; empty if it supports security."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "enclaves").mkdir()
        enclave = {KEYSTORE: folder, "ROS_SECURITY_STRATEGY": "Permissive", "ROS_SECURITY_ENCLAVE_OVERRIDE": "/"}
        context = Context()
        with _environment(enclave):
            quiet = ["--ros-args", "--log-level", "error"]
            rclpy.init(args=quiet, context=context, signal_handler_options=SignalHandlerOptions.NO)
            try:
                Node("security_probe", context=context, enable_rosout=False).destroy_node()
            except RuntimeError as error:
                return str(error).splitlines()[0]
            finally:
                context.try_shutdown()
    return ""


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables temporarily."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
