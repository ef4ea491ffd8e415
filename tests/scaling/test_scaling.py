"""scripts/scaling.py: descriptions, job scripts, collection, resume, arithmetic, cost model; and the real program once.

Most tests use results files made here; the end-to-end one runs $ELKHORN (tests/CMakeLists.txt) under mpirun.
"""

import glob
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.environ.get("ELKHORN_SOURCE") or os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
)
SCRIPTS = os.path.join(ROOT, "scripts")
sys.dont_write_bytecode = True
sys.path.insert(0, SCRIPTS)
import elkhorn_results as er  # noqa: E402  (finds a Python with h5py, if need be by starting this file again)
import scaling  # noqa: E402
import scaling_model as model  # noqa: E402
import scaling_report as report  # noqa: E402
import scaling_study as study  # noqa: E402

DECK = """
[deck.system]
kind = "gru"
state_dim = 4
[deck.problem]
length = 1000
batch = 4
[[deck.solver]]
kind = ["sequential", "deer"]
[deck.measure]
warmup = 0
repetitions = 1
[deck.output]
history = false
"""
JOB = '\n[job]\ncores_per_node = 4\n'
META = {"version": "0.1.0", "git_sha": "0123456789abcdef", "git_dirty": 0, "compiler": "GNU", "mpi": "Open MPI",
        "kokkos_backend": "OpenMP", "cpu": "a processor", "host": "here", "cpu_cores": 2, "cpu_hardware_threads": 2}


def strong(extra="ranks = [1, 2, 4]", name="s", kind="strong"):
    return f'\n[[study]]\nname = "{name}"\nkind = "{kind}"\n{extra}\n'


def placement(ranks, threads, allowed="0-1"):
    lines = [" rank  host  threads  cores  allowed  observed"]
    return "\n".join(lines + [f"    {r}  here  {threads:>7}  {2:>5}  {allowed}  0" for r in range(ranks)])


def write_point(point, cases, roofs=None, **meta):
    """A results file of a point: cases are (solver, seconds, further attributes); `roofs`: attributes of /roofs."""
    os.makedirs(os.path.dirname(point.file), exist_ok=True)
    with er.h5py.File(point.file, "w") as file:
        file.attrs.update(format="elkhorn", format_version="1.0")
        file.create_group("meta").attrs.update({**META, "ranks": point.ranks, "threads": point.threads,
                                                "placement": placement(point.ranks, point.threads), **meta})
        file["meta/deck"] = "title = 'd'"
        if roofs:
            file.create_group("roofs").attrs.update(roofs)
        for number, (solver, seconds, more) in enumerate(cases):
            group = file.create_group(f"cases/{number:06}")
            length, batch = more.get("length", 1000), more.get("batch", 4)
            group.attrs.update({
                "name": f"gru-D4-T{length}-B{batch}-f32-{solver}" +
                        (f"-time_ranks={point.time_ranks}" if point.time_ranks > 1 else ""),
                "system": "gru", "solver": solver, "state_dim": 4, "length": length, "batch": batch,
                "precision": "float32", "seed": 1, "sigma2": math.nan, "scan": "chunked:1",
                "status": "ok", "message": "", "iterations": -1 if solver == "sequential" else 4,
                "work": 0.0 if solver == "sequential" else 4.0,
                "time_median_s": seconds, "time_ci_low_s": math.nan, "time_ci_high_s": math.nan, **more})
            group["time_s"], group["rank_time_s"] = [seconds], [[seconds] * point.ranks]
            group["batch_iterations"] = [4] * batch


def script(*arguments, **environment):
    return subprocess.run([sys.executable, "-B", os.path.join(SCRIPTS, "scaling.py"), *arguments], text=True,
                          capture_output=True, check=False,
                          env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment})


class ScalingTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="elkhorn-scaling-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = os.path.join(self.folder, "out")

    def write(self, text, name="study.toml"):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def describe(self, text):
        return study.Description(self.write(text), self.out)

    def run_script(self, command, path, *arguments, **environment):
        return script(command, path, "--out", self.out, *arguments, **environment)


class Descriptions(ScalingTest):
    def test_a_mistake_is_one_line_with_file_and_key(self):
        good = DECK + strong()
        self.write("[problem]\nlength = 100\nbatch = [1, 2]\n", "lists.toml")
        for text, pattern in (
            ("title = ", r"study\.toml: Invalid value"),
            (strong(), r"study\.toml: deck: must be the path"),
            ('deck = "none.toml"' + strong(), r"study\.toml: deck: .*none\.toml: No such file"),
            (DECK, r"study\.toml: study: is missing"),
            ("colour = 1\n" + good, r"study\.toml: colour: unknown key; known are title, "),
            (DECK + strong("ranks = [1]\nrank = 2"), r"study\[1\]\.rank: unknown key"),
            (DECK + strong("ranks = [0, 1]"), r"study\[1\]\.ranks: must be a list of whole numbers"),
            (DECK + strong("ranks = [true]"), r"study\[1\]\.ranks: must be a list of whole numbers"),
            (DECK + strong(kind="fast"), r"study\[1\]\.kind: must be one of strong, weak, .* not 'fast'"),
            (DECK + strong("ranks = [1]\ngrows = 'time'"), r"study\[1\]\.grows: only weak scaling"),
            (DECK + strong(""), r"study\[1\]: needs one of ranks or points"),
            (DECK + strong("ranks = [1]\npoints = [{ ranks = 1 }]"), r"needs one of .* has ranks and points"),
            (DECK + strong("points = [{ ranks = 3, time_ranks = 2 }]"),
             r"study\[1\]\.points\[1\]: time_ranks = 2 does not divide the 3 ranks"),
            (DECK + strong("points = [{ threads = 3 }]"), r"study\[1\]\.points\[1\]\.ranks: is missing"),
            (DECK + strong("ranks = [2, 2]"), r"study\[1\]: two of its points are the same run"),
            (DECK + strong("ranks = [1, 2]\nbase = { ranks = 8 }"), r"study\[1\]\.base: no point .* ranks = 8"),
            (DECK + strong(kind="throughput"), r"study\[1\]\.batch: is missing"),
            (DECK + strong("ranks = [3, 2]", kind="weak"), r"problem\.batch = 4 × 0\.66\d* is not a whole number"),
            ("deck = 'lists.toml'" + strong(kind="weak"), r"study\[1\]\.set: weak scaling needs the problem\.batch"),
            (DECK + strong("ranks = [1]", name="a/b"), r"study\[1\]\.name: names a folder"),
            (good + strong(), r"study: 2 studies are called 's'"),
            (good + "[machine]\nlatency_s = -1\n", r"machine\.latency_s: must be a positive number, not -1"),
            (good + "[job]\nsetup = [1]\n", r"job\.setup: must be a list of text"),
            (good + '[job]\ntime_limit = "30"\n', r'job\.time_limit: must be hours, minutes and seconds such as "0:30:00"'),
            (good + '[job]\ntime_limit = "0:00:00"\n', r"job\.time_limit: must be "),
        ):
            with self.subTest(pattern):
                with self.assertRaisesRegex(study.DescriptionError, pattern) as caught:
                    self.describe(text)
                self.assertTrue(str(caught.exception).startswith(os.path.join(self.folder, "study.toml: ")))
                self.assertNotIn("\n", str(caught.exception))
        for arguments in ((self.write(strong(), "no.toml"),), (self.write(good), "--only", "t"),
                          (os.path.join(self.folder, "none.toml"),)):
            result = self.run_script("collect", *arguments)
            self.assertEqual((result.returncode, result.stderr.count("\n")), (2, 1), result.stderr)
            self.assertRegex(result.stderr, r"^scaling\.py: .*(deck|--only t|none\.toml): ")

    def test_points_of_each_kind(self):
        described = self.describe(
            DECK + strong("ranks = [1, 4]\nsplit = 'both'") + strong("ranks = [1, 2]", "wb", "weak") +
            strong("ranks = [1, 2]\ngrows = 'time'", "wt", "weak") +
            strong("ranks = [1, 2, 4]\ngrows = 'both'", "wx", "weak") +
            strong("ranks = [2]\nbatch = [1, 8]", "t", "throughput") + strong("cores = 6", "p", "placement"))
        points = {s.name: s.points for s in described.studies}

        def grids(name):
            return [(p.ranks, p.threads, p.time_ranks) for p in points[name]]

        def sizes(name):
            return [(p.overrides.get("problem.length"), p.overrides.get("problem.batch")) for p in points[name]]

        self.assertEqual(grids("s"), [(1, 1, 1), (4, 1, 2)])
        self.assertEqual((grids("wb"), sizes("wb")), ([(1, 1, 1), (2, 1, 1)], [(None, 4), (None, 8)]))
        self.assertEqual((grids("wt"), sizes("wt")), ([(1, 1, 1), (2, 1, 2)], [(1000, None), (2000, None)]))
        self.assertEqual((grids("wx"), sizes("wx")),
                         ([(1, 1, 1), (2, 1, 1), (4, 1, 2)], [(1000, 4), (1000, 8), (2000, 8)]))
        self.assertEqual(sizes("t"), [(None, 1), (None, 8)])
        self.assertEqual(grids("p"), [(1, 6, 1), (2, 3, 1), (3, 2, 1), (6, 1, 1)])

    def test_an_inline_deck_is_written_as_toml(self):
        text = DECK + '[deck.quick.solver]\n"odd key" = { absolute = 3.0 }\nlist = [1, 2.5, "σ²", true]\n' + strong()
        described = self.describe(text)
        described.write_deck()
        with open(described.deck_path, "rb") as file:
            self.assertEqual(study.tomllib.load(file), study.tomllib.loads(text)["deck"])

    def test_every_description_in_the_tree_is_read(self):
        paths = glob.glob(os.path.join(ROOT, "inputs", "scaling", "*.toml")) + \
            [os.path.join(ROOT, "tests", "scaling", "slurm.toml")]
        self.assertGreater(len(paths), 1)
        for path in paths:
            self.assertTrue(study.Description(path, self.out).points)


class JobScripts(ScalingTest):
    def test_each_scheduler(self):
        text = DECK + strong("points = [{ ranks = 8, threads = 2, time_ranks = 4 }]") + JOB + \
            'time_limit = "01:02:03"\nsetup = ["module load mpi"]\noptions = ["#OPTION of mine"]\n'
        limit = r"elkhorn run .* --time-limit 01:02:03\n"
        expected = {
            "slurm": (r"#SBATCH --nodes=4\n", "#SBATCH --ntasks=8\n", "#SBATCH --cpus-per-task=2\n",
                      "#SBATCH --time=01:02:03\n", r"srun --ntasks=8 --cpus-per-task=2 \\\n"),
            "pbs": (r"#PBS -l select=4:ncpus=4:mpiprocs=2:ompthreads=2\n", "#PBS -l walltime=01:02:03\n",
                    r"mpirun -n 8 \\\n", limit),
            "flux": ("# flux: --nodes=4\n", "# flux: --nslots=8\n", "# flux: --cores-per-slot=2\n",
                     "# flux: --time-limit=3723s\n", limit, r"flux run --nodes=4 --ntasks=8 --cores-per-task=2 \\\n"),
            "mpirun": (r"mpirun -n 8 \\\n", limit),
        }
        path = self.write(text)
        for scheduler, patterns in expected.items():
            with self.subTest(scheduler):
                result = self.run_script("generate", path, "--scheduler", scheduler)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertIn("1 of 1 points to run", result.stdout)
                (name,) = glob.glob(os.path.join(self.out, "jobs", "*.sh"))
                with open(name, encoding="utf-8") as file:
                    job = file.read()
                for pattern in (*patterns, "export OMP_NUM_THREADS=2\n", "module load mpi\n", "#OPTION of mine\n",
                                "--set parallel.time_ranks=4", "--resume", r"\.h5 ", r"echo \"\$code\" > \S+\.code\n"):
                    self.assertRegex(job, pattern)
                self.assertNotRegex(job, "@[A-Z]")
                self.assertEqual("--time-limit 01" in job, scheduler != "slurm", "Slurm says itself when a job ends")
                self.assertEqual(subprocess.run(["bash", "-n", name], check=False).returncode, 0)
                with open(os.path.join(self.out, "submit.sh"), encoding="utf-8") as file:
                    submit = file.read()
                self.assertRegex(submit, rf"\n{scaling.SCHEDULERS[scheduler][0]} {re.escape(name)} ")

    def test_days_are_for_all_schedulers(self):
        path = self.write(DECK + strong("ranks = [1]") + JOB + 'time_limit = "1-12:00:05"\n')
        for scheduler, pattern in (("slurm", "--time=36:00:05\n"), ("pbs", "walltime=36:00:05\n"),
                                   ("flux", "--time-limit=129605s\n")):
            result = self.run_script("generate", path, "--scheduler", scheduler, "--dry-run")
            self.assertIn(pattern, result.stdout)

    def test_what_does_not_fit_on_nodes_is_refused(self):
        for points, pattern in (("[{ ranks = 1, threads = 8 }]", "8 threads do not fit on a node"),
                                ("[{ ranks = 9, nodes = 2 }]", "9 ranks × 1 thread do not fit on 2 nodes")):
            result = self.run_script("generate", self.write(DECK + strong("points = " + points) + JOB), "--scheduler",
                                     "slurm")
            self.assertEqual((result.returncode, result.stderr.count("\n")), (2, 1), result.stderr)
            self.assertRegex(result.stderr, pattern)
        result = self.run_script("generate", self.write(DECK + strong()), "--scheduler", "slurm")
        self.assertRegex(result.stderr, r"study\.toml: job\.cores_per_node: is missing")
        self.assertFalse(os.path.exists(self.out))

    def test_own_templates(self):
        templates = os.path.join(self.folder, "templates")
        shutil.copytree(scaling.TEMPLATES, templates)
        with open(os.path.join(templates, "slurm.sh"), "a", encoding="utf-8") as file:
            file.write("# for @NAME@ and @NOBODY@\n")
        result = self.run_script("generate", self.write(DECK + strong() + JOB), "--scheduler", "slurm", "--templates",
                                 templates)
        self.assertEqual(result.returncode, 2)
        self.assertRegex(result.stderr, "slurm.sh: @NOBODY@ is no placeholder; known are BODY, NAME")

    def test_a_dry_run_touches_nothing(self):
        path = self.write(DECK + strong() + JOB)
        for arguments in (("generate", path, "--scheduler", "pbs", "--dry-run"), ("run", path, "--dry-run")):
            result = self.run_script(*arguments)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("--set parallel.time_ranks=1", result.stdout)
            self.assertEqual(os.listdir(self.folder), ["study.toml"])


class Collection(ScalingTest):
    def test_states_of_points(self):
        described = self.describe(DECK + strong("ranks = [1, 2, 3, 4, 5, 6]"))
        done, failed_case, refused, missing, killed, broken = described.points
        ok = ("sequential", 1.0, {})
        write_point(done, [ok, ("deer", 1.0, {"status": "wrong"})])
        write_point(failed_case, [ok, ("deer", math.nan, {"status": "failed", "message": "no memory"})])
        for point, said in ((refused, "elkhorn: warning: busy\nelkhorn: deck.toml:3: a mistake\nMPI says more\n"),
                            (killed, "elkhorn: [1/2]\n"), (broken, "")):
            with open(point.log, "w", encoding="utf-8") as file:
                file.write(said)
        for point, code in ((done, 1), (refused, 2)):
            with open(point.code_file, "w", encoding="utf-8") as file:
                file.write(f"{code}\n")
        with open(broken.file, "w", encoding="utf-8") as file:
            file.write("no HDF5")
        self.assertEqual([p.state()[0] for p in described.points],
                         ["done", "failed", "failed", "missing", "missing", "failed"])
        self.assertEqual(refused.state()[1], "exit code 2: deck.toml:3: a mistake")
        self.assertEqual(failed_case.state()[1], "1 of 2 cases failed: no memory")
        self.assertEqual((missing.state()[1], killed.state()[1]),
                         ("", "started, but has not finished: it runs, or was killed"))
        self.assertIn("cannot be read", broken.state()[1])
        result = self.run_script("collect", described.path)
        self.assertEqual(result.returncode, 1)
        self.assertIn("6 points: 1 done, 2 missing, 3 failed", result.stdout)
        result = self.run_script("report", described.path)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertEqual(result.stderr, "")
        with open(os.path.join(self.out, "report.md"), encoding="utf-8") as file:
            text = file.read()
        for part in ("failed: r2-t1-p1 (1 of 2 cases failed: no memory)", "missing: r4-t1-p1; r5-t1-p1 (started",
                     "base: the same solver at 1 rank × 1 thread, r1-t1-p1: sequential 1.00 s", "| wrong |"):
            self.assertIn(part, text)

    def test_a_run_stopped_by_a_signal_or_a_limit_goes_on(self):
        (point,) = self.describe(DECK + strong("ranks = [1]")).points
        os.makedirs(os.path.dirname(point.log))
        said = "stopped by the time limit: 3 of 9 cases are finished; continue with --resume"
        for path, text in ((point.log, f"elkhorn: {said}\nMPI says more\n"), (point.code_file, "75\n")):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        self.assertEqual(point.state()[:2], ("missing", said))

    def test_a_changed_description_does_not_take_old_results(self):
        first = self.describe(DECK + strong("ranks = [1]"))
        write_point(first.points[0], [("sequential", 1.0, {})])
        self.assertEqual(first.points[0].state()[0], "done")
        self.assertEqual(self.describe("title = 'new'\n" + DECK + strong("ranks = [1]")).points[0].state()[0], "done")
        for change in (DECK.replace("warmup = 0", "warmup = 1") + strong("ranks = [1]"),
                       DECK + strong("ranks = [1]\nfilter = 'deer'"), DECK + strong("ranks = [1]\nthreads = 2"),
                       DECK + strong("ranks = [1]\nset = { 'problem.seed' = 2 }")):
            self.assertEqual(self.describe(change).points[0].state()[0], "missing")

    def test_nothing_there(self):
        path = self.write(DECK + strong())
        result = self.run_script("report", path)
        self.assertEqual((result.returncode, result.stderr), (1, ""))
        self.assertIn("3 points: 3 missing", result.stdout)
        result = self.run_script("predict", path)
        self.assertEqual(result.returncode, 2)
        self.assertRegex(result.stderr, "no measured points")


class Arithmetic(ScalingTest):
    def rows(self, described, name=None):
        frame = report.collect(described)
        frame = frame[frame["study"].eq(name)] if name else frame
        return [(round(float(a), 9), round(float(b), 9)) for a, b in zip(frame["speedup"], frame["efficiency"])]

    def test_strong(self):
        described = self.describe(DECK + strong("ranks = [1, 2, 4]\nbase = { ranks = 2 }"))
        for point, seconds in zip(described.points, (8.0, 5.0, 2.0)):
            write_point(point, [("deer", seconds, {})])
        self.assertEqual(self.rows(described), [(0.625, 1.25), (1.0, 1.0), (2.5, 1.25)])

    def test_weak(self):
        described = self.describe(DECK + strong("ranks = [1, 4]\ngrows = 'time'", kind="weak"))
        for point, seconds, length in zip(described.points, (2.0, 2.5), (1000, 4000)):
            write_point(point, [("deer", seconds, {"length": length})])
        self.assertEqual(self.rows(described), [(1.0, 1.0), (3.2, 0.8)])

    def test_throughput(self):
        described = self.describe(DECK + strong("ranks = [2]\nbatch = [1, 8]", kind="throughput"))
        for point, seconds, batch in zip(described.points, (1.0, 2.0), (1, 8)):
            write_point(point, [("deer", seconds, {"batch": batch})])
        frame = report.collect(described)
        self.assertEqual(frame["speedup"].tolist(), [1.0, 4.0])
        self.assertTrue(frame["efficiency"].isna().all())

    def test_the_named_base_may_be_another_solver(self):
        described = self.describe(DECK + strong("ranks = [1, 2]\nbase = { ranks = 1, solver = 'sequential' }"))
        for point, seconds in zip(described.points, (6.0, 1.5)):
            write_point(point, [("sequential", 3.0, {}), ("deer", seconds, {})])
        self.assertEqual(self.rows(described), [(1.0, 1.0), (0.5, 0.5), (1.0, 0.5), (2.0, 1.0)])
        frame = report.collect(described)
        self.assertIn("base: sequential at 1 rank × 1 thread, r1-t1-p1: sequential 3.00 s",
                      report.base_text(described.studies[0], frame))

    def test_only_ok_is_compared(self):
        described = self.describe(DECK + strong("ranks = [1, 2, 4]"))
        for point, status in zip(described.points, ("ok", "not_converged", "wrong")):
            write_point(point, [("deer", 1.0, {"status": status})])
        frame = report.collect(described)
        self.assertEqual(frame["speedup"].notna().tolist(), [True, False, False])
        self.assertEqual(frame["time_s"].notna().tolist(), [True, True, False])

    def test_points_of_different_builds_are_pointed_out(self):
        described = self.describe(DECK + strong("ranks = [1, 2]"))
        for point, sha in zip(described.points, ("a" * 40, "b" * 40)):
            write_point(point, [("deer", 1.0, {})], git_sha=sha)
        notes = "\n".join(report.notes(described.studies[0], report.collect(described)))
        self.assertIn("come from 2 different builds", notes)
        write_point(described.points[0], [("deer", 1.0, {})], git_sha="b" * 40)
        described.program = self.write("", "program")
        for path, when in ((described.points[0].file, 1), (described.program, 2), (described.points[1].file, 3)):
            os.utime(path, (when, when))
        notes = "\n".join(report.notes(described.studies[0], report.collect(described)))
        self.assertNotIn("builds", notes)
        self.assertIn("r1-t1-p1: older than the program, others newer", notes)

    def test_oversubscription_is_read_from_the_placement(self):
        def load(ranks, threads, allowed="0-1", **meta):
            return study.load_on_cores({**META, "placement": placement(ranks, threads, allowed), **meta})

        self.assertEqual(load(2, 1), 1.0)
        self.assertEqual(load(4, 1), 2.0)
        self.assertEqual(load(1, 2, "0"), 2.0)
        self.assertEqual(load(3, 2, "0-3,8"), 6 / 5)
        # Two hardware threads a core: as many threads as hardware threads are two a core.
        self.assertEqual(load(4, 2, "0-7", cpu_cores=4, cpu_hardware_threads=8), 2.0)
        bound = "\n".join(f" {r}  h{r % 2}  1  1  {r // 2}  {r // 2}" for r in range(4))
        self.assertEqual(study.load_on_cores({**META, "placement": bound}), 1.0)
        self.assertTrue(math.isnan(study.load_on_cores({})))

    def test_marks_in_table_and_picture(self):
        described = self.describe(DECK + strong("ranks = [1, 2, 4]"))
        for point in described.points:
            write_point(point, [("sequential", 1.0, {}), ("deer", 2.0, {"communication_share": 0.25, "transfer_share": 0.0125})])
        result = self.run_script("report", described.path, "--format", "svg")
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stderr)
        self.assertRegex(result.stdout, r"deer +4 × 1 thread‡ .* 25\.0% +1\.25%")
        self.assertRegex(result.stdout, r"efficiency +waits \+ messages +messages ")
        self.assertIn("waits for other ranks included; messages: what the same messages take when nobody waits", result.stdout)
        self.assertRegex(result.stdout, r"deer +2 × 1 thread  ")
        self.assertIn("‡ oversubscribed: more threads than cores (up to 2 a core)", result.stdout)
        with open(os.path.join(self.out, "s.svg"), encoding="utf-8") as file:
            text = re.sub(r"<[^>]*>", "", file.read())
        for part in ("oversubscribed", "ideal", "efficiency", "share of waits and messages", "messages alone", "iterations",
                     "base: the same solver at 1 rank × 1 thread, r1-t1-p1: sequential 1.00 s, deer 2.00 s"):
            self.assertIn(part, text)


class CostModel(ScalingTest):
    def test_communication(self):
        machine = model.Machine(latency_s=1.0, bandwidth_bytes_s=1.0)
        # 2 sequences of D = 3, 4 bytes a number, 4 ranks over time: boundary 1 + 24, verdict 2 (1 + 32).
        common = 25.0 + 66.0

        def seconds(solver, exchange, step=0.0, chunks=1):
            return model.communication_s(solver, 3, 2, 4, 4, machine, step, exchange, chunks) - common

        self.assertEqual(seconds("deer", "chain"), 3 * (1 + 24))
        self.assertEqual(seconds("deer", "log2"), 2 * (1 + 8 * 12))
        self.assertEqual(seconds("quasi_deer", "log2"), 2 * (1 + 8 * 6))
        self.assertEqual(seconds("elk", "log2"), 2 * (1 + 8 * 33))
        self.assertEqual(seconds("elk", "chain"), 3 * (1 + 8 * 12))
        self.assertEqual(seconds("quasi_elk", "chain"), 3 * (1 + 8 * 6))
        self.assertEqual(seconds("deer", "log2", 0.5), 2 * (1 + 8 * 12 + 2 * 0.5))
        self.assertEqual(seconds("deer", "chain", 0.75, 4), 3 * (1 + 24 + 4 * 2 * 0.25))  # c2 = 3 c1 for D = 3
        self.assertEqual(seconds("elk", "chain", 0.75, 4), 3 * (1 + 8 * 12 + 4 * 2 * 0.75))
        self.assertEqual(model.communication_s("deer", 3, 2, 4, 1, machine, 1.0), 0.0)
        self.assertEqual(model.communication_s("sequential", 3, 2, 4, 4, machine, 1.0), 0.0)

    def measured(self):
        """Points that obey the model exactly: c_s = 1 µs, deer c1 = 4 µs, c2 = 10 µs, α = 50 µs."""
        described = self.describe(DECK + strong(
            "points = [{ ranks = 1 }, { ranks = 2, time_ranks = 2 }, { ranks = 4, time_ranks = 4 }, "
            "{ ranks = 1, set = { 'problem.length' = 2000 } }, "
            "{ ranks = 2, time_ranks = 2, set = { 'problem.length' = 2000 } }]\nset = { 'problem.batch' = 1 }"))
        for point in described.points:
            length = point.overrides.get("problem.length", 1000)
            parts = point.time_ranks
            messages = parts + math.ceil(math.log2(parts))
            seconds = 4 * ((4e-6 if parts == 1 else 1e-5) * length / parts + (50e-6 * messages if parts > 1 else 0))
            sizes = {"batch": 1, "length": length}
            write_point(point, [("sequential", 1e-6 * length, sizes), ("deer", seconds, sizes)],
                        placement=placement(point.ranks, 1, "0-7"),
                        roofs={"message_s": 50e-6, "message_bytes_s": 1e10} if parts > 1 else None)
        return described

    def test_rates_and_latency_are_found(self):
        samples = model.samples_of(report.collect(self.measured()))
        network = model.network_of(samples)
        self.assertEqual((network.latency_s, network.bandwidth_bytes_s, network.name), (50e-6, 1e10, "measured network"))
        self.assertEqual(model.network_of(samples[samples["time_ranks"].eq(1)]).name, "assumed network")
        fitted = model.Model(samples)
        series = "gru-D4-f32-deer"
        self.assertAlmostEqual(fitted.rate(series, False, 4, 1)[0] / 4e-6, 1, places=6)
        self.assertAlmostEqual(fitted.rate(series, True, 4, 1)[0] / 1e-5, 1, delta=0.02)
        checked = model.validate(samples)
        self.assertTrue(checked["ratio"].between(0.9, 1.1).all(), checked[["series", "point", "ratio"]])
        self.assertIsNone(fitted.rate("another", True, 4, 1))

    def test_a_point_is_predicted_without_itself(self):
        frame = report.collect(self.measured())
        odd = frame["solver"].eq("deer") & frame["time_ranks"].eq(1) & frame["T"].eq(2000)
        frame.loc[odd, "time_s"] *= 3
        checked = model.validate(model.samples_of(frame))
        self.assertAlmostEqual(checked.loc[odd, "ratio"].iloc[0], 1 / 3, places=6)

    def test_what_was_not_measured_is_assumed_and_said(self):
        samples = model.samples_of(report.collect(self.measured()))
        uncut = model.Model(samples[~samples["cut"].astype(bool)])
        rate, assumed = uncut.rate("gru-D4-f32-deer", True, 8, 1)
        self.assertAlmostEqual(rate / (4e-6 * (1 + 9 / 2) * 2**3), 1, places=6)
        self.assertEqual(len(assumed), 2)
        self.assertRegex(assumed[0], r"c2 = 5\.5 c1")

    def test_crossover(self):
        samples = model.samples_of(report.collect(self.measured()))
        machine = model.Machine(latency_s=1e-9, bandwidth_bytes_s=1e12, cores_per_node=64)
        cores = [2**k for k in range(12)]
        swept, _ = model.sweep(model.Model(samples), cores, 1_000_000, 1, 4, machine, {})
        # 4 iterations of 10 µs against 1 µs: 40 cores, so 64 of the powers of two.
        self.assertEqual(model.crossovers(swept), {("gru-D4-f32-deer", "chain"): 64, ("gru-D4-f32-deer", "log2"): 64})
        one = swept[swept["cores"].eq(1) & swept["exchange"].eq("chain")].iloc[0]
        self.assertAlmostEqual(one["time_s"], 16.0, places=6)
        swept, _ = model.sweep(model.Model(samples), cores, 1_000_000, 1, 4, machine, {"deer": 40})
        self.assertEqual(model.crossovers(swept)["gru-D4-f32-deer", "log2"], 512)
        slow = model.Machine(latency_s=1.0, bandwidth_bytes_s=1e12, cores_per_node=64)
        swept, _ = model.sweep(model.Model(samples), cores, 1_000_000, 1, 4, slow, {})
        self.assertEqual(set(model.crossovers(swept).values()), {None})
        self.assertTrue((swept["time_ranks"] <= 16).all())  # more only make it slower

    def test_predict_prints_its_assumptions(self):
        described = self.measured()
        result = self.run_script("predict", described.path, "--length", "1000000", "--latency", "3e-6", "--iterations",
                                 "deer=7", "--cores-per-node", "32", "--format", "svg")
        self.assertEqual((result.returncode, result.stderr), (0, ""), result.stderr)
        with open(os.path.join(self.out, "prediction.svg"), encoding="utf-8") as file:
            drawn = re.sub(r"<[^>]*>", " ", file.read())
        for part in ("32 cores a node", "α = 3.00 µs", "deer 7", "points predicted from the others", "T = 1,000,000"):
            self.assertIn(part, result.stdout)
            self.assertIn(part, drawn)
        self.assertRegex(result.stdout, r"deer, log2: faster than sequential from \d+ cores")
        self.assertIn("measured network of these points: α = 50.0 µs, 10 GB/s", result.stdout)
        for arguments in (("--latency", "0"), ("--nodes", "0"), ("--iterations", "deer")):
            result = self.run_script("predict", described.path, *arguments)
            self.assertEqual((result.returncode, result.stderr.count("\n")), (2, 1), result.stderr)


@unittest.skipUnless(os.environ.get("ELKHORN"), "needs the program")
class TheProgram(ScalingTest):
    def test_run_resumes_what_is_missing_or_failed(self):
        text = DECK.replace("length = 1000", "length = 100") + strong("ranks = [1, 2]") + \
            strong("points = [{ ranks = 1, set = { 'problem.nonsense' = 1 } }]", "bad")
        path = self.write(text)
        result = self.run_script("run", path)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("[2/3] s/r2-t1-p1: done", result.stderr)
        self.assertRegex(result.stderr, r"\[3/3\] bad/r1-t1-p1: failed: exit code 2: .*nonsense")
        self.assertIn("3 points: 2 done, 1 failed", result.stdout)
        files = sorted(glob.glob(os.path.join(self.out, "s", "*.h5")))
        written = [os.stat(name).st_mtime_ns for name in files]
        self.assertEqual([er.Results(name).meta["ranks"] for name in files], [1, 2])
        os.remove(files[1])
        result = self.run_script("run", path, "--only", "s")
        self.assertIn("[1/2] s/r1-t1-p1: done before", result.stderr)
        self.assertRegex(result.stderr, r"\[2/2\] s/r2-t1-p1: done\n")
        self.assertEqual(os.stat(files[0]).st_mtime_ns, written[0])
        self.assertNotEqual(os.stat(files[1]).st_mtime_ns, written[1])
        self.assertTrue(os.path.exists(os.path.join(self.out, "s.png")))

    def test_the_studies_of_the_repository_are_sound(self):
        paths = sorted(glob.glob(os.path.join(ROOT, "inputs", "scaling", "*.toml")))
        self.assertGreater(len(paths), 2)
        for path in paths:
            with self.subTest(os.path.basename(path)):
                described = study.Description(path, self.out)
                described.write_deck()
                for point in described.points:
                    arguments = [*point.arguments(), "--set", "parallel.time_ranks=1", "--dry-run"]  # as one rank
                    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
                    self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_generated_script_runs(self):
        path = self.write(DECK.replace("length = 1000", "length = 100") + strong("ranks = [2]") + JOB)
        self.assertEqual(self.run_script("generate", path, "--scheduler", "mpirun").returncode, 0)
        subprocess.run([os.path.join(self.out, "submit.sh")], check=True, env={**os.environ, **scaling.ROOT})
        result = self.run_script("collect", path)
        self.assertEqual(result.returncode, 0, result.stdout)
        self.assertIn("1 points: 1 done", result.stdout)


if __name__ == "__main__":
    unittest.main()
