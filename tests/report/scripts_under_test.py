"""The scripts as the tests of this folder run them, and the program that makes results files for them (the first argument
of these tests)."""

import os
import subprocess
import sys

ROOT = os.environ.get("ELKHORN_SOURCE") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
)
SCRIPTS = os.path.join(ROOT, "scripts")
sys.dont_write_bytecode = True
sys.path.insert(0, SCRIPTS)
import elkhorn_results  # noqa: E402, F401  (finds a Python with h5py, if need be by starting the test again)

WRITE_SAMPLE = os.path.abspath(sys.argv.pop(1))


def script(name, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-B", os.path.join(SCRIPTS, name), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        check=False,
    )
