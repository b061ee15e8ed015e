"""The main function of every node: parse, run in a single thread, and end cleanly on a signal or with the launcher."""

from __future__ import annotations

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

# A callback that does not return within this time after a signal is given up on, and the process with it.
_GRACE_S = 1.5
# Where the kernel cannot tell, how often to look whether the launcher is still there.
_LOOK_PERIOD_S = 0.5


def run(make_node: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """Build a node and run it until a signal arrives, its launcher ends, or the node has finished.

    To be called once, by what is the process's main function: signals end nothing but the node from here on.

    A node may have

    - ``done``, a Future whose result is the exit code: it ends by itself;
    - ``exit_code``, asked for at the end: it may have failed at something without ending for it;
    - ``make_safe()``: called in another thread once the end is asked for, so that a robot is stopped although a
      callback takes its time or hangs;
    - ``on_callback_error(error)``: an exception in a callback is given to it and the node goes on, so that it can
      make its robot safe and stay diagnosable; without it the process ends.

    Args:
        make_node: builds the node, after ROS has been initialised.
        args: command line without the program name, by default that of the process.

    Returns:
        The exit code: 0 when it was asked to end, or as of :mod:`reskill_core.command_line`.
    """
    return run_command(lambda: _run_in_ros(make_node, args))


def _run_in_ros(make_node: Callable[[], Node], args: Sequence[str] | None) -> int:
    require_security()
    ending = _Ending()
    ending.watch()
    try:
        _init(args)
        return _run(make_node, ending)
    finally:
        ending.close()
        rclpy.try_shutdown()


def _init(args: Sequence[str] | None) -> None:
    """Start ROS; what it cannot read of the command line or of a file of parameters raises a GraphError."""
    try:
        rclpy.init(args=None if args is None else [sys.argv[0], *args], signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:
        raise GraphError(f"ROS does not start: {' '.join(str(error).split())}") from error


class _Ending:
    """Waits, in a thread of its own, until the process is to end, and sees to it that it does.

    Python runs signal handlers in the main thread, between two callbacks at best. This thread is told by the kernel:
    it works while a callback hangs, and no exception is thrown into the middle of one.

    Attributes:
        node: the node, once it is there.
        spinning: whether callbacks have run: until then the node has done nothing yet.
        stop: has a result, the exit code, once the end was asked for.
        returned: set when no callback runs any more and the node only tidies up, which may take its time.
    """

    def __init__(self) -> None:
        self.node: Node | None = None
        self.spinning = False
        self.stop: Future = Future()
        self.returned = threading.Event()
        self._signals = ending_signals()
        # One byte for each signal, whichever thread the kernel hands it to. Blocking the signals instead would not
        # reach threads that libraries have started already.
        self._readable, self._writable = os.pipe()
        self._thread = threading.Thread(target=self._end, name="ending", daemon=True)

    def watch(self) -> None:
        """Start to wait for signals, and for the launcher to end if one is named in the environment."""
        os.set_blocking(self._writable, False)
        signal.set_wakeup_fd(self._writable, warn_on_full_buffer=False)
        for number in self._signals:
            signal.signal(number, lambda *_: None)
        self._thread.start()

    def close(self) -> None:
        """Wait for nothing any more: what is left is the interpreter's own end, which any signal may cut short."""
        self.returned.set()
        os.write(self._writable, b"\0")
        self._thread.join()
        for number in self._signals:
            signal.signal(number, signal.SIG_DFL)

    def ask(self, exit_code: int) -> None:
        """Ask for the end, unless somebody has already."""
        if not self.stop.done():
            self.stop.set_result(exit_code)

    def _end(self) -> None:
        _wait_for_end(self._readable)
        if self.returned.is_set():
            return
        # What fails does so because the node is on its way out already; it makes safe by itself then.
        with suppress(Exception):
            self.ask(0)
            getattr(self.node, "make_safe", lambda: None)()
        if self.returned.wait(_GRACE_S):
            return
        if not self.spinning:
            os._exit(0)
        # Nobody may be left to read it.
        with suppress(OSError):
            print("error: a callback does not return; the process is ended", file=sys.stderr, flush=True)
        os._exit(1)


def _wait_for_end(signals: int) -> None:
    """Return when a byte can be read from ``signals``, or the launcher, if there is one, has ended."""
    launcher = int(os.environ.get(LAUNCHER, 0))
    if not launcher:
        select.select([signals], [], [])
        return
    try:
        # Readable when that process has ended, whoever its parent is and whether it has been reaped.
        descriptor = os.pidfd_open(launcher)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        while os.getppid() == launcher and not select.select([signals], [], [], _LOOK_PERIOD_S)[0]:
            pass
    else:
        select.select([signals, descriptor], [], [])


def _run(make_node: Callable[[], Node], ending: _Ending) -> int:
    node = make_node()
    ending.node = node
    stop = ending.stop
    executor = DirectExecutor(node, stop)
    report_unknown_parameters(node)
    if hasattr(node, "done"):
        node.done.add_done_callback(lambda done: ending.ask(done.result()))
    # What exists now lives as long as the process: the collector need not look at it again in the control loop.
    gc.collect()
    gc.freeze()
    try:
        while not stop.done() and rclpy.ok():
            ending.spinning = True
            _spin(executor, node)
    except ExternalShutdownException:
        return 0
    except USER_ERRORS as error:
        node.get_logger().fatal(message_of(error))
        return USER_ERROR
    finally:
        # From here on the node only tidies up, which may take its time on a busy machine.
        ending.returned.set()
        node.destroy_node()
        executor.shutdown()
    return int(stop.result() or 0) or int(getattr(node, "exit_code", 0))


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
