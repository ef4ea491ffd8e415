"""Runs the real program for the tests of this folder, which find it in the environment (tests/CMakeLists.txt)."""

import os
import re
import signal
import subprocess
import sys
import time
import uuid

sys.dont_write_bytecode = True

ELKHORN = os.environ["ELKHORN"]
SOURCE = os.environ["ELKHORN_SOURCE"]
MPIEXEC = os.environ["MPIEXEC"]
ARGRU_WEIGHTS = os.path.join(SOURCE, "inputs", "argru_weights.h5")

# A hang must end the test with the command that hangs; no run here takes more than a few seconds on a quiet machine.
TIMEOUT_S = 120
MARK = "ELKHORN_TEST_RUN"


def command(arguments, ranks=None):
    """The command line; without `ranks` as one process and without mpiexec."""
    launcher = [MPIEXEC, "-n", str(ranks)] if ranks else []
    return [*launcher, ELKHORN, *map(str, arguments)]


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
        env={**os.environ, **environment},
        check=False,
    )


def messages(stderr):
    """What the program itself said: under mpiexec a code other than 0 makes MPI add an explanation of its own."""
    return [line for line in stderr.splitlines() if line.startswith("elkhorn: ")]


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def attributes(group):
    """The attributes of a case as a dictionary of Python values."""
    return dict(group.attrs.items())


def cases(path):
    """name → attributes of every case of a results file."""
    import h5py

    with h5py.File(path) as file:
        return {group.attrs["name"]: attributes(group) for group in file["cases"].values()}


class Job:
    """A program that runs in the background and can be killed, whole or one rank of it; `with` leaves nothing behind."""

    def __init__(self, *arguments, ranks=None, cwd=None):
        self.mark = uuid.uuid4().hex
        self.process = subprocess.Popen(
            command(arguments, ranks),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, MARK: self.mark},
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.kill()

    def processes(self):
        """pid → MPI rank (None: mpiexec) of the processes of this job, told from others by a mark in their environment."""
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

    def kill(self, rank=None):
        """kill -9 of the whole job, or of one rank: then returns how many processes that were."""
        if rank is None:
            self.process.kill()  # at once; looking for the others takes a while
        while True:
            pids = [pid for pid, its_rank in self.processes().items() if rank is None or its_rank == rank]
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if rank is not None:
                return len(pids)
            if not pids:
                break
            time.sleep(0.02)
        self.process.wait()
        return 0

    def wait_for(self, condition, what):
        end = time.monotonic() + TIMEOUT_S
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"waited in vain for {what}")
            time.sleep(0.002)
