"""Runs the real program for the tests of this folder, which find it in the environment (tests/CMakeLists.txt)."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid

sys.dont_write_bytecode = True

ELKHORN = os.environ["ELKHORN"]
SOURCE = os.environ["ELKHORN_SOURCE"]
MPIEXEC = os.environ["MPIEXEC"]
ARGRU_WEIGHTS = os.path.join(SOURCE, "inputs", "argru_weights.h5")

# Of a build for sanitizers neither speed nor memory are those of the program.
with open(ELKHORN, "rb") as binary:
    SANITIZED = re.search(rb"__(asan|tsan|ubsan)_", binary.read()) is not None

# Builds that are slow by design multiply the time limits of ctest, and so those of scripts.
PATIENCE = float(os.environ.get("ELKHORN_TEST_PATIENCE", "1"))
# A hang must end the test with the command that hangs; no run here takes more than a few seconds on a quiet machine.
TIMEOUT_S = 120 * PATIENCE
# What ends a run, a signal or the death of a rank, does so within seconds.
SOON_S = 60 * PATIENCE
MARK = "ELKHORN_TEST_RUN"


# One process needs neither Open MPI's helper process nor a look for networks, which take most of its start.
ALONE = {"OMPI_MCA_ess_singleton_isolated": "1", "OMPI_MCA_btl": "self", "OMPI_MCA_pml": "ob1"}


def command(arguments, ranks=None):
    """The command line; without `ranks` as one process and without mpiexec. Measuring the machine takes longer than most
    runs here, so it is done only where `--roofs on` asks for it."""
    launcher = [MPIEXEC, "-n", str(ranks)] if ranks else []
    roofs = ["--roofs", "off"] if arguments[:1] == ("run",) and "--roofs" not in arguments else []
    return [*launcher, ELKHORN, *map(str, arguments), *roofs]


def run(*arguments, ranks=None, cwd=None, timeout=TIMEOUT_S, **environment):
    """The finished process, with stdout and stderr as text."""
    return subprocess.run(
        command(arguments, ranks),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout,
        env={**os.environ, **({} if ranks else ALONE), **environment},
        check=False,
    )


def messages(stderr):
    """What the program itself said: under mpiexec a code other than 0 makes MPI add an explanation of its own."""
    return [line for line in stderr.splitlines() if line.startswith("elkhorn: ")]


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def sweep(state_dim, problem, measure, more=""):
    """A deck over five solvers of a small network, the damped ones and the sequential one among them. With chunks given, so
    that other ranks give the same bits."""
    return f"""
[system]
kind = "gru"
state_dim = {state_dim}
[problem]
{problem}
[[solver]]
kind = "sequential"
[[solver]]
kind = ["deer", "quasi_deer"]
scan = "chunked:3"
[[solver]]
kind = ["elk", "quasi_elk"]
sigma2 = 1e4
scan = "chunked:3"
[measure]
{measure}
{more}
"""


def attributes(group):
    """The attributes of a case as a dictionary of Python values."""
    return dict(group.attrs.items())


def cases(path, *datasets):
    """name → attributes, and the named datasets, of every case of a results file."""
    import h5py

    with h5py.File(path) as file:
        return {group.attrs["name"]: {**attributes(group), **{d: group[d][()] for d in datasets}}
                for group in file["cases"].values()}


def journal(file):
    """name → result of the whole lines of a journal behind its header; empty where there is none."""
    try:
        with open(f"{file}.journal.jsonl", "rb") as stream:
            *lines, _ = stream.read().split(b"\n")  # what follows the last newline was torn by a kill
    except FileNotFoundError:
        return {}
    return {case["name"]: case for case in map(json.loads, lines[1:])}


def finished_cases(file):
    """How many cases a journal holds; -1 where there is none. For polling: it does not look into the lines."""
    try:
        with open(f"{file}.journal.jsonl", "rb") as stream:
            return stream.read().count(b"\n") - 1
    except FileNotFoundError:
        return -1


def is_sound(file):
    check = run("check", file)
    return (check.returncode, check.stdout) == (0, f"{file}: sound\n")


def lost(kept, file):
    """Names of `kept` (of journal) that a results file lacks or has measured anew."""
    now = cases(file, "time_s")
    return [name for name, case in kept.items() if name not in now or list(now[name]["time_s"]) != case["time_s"]]


def difference(one, other):
    """Where two results files of one deck differ in what does not depend on the machine; None where they do not."""
    import h5py
    import numpy as np

    with h5py.File(one) as a, h5py.File(other) as b:
        if list(a["cases"]) != list(b["cases"]):
            return f"{len(a['cases'])} cases and {len(b['cases'])}"
        for name, x in a["cases"].items():
            y = b["cases"][name]
            for attribute in ("name", "status", "iterations", "residual_max", "error_max"):
                if x.attrs[attribute] != y.attrs[attribute]:
                    return f"{name}: {attribute} is {x.attrs[attribute]} and {y.attrs[attribute]}"
            if set(x) != set(y):
                return f"{name}: holds {sorted(x)} and {sorted(y)}"
            if "states" in x and not np.array_equal(x["states"][()], y["states"][()]):
                return f"{name}: other states"
            # The sequential case counts also where it ran before, on as many ranks.
            based = any(placed_problem(z) == placed_problem(y) for z in b["cases"].values()
                        if z.attrs["solver"] == "sequential")
            if (y.attrs["speedup_over_sequential"] > 0) != based:
                return f"{name}: {'no speed-up' if based else 'a speed-up over a base on other ranks'}"
    return None


def placed_problem(case):
    return tuple(case.attrs[name] for name in ("system", "state_dim", "length", "batch", "seed", "precision", "ranks", "threads"))


def signal_to(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it has ended


class Job:
    """A program that runs in the background and can be sent signals, all or one rank; `with` leaves nothing behind."""

    def __init__(self, *arguments, ranks=None, cwd=None, **environment):
        self.alone = ranks is None
        self.mark = uuid.uuid4().hex
        self.stderr = tempfile.TemporaryFile("w+", encoding="utf-8")
        self.process = subprocess.Popen(
            command(arguments, ranks),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self.stderr,
            env={**os.environ, **({} if ranks else ALONE), **environment, MARK: self.mark},
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.kill()
        self.stderr.close()

    def processes(self):
        """pid → MPI rank (None: mpiexec) of this job's processes, which a mark in their environment tells from others."""
        found = {}
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/environ", "rb") as file:
                    environment = file.read().decode(errors="replace").split("\0")
            except OSError:
                continue  # it has ended, or is not ours
            if f"{MARK}={self.mark}" not in environment:
                continue
            rank = None
            for item in environment:
                match = re.fullmatch(r"(?:OMPI_COMM_WORLD_RANK|PMI_RANK|PMIX_RANK)=(\d+)", item)
                if match:
                    rank = int(match[1])
            found[int(entry)] = rank
        return found

    def send(self, number, rank=None):
        """Sends a signal to all ranks, or to one; returns how many processes that were."""
        pids = [pid for pid, its_rank in self.processes().items() if its_rank is not None and rank in (None, its_rank)]
        if self.alone:
            pids = [self.process.pid]
        for pid in pids:
            signal_to(pid, number)
        return len(pids)

    def kill(self):
        """kill -9 of the whole job."""
        self.process.kill()  # at once; looking for the others takes a while
        while True:
            pids = list(self.processes())
            for pid in pids:
                signal_to(pid, signal.SIGKILL)
            if not pids:
                break
            time.sleep(0.02)
        self.process.wait()

    def messages(self):
        """What the program said on stderr so far."""
        self.stderr.seek(0)
        return messages(self.stderr.read())

    def wait_for(self, condition, what):
        end = time.monotonic() + TIMEOUT_S
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"waited in vain for {what}")
            time.sleep(0.002)
