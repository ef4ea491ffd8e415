"""Full disks, read-only folders and file systems without locks: one clear error, the journal intact, --resume goes on.
Calls are made to fail by faulty_io.c; what the machine can do itself (limits, small file systems) is used as well."""

import contextlib
import errno
import os
import resource
import subprocess
import unittest

import program

FAULTY_IO = os.path.join(os.environ["ELKHORN_BUILD"], "tests", "app", "libfaulty_io.so")
CASES = 5
# States of more than one chunk.
DECK = program.sweep(7, "length = 9000\nbatch = 3", "warmup = 0\nrepetitions = 1", "[output]\nstates = true")
RESUME = "continue with --resume"


@contextlib.contextmanager
def small_file_system(folder, options):
    """A tmpfs of its own, where this process may mount one; the test is skipped elsewhere."""
    os.makedirs(folder)
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if mount.returncode:
        raise unittest.SkipTest("mounting a file system is not allowed here")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


class Disk(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.write("disk.toml", DECK)
        done = cls.run_deck("whole.h5")
        assert done.returncode == 0, done.stdout + done.stderr

    @staticmethod
    def run_deck(file, *more, **options):
        return program.run("run", "disk.toml", "--out", file, *more, **options)

    def run_failing(self, file, faults, ranks=None):
        return self.run_deck(file, ranks=ranks, LD_PRELOAD=FAULTY_IO, ELKHORN_IO_FAULT=faults)

    def expect_one_error(self, done, file, *words, kept=None):
        """And a resumed run that completes the set without running again what was kept."""
        self.assertEqual(done.returncode, 1, done.stderr)
        errors = [line for line in program.messages(done.stderr) if "warning" not in line]
        self.assertEqual(len(errors), 1, done.stderr)
        for word in (RESUME, *words):
            self.assertIn(word, errors[0])
        self.assertNotRegex(errors[0], "0x|errno|buf =")  # a sentence, no dump
        self.assertFalse(os.path.exists(file))
        self.assertFalse(os.path.exists(file + ".part"))
        journal = program.journal(file)
        if kept is not None:
            self.assertEqual(len(journal), kept)
        again = self.run_deck(file, "--resume")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(program.lost(journal, file), [])
        self.assertIsNone(program.difference("whole.h5", file))
        self.assertTrue(program.is_sound(file))

    def test_journal_cannot_be_written(self):
        full, broken = "No space left on device", "Input/output error"
        for name, call, number, reason in (("full", "write", errno.ENOSPC, full),
                                           ("quota", "write", errno.EDQUOT, "quota"),
                                           ("lost", "write", errno.EIO, broken), ("sync", "fsync", errno.EIO, broken)):
            for ranks in (None, 2):
                with self.subTest(name=name, ranks=ranks):
                    file = f"journal-{name}-{ranks}.h5"
                    done = self.run_failing(file, f"{call}:{file}.journal:{number}:3", ranks)  # header, two cases
                    self.expect_one_error(done, file, f"{file}.journal.jsonl", reason, kept=2)

    def test_results_cannot_be_written(self):
        """At any write: HDF5 1.10 crashes on several of them when it is left to itself."""
        hit = 0
        for after in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89):
            with self.subTest(after=after):
                file = f"part-{after}.h5"
                done = self.run_failing(file, f"write:{file}.part:{errno.ENOSPC}:{after}")
                if done.returncode == 0:
                    continue  # fewer writes than that
                hit += 1
                self.expect_one_error(done, file, f"cannot write {file}", "No space left on device", kept=CASES)
        self.assertGreater(hit, 4)

    def test_states_cannot_be_written(self):
        hit = 0
        for after in (0, 1, 2, 3, 4, 5, 6):
            with self.subTest(after=after):
                file = f"states-{after}.h5"
                done = self.run_failing(file, f"write:{file}.states/000002:{errno.ENOSPC}:{after}")
                if done.returncode == 0:
                    continue
                hit += 1
                self.expect_one_error(done, file, "cannot keep the states of case", "No space left on device", kept=2)
        self.assertGreater(hit, 2)

    def test_folder_becomes_read_only(self):
        for part, kept in ((".part", CASES), (".states/000003", 3)):
            with self.subTest(part):
                file = f"readonly{kept}.h5"
                done = self.run_failing(file, f"open:{file}{part}:{errno.EROFS}:0")
                self.expect_one_error(done, file, "Read-only file system", kept=kept)

    def test_no_locks(self):
        """Locks only guard against slips: file systems without them will do for journal, outputs and inputs."""
        for name, number in (("ENOLCK", errno.ENOLCK), ("ENOSYS", errno.ENOSYS)):
            with self.subTest(name):
                file = f"{name}.h5"
                done = self.run_failing(file, f"flock:.:{number}:0")
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIsNone(program.difference("whole.h5", file))
                again = program.run("check", file, LD_PRELOAD=FAULTY_IO, ELKHORN_IO_FAULT=f"flock:.:{number}:0")
                self.assertEqual(again.returncode, 0, again.stdout + again.stderr)

    def test_two_runs_on_one_file_where_locks_do_not_hold(self):
        """The first notices at its next case that the journal is another's, and what either has finished is kept."""
        slow = ("--set", "measure.repetitions={min=1,max=1000000}", "--set", "measure.time_limit_s=2")
        no_locks = {"LD_PRELOAD": FAULTY_IO, "ELKHORN_IO_FAULT": f"flock:.:{errno.ENOLCK}:0"}
        with program.Job("run", "disk.toml", "--out", "both.h5", *slow, **no_locks) as first:
            first.wait_for(lambda: program.finished_cases("both.h5") >= 1, "case 1")
            with program.Job("run", "disk.toml", "--out", "both.h5", *slow, **no_locks) as second:
                self.assertEqual(first.process.wait(timeout=program.TIMEOUT_S), 1)
                self.assertEqual(second.process.wait(timeout=program.TIMEOUT_S), 0, second.messages())
            errors = [line for line in first.messages() if "warning" not in line]
        self.assertEqual(len(errors), 1, errors)
        self.assertRegex(errors[0], "both.h5.journal.jsonl: another run writes it too")
        self.assertIsNone(program.difference("whole.h5", "both.h5"))
        self.assertTrue(program.is_sound("both.h5"))
        with open("both.h5.journal.jsonl.old", encoding="utf-8") as journal:
            self.assertGreaterEqual(len(journal.readlines()), 1 + 1)

    def test_limit_on_file_sizes(self):
        """Set while it runs: MPI starts with files of its own. Nothing to do with states, so the journal meets it."""
        file = "limit.h5"
        with program.Job("run", "disk.toml", "--out", file, "--set", "output.states=false",
                         "--set", "measure.repetitions=200", "--set", "measure.time_limit_s=2") as job:
            job.wait_for(lambda: program.finished_cases(file) >= 1, "case 1")
            limit = os.path.getsize(f"{file}.journal.jsonl") + 1000
            resource.prlimit(job.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
            self.assertEqual(job.process.wait(timeout=program.TIMEOUT_S), 1, "it was ended by SIGXFSZ, or not at all")
            errors = [line for line in job.messages() if "warning" not in line]
        self.assertEqual(len(errors), 1, errors)
        self.assertRegex(errors[0], f"cannot write {file}.journal.jsonl: File too large; .*{RESUME}")
        self.assertEqual(len(program.journal(file)), 1)

    def test_small_disk(self):
        with small_file_system("small", "size=3m"):
            done = self.run_deck("small/a.h5")
            self.assertEqual(done.returncode, 1, done.stderr)
            errors = [line for line in program.messages(done.stderr) if "warning" not in line]
            self.assertEqual(len(errors), 1, done.stderr)
            self.assertIn("no room for small/a.h5", errors[0])
            self.assertIn(RESUME, errors[0])
            kept = program.journal("small/a.h5")
            self.assertGreater(len(kept), 0)
            subprocess.run(["mount", "-o", "remount,size=30m", "small"], check=True)
            again = self.run_deck("small/a.h5", "--resume")
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertEqual(program.lost(kept, "small/a.h5"), [])
            self.assertIsNone(program.difference("whole.h5", "small/a.h5"))

    def test_read_only_from_the_start(self):
        with small_file_system("readonly", "size=1m,ro"):
            done = self.run_deck("readonly/a.h5")
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertEqual(program.messages(done.stderr), [done.stderr.rstrip("\n")])
            self.assertIn("Read-only file system", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
