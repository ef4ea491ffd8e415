"""Kills runs at random moments and resumes them, until all are complete: a rank, mpiexec, or the whole group of
processes; SIGKILL or SIGTERM; 1 to 3 ranks, another number of them on resuming; one in three is hit again while it resumes. After
each: everything ends within seconds, no finished case is lost or measured again, `elkhorn check` accepts every results
file there is, and the final set equals that of a run which nobody disturbed, states bit for bit.

    random_kills.py [--kills 100] [--seed N]

Through ctest, which sets the environment: scripts/test.sh -R app_random_kills_100 -V (the short version runs with the
other tests)."""

import argparse
import os
import random
import signal
import sys
import time

import program

CASES = 15
ENDS_WITHIN_S = 30 * program.PATIENCE  # on a machine that has nothing else to do it takes about one


def start(file, ranks, resume):
    return program.Job("run", "sweep.toml", "--out", file, *(["--resume"] if resume else []),
                       ranks=ranks)


def hit(job, target, number, choice):
    """Sends the signal; false where the job ended before."""
    if target == "rank":
        ranks = sorted({rank for rank in job.processes().values() if rank is not None})
        return bool(job.send(number, None if job.alone else choice(ranks)) if ranks or job.alone else 0)
    if target == "launcher":
        job.process.send_signal(number)
    else:
        for pid in list(job.processes()):
            program.signal_to(pid, number)
    return True


def kill_once(file, attempt, durations, dice):
    """One run that is hit; what was kept before is kept after. Returns a line for people, or None: it was over."""
    ranks = dice.choice([None, 2, 3])
    target = dice.choice(["rank", "launcher", "group"]) if ranks else "rank"
    number = dice.choice([signal.SIGKILL, signal.SIGTERM])
    before = program.journal(file)
    moment = dice.uniform(0, durations[ranks] * (1 - 0.8 * len(before) / CASES))  # starting takes its share
    with start(file, ranks, attempt > 0) as job:
        time.sleep(moment)
        if job.process.poll() is not None or not hit(job, target, number, dice.choice):
            assert job.process.wait() == 0, f"ended by itself with {job.process.returncode}: {job.messages()}"
            return None
        sent = time.monotonic()
        while job.processes():
            assert time.monotonic() < sent + ENDS_WITHIN_S, f"still running after {number.name} to {target}"
            time.sleep(0.02)
        code = job.process.wait()
        took = time.monotonic() - sent
    if os.path.exists(file):
        assert program.is_sound(file), "a results file that is not sound"
        if code == 0:
            return None
    if os.path.exists(file + ".incomplete"):
        assert program.is_sound(file + ".incomplete"), "a results file of finished cases that is not sound"
    # Hit while it cleaned up, it leaves a complete results file and no journal.
    kept = program.cases(file) if os.path.exists(file) else program.journal(file)
    for name, case in before.items():
        assert os.path.exists(file) or kept.get(name, {}).get("time_s") == case["time_s"], f"{name} is lost"
    return (f"{number.name} to {target:8} of {ranks or 1} rank(s) after {moment:5.2f} s: ended in {took:4.1f} s "
            f"with {code:4}, {len(kept):2} of {CASES} cases kept")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--kills", type=int, default=100, help="runs that are hit (default: 100)")
    options.add_argument("--seed", type=int, default=int(time.time()), help="of moments, targets and signals")
    options = options.parse_args()
    dice = random.Random(options.seed)
    print(f"seed {options.seed}", flush=True)

    program.write("sweep.toml", program.sweep(4, "length = 4000\nbatch = 3\nseed = [1, 2, 3]",
                                              "warmup = 1\nrepetitions = 12", "[output]\nstates = true"))
    durations = {}
    for ranks in (None, 2, 3):
        begin = time.monotonic()
        done = program.run("run", "sweep.toml", "--out", "whole.h5", ranks=ranks)
        assert done.returncode == 0, done.stdout + done.stderr
        durations[ranks] = time.monotonic() - begin

    hits = resumed = 0
    with_cases = 0  # hits that came when some cases were finished and some were not
    while hits < options.kills:
        file = f"killed-{resumed}.h5"
        kept = {}
        attempt = 0
        while hits < options.kills and (attempt == 0 or dice.random() < 1 / 3):
            line = kill_once(file, attempt, durations, dice)
            attempt += 1
            if line is None:
                break
            hits += 1
            kept.update(program.journal(file))
            with_cases += 0 < len(kept) < CASES
            print(f"{hits:3}  {line}", flush=True)
        ranks = dice.choice([None, 2, 3])
        done = program.run("run", "sweep.toml", "--out", file, "--resume", ranks=ranks)
        assert done.returncode == 0, done.stdout + done.stderr
        assert program.lost(kept, file) == [], program.lost(kept, file)
        assert program.difference("whole.h5", file) is None, program.difference("whole.h5", file)
        assert program.is_sound(file)
        left = sorted(name for name in os.listdir() if name.startswith(file))
        assert left == [file], left
        os.remove(file)
        resumed += 1
    print(f"{hits} kills, {with_cases} of them between the first and the last case; {resumed} runs resumed to the end: "
          "nothing lost, nothing unsound, every set complete and equal")
    if with_cases == 0:
        sys.exit("no kill came in the middle: nothing was tested")


if __name__ == "__main__":
    main()
