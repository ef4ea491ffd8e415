"""An error in one case, on any rank, costs that case and no other; a rank that dies ends the job, and nothing hangs."""

import os
import time
import unittest

import program

CASES = 5


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.write("faults.toml", program.sweep(3, "length = 200\nbatch = 4", "warmup = 1\nrepetitions = 2"))

    def expect_one_failed(self, file, done, index, message):
        self.assertEqual(done.returncode, 1, done.stderr)
        cases = list(program.cases(file).values())
        self.assertEqual([c["status"] for c in cases],
                         ["failed" if i == index else "ok" for i in range(CASES)])
        self.assertEqual(cases[index]["message"], message)
        self.assertIn(message, done.stdout)  # the table's reader sees it too
        check = program.run("check", file)
        self.assertEqual(check.returncode, 0, check.stdout)

    def test_a_case_throws_without_mpiexec(self):
        done = program.run("run", "faults.toml", "--out", "alone.h5", ELKHORN_FAULT="throw:0:1")
        self.expect_one_failed("alone.h5", done, 1, "a fault was asked for by ELKHORN_FAULT")

    def test_a_case_throws_on_any_rank(self):
        for rank in range(3):
            with self.subTest(rank=rank):
                file, index = f"throw{rank}.h5", rank + 1
                done = program.run("run", "faults.toml", "--out", file, ranks=3, ELKHORN_FAULT=f"throw:{rank}:{index}")
                self.expect_one_failed(file, done, index,
                                       f"rank {rank}: a fault was asked for by ELKHORN_FAULT")

    def test_the_oracle_case_throws(self):
        done = program.run("run", "faults.toml", "--out", "first.h5", ranks=2, ELKHORN_FAULT="throw:1:0")
        self.expect_one_failed("first.h5", done, 0, "rank 1: a fault was asked for by ELKHORN_FAULT")

    def test_resume_runs_a_failed_case_again(self):
        done = program.run("run", "faults.toml", "--out", "again.h5", ELKHORN_FAULT="throw:0:2")
        self.assertEqual(done.returncode, 1, done.stderr)
        done = program.run("run", "faults.toml", "--out", "again.h5", "--resume")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual({c["status"] for c in program.cases("again.h5").values()}, {"ok"})

    def test_a_rank_dies(self):
        begin = time.monotonic()
        done = program.run("run", "faults.toml", "--out", "exit.h5", ranks=3, timeout=program.SOON_S,
                           ELKHORN_FAULT="exit:1:2")
        self.assertLess(time.monotonic() - begin, program.SOON_S)
        self.assertNotEqual(done.returncode, 0)
        self.assertFalse(os.path.exists("exit.h5"))
        with open("exit.h5.journal.jsonl", encoding="utf-8") as journal:
            self.assertEqual(len(journal.readlines()), 1 + 2, "the two cases before the fault, behind the header")
        done = program.run("run", "faults.toml", "--out", "exit.h5", "--resume", ranks=3)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"2 of {CASES} cases are finished", done.stderr)
        self.assertEqual([c["status"] for c in program.cases("exit.h5").values()], ["ok"] * CASES)


if __name__ == "__main__":
    unittest.main(verbosity=2)
