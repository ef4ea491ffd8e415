#!/usr/bin/env python3
"""peers.py on tiny problems: Elkhorn always, JAX and PyTorch where they are; and that a peer with wrong states is left out."""

import json
import os
import pathlib
import subprocess
import sys

SOURCE = pathlib.Path(os.environ["ELKHORN_SOURCE"])
PEERS = SOURCE / "benchmarks" / "peers"
ELKHORN = os.environ["ELKHORN"]


def run(*options, script=PEERS / "peers.py"):
    return subprocess.run([sys.executable, script, ELKHORN, "--rounds", "1", *options], text=True, capture_output=True,
                          check=False)


def expect(condition, what, done):
    if not condition:
        sys.exit(f"{what}\n{done.stdout}{done.stderr}")


def main():
    # The contenders that this machine has.
    done = run("--case", "3,40,2", "--case", "5,33,1", "--iterations", "6", "--out", "tiny")
    expect(done.returncode == 0, "peers.py fails", done)
    found = json.loads(pathlib.Path("tiny/peers.json").read_text())
    expect(len(found["rows"]) == 10, "a row is missing", done)
    for row in found["rows"]:
        expect(not row["left_out"], f"left out: {row}", done)
        expect(0 < row["seconds"]["Elkhorn"] < 10, f"no time of ours: {row}", done)
        expect(max(row["difference"].values()) < 1e-3, f"states differ: {row}", done)
        for name in found["versions"]:
            if name == "JAX" or row["solver"] == "sequential":
                expect(row["seconds"][name] > 0, f"no time of {name}: {row}", done)
    for name in ("JAX", "PyTorch"):
        expect((name in found["versions"]) != (f"{name} is left out" in done.stderr), f"silent about {name}", done)
    table = pathlib.Path("tiny/peers.md").read_text()
    expect(table == done.stdout and table.count("\n") == 12, "the table is not what was shown", done)

    # A peer whose states are wrong is not timed: torch_peer.py replaced by one that has nothing to do with a GRU.
    wrong = pathlib.Path("wrong")
    (wrong / "torch").mkdir(parents=True)
    (wrong / "torch" / "__init__.py").write_text('__version__ = "0"\n')
    (wrong / "peers.py").write_text((PEERS / "peers.py").read_text())
    (wrong / "torch_peer.py").write_text("import numpy as np\n\n\ndef contenders(data, threads):\n"
                                         "    return {'sequential': lambda: np.zeros_like(data['drivers'])}\n")
    os.environ["PYTHONPATH"] = str(wrong.resolve())
    done = run("--case", "3,40,2", "--solvers", "sequential", "--out", "out", script=wrong / "peers.py")
    expect(done.returncode == 0, "peers.py fails", done)
    row = json.loads(pathlib.Path("out/peers.json").read_text())["rows"][0]
    expect("differs by" in row["left_out"].get("PyTorch", "") and "PyTorch" not in row["seconds"], f"timed: {row}", done)

    # Bad usage: one line, nothing run.
    for options, says in ((("--case", "3,40"), "D,T,B"), (("--solvers", "newton"), "unknown solver"),
                          (("--rounds", "0"), "at least 1")):
        done = run(*options)
        expect(done.returncode == 2 and says in done.stderr, f"{options} is accepted", done)
    print("peers:", ", ".join(["Elkhorn", *found["versions"]]))


if __name__ == "__main__":
    main()
