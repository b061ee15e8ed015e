"""Worker processes: none is interrupted, none is waited for when the work is given up, none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from reskill_core.workers import WorkerPool


def test_an_exception_ends_workers_amid_their_work() -> None:
    workers = []

    def give_up() -> None:
        with WorkerPool(1) as pool:
            workers.append(psutil.Process(pool.submit(os.getpid).result()))
            pool.submit(time.sleep, 3600)
            raise KeyError

    with pytest.raises(KeyError):
        give_up()
    assert not workers[0].is_running()


def test_without_one_all_work_is_done() -> None:
    with WorkerPool(2) as pool:
        results = [pool.submit(abs, number) for number in (-1, -2, -3)]
    assert [result.result() for result in results] == [1, 2, 3]


def test_ctrl_c_is_not_for_workers() -> None:
    with WorkerPool(1) as pool:
        worker = pool.submit(os.getpid).result()
        os.kill(worker, signal.SIGINT)
        assert pool.submit(os.getpid).result() == worker


def test_a_killed_parent_leaves_no_worker() -> None:
    code = """
import os, time
from reskill_core.workers import WorkerPool
with WorkerPool(1) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    pool.submit(time.sleep, 3600).result()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        psutil.wait_procs([worker], timeout=50)
        assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
