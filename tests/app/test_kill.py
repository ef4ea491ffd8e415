"""kill -9 in the middle of a sweep, at several moments, then --resume: the same finished cases as a run that nobody
disturbed, and a sound file. The same for a job of two ranks of which one, or all with mpiexec, is killed."""

import os
import unittest

import program

import h5py
import numpy as np

# Cases long enough to be hit in the middle, at the scale of the polling below.
DECK = """
[system]
kind = "gru"
state_dim = 4
[problem]
length = 4000
batch = 3
seed = [1, 2, 3]
[[solver]]
kind = "sequential"
[[solver]]
kind = ["deer", "quasi_deer"]
[[solver]]
kind = ["elk", "quasi_elk"]
sigma2 = 1e4
[measure]
warmup = 2
repetitions = 12
[output]
states = true
"""
CASES = 15


def finished_cases(file):
    """Lines of the journal behind its header, whole ones only."""
    try:
        with open(f"{file}.journal.jsonl", "rb") as journal:
            return journal.read().count(b"\n") - 1
    except FileNotFoundError:
        return -1


class Kill(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.write("sweep.toml", DECK)
        done = program.run("run", "sweep.toml", "--out", "whole.h5")
        assert done.returncode == 0, done.stdout + done.stderr

    def kill_and_resume(self, after, ranks=None, rank=None):
        file = f"killed-{after}-{ranks}-{rank}.h5"
        with program.Job("run", "sweep.toml", "--out", file, ranks=ranks) as job:
            job.wait_for(lambda: finished_cases(file) >= after, f"case {after}")
            if rank is None:
                job.kill()
            else:
                self.assertEqual(job.kill(rank), 1, "the rank was not found")
                # mpiexec notices and ends the job: nothing hangs
                self.assertNotEqual(job.process.wait(timeout=60), 0)
        kept = finished_cases(file)
        self.assertGreaterEqual(kept, after)
        self.assertLess(kept, CASES, "the run was over before it was killed: nothing was tested")
        self.assertFalse(os.path.exists(file), "a results file although the run was killed")

        done = program.run("run", "sweep.toml", "--out", file, "--resume", ranks=ranks)
        self.assertEqual(done.returncode, 0, done.stderr)
        # Only what was missing ran: every case that runs has its line of progress.
        ran = [line for line in done.stderr.splitlines() if line.startswith("[")]
        self.assertEqual(len(ran), CASES - max(kept, 0), done.stderr)
        if kept > 0:
            self.assertIn(f"{kept} of {CASES} cases are finished", done.stderr)
        self.compare(file)

    def compare(self, file):
        self.assertEqual(sorted(f for f in os.listdir() if f.startswith(file)), [file])
        check = program.run("check", file)
        self.assertEqual((check.returncode, check.stdout), (0, f"{file}: sound\n"), check.stderr)
        with h5py.File("whole.h5") as whole, h5py.File(file) as resumed:
            self.assertEqual(list(whole["cases"]), list(resumed["cases"]))
            for name, a in whole["cases"].items():
                b = resumed["cases"][name]
                for attribute in ("name", "status", "iterations", "residual_max", "error_max"):
                    self.assertEqual(a.attrs[attribute], b.attrs[attribute])
                self.assertEqual(set(a), set(b))
                np.testing.assert_array_equal(a["states"][()], b["states"][()])
                self.assertGreater(b.attrs["speedup_over_sequential"], 0)  # also where the sequential case ran before

    def test_before_the_first_case(self):
        self.kill_and_resume(after=0)

    def test_after_one_case(self):
        self.kill_and_resume(after=1)

    def test_in_the_middle(self):
        self.kill_and_resume(after=7)

    def test_before_the_last_case(self):
        self.kill_and_resume(after=CASES - 2)

    def test_a_job_of_two_ranks(self):
        self.kill_and_resume(after=4, ranks=2)

    def test_one_rank_of_two(self):
        self.kill_and_resume(after=3, ranks=2, rank=1)

    def test_killed_again_while_it_resumes(self):
        for after in (3, 8):
            with program.Job("run", "sweep.toml", "--out", "twice.h5", "--resume") as job:
                job.wait_for(lambda: finished_cases("twice.h5") >= after, f"case {after}")
                job.kill()
        done = program.run("run", "sweep.toml", "--out", "twice.h5", "--resume")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.compare("twice.h5")

    def test_without_resume_it_starts_over_and_says_so(self):
        with program.Job("run", "sweep.toml", "--out", "over.h5") as job:
            job.wait_for(lambda: finished_cases("over.h5") >= 2, "case 2")
            job.kill()
        done = program.run("run", "sweep.toml", "--out", "over.h5", "--filter", "seed=2|sequential")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("starts over", done.stderr)
        self.assertTrue(os.path.exists("over.h5.journal.jsonl.old"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
