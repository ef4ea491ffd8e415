"""Bad decks, data files and arguments: exit code 2, one line on stderr that names file, line and key where there are
such, nothing on stdout, and no file left behind. What each kind of mistake is told is also tested, from inside, in
tests/deck; here the whole program is."""

import os
import unittest

import program

import h5py
import numpy as np

# Lines 1 to 8; what a case adds to the deck comes after them.
DECK = """[system]
kind = "gru"
state_dim = 4
[problem]
length = 20
batch = 2
[[solver]]
kind = "deer"
"""
HIDDEN, INPUTS = 4, 3


def deck(*more, **replaced):
    """The deck above with lines replaced (l3="…") and others added."""
    lines = DECK.splitlines()
    for number, text in replaced.items():
        lines[int(number[1:]) - 1] = text
    return "\n".join([*lines, *more]) + "\n"


def weights_deck(path, state_dim=f"state_dim = {HIDDEN}"):
    return deck(l3=f'{state_dim}\nweights = "{path}"')


def drivers_deck(path):
    """Drivers are at line 7, weights at line 4."""
    return deck(l3=f'state_dim = 4\nweights = "data.h5:/good"', l6=f'batch = 2\ndrivers = "{path}"')


def initial_deck(path):
    return deck(l6=f'batch = 2\ninitial_state = "{path}"')


def guess_deck(path):
    return deck(f'guess = "{path}"')


def data_files():
    random = np.random.default_rng(1)
    good = {
        "weight_ih": random.standard_normal((3 * HIDDEN, INPUTS)),
        "weight_hh": random.standard_normal((3 * HIDDEN, HIDDEN)),
        "bias_ih": random.standard_normal(3 * HIDDEN),
        "bias_hh": random.standard_normal(3 * HIDDEN),
    }

    def weights(file, name, **changed):
        for key, value in {**good, **changed}.items():
            if value is not None:
                file[f"{name}/{key}"] = value

    def with_one(array, value):
        array = np.array(array)
        array.flat[array.size // 2] = value
        return array

    with h5py.File("data.h5", "w") as file:
        weights(file, "good")
        weights(file, "nan", weight_hh=with_one(good["weight_hh"], np.nan))
        weights(file, "inf", bias_ih=with_one(good["bias_ih"], np.inf))
        weights(file, "no_hh", weight_hh=None)
        weights(file, "not_threefold", weight_hh=np.ones((10, 4)), weight_ih=np.ones((10, 3)))
        weights(file, "transposed", weight_hh=good["weight_hh"].T)
        weights(file, "short_bias", bias_hh=np.ones(5))
        weights(file, "flat", weight_ih=good["weight_ih"].ravel())
        weights(file, "text", bias_ih="zero")
        u = random.standard_normal((20, 2, INPUTS))
        file["u/nan"] = with_one(u, np.nan)
        file["u/short"] = u[:19]
        file["u/batch"] = np.concatenate([u, u[:, :1]], axis=1)
        file["u/inputs"] = u[..., :2]
        file["u/4d"] = u[None]
        file["u/scalar"] = 1.0
        file["u/empty"] = u[:0]
        file["u/complex"] = u + 1j
        file["s/dim"] = np.zeros(5)
        file["s/batch"] = np.zeros((3, 4))
        file["s/inf"] = with_one(np.zeros((2, 4)), -np.inf)
        file["s/guess"] = np.zeros((20, 2, 5))
        file["s/guess_nan"] = with_one(np.zeros((20, 2, 4)), np.nan)
        file["x/ten"] = random.standard_normal(10)
    with open("data.h5", "rb") as file:
        whole = file.read()
    with open("short.h5", "wb") as file:
        file.write(whole[: len(whole) // 2])
    program.write("text.h5", "this is not HDF5\n")
    program.write("empty.h5", "")


# name: (deck, where the message must point, part of the sentence)
BAD_DECKS = {
    "empty": ("", ":1: ", "empty"),
    "not_toml": ("[system\n", ":1: ", "not valid TOML"),
    "binary": ("\0\1\2\3", ":1: ", "not valid TOML"),
    "unknown_key": (deck("maxiter = 5"), ":9: solver.maxiter: ", "unknown key"),
    "unknown_section": (deck("[mesure]"), ":9: mesure: ", "measure"),
    "wrong_type": (deck(l5='length = "20"'), ":5: problem.length: ", "whole number"),
    "length_zero": (deck(l5="length = 0"), ":5: problem.length: ", "at least 1"),
    "no_length": (deck(l5=""), ":4: problem.length: ", "missing"),
    "no_solver": ("\n".join(DECK.splitlines()[:6]), ": solver: ", "[[solver]]"),
    "sigma2_zero": (deck(l8='kind = "elk"\nsigma2 = 0'), ":9: solver.sigma2: ", "greater than 0"),
    "sigma2_negative": (deck(l8='kind = "quasi_elk"\nsigma2 = [1e4, -1.0]'), ":9: solver.sigma2: ", "not -1"),
    "sigma2_missing": (deck(l8='kind = "elk"'), ":7: solver.sigma2: ", "sigma2 = 1e6"),
    "sigma2_for_deer": (deck("sigma2 = 1e6"), ":9: solver.sigma2: ", "does not apply"),
    "tolerance_negative": (deck("tolerance = -1e-4"), ":9: solver.tolerance: ", "at least 0"),
    "unknown_solver": (deck(l8='kind = "newton"'), ":8: solver.kind: ", "newton"),
    "unknown_scan": (deck('scan = "fast"'), ":9: solver.scan: ", "fast"),
    "time_ranks": (deck("[parallel]", "time_ranks = 2"), ":10: parallel.time_ranks: ", ""),
    "ar_gru_dim": (deck(l2='kind = "ar_gru"', l3="state_dim = 8"), ":3: system.state_dim: ", "4 states"),
    "ar_gru_no_weights": (deck(l2='kind = "ar_gru"'), ": system.weights: ", "trained"),
    "bad_filter_key": (deck(l1='filter = "("\n[system]'), ":1: filter: ", "regular expression"),
    # weights
    "weights_no_file": (weights_deck("none.h5:/w"), ":4: system.weights: ", "none.h5"),
    "weights_no_group": (weights_deck("data.h5:/nothing"), ":4: system.weights: ", "/nothing"),
    "weights_no_dataset": (weights_deck("data.h5:/no_hh"), ":4: system.weights: ", "weight_hh"),
    "weights_not_hdf5": (weights_deck("text.h5:/w"), ":4: system.weights: ", "text.h5"),
    "weights_empty_file": (weights_deck("empty.h5:/w"), ":4: system.weights: ", "empty.h5"),
    "weights_cut_short": (weights_deck("short.h5:/good"), ":4: system.weights: ", "short.h5"),
    "weights_nan": (weights_deck("data.h5:/nan"), ":4: system.weights: ", "weight_hh"),
    "weights_inf": (weights_deck("data.h5:/inf"), ":4: system.weights: ", "bias_ih"),
    "weights_not_threefold": (weights_deck("data.h5:/not_threefold"), ": system.", "10"),
    "weights_transposed": (weights_deck("data.h5:/transposed"), ": system.", "[4, 12]"),
    "weights_short_bias": (weights_deck("data.h5:/short_bias"), ":4: system.weights: ", "bias_hh"),
    "weights_flat": (weights_deck("data.h5:/flat"), ":4: system.weights: ", "weight_ih"),
    "weights_text": (weights_deck("data.h5:/text"), ":4: system.weights: ", "bias_ih"),
    "weights_dim": (weights_deck("data.h5:/good", "state_dim = 5"), ":3: system.state_dim: ", "4"),
    # drivers
    "drivers_no_dataset": (drivers_deck("data.h5:/u/none"), ":8: problem.drivers: ", "/u/none"),
    "drivers_a_group": (drivers_deck("data.h5:/u"), ":8: problem.drivers: ", "/u"),
    "drivers_nan": (drivers_deck("data.h5:/u/nan"), ":8: problem.drivers: ", "/u/nan"),
    "drivers_short": (drivers_deck("data.h5:/u/short"), ":8: problem.drivers: ", "19 steps"),
    "drivers_batch": (drivers_deck("data.h5:/u/batch"), ":8: problem.drivers: ", "3 sequences"),
    "drivers_inputs": (drivers_deck("data.h5:/u/inputs"), ":8: problem.drivers: ", "the system takes 3"),
    "drivers_4d": (drivers_deck("data.h5:/u/4d"), ":8: problem.drivers: ", "/u/4d"),
    "drivers_scalar": (drivers_deck("data.h5:/u/scalar"), ":8: problem.drivers: ", "/u/scalar"),
    "drivers_empty": (drivers_deck("data.h5:/u/empty"), ":8: problem.drivers: ", "/u/empty"),
    "drivers_complex": (drivers_deck("data.h5:/u/complex"), ":8: problem.drivers: ", "/u/complex"),
    "ar_gru_one_driver_short": (
        f'[system]\nkind = "ar_gru"\nweights = "{program.ARGRU_WEIGHTS}:/"\n[problem]\nlength = 10\n'
        'drivers = "data.h5:/x/ten"\n[[solver]]\nkind = "deer"\n',
        ":6: problem.drivers: ", "needs 11"),
    # start and guess
    "initial_dim": (initial_deck("data.h5:/s/dim"), ":7: problem.initial_state: ", "5 numbers"),
    "initial_batch": (initial_deck("data.h5:/s/batch"), ":7: problem.initial_state: ", "3 sequences"),
    "initial_inf": (initial_deck("data.h5:/s/inf"), ":7: problem.initial_state: ", "/s/inf"),
    "guess_shape": (guess_deck("data.h5:/s/guess"), ":9: solver.guess: ", "[20, 2, 5]"),
    "guess_nan": (guess_deck("data.h5:/s/guess_nan"), ":9: solver.guess: ", "/s/guess_nan"),
}

# name: (arguments, what the line must say); good.toml is the deck above
BAD_ARGUMENTS = {
    "nothing": ([], "subcommand"),
    "unknown_command": (["solve", "good.toml"], "solve"),
    "unknown_flag": (["run", "good.toml", "--fast"], "--fast"),
    "no_deck": (["run"], "decks"),
    "missing_deck": (["run", "none.toml"], "none.toml: "),
    "deck_is_a_folder": (["run", "folder"], "folder: "),
    "deck_is_a_results_file": (["run", "data.h5"], "data.h5:1: "),
    "second_deck_missing": (["run", "good.toml", "none.toml"], "none.toml: "),
    "set_without_value": (["run", "good.toml", "--set", "problem.length"], "--set"),
    "set_unknown_key": (["run", "good.toml", "--set", "problem.lenght=5"], "problem.lenght"),
    "set_bad_value": (["run", "good.toml", "--set", "problem.length=0"], "problem.length: must be"),
    "set_bad_type": (["run", "good.toml", "--set", "measure.warmup=many"], "measure.warmup: must be"),
    "filter_not_a_regex": (["run", "good.toml", "--filter", "(deer"], "--filter"),
    "filter_matches_none": (["run", "good.toml", "--filter", "elk"], "filter"),
    "out_in_no_folder": (["run", "good.toml", "--out", "none/x.h5"], "--out none/x.h5: "),
    "out_is_a_folder": (["run", "good.toml", "--out", "folder"], "--out folder: "),
    "out_below_a_file": (["run", "good.toml", "--out", "good.toml/x.h5"], "--out good.toml/x.h5: "),
    "out_not_writable": (["run", "good.toml", "--out", "/proc/x.h5"], "--out /proc/x.h5: "),
    "out_is_a_device": (["run", "good.toml", "--out", "/dev/null"], "--out /dev/null: "),
    "resume_not_a_results_file": (["run", "good.toml", "--out", "text.h5", "--resume"], "text.h5"),
    "list_unknown": (["list", "engines"], "engines: "),
    "list_bad_deck": (["list", "bad.toml"], "bad.toml:9: solver.maxiter: "),
    "dry_run_bad_deck": (["run", "bad.toml", "--dry-run"], "bad.toml:9: solver.maxiter: "),
    "check_no_file": (["check", "none.h5"], "none.h5: "),
    "check_a_folder": (["check", "folder"], "folder: "),
    "info_with_an_argument": (["info", "good.toml"], "good.toml"),
}


class BadInput(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        data_files()
        os.mkdir("folder")
        program.write("good.toml", DECK)
        program.write("bad.toml", deck("maxiter = 5"))

    def refuse(self, arguments, ranks=None):
        """The one line that the program prints on refusing."""
        before = sorted(os.listdir())
        done = program.run(*arguments, ranks=ranks, OMP_NUM_THREADS="1")
        self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
        self.assertEqual(done.stdout, "")
        lines = program.messages(done.stderr)
        self.assertEqual(len(lines), 1, done.stderr)
        if not ranks:
            self.assertEqual(done.stderr, lines[0] + "\n")
        self.assertEqual(sorted(os.listdir()), before, "files were left")
        return lines[0]

    def refuse_deck(self, name, ranks=None):
        text, where, phrase = BAD_DECKS[name]
        file = program.write(f"{name}.toml", text)
        line = self.refuse(["run", file], ranks)
        self.assertTrue(line.startswith(f"elkhorn: {file}:"), line)
        self.assertIn(where, line)
        self.assertIn(phrase, line)
        os.remove(file)

    def test_there_are_enough(self):
        self.assertGreaterEqual(len(BAD_DECKS), 25)

    def test_the_good_deck_is_good(self):
        done = program.run("run", "good.toml", "--dry-run")
        self.assertEqual(done.returncode, 0, done.stderr)
        for text in (weights_deck("data.h5:/good"), drivers_deck("data.h5:/u/batch").replace("batch = 2", "batch = 3")):
            done = program.run("list", program.write("also_good.toml", text))
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_decks(self):
        for name in BAD_DECKS:
            with self.subTest(name):
                self.refuse_deck(name)

    def test_arguments(self):
        for name, (arguments, phrase) in BAD_ARGUMENTS.items():
            with self.subTest(name):
                self.assertIn(phrase, self.refuse(arguments))

    def test_under_mpiexec(self):
        for name in ("unknown_key", "drivers_nan", "weights_dim"):
            with self.subTest(name):
                self.refuse_deck(name, ranks=2)
        for name in ("unknown_flag", "out_in_no_folder"):
            with self.subTest(name):
                arguments, phrase = BAD_ARGUMENTS[name]
                self.assertIn(phrase, self.refuse(arguments, ranks=2))

    def test_time_ranks_that_do_not_divide(self):
        line = self.refuse(["run", "good.toml", "--set", "parallel.time_ranks=2"], ranks=3)
        self.assertIn("parallel.time_ranks", line)


if __name__ == "__main__":
    unittest.main(verbosity=2)
