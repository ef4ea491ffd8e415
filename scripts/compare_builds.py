#!/usr/bin/env python3
"""Is a new build slower? Runs a deck with two builds in turns, and compares what they measured.

    compare_builds.py OLD_ELKHORN NEW_ELKHORN DECK [--rounds 12] [--out DIR] [-- ARGUMENT OF elkhorn run…]

A round is a run of each build, one right after the other, the old one first in every second round: what drifts on the
machine meets both alike. The runs go to DIR/old/ and DIR/new/, and compare.py DIR/old DIR/new gives the verdict; its
options (--threshold, --resolution, --json, …) can be given here. Cases of a run are sampled in turns as well
(elkhorn run --interleave), where both builds can. Exit code: that of compare.py, 3 where a run ends without results.
"""

import argparse
import os
import shlex
import subprocess
import sys

BAD_INPUT = 3
import elkhorn_results as er  # noqa: E402


def supports(elkhorn, option):
    """Whether `elkhorn run` of this build knows the option; 3 where the program cannot be started."""
    try:
        done = subprocess.run([elkhorn, "run", "--help"], capture_output=True, text=True, check=False)
    except OSError as problem:
        er.die(f"cannot run {elkhorn}: {problem.strerror}")
    return option in done.stdout


def run(command):
    """One run; 1 (some case wrong or failed) is a result, anything else but 0 is none."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode not in (0, 1):
        print(done.stdout, file=sys.stderr, end="")
        er.die(f"{shlex.join(command)} ended with code {done.returncode}")


def main():
    words, extra = sys.argv[1:], []
    if "--" in words:
        extra = words[words.index("--") + 1 :]
        words = words[: words.index("--")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.error = lambda message: parser.exit(BAD_INPUT, f"{parser.prog}: {message} (see {parser.prog} --help)\n")
    parser.add_argument("old", metavar="OLD_ELKHORN")
    parser.add_argument("new", metavar="NEW_ELKHORN")
    parser.add_argument("deck", metavar="DECK")
    parser.add_argument("--rounds", type=int, default=12, metavar="N", help="runs of each build (default: 12)")
    parser.add_argument("--out", metavar="DIR", default="compare-builds",
                        help="default: compare-builds; must be new or empty")
    parser.add_argument("--launcher", default="", metavar='"mpirun -n 2"', help="how to start them on several ranks")
    arguments, options = parser.parse_known_args(words)
    if arguments.rounds < 2:
        parser.error("--rounds must be at least 2: the spread between rounds is what the verdict rests on")
    if os.path.isdir(arguments.out) and os.listdir(arguments.out):
        er.die(f"{arguments.out} is not empty; name another folder with --out")
    builds = {"old": arguments.old, "new": arguments.new}
    common = []
    for option, value in (("--interleave", []), ("--roofs", ["off"])):
        if all(supports(elkhorn, option) for elkhorn in builds.values()):
            common += [option, *value]
    for side in builds:
        os.makedirs(os.path.join(arguments.out, side), exist_ok=True)
    for i in range(arguments.rounds):
        for side in ("old", "new") if i % 2 == 0 else ("new", "old"):
            file = os.path.join(arguments.out, side, f"run-{i:03d}.h5")
            run([*shlex.split(arguments.launcher), builds[side], "run", arguments.deck, "--out", file, *common, *extra])
            print(f"round {i + 1} of {arguments.rounds}: {file}", file=sys.stderr)
    compare = os.path.join(os.path.dirname(os.path.abspath(__file__)), "compare.py")
    folders = [os.path.join(arguments.out, side) for side in builds]
    return subprocess.run([sys.executable, "-B", compare, *folders, *options], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
