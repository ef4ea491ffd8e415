"""kill -9 in the middle of a sweep, at several moments, then --resume: the same finished cases as a run that nobody
disturbed, and a sound file. The same for a job of two ranks of which one, or all with mpiexec, is killed."""

import os
import signal
import unittest

import program

# Cases long enough to be hit in the middle, at the scale of the polling below.
DECK = program.sweep(4, "length = 4000\nbatch = 3\nseed = [1, 2, 3]", "warmup = 2\nrepetitions = 12",
                     "[output]\nstates = true")
CASES = 15


class Kill(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.write("sweep.toml", DECK)
        done = program.run("run", "sweep.toml", "--out", "whole.h5")
        assert done.returncode == 0, done.stdout + done.stderr

    def kill_and_resume(self, after, ranks=None, rank=None):
        file = f"killed-{after}-{ranks}-{rank}.h5"
        with program.Job("run", "sweep.toml", "--out", file, ranks=ranks) as job:
            job.wait_for(lambda: program.finished_cases(file) >= after, f"case {after}")
            if rank is None:
                job.kill()
            else:
                self.assertEqual(job.send(signal.SIGKILL, rank), 1, "the rank was not found")
                # mpiexec notices and ends the job: nothing hangs
                self.assertNotEqual(job.process.wait(timeout=program.SOON_S), 0)
        kept = program.finished_cases(file)
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
        self.assertTrue(program.is_sound(file))
        self.assertIsNone(program.difference("whole.h5", file))

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
                job.wait_for(lambda: program.finished_cases("twice.h5") >= after, f"case {after}")
                job.kill()
        done = program.run("run", "sweep.toml", "--out", "twice.h5", "--resume")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.compare("twice.h5")

    def test_without_resume_it_starts_over_and_says_so(self):
        with program.Job("run", "sweep.toml", "--out", "over.h5") as job:
            job.wait_for(lambda: program.finished_cases("over.h5") >= 2, "case 2")
            job.kill()
        done = program.run("run", "sweep.toml", "--out", "over.h5", "--filter", "seed=2|sequential")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("starts over", done.stderr)
        self.assertTrue(os.path.exists("over.h5.journal.jsonl.old"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
