"""Main function of all nodes: runs them in a single thread, and ends them cleanly on a signal or with the launcher."""

from __future__ import annotations

import faulthandler
import gc
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from reskill_core.command_line import USER_ERROR, USER_ERRORS, message_of, run_command
from reskill_core.errors import GraphError
from reskill_core.process import LAUNCHER, ending_signals
from reskill_ros.plumbing.executor import DirectExecutor
from reskill_ros.plumbing.params import report_unknown_parameters
from reskill_ros.plumbing.security import require_security

# Time after a signal within which a running callback has to return; otherwise the process is terminated.
_GRACE_S = 1.5
# Time for the clean-up until it is printed where every thread is, shorter than the launcher's patience.
_CLEAN_UP_S = 8.0
# Period of checks for the launcher, if the kernel cannot report its end.
_LOOK_PERIOD_S = 0.5


def run(*make_nodes: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Create nodes and run them until a signal arrives, their launcher ends, or a node has finished.

    It is called once, by the main function of the process, since it takes over signal handling.

    A node may have

    - ``done``, a Future of the exit code, by which it ends itself;
    - ``exit_code``, read at the end, for failures that did not end the node;
    - ``make_safe()``, called in another thread on a request to end, so that a robot is stopped although a callback is
      busy or hangs;
    - ``on_callback_error(error)``, called with an exception of a callback, so that the node can make its robot safe and
      stay alive for diagnosis; if no node has it, the process ends.

    Args:
        *make_nodes: create one node each, after the initialisation of ROS.
        args: command line without the program name, by default that of the process.

    Returns:
        The exit code: 0 after a request to end, or as in :mod:`reskill_core.command_line`.
    """
    return run_command(lambda: _run_in_ros(make_nodes, args))


def _run_in_ros(make_nodes: Sequence[Callable[[], Node]], args: Sequence[str] | None) -> int:
    require_security()
    ending = _Ending()
    ending.watch()
    try:
        _init(args)
        return _run(make_nodes, ending)
    finally:
        ending.close()
        rclpy.try_shutdown()


def _init(args: Sequence[str] | None) -> None:
    """Initialise ROS; raises a GraphError for an invalid command line or parameter file."""
    try:
        rclpy.init(args=None if args is None else [sys.argv[0], *args], signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        raise GraphError(f"ROS does not start: {' '.join(str(error).split())}") from error


class _Ending:
    """Thread that waits for a request to end, and ensures that the process ends.

    Python runs signal handlers in the main thread, between callbacks at best. This thread is notified by the kernel: it
    works while a callback hangs, and raises no exception within one.

    Attributes:
        nodes: the nodes, once they exist.
        spinning: whether callbacks may have run.
        stop: Future of the exit code, which has a result after a request to end.
        returned: set when no callback runs any more and only the clean-up of the nodes remains.
    """

    def __init__(self) -> None:
        self.nodes: Sequence[Node] = ()
        self.spinning = False
        self.stop: Future = Future()
        self.returned = threading.Event()
        self._signals = ending_signals()
        # One byte per signal, whichever thread receives it. Blocking signals instead would not affect threads that
        # libraries have started already.
        self._readable, self._writable = os.pipe()
        self._thread = threading.Thread(target=self._end, name="ending", daemon=True)

    def watch(self) -> None:
        """Start waiting for signals, and for the end of the launcher if the environment names one."""
        os.set_blocking(self._writable, False)
        signal.set_wakeup_fd(self._writable, warn_on_full_buffer=False)
        for number in self._signals:
            signal.signal(number, lambda *_: None)
        self._thread.start()

    def close(self) -> None:
        """Stop waiting; signals may interrupt the remaining interpreter shutdown."""
        self.returned.set()
        os.write(self._writable, b"\0")
        self._thread.join()
        for number in self._signals:
            signal.signal(number, signal.SIG_DFL)

    def ask(self, exit_code: int) -> None:
        """Request the end, unless it has been requested already."""
        if not self.stop.done():
            self.stop.set_result(exit_code)

    def _end(self) -> None:
        _wait_for_end(self._readable)
        if self.returned.is_set():
            return
        # Failures mean that the nodes are ending already, and make their robot safe themselves.
        with suppress(Exception):
            self.ask(0)
        for node in self.nodes:
            with suppress(Exception):
                getattr(node, "make_safe", lambda: None)()
        if self.returned.wait(_GRACE_S):
            return
        if not self.spinning:
            os._exit(0)
        # Standard error may be closed.
        with suppress(OSError):
            print("error: a callback does not return; the process is ended", file=sys.stderr, flush=True)
        os._exit(1)


def _wait_for_end(signals: int) -> None:
    """Wait until a byte can be read from ``signals``, or the launcher, if there is one, has ended."""
    launcher = int(os.environ.get(LAUNCHER, 0))
    if not launcher:
        select.select([signals], [], [])
        return
    try:
        # Readable when that process has ended, whatever its parent and whether it has been reaped.
        descriptor = os.pidfd_open(launcher)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        while os.getppid() == launcher and not select.select([signals], [], [], _LOOK_PERIOD_S)[0]:
            pass
    else:
        select.select([signals, descriptor], [], [])


def _run(make_nodes: Sequence[Callable[[], Node]], ending: _Ending) -> int:
    nodes = [make_node() for make_node in make_nodes]
    ending.nodes = nodes
    stop = ending.stop
    executor = DirectExecutor(*nodes)
    for node in nodes:
        report_unknown_parameters(node)
        if hasattr(node, "done"):
            node.done.add_done_callback(lambda done: ending.ask(done.result()))
    # Existing objects live as long as the process: exclude them from garbage collection in the control loop.
    gc.collect()
    gc.freeze()
    try:
        while not stop.done() and rclpy.ok():
            ending.spinning = True
            _spin(executor, nodes, stop)
    except ExternalShutdownException:
        return 0
    except USER_ERRORS as error:
        nodes[0].get_logger().fatal(message_of(error))
        return USER_ERROR
    finally:
        # Only the clean-up of the nodes remains, which may take long on a busy machine. Where it never ends, as after a
        # deadlock in the middleware, threads are printed before the launcher kills the process.
        ending.returned.set()
        faulthandler.dump_traceback_later(_CLEAN_UP_S)
        for node in nodes:
            node.destroy_node()
        executor.shutdown()
        faulthandler.cancel_dump_traceback_later()
    return int(stop.result() or 0) or max(int(getattr(node, "exit_code", 0)) for node in nodes)


def _spin(executor: DirectExecutor, nodes: Sequence[Node], stop: Future) -> None:
    try:
        executor.spin(stop)
    except ExternalShutdownException:
        raise
    except Exception as error:
        handlers = [node.on_callback_error for node in nodes if hasattr(node, "on_callback_error")]
        if not handlers:
            raise
        for handle in handlers:
            handle(error)
