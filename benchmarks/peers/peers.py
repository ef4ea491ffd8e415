#!/usr/bin/env python3
"""Elkhorn, JAX and PyTorch on the same GRUs on this machine: one table of times and ratios.

    benchmarks/peers/peers.py build/elkhorn [--case D,T,B …] [--solvers …] [--threads 1] [--rounds 5] [--out DIR]

Weights and drivers are drawn once a case and given to all. The states that contenders find are compared first: one whose
states differ from Elkhorn's sequential ones by more than --tolerance is not timed. Then the contenders take turns, and the
shortest solve of each counts. Parallel solvers take exactly --iterations steps from a guess of zeros. DIR gets peers.md
and peers.json. All processes keep to --threads processors. JAX and PyTorch are optional: what is missing is left out with a
message. A peer that needs more than --most-gib of memory for its dense Jacobians (about twelve copies) is left out too.
"""

import argparse
import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

try:
    import h5py
    import numpy as np
except ImportError as missing:
    sys.exit(f"peers.py: Python package {missing.name} is missing; install h5py and numpy")

HERE = pathlib.Path(__file__).resolve().parent
SOLVERS = ("sequential", "deer", "quasi_deer", "elk", "quasi_elk")
DEFAULT_CASES = ("4,10000,1", "8,10000,16", "32,10000,16")
DAMPED = ("elk", "quasi_elk")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("elkhorn", help="the program")
    parser.add_argument("--case", action="append", metavar="D,T,B", help=f"default: {' '.join(DEFAULT_CASES)}")
    parser.add_argument("--solvers", default=",".join(SOLVERS), help="a list with commas")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=8, help="of every parallel solver (default: %(default)s)")
    parser.add_argument("--sigma2", type=float, default=1e6, help="of the damped ones (default: %(default)s)")
    parser.add_argument("--tolerance", type=float, default=2e-3, help="on states (default: %(default)s)")
    parser.add_argument("--most-gib", type=float, default=4.0)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("peers"))
    options = parser.parse_args()
    options.solvers = options.solvers.split(",")
    unknown = set(options.solvers) - set(SOLVERS)
    if unknown:
        parser.error(f"unknown solver {', '.join(sorted(unknown))}; there are {', '.join(SOLVERS)}")
    try:
        options.case = [tuple(int(part) for part in case.split(",")) for case in options.case or DEFAULT_CASES]
        if any(len(case) != 3 or min(case) < 1 for case in options.case):
            raise ValueError
    except ValueError:
        parser.error("a case is D,T,B: three positive numbers")
    if options.threads < 1 or options.rounds < 1 or options.iterations < 1:
        parser.error("--threads, --rounds and --iterations are at least 1")
    return options


def draw(dim, length, batch):
    """An untrained GRU of gain 1 (orthogonal recurrent weights) with as many inputs as units."""
    rng = np.random.default_rng(dim)
    orthogonal = [np.linalg.qr(rng.standard_normal((dim, dim)))[0] for _ in range(3)]
    return {
        "weights": {
            "weight_ih": (rng.standard_normal((3 * dim, dim)) / np.sqrt(dim)).astype(np.float32),
            "weight_hh": np.concatenate(orthogonal).astype(np.float32),
            "bias_ih": np.zeros(3 * dim, np.float32),
            "bias_hh": np.zeros(3 * dim, np.float32),
        },
        "drivers": rng.standard_normal((length, batch, dim)).astype(np.float32),
        "initial_state": np.zeros((batch, dim), np.float32),
    }


class Elkhorn:
    """Runs of the program; its shortest solve of each solver."""

    def __init__(self, options, data, folder):
        self.options, self.folder = options, folder
        with h5py.File(folder / "data.h5", "w") as file:
            for name, value in data["weights"].items():
                file[f"weights/{name}"] = value
            file["drivers"] = data["drivers"]
        self.environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads), OMP_PROC_BIND="false")
        self.length, self.batch = data["drivers"].shape[:2]

    def deck(self, solver, repetitions):
        lines = ['title = "peers"', "[system]", 'kind = "gru"', 'weights = "data.h5:/weights"', "[problem]",
                 f"length = {self.length}", f"batch = {self.batch}", 'drivers = "data.h5:/drivers"', "[[solver]]",
                 f'kind = "{solver}"']
        if solver != "sequential":
            lines += ['stop = "iterations"', f"max_iterations = {self.options.iterations}", 'guess = "zero"']
        if solver in DAMPED:
            lines.append(f"sigma2 = {self.options.sigma2!r}")
        lines += ["[measure]", 'precision = "float32"', "warmup = 1", "time_limit_s = 600",
                  f"repetitions = {{ min = {repetitions}, max = {repetitions} }}", "[output]", "states = true",
                  "history = false"]
        return "\n".join(lines) + "\n"

    def run(self, solver, repetitions):
        """Shortest seconds and states; None and a sentence where there are none."""
        deck, results = self.folder / "peers.toml", self.folder / "peers.h5"
        deck.write_text(self.deck(solver, repetitions))
        results.unlink(missing_ok=True)
        done = subprocess.run([self.options.elkhorn, "run", deck, "--out", results], env=self.environment, text=True,
                              capture_output=True, check=False)
        if done.returncode == 2 or not results.exists():
            sys.exit(f"peers.py: {self.options.elkhorn} ended with code {done.returncode}\n{done.stderr}")
        with h5py.File(results) as file:
            case = file["cases/000000"]
            if "time_s" not in case:
                return None, str(case.attrs["message"])
            return float(case["time_s"][...].min()), case["states"][...]


def seconds_of(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def jax_gib(solver, dim, length, batch):
    return 12 * length * batch * dim * (dim if solver in ("deer", "elk") else 1) * 4 / 2**30


def compare(options, peers, dim, length, batch):
    """Rows of one case: a solver, with seconds of each contender or why there are none."""
    data = draw(dim, length, batch)
    with tempfile.TemporaryDirectory() as folder:
        ours = Elkhorn(options, data, pathlib.Path(folder))
        truth = ours.run("sequential", 1)[1]
        if not isinstance(truth, np.ndarray):
            sys.exit(f"peers.py: no sequential states: {truth}")
        calls = {}
        if "JAX" in peers:
            calls["JAX"] = peers["JAX"].contenders(data, options.iterations, options.sigma2)
        if "PyTorch" in peers:
            calls["PyTorch"] = peers["PyTorch"].contenders(data, options.threads)
        rows = []
        for solver in options.solvers:
            row = {"D": dim, "T": length, "B": batch, "solver": solver, "seconds": {}, "difference": {}, "left_out": {}}
            rows.append(row)
            seconds, states = ours.run(solver, 1)
            timed = []
            if seconds is None:
                row["left_out"]["Elkhorn"] = states
            else:
                timed.append(("Elkhorn", None, states))
            for name, solvers in calls.items():
                if solver not in solvers:
                    continue
                if name == "JAX" and jax_gib(solver, dim, length, batch) > options.most_gib:
                    row["left_out"][name] = "memory"
                    continue
                timed.append((name, solvers[solver], np.asarray(solvers[solver]())))
            kept = []
            for name, call, states in timed:
                difference = float(np.max(np.abs(states - truth)))
                row["difference"][name] = difference
                if difference <= options.tolerance:
                    kept.append((name, call))
                else:
                    row["left_out"][name] = f"differs by {difference:.2g}"
            for _ in range(options.rounds):
                for name, call in kept:
                    once = ours.run(solver, 2)[0] if call is None else seconds_of(call)
                    row["seconds"][name] = min(once, row["seconds"].get(name, np.inf))
            print(f"peers.py: D {dim}, T {length}, B {batch}, {solver}: " + ", ".join(
                [f"{name} {s * 1e3:.3g} ms" for name, s in row["seconds"].items()] +
                [f"{name} left out ({why})" for name, why in row["left_out"].items()]), file=sys.stderr)
        return rows


def markdown(rows, names):
    peers = [name for name in names if name != "Elkhorn"]
    head = ["solver", "D, T, B"] + [f"{name} ms" for name in names] + [f"{name} ÷ Elkhorn" for name in peers]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        times = row["seconds"]
        cells = [row["solver"], f"{row['D']}, {row['T']:,}, {row['B']}"]
        cells += [f"{times[n] * 1e3:.3g}" if n in times else row["left_out"].get(n, "–") for n in names]
        cells += [f"{times[n] / times['Elkhorn']:.3g}" if n in times and "Elkhorn" in times else "–" for n in peers]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    options = arguments()
    # One set of processors for all: libraries that start a thread for each they see start as many as the others.
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < options.threads:
        sys.exit(f"peers.py: --threads is {options.threads}, but this process may use {len(allowed)} processors")
    os.sched_setaffinity(0, allowed[:options.threads])
    os.environ["JAX_PLATFORMS"] = "cpu"
    sys.path.insert(0, str(HERE))
    peers, versions = {}, {}
    for name, package in (("JAX", "jax"), ("PyTorch", "torch")):
        try:
            versions[name] = importlib.import_module(package).__version__
            peers[name] = importlib.import_module(package + "_peer")
        except ImportError as problem:
            print(f"peers.py: {name} is left out: {problem}", file=sys.stderr)
    rows = [row for case in options.case for row in compare(options, peers, *case)]
    options.out.mkdir(parents=True, exist_ok=True)
    table = markdown(rows, ["Elkhorn", *peers])
    (options.out / "peers.md").write_text(table)
    (options.out / "peers.json").write_text(json.dumps({
        "threads": options.threads, "rounds": options.rounds, "iterations": options.iterations,
        "sigma2": options.sigma2, "versions": versions, "load": os.getloadavg(), "rows": rows}, indent=1) + "\n")
    print(table, end="")
    return 0 if all("Elkhorn" in row["seconds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
