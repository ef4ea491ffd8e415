"""Signals and time limits end a run after the running sample: exit code 75, every file valid, --resume goes on."""

import os
import signal
import time
import unittest

import program

CASES = 15
INTERRUPTED = 75
# A case takes a while, in many short samples.
DECK = program.sweep(4, "length = 4000\nbatch = 3\nseed = [1, 2, 3]",
                     "warmup = 2\nrepetitions = 40\nci_width = 1e-9", "[output]\nstates = true")
# A short case, and one solve that takes longer than any test waits.
ENDLESS = """
[system]
kind = "gru"
state_dim = 8
[problem]
length = 20000
[[solver]]
kind = "sequential"
[[solver]]
kind = "quasi_deer"
stop = "iterations"
max_iterations = 100000000
"""


class Interrupt(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.write("sweep.toml", DECK)
        program.write("endless.toml", ENDLESS)
        done = program.run("run", "sweep.toml", "--out", "whole.h5", "--set", "measure.repetitions=2")
        assert done.returncode == 0, done.stdout + done.stderr

    def resume(self, file, ranks=None):
        kept = program.journal(file)
        self.assertFalse(os.path.exists(file))
        self.assertTrue(program.is_sound(file + ".incomplete"))
        self.assertEqual(list(program.cases(file + ".incomplete")), list(kept))
        done = program.run("run", "sweep.toml", "--out", file, "--resume", ranks=ranks)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"{len(kept)} of {CASES} cases are finished", done.stderr)
        self.assertEqual(sorted(f for f in os.listdir() if f.startswith(file)), [file])
        self.assertTrue(program.is_sound(file))
        self.assertEqual(program.lost(kept, file), [])
        self.assertIsNone(program.difference("whole.h5", file))

    def stop(self, file, number, ranks=None, rank=None, resume_on=None):
        with program.Job("run", "sweep.toml", "--out", file, ranks=ranks) as job:
            job.wait_for(lambda: program.finished_cases(file) >= 2, "case 2")
            self.assertGreaterEqual(job.send(number, rank), 1, "the process was not found")
            self.assertEqual(job.process.wait(timeout=program.SOON_S), INTERRUPTED)
            kept = program.finished_cases(file)
            self.assertLess(kept, CASES, "the run was over before it was stopped: nothing was tested")
            self.assertIn(f"elkhorn: stopped by {signal.Signals(number).name}: {kept} of {CASES} cases are finished; "
                          "continue with --resume", job.messages())
        self.resume(file, resume_on)

    def test_signals(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            with self.subTest(signal=number.name):
                self.stop(f"{number.name}.h5", number)

    def test_one_rank_of_three_and_then_two_ranks(self):
        self.stop("one.h5", signal.SIGTERM, ranks=3, rank=2, resume_on=2)

    def test_the_root_of_two_and_then_no_mpiexec(self):
        self.stop("root.h5", signal.SIGUSR1, ranks=2, rank=0)

    def test_before_the_first_case_is_finished(self):
        with program.Job("run", "sweep.toml", "--out", "none.h5", "--set", "measure.repetitions=1000000") as job:
            job.wait_for(lambda: program.finished_cases("none.h5") == 0, "the journal")
            job.send(signal.SIGTERM)
            self.assertEqual(job.process.wait(timeout=program.SOON_S), INTERRUPTED)
        self.assertEqual([f for f in os.listdir() if f.startswith("none.h5")], ["none.h5.journal.jsonl"])

    def test_a_second_signal_ends_at_once(self):
        with program.Job("run", "endless.toml", "--out", "endless.h5") as job:
            job.wait_for(lambda: program.finished_cases("endless.h5") == 1, "case 1")
            time.sleep(1)  # to be within the solve
            job.send(signal.SIGTERM)
            job.send(signal.SIGTERM)  # schedulers do that: it counts as the same
            time.sleep(1.5)
            self.assertIsNone(job.process.poll(), "the first signal did not wait for the sample")
            job.send(signal.SIGTERM)
            self.assertEqual(job.process.wait(timeout=5 * program.PATIENCE), -signal.SIGTERM)

    def test_time_limits(self):
        for name, option, variable, value in (("option", "--time-limit=4", None, None),
                                              ("slurm", None, "SLURM_JOB_END_TIME", lambda: int(time.time()) + 4),
                                              ("pbs", None, "PBS_WALLTIME", lambda: 4)):
            with self.subTest(name):
                begin = time.monotonic()
                # Every case takes a second, in as many samples as fit.
                done = program.run("run", "sweep.toml", "--out", f"{name}.h5", *([option] if option else []),
                                   "--set", "measure.repetitions={min=1,max=1000000}",
                                   "--set", "measure.time_limit_s=1",
                                   **({variable: str(value())} if variable else {}))
                self.assertEqual(done.returncode, INTERRUPTED, done.stderr)
                self.assertIn("elkhorn: stopped by the time limit: ", done.stderr)
                # CASES seconds without a limit; the rest is for a busy machine
                self.assertLess(time.monotonic() - begin, 10)

    def test_no_time_limit(self):
        done = program.run("run", "sweep.toml", "--out", "past.h5", "--set", "measure.repetitions=1",
                           "--time-limit", "none", SLURM_JOB_END_TIME="1000000000")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = program.run("run", "sweep.toml", "--out", "past.h5", SLURM_JOB_END_TIME="1000000000")
        self.assertEqual(done.returncode, INTERRUPTED, done.stderr)

    def test_bad_time_limits(self):
        for text in ("0", "-3", "soon", "1:2", "5 m"):
            with self.subTest(text):
                done = program.run("run", "sweep.toml", "--out", "bad.h5", f"--time-limit={text}")
                self.assertEqual(done.returncode, 2, done.stderr)
                self.assertEqual(len(program.messages(done.stderr)), 1, done.stderr)
                self.assertIn("--time-limit", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
