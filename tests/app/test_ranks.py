"""Results do not depend on the number of ranks. Where ranks split the batch and chunks are given, statuses, iterations,
histories (but the mean difference, a sum) and states are the same bit for bit; where ranks choose chunks by their share of
the batch, or split time as well, up to rounding, as sums are then grouped otherwise."""

import re
import subprocess
import unittest

import program

import h5py
import numpy as np

DECK = """
[system]
kind = "gru"
state_dim = 5
[problem]
length = 130                       # not a multiple of any block or chunk
batch = 5                          # fewer sequences than the largest number of ranks
initial_state = "random"
[[solver]]
kind = "sequential"
[[solver]]
kind = ["deer", "quasi_deer"]
scan = ["serial", "flat", "chunked:1", "chunked:3"]
max_iterations = 50
tolerance = 1e-6
[[solver]]
kind = ["elk", "quasi_elk"]
sigma2 = 1e4
scan = ["serial", "flat", "chunked:1", "chunked:3"]
max_iterations = 50
tolerance = 1e-6
[measure]
precision = ["float32", "float64"]
warmup = 0
repetitions = 1
[output]
states = true
"""
SAME_ATTRIBUTES = ("name", "status", "converged", "iterations", "residual_max", "error_max", "error_mad", "message", "scan")
SAME_DATASETS = ("batch_iterations", "history/residual", "history/update", "history/mad", "history/resets", "states")


class Ranks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        program.write("ranks.toml", DECK)
        cls.run_on(1)

    @classmethod
    def run_on(cls, ranks):
        done = program.run("run", "ranks.toml", "--out", f"np{ranks}.h5", ranks=ranks, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stdout + done.stderr

    def test_the_sweep_is_worth_comparing(self):
        with h5py.File("np1.h5") as file:
            groups = list(file["cases"].values())
            self.assertEqual(len(groups), 2 * (1 + 16))
            self.assertEqual({group.attrs["solver"] for group in groups},
                             {"sequential", "deer", "quasi_deer", "elk", "quasi_elk"})
            self.assertEqual({group.attrs["status"] for group in groups}, {"ok"})
            self.assertTrue(any(len(set(group["batch_iterations"][()])) > 1 for group in groups),
                            "all sequences take the same number of iterations: histories then have no ragged ends")
            self.assertTrue(any(group.attrs["scan"].startswith("chunked") for group in groups))

    def test_same_bits(self):
        for ranks in (2, 3, 4, 7):
            with self.subTest(ranks=ranks):
                self.run_on(ranks)
                self.compare("np1.h5", f"np{ranks}.h5", ranks)

    def test_few_sequences_a_rank_fill_its_lanes_with_chunks(self):
        """Lanes left empty would cost what a split of the batch gains."""
        scans, lanes = {}, 8
        for ranks in (1, 2, 5):
            done = program.run("run", "ranks.toml", "--out", f"auto{ranks}.h5", "--filter", "(deer|elk)",
                               "--set", "solver.scan=auto", ranks=ranks, OMP_NUM_THREADS="1")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with h5py.File("auto1.h5") as first, h5py.File(f"auto{ranks}.h5") as second:
                self.assertEqual(len(second["cases"]), 8)
                for name, b in second["cases"].items():
                    a, what = first["cases"][name], f"{b.attrs['name']} on {ranks} ranks"
                    exact = b.attrs["precision"] == "float64"
                    share = -(-b.attrs["batch"] // ranks)
                    if b.attrs["solver"].startswith("quasi"):
                        self.assertEqual(b.attrs["scan"], f"chunked:{-(-lanes // share)}", what)
                    scans.setdefault(b.attrs["solver"], set()).add(b.attrs["scan"])
                    for now, then in zip(b["batch_iterations"][()], a["batch_iterations"][()]):
                        self.assertLessEqual(abs(now - then), 0 if exact else 1, what)
                    if exact:
                        np.testing.assert_allclose(b["states"], a["states"], rtol=0, atol=ULPS, err_msg=what)
        self.assertGreater(len(scans["quasi_deer"]), 1)

    def test_ranks_with_more_threads_take_more_sequences(self):
        """Not seen from outside but in the answers: those of all sequences, at their places."""
        uneven = "OMP_NUM_THREADS=$((1 + 2 * ${OMPI_COMM_WORLD_RANK:-$PMI_RANK})) exec \"$@\""
        out = program.command(["run", "ranks.toml", "--out", "uneven.h5", "--filter", "f64.*(deer-serial|sequential)"])
        done = subprocess.run([program.MPIEXEC, "-n", "2", "sh", "-c", uneven, "sh", *out], capture_output=True, text=True,
                              timeout=program.TIMEOUT_S)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        with h5py.File("np1.h5") as first, h5py.File("uneven.h5") as second:
            one = {case.attrs["name"]: case for case in first["cases"].values()}
            self.assertGreater(len(second["cases"]), 1)
            for case in second["cases"].values():
                np.testing.assert_array_equal(case["states"], one[case.attrs["name"]]["states"], case.attrs["name"])

    def test_states_of_more_than_one_piece(self):
        """They travel to rank 0, and to the file, some steps at a time (half a million numbers)."""
        states = {}
        for ranks, time_ranks in ((1, 1), (3, 1), (2, 2), (4, 2)):
            done = program.run("run", "ranks.toml", "--out", "long.h5", "--filter", "f32.*sequential",
                               "--set", "problem.length=50001", "--set", f"parallel.time_ranks={time_ranks}",
                               ranks=ranks, OMP_NUM_THREADS="1")
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with h5py.File("long.h5") as file:
                (case,) = file["cases"].values()
                states[ranks, time_ranks] = case["states"][()]
        first = states.pop((1, 1))
        self.assertGreater(first.size, 2 * 2**19)
        self.assertGreater(np.ptp(first[-1]), 0)
        for grid, other in states.items():
            np.testing.assert_array_equal(first, other, str(grid))

    def compare(self, one, other, ranks):
        with h5py.File(one) as first, h5py.File(other) as second:
            self.assertEqual(list(first["cases"]), list(second["cases"]))
            for name, a in first["cases"].items():
                b = second["cases"][name]
                self.assertEqual((b.attrs["ranks"], b["rank_time_s"].shape[1]), (ranks, ranks))
                for attribute in SAME_ATTRIBUTES:
                    np.testing.assert_array_equal(a.attrs[attribute], b.attrs[attribute],
                                                  f"{attribute} of {a.attrs['name']}")
                for dataset in SAME_DATASETS:
                    self.assertEqual(dataset in a, dataset in b)
                    if dataset in a:  # sequential has no history
                        # bytes, so that NaN equals NaN and +0 differs from -0
                        self.assertEqual(a[dataset].shape, b[dataset].shape)
                        if dataset == "history/mad":  # a sum over steps, grouped by lanes
                            rounding = 1e-6 if a.attrs["precision"] == "float32" else 1e-13
                            np.testing.assert_allclose(a[dataset], b[dataset], rtol=rounding, err_msg=dataset)
                            continue
                        self.assertTrue(a[dataset][()].tobytes() == b[dataset][()].tobytes(),
                                        f"{dataset} of {a.attrs['name']} differs on {ranks} ranks")


TIME_DECK = """
[[group]]
[group.system]
kind = ["gru", "rnn", "lstm"]
state_dim = 4
[group.problem]
length = 103                       # a prime: segments and chunks have ragged ends
batch = 3
initial_state = "random"
[[group.solver]]
kind = "sequential"
[[group.solver]]
kind = ["deer", "quasi_deer", "jacobi"]
[[group.solver]]
kind = ["elk", "quasi_elk"]
sigma2 = 1e4
[[group.solver]]
kind = ["deer", "quasi_deer"]
scan = ["serial", "chunked:1", "chunked:5"]
step_bound = ["none", { absolute = 0.3 }]
[[group.solver]]
kind = ["elk", "quasi_elk"]
sigma2 = 1e4
scan = ["serial", "chunked:5"]
step_bound = { absolute = 0.3 }
[[group.solver]]
kind = ["elk", "quasi_elk"]
sigma2 = 1e2
damping = "smoother"
scan = ["serial", "chunked:5"]
[[group.solver]]
kind = ["elk", "quasi_elk"]
sigma2 = "adaptive"
[[group.solver]]
kind = ["deer", "quasi_deer"]
step_bound = 1.5                   # times the scale of the states
[[group.solver]]
kind = ["deer", "quasi_deer"]
window = ["auto", 16]
[[group.solver]]
kind = ["elk", "quasi_elk"]
sigma2 = [1e4, "adaptive"]
window = 25
[[group.solver]]
kind = "quasi_deer"
window = [3, 40]
step_bound = { absolute = 0.5 }
guess = "initial_state"
[[group.solver]]
kind = "quasi_deer"                # a poor answer, from which the next case starts
stop = "iterations"
max_iterations = 2
[[group.solver]]
kind = "deer"
scan = "chunked:3"
window = 31
guess = "previous"
[[group.solver]]
kind = "quasi_deer"
stop = ["update", "iterations"]
max_iterations = 20
guess = "initial_state"
"""


def every_solver(system, problem, solvers, sigma2):
    """A group that runs `solvers` and the two damped ones, with a filter and with a smoother."""
    return f"""
[[group]]
[group.system]
{system}
[group.problem]
{problem}
[[group.solver]]
kind = ["sequential", {solvers}]
[[group.solver]]
kind = ["elk", "quasi_elk"]
sigma2 = {sigma2}
damping = ["filter", "smoother"]
[[group.solver]]
kind = ["deer", "quasi_deer"]
window = 5
"""


TWO, FOUR = '"deer", "quasi_deer"', '"deer", "quasi_deer", "jacobi", "picard"'
# Chaotic, with fewer sequences than some grids have ranks for them; more sequences than a group of lanes; more components
# than a tile, and fewer steps than ranks.
TIME_DECK += every_solver('kind = "lorenz96"', "length = 61\nbatch = 1", TWO, 1e4)
TIME_DECK += every_solver(f'kind = "ar_gru"\nweights = "{program.ARGRU_WEIGHTS}:/"', "length = 41\nbatch = 9", FOUR, 1e6)
TIME_DECK += every_solver('kind = "linear"\nstate_dim = 9', "length = [1, 2, 3, 17]\nbatch = 2", FOUR, 1e4)
TIME_COMMON = """
[measure]
precision = ["float32", "float64"]
warmup = 0
repetitions = 1
[output]
states = true
"""
GRIDS = ((1, 2), (2, 1), (1, 3), (2, 2), (1, 4))  # batch × time
ULPS = 1e-12
TOLERANCE = 1e-5


class TimeRanks(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        common = TIME_COMMON.replace("[measure]", "[group.measure]").replace("[output]", "[group.output]")
        groups = TIME_DECK.split("[[group]]")
        program.write("time.toml", groups[0] + "".join("[[group]]" + group + common for group in groups[1:]))
        cls.run_on(1, 1)

    @classmethod
    def run_on(cls, batch_ranks, time_ranks, *chosen, tolerance=TOLERANCE):
        ranks = batch_ranks * time_ranks
        out = f"{batch_ranks}x{time_ranks}-{tolerance}.h5" if chosen else f"{batch_ranks}x{time_ranks}.h5"
        done = program.run("run", "time.toml", "--out", out, "--set", f"parallel.time_ranks={time_ranks}",
                           "--set", f"solver.tolerance={tolerance}", *chosen, ranks=ranks,
                           timeout=600 * program.PATIENCE,
                           OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stdout + done.stderr
        return out

    def test_the_sweep_is_worth_comparing(self):
        cases = program.cases("1x1.h5").values()
        self.assertEqual({c["system"] for c in cases}, {"gru", "rnn", "lstm", "lorenz96", "ar_gru", "linear"})
        self.assertGreater(sum(c["status"] == "ok" for c in cases), 0.7 * len(cases))
        self.assertGreater(max(c["iterations"] for c in cases), 20)
        self.assertEqual({(c["messages_per_iteration"], c["bytes_per_iteration"]) for c in cases}, {(0, 0)})
        self.assertEqual({(c["communication_share"], c["transfer_share"]) for c in cases}, {(0, 0)})

    def test_all_grids_agree(self):
        for grid in GRIDS:
            with self.subTest(grid=grid):
                self.compare("1x1.h5", self.run_on(*grid), *grid)

    def test_solved_to_rounding_every_grid_gives_the_same_states(self):
        """Those too whose iterates depend on chunks or neighbours, so that their answers differ within the tolerance."""
        chosen = ("--filter", "f64.*(window=[0-9a]|bound=[0-9a]|adaptive)")
        with h5py.File(self.run_on(1, 1, *chosen, tolerance=1e-13)) as first:
            one = {case.attrs["name"]: case for case in first["cases"].values()}
            self.assertGreater(len(one), 80)
            for grid in GRIDS:
                with self.subTest(grid=grid), h5py.File(self.run_on(*grid, *chosen, tolerance=1e-13)) as second:
                    self.assertEqual(len(second["cases"]), len(one))
                    for b in second["cases"].values():
                        a = one[re.sub("-time_ranks=[0-9]+", "", b.attrs["name"])]
                        what = f"{b.attrs['name']} on {grid}"
                        self.assertEqual((a.attrs["status"], b.attrs["status"]), ("ok", "ok"), what)
                        scale = max(1.0, np.abs(a["states"]).max())
                        self.assertLessEqual(np.abs(a["states"][()] - b["states"][()]).max(), ULPS * scale, what)
                        if a.attrs["window"] == "full":
                            self.assertLessEqual(abs(a.attrs["iterations"] - b.attrs["iterations"]), 1, what)

    def compare(self, one, other, batch_ranks, time_ranks):
        with h5py.File(one) as first, h5py.File(other) as second:
            self.assertEqual(len(first["cases"]), len(second["cases"]))
            for name, a in first["cases"].items():
                b = second["cases"][name]
                what = f"{b.attrs['name']} on {batch_ranks}x{time_ranks}"
                exact = a.attrs["precision"] == "float64"
                self.assertEqual((b.attrs["batch_ranks"], b.attrs["time_ranks"]), (batch_ranks, time_ranks))
                for attribute in ("status", "converged"):
                    self.assertEqual(a.attrs[attribute], b.attrs[attribute], f"{attribute} of {what}")
                self.check_traffic(b.attrs, -(-a.attrs["batch"] // batch_ranks), time_ranks, what)
                if exact and a.attrs["scan"] == b.attrs["scan"] == "serial":
                    self.assertTrue(a["states"][()].tobytes() == b["states"][()].tobytes(), f"states of {what}")
                # Where dense Jacobians meet a bound, chunks matter (docs/parallel.md): the answer is the same only up to
                # the tolerance.
                bounded = a.attrs["step_bound"] != "none" or a.attrs["sigma2_adaptive"]
                # Windows of sequences on one rank move together where all of them are settled (docs/solvers.md).
                apart = a.attrs["window"] != "full" and batch_ranks > 1
                if apart or (bounded and a.attrs["solver"] in ("deer", "elk") and a.attrs["scan"] != "serial"):
                    self.assertLessEqual(np.abs(a["states"][()] - b["states"][()]).max(), TOLERANCE, what)
                    continue
                # A window is settled once its residuals are within the tolerance, in float32 at each place an iteration
                # earlier or later; what is left of the residuals is what answers may differ by.
                if exact and a.attrs["status"] == "ok" and "elk" in a.attrs["solver"] and a.attrs["window"] == "full" \
                        and not a.attrs["sigma2_adaptive"]:  # all steps, on whichever rank
                    self.assertAlmostEqual(a.attrs["work"], b.attrs["work"], 9, f"work of {what}")
                window = a.attrs["window"]
                places = 1 if window == "full" else 3 if window == "auto" else -(-a.attrs["length"] // int(window))
                left = 0 if window == "full" else 100 * a.attrs["residual_max"]
                self.assertLessEqual(abs(a.attrs["iterations"] - b.attrs["iterations"]), 0 if exact else places, what)
                if exact and "batch_iterations" in a:
                    np.testing.assert_array_equal(a["batch_iterations"], b["batch_iterations"], what)
                if exact and a.attrs["status"] == "ok":
                    scale = max(1.0, np.abs(a["states"]).max())
                    self.assertLessEqual(np.abs(a["states"][()] - b["states"][()]).max(), ULPS * scale + left, what)
                    # Fused windows, which ranks do not share, leave steps out one by one, others by blocks.
                    if "history/mad" in a and (window == "full" or a.attrs["pass"] == b.attrs["pass"]):
                        for history in ("residual", "update", "mad", "resets", "bounded"):
                            x, y = a["history"][history][()], b["history"][history][()]
                            largest = np.nanmax(np.abs(x)) if np.isfinite(x).any() else 0
                            np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-9 * max(1.0, largest),
                                                       err_msg=f"{history} of {what}")

    def check_traffic(self, case, batch, time_ranks, what):
        """What docs/parallel.md says of the rank that sends most: states of D numbers, elements' states, verdicts."""
        real, dim = (4 if case["precision"] == "float32" else 8), case["state_dim"]
        linked = time_ranks > 1 and case["length"] > 1
        tiles = -(-dim // 8) * 8
        solver, adaptive = case["solver"], bool(case["sigma2_adaptive"])
        bounded = case["step_bound"] != "none" or adaptive
        scaled = adaptive or (bounded and not str(case["step_bound"]).startswith("absolute"))
        element = {"deer": dim, "elk": dim + dim * dim, "quasi_elk": 2 * tiles}.get(solver, tiles)
        messages = bytes_sent = 0
        if solver == "sequential":
            messages, bytes_sent = linked, linked * batch * dim * real
        elif time_ranks > 1:
            verdicts = 2 if "stop=update" in case["name"] else 1
            messages = linked * (3 if bounded and solver == "quasi_elk" else 2) + verdicts
            # The residuals' reduction also says how far ranks are settled.
            settling = not re.search("stop=(update|iter)", case["name"]) and (adaptive or not solver.endswith("elk"))
            if case["window"] != "full":
                settling = 2  # by either tolerance
            forward, backward = dim + element, 0
            smoother = case["name"].endswith("-smoother")
            if smoother:  # a Jacobian, an increment and σ² of a step, and the affine state; from all ranks but the first
                backward = (dim * dim + dim + 1) + dim if solver == "elk" else (dim + dim + 1) + tiles
            both_ways = smoother and min(time_ranks, case["length"]) > 2
            messages += 2 * both_ways
            sent = forward + backward if both_ways else max(forward, backward)
            bytes_sent = linked * batch * sent * real + (verdicts + settling) * 16 * batch
            if scaled:  # how far states are to be trusted, and their squares
                messages, bytes_sent = messages + 2, bytes_sent + 16 * batch + 8 * batch * (dim + 1)
        self.assertEqual((case["messages_per_iteration"], case["bytes_per_iteration"]), (messages, bytes_sent), what)
        self.assertEqual(case["communication_share"] > 0, messages > 0, what)
        self.assertEqual(case["transfer_share"] > 0, messages > 0, what)

    def test_a_rank_that_fails_in_a_shared_solve_ends_the_job(self):
        for rank in (0, 1):
            with self.subTest(rank=rank):
                done = program.run("run", "time.toml", "--out", f"fault{rank}.h5", "--filter", "gru-.*-deer",
                                   "--set", "parallel.time_ranks=2", ranks=2, timeout=program.SOON_S, OMP_NUM_THREADS="1",
                                   ELKHORN_FAULT=f"throw:{rank}:1")
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(f"rank {rank}: a fault was asked for by ELKHORN_FAULT", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
