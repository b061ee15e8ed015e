"""The main function of every node: parse, run in a single thread, end cleanly on SIGINT and SIGTERM."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from reskill_core.errors import ReskillError
from reskill_ros.executor import DirectExecutor
from reskill_ros.params import report_unknown_parameters
from reskill_ros.security import SecurityError, require_security

_SIGNALS = {signal.SIGINT, signal.SIGTERM}
# A callback that does not return within this time after a signal is given up on, and the process with it.
_GRACE_S = 1.5


def run(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Build a node and run it until a signal arrives or the node has finished.

    A node that ends by itself has an attribute ``done``, a Future whose result is the exit code; one that may have
    failed at something without ending for it has an attribute ``exit_code``, asked for at the end. A node may have a
    method ``on_callback_error(error)``: then an exception in a callback is given to it and the node goes on, so
    that it can make its robot safe and stay diagnosable; without it the process ends.

    Args:
        make_node: builds the node, after ROS has been initialised.
        args: command line without the program name, by default that of the process.

    Returns:
        The exit code: 0 after a signal, 1 after an error, 2 where security is asked for that cannot be had.
    """
    try:
        require_security()
    except SecurityError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    stop: Future = Future()
    returned = threading.Event()
    with _signal_bytes() as signals:
        threading.Thread(target=_stop_on_signal, args=(signals, stop, returned), name="signals", daemon=True).start()
        rclpy.init(args=None if args is None else [sys.argv[0], *args], signal_handler_options=SignalHandlerOptions.NO)
        try:
            return _run(make_node, stop, returned)
        finally:
            returned.set()
            rclpy.try_shutdown()


@contextmanager
def _signal_bytes() -> Iterator[int]:
    """A descriptor that one byte can be read from for each signal, whichever thread the kernel hands it to.

    So a thread of our own can take signals: that works while a callback hangs, and no exception is thrown into the
    middle of a callback. Blocking the signals instead would not reach threads that libraries have started already.
    """
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    previous = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    previous_descriptor = signal.set_wakeup_fd(writable)
    try:
        yield readable
    finally:
        signal.set_wakeup_fd(previous_descriptor)
        for number, handler in previous.items():
            signal.signal(number, handler)
        # Ends the thread that reads; it closes the other end.
        os.close(writable)


def _run(make_node: Callable[[], Node], stop: Future, returned: threading.Event) -> int:
    try:
        node = make_node()
    except ReskillError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    executor = DirectExecutor(node, stop)
    report_unknown_parameters(node)
    if hasattr(node, "done"):
        node.done.add_done_callback(lambda done: _end(stop, done.result()))
    # What exists now lives as long as the process: the collector need not look at it again in the control loop.
    gc.collect()
    gc.freeze()
    try:
        while not stop.done() and rclpy.ok():
            _spin(executor, node)
    except ExternalShutdownException:
        return 0
    except ReskillError as error:
        node.get_logger().fatal(str(error))
        return 1
    finally:
        # From here on the node only tidies up, which may take its time on a busy machine.
        returned.set()
        node.destroy_node()
        executor.shutdown()
    return int(stop.result() or 0) or int(getattr(node, "exit_code", 0))


def _end(stop: Future, exit_code: int) -> None:
    """Ask for the end, unless somebody has already."""
    if not stop.done():
        stop.set_result(exit_code)


def _spin(executor: DirectExecutor, node: Node) -> None:
    try:
        executor.spin()
    except ExternalShutdownException:
        raise
    except Exception as error:
        handle = getattr(node, "on_callback_error", None)
        if handle is None:
            raise
        handle(error)


def _stop_on_signal(signals: int, stop: Future, returned: threading.Event) -> None:
    with open(signals, "rb", buffering=0) as stream:
        if not stream.read(1):
            return
        _end(stop, 0)
        if not returned.wait(_GRACE_S):
            print("error: a callback does not return; the process is ended", file=sys.stderr, flush=True)
            os._exit(1)
