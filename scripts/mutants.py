"""Mutation testing: puts faults into the code, one at a time, and checks that a test fails.

A random sample of mutmut's mutations (another operator, number or key, an argument or a value left out) is drawn from
the modules in ``TARGETS``. For each mutant, the tests that cover its line are run, the fastest first, until one fails
or a time limit is exceeded, which counts as caught too. Everything runs in copies of the tree, taken at the start,
below ``build/mutants``; ``report.md`` there lists the survivors. Equivalent mutants are in
``test/equivalent_mutants.yaml``, with reasons.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Any

from scripts.mutation_report import OUT, ROOT, TREE, Mutant, Verdict, described, explanations, report

COVERAGE = OUT / "coverage.json"
TARGETS = (
    "reskill_core/gate",
    "reskill_core/sensing",
    "reskill_core/rl",
    "reskill_core/runtime",
    "reskill_core/training",
    "sim/evaluation",
)
# Tests of these modules, without those that kill processes at random times.
TESTS = {
    "test/core": "acting agent_trainer algorithms collector distributions export frames gate gate_edges gate_holding"
    " hostile_files lineage models off_policy onnx_files ppo_settings privileged report rl runtime sac sac_acting"
    " seeding sensing skill_learner skill_models spirl training training_resume training_run",
    "test/sim": "agent_collector agents curriculum evaluation evaluation_by_hand ingredients policy_evaluation"
    " privileged_critics robustness seeds skill_evaluation study task_settings worlds",
}
# CPU time of a mutant's tests on an idle machine, and the factor and allowance after which they are killed.
_BUDGET_S, _PATIENCE, _GRACE_S = 60.0, 4.0, 60.0
# Factor to the duration after which they are killed whatever they have computed, as they may wait for ever. It is
# large, so that the verdicts do not depend on what else runs on the machine.
_BUSY = 6.0
_PYTEST = ["-q", "-p", "no:cacheprovider", "--no-header", "--tb=line"]


@dataclass(frozen=True)
class Fault:
    """A possible mutation: file, line, and a function that applies it."""

    file: str
    line: int
    apply: Callable[[], Any]


def main() -> int:
    """Run mutation testing; returns exit status 0 if the required share was caught."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=300, help="size of the sample (default 300)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="mutants at a time")
    parser.add_argument("--only", default="", help="only files whose path contains this")
    parser.add_argument("--at-least", type=float, default=0.92, help="share that must be noticed (default 0.92)")
    options = parser.parse_args()
    freeze()
    known = explanations()
    files = [file for file in target_files() if options.only in file]
    tests, durations = coverage(options.workers)
    everything = [fault for file in files for fault in faults_of(file)]
    sample = draw(everything, options.number, options.seed)
    print(f"[mutants] {len(sample)} of {len(everything)} in {len(files)} files, seed {options.seed}", flush=True)
    verdicts = run_all(sample, tests, durations, options.workers)
    noticed = report(verdicts, known, len(everything), options.seed)
    return 0 if noticed >= options.at_least else 1


def freeze() -> None:
    """Copy the current tree, so that it can be edited meanwhile."""
    shutil.rmtree(TREE, ignore_errors=True)
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for name in filter(None, listed.split("\n")):
        if (ROOT / name).is_file():
            (TREE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, TREE / name)
    (TREE / "reskill_sim").symlink_to("sim")


def target_files() -> list[str]:
    """Return the paths of the modules to mutate."""
    places = [TREE / target for target in TARGETS]
    paths = [path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*.py")))]
    # Exports are not behaviour, and plots are judged by eye.
    return [str(path.relative_to(TREE)) for path in paths if path.name not in ("__init__.py", "plots.py")]


# ---------------------------------------------------------------------- tests


def coverage(workers: int) -> tuple[dict[str, dict[str, list[str]]], dict[str, float]]:
    """Return tests by file and line, and their CPU times [s]; cached for a state of the tree."""
    digest = hashlib.sha256()
    for folder in ("reskill_core", "sim", "test/core", "test/sim", "test/support"):
        for path in sorted((TREE / folder).rglob("*.py")):
            digest.update(f"{path}\n{path.read_text()}".encode())
    kept = json.loads(COVERAGE.read_text()) if COVERAGE.is_file() else {}
    if kept.get("state") != digest.hexdigest():
        print("[mutants] which test runs which line (minutes)", flush=True)
        preload()
        names = [f"{folder}/test_{name}" for folder, names in TESTS.items() for name in names.split()]
        with ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(covered_by, [name for name in names if (TREE / f"{name}.py").is_file()]))
        tests: dict[str, dict[str, list[str]]] = {}
        for part in parts:
            for file, lines in part["tests"].items():
                for line, found in lines.items():
                    tests.setdefault(file, {}).setdefault(line, []).extend(found)
        durations = {name: value for part in parts for name, value in part["durations"].items()}
        kept = {"state": digest.hexdigest(), "tests": tests, "durations": durations}
        COVERAGE.write_text(json.dumps(kept))
    return kept["tests"], kept["durations"]


def covered_by(name: str) -> dict[str, Any]:
    """Measure coverage and durations of the tests of a file, in a separate process.

    Raises:
        RuntimeError: a test fails without a mutation.
    """
    stem = OUT / "coverage" / Path(name).name
    with forked(partial(measure_coverage, name, stem), TREE, stem.with_suffix(".log")) as child:
        _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise RuntimeError(f"{name} fails as it is, see {stem}.log")
    found: dict[str, Any] = json.loads(stem.with_suffix(".json").read_text())
    return found


def measure_coverage(name: str, stem: Path) -> int:
    """Run the tests of a file and record which test covers which lines."""
    import coverage as coverage_py
    import pytest

    durations: dict[str, float] = {}

    class Recorder:
        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_logstart(self, nodeid: str) -> None:
            measured.switch_context(nodeid)
            # CPU time, which does not grow when the machine is busy.
            durations[nodeid] = -sum(os.times()[:4])

        def pytest_runtest_logfinish(self, nodeid: str) -> None:
            durations[nodeid] += sum(os.times()[:4])

    measured = coverage_py.Coverage(data_file=None, include=[str(TREE / file) for file in target_files()])
    measured.start()
    status = pytest.main([*_PYTEST, "-k", "not at_random and not killed_training", f"{name}.py"], plugins=[Recorder()])
    measured.stop()
    data = measured.get_data()
    tests = {
        str(Path(file).relative_to(TREE)): {
            str(line): sorted(filter(None, found)) for line, found in data.contexts_by_lineno(file).items()
        }
        for file in data.measured_files()
    }
    stem.with_suffix(".json").write_text(json.dumps({"tests": tests, "durations": durations}))
    return int(status)


def tests_of(mutant: Mutant, tests: dict[str, dict[str, list[str]]], durations: dict[str, float]) -> list[str]:
    """Return the tests that cover a mutant's line, the fastest first, as many as fit in the time.

    Code that runs on import, such as default arguments, is covered by no test or only by the first: for it the tests of
    the next line with more coverage are used.
    """
    by_line = {int(line): set(names) for line, names in tests.get(mutant.file, {}).items()}
    names = by_line.get(mutant.line, set())
    if len(names) <= 1:
        names |= next(
            (by_line[line] for line in sorted(by_line) if line > mutant.line and len(by_line[line]) > 1), set()
        )
    chosen: list[str] = []
    total_s = 0.0
    for name in sorted(names, key=lambda name: (durations.get(name, 1.0), name)):
        total_s += durations.get(name, 1.0)
        if chosen and total_s > _BUDGET_S:
            break
        chosen.append(name)
    return chosen


# ---------------------------------------------------------------------- mutations


def faults_of(file: str) -> list[Fault]:
    """Return all mutations in the functions of a file, except those of prose, such as messages, and annotations."""
    import libcst
    from libcst.metadata import MetadataWrapper, PositionProvider
    from mutmut.mutation.file_mutation import create_mutations

    module, mutations, *_ = create_mutations(file, (TREE / file).read_text())
    positions = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)
    faults = []
    for mutation in mutations:
        original = mutation.original_node
        prose = isinstance(original, libcst.SimpleString) and " " in original.value
        if isinstance(mutation.contained_by_top_level_function, libcst.FunctionDef) and not prose:
            # Nodes without a position are grouped under line 0; mutated() finds their line.
            line = positions[original].start.line if original in positions else 0
            faults.append(Fault(file, line, partial(module.deep_replace, original, mutation.mutated_node)))
    return faults


def draw(faults: Sequence[Fault], number: int, seed: int) -> list[Mutant]:
    """Draw a sample: first lines, then a mutation of each, so that calls with many arguments do not dominate."""
    rng = random.Random(seed)
    by_line: dict[tuple[str, int], list[Fault]] = {}
    for fault in faults:
        by_line.setdefault((fault.file, fault.line), []).append(fault)
    drawn: list[Mutant] = []
    while len(drawn) < number and by_line:
        for place in rng.sample(sorted(by_line), min(number - len(drawn), len(by_line))):
            left = by_line[place]
            mutant = mutated(left.pop(rng.randrange(len(left))))
            if mutant is not None:
                drawn.append(mutant)
            if not left:
                del by_line[place]
    return drawn


def mutated(fault: Fault) -> Mutant | None:
    """Apply a mutation; None if the result is not valid Python."""
    source = (TREE / fault.file).read_text()
    text = fault.apply().code
    try:
        compile(text, fault.file, "exec")
    except SyntaxError:
        return None
    before, after = source.splitlines(), text.splitlines()
    first = next(
        (n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(map(len, (before, after)))
    )
    lines = [text[first].strip() if first < len(text) else "" for text in (before, after)]
    return Mutant(fault.file, first + 1, lines[0], lines[1], text)


# ---------------------------------------------------------------------- running


@contextlib.contextmanager
def forked(work: Any, folder: Path, log: Path) -> Iterator[int]:
    """Fork a process with the test libraries already loaded, in its own session; it is killed afterwards."""
    log.parent.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.setsid()
            # Linux applies niceness within a session; between sessions it applies that of their autogroups.
            with contextlib.suppress(OSError):
                Path("/proc/self/autogroup").write_text(str(os.nice(0)))
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.chdir(folder)
            # Before the installed package, also in processes started by tests.
            sys.path.insert(0, str(folder))
            os.environ["PYTHONPATH"] = f"{folder}:{os.environ.get('PYTHONPATH', '')}".rstrip(":")
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
            sys.dont_write_bytecode = True
            code = work()
        finally:
            sys.stdout.flush()
            os._exit(int(code))
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)


def run_all(
    sample: Sequence[Mutant], tests: dict[str, dict[str, list[str]]], durations: dict[str, float], workers: int
) -> list[Verdict]:
    """Run all mutants, several at a time."""
    preload()
    folders: Queue[Path] = Queue()
    for number in range(workers):
        folder = OUT / f"worker{number}"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(TREE, folder, symlinks=True)
        folders.put(folder)
    log = (OUT / "verdicts.jsonl").open("w")

    def run(mutant: Mutant) -> Verdict:
        folder = folders.get()
        try:
            verdict = run_one(mutant, folder, tests_of(mutant, tests, durations), durations)
        finally:
            folders.put(folder)
        row = {"outcome": verdict.outcome, "s": round(verdict.duration_s, 1), "tests": verdict.tests}
        log.write(json.dumps({**row, "file": mutant.file, "line": mutant.line, "a": mutant.before, "b": mutant.after}))
        log.write("\n")
        log.flush()
        return verdict

    verdicts = []
    with ThreadPoolExecutor(workers) as pool:
        for verdict in pool.map(run, sample):
            verdicts.append(verdict)
            if verdict.outcome in ("survived", "untested"):
                print(f"[mutants] {verdict.outcome}: {described(verdict.mutant)}", flush=True)
            elif len(verdicts) % 25 == 0:
                print(f"[mutants] {len(verdicts)} of {len(sample)}", flush=True)
    return verdicts


def preload() -> None:
    """Import slow libraries, and nothing of this package."""
    import gymnasium_robotics  # noqa: F401
    import hypothesis  # noqa: F401
    import matplotlib.figure  # noqa: F401
    import mujoco  # noqa: F401
    import pytest  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401

    assert not any(name.split(".")[0] in ("reskill_core", "reskill_sim") for name in sys.modules)


def run_one(mutant: Mutant, folder: Path, names: list[str], durations: dict[str, float]) -> Verdict:
    """Apply the mutant to a copy of the tree and run its tests there."""
    if not names:
        return Verdict(mutant, "untested", 0, 0.0)
    started_s = time.monotonic()
    limit_s = _GRACE_S + _PATIENCE * sum(durations.get(name, 1.0) for name in names)
    path = folder / mutant.file
    original = path.read_text()
    path.write_text(mutant.text)

    def work() -> int:
        import pytest

        return int(pytest.main([*_PYTEST, "-x", *names]))

    try:
        with forked(work, folder, folder / "build" / "mutant.log") as child:
            outcome = "timeout"
            while time.monotonic() - started_s < _BUSY * limit_s and cpu_time_s(child) < limit_s:
                ended, status = os.waitpid(child, os.WNOHANG)
                if ended:
                    outcome = "survived" if os.waitstatus_to_exitcode(status) == 0 else "caught"
                    break
                time.sleep(0.05)
        if outcome == "timeout":
            os.waitpid(child, 0)
    finally:
        path.write_text(original)
    return Verdict(mutant, outcome, len(names), time.monotonic() - started_s)


def cpu_time_s(process: int) -> float:
    """Return the CPU time of a process and its finished children [s]."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


# ---------------------------------------------------------------------- report


if __name__ == "__main__":
    sys.exit(main())
