"""A cost model of one solve, calibrated on the points of a study, and what it says about larger machines.

    time = work · c · ⌈B/p_b⌉ ⌈T/p_t⌉ / threads · max(1, threads that compute / cores) + iterations · communication

p_b × p_t ranks over batch and time. c is seconds a step and sequence on one core: c1 where one thread has the whole
of time (one pass), c2 where time is cut (each part is summarised, then finished). `work` is the number of full-length
passes, close to the iterations. Communication of an iteration along p_t ranks of time:

    boundary state   α + β·n·⌈B/p_b⌉·D
    exchange         chain: (p_t − 1) (α + β·n·⌈B/p_b⌉·S + C apply)   states handed on, each rank applies the summaries
                                                                      of its C chunks: what the program does
                     log2:  ⌈log2 p_t⌉ (α + β·n·⌈B/p_b⌉·E + combine)  summaries combined in a tree
    verdict          ⌈log2 p_t⌉ (α + β·16·⌈B/p_b⌉)                    allreduce of two numbers a sequence

n bytes a number, S and E numbers of a state and of a summary. A combine costs what summarising a step does,
⌈B/p_b⌉·c2, and so does an apply of a dense filter; other applies cost at most what a step of an uncut pass does,
⌈B/p_b⌉·c2 / `cutting_factor`. docs/parallel.md describes the exchange and counts its bytes.
Sequential evaluation has only the batch to share: time = c_s · T · ⌈B / (ranks over batch × threads)⌉.
"""

import math

import numpy as np
import pandas as pd

DENSE, DIAGONAL = ("deer", "elk"), ("quasi_deer", "quasi_elk", "jacobi", "picard")
EXCHANGES = ("chain", "log2")


def element_numbers(solver, dim):
    """E: numbers of one scan element of a sequence (dense or diagonal, affine or Kalman)."""
    return {"deer": dim**2 + dim, "elk": 3 * dim**2 + 2 * dim, "quasi_elk": 5 * dim}.get(solver, 2 * dim)


def state_numbers(solver, dim):
    """S: numbers of the state a scan hands on: an increment, and its (co)variance for a filter."""
    return {"elk": dim + dim**2, "quasi_elk": 2 * dim}.get(solver, dim)


def cutting_factor(solver, dim):
    """c2 / c1 where it was not measured, counting products with the Jacobian: finishing takes one evaluation and one
    product; a summary takes another evaluation with D products for a dense element, one for a diagonal one."""
    return 1.0 + (1.0 + dim) / 2.0 if solver in DENSE else 2.0


class Machine:
    """What a prediction assumes of the network and the nodes."""

    def __init__(self, latency_s=2e-6, bandwidth_bytes_s=1e10, cores_per_node=64, threads=1, name="assumed machine"):
        self.latency_s, self.bandwidth_bytes_s = latency_s, bandwidth_bytes_s
        self.cores_per_node, self.threads, self.name = cores_per_node, threads, name

    def message_s(self, size):
        return self.latency_s + size / self.bandwidth_bytes_s


def steps_log2(n):
    return math.ceil(math.log2(n)) if n > 1 else 0


def communication_s(solver, dim, batch, bytes_a_number, time_ranks, machine, step_s, exchange="chain", chunks=1):
    """Seconds of communication in one iteration. `batch` is that of one rank; `step_s` its c2."""
    if solver == "sequential" or time_ranks == 1:
        return 0.0
    seconds = machine.message_s(bytes_a_number * batch * dim) + steps_log2(time_ranks) * machine.message_s(16 * batch)
    if exchange == "chain":
        state = machine.message_s(bytes_a_number * batch * state_numbers(solver, dim))
        apply = batch * step_s / (1.0 if solver == "elk" else cutting_factor(solver, dim))
        return seconds + (time_ranks - 1) * (state + chunks * apply)
    summary = machine.message_s(bytes_a_number * batch * element_numbers(solver, dim))
    return seconds + steps_log2(time_ranks) * (summary + batch * step_s)


def samples_of(frame):
    """The measured points of a collected study in the model's terms; one row a case that is `ok`."""
    if "status" not in frame:
        return frame.iloc[:0]
    rows = frame[frame["status"].eq("ok") & frame["time_s"].notna()].copy()
    rows["local_batch"] = np.ceil(rows["B"] / rows["batch_ranks"])
    local_length = np.ceil(rows["T"] / rows["time_ranks"])
    rows["overload"] = np.where(rows["load"] > 1, rows["load"], 1.0)
    rows["cut"] = (rows["time_ranks"] * rows["threads"] > 1)
    work = np.where(rows["work"] > 0, rows["work"], rows["iterations"])
    parallel = rows["overload"] * work * rows["local_batch"] * local_length / rows["threads"]
    # Ranks of a time line evaluate sequentially one after the other, on the only core that then has work.
    alone = np.ceil(rows["local_batch"] / rows["threads"]) * rows["T"] * \
        np.where(rows["time_ranks"] > 1, 1.0, rows["overload"])
    rows["units"] = np.where(rows["solver"].eq("sequential"), alone, parallel)
    rows.loc[rows["solver"].eq("sequential"), "cut"] = False
    rows["chunks"] = rows["scan"].str.extract(r"chunked:(\d+)", expand=False).fillna("1").astype(int)
    rows["bytes_a_number"] = np.where(rows["precision"].eq("float32"), 4, 8)
    return rows


def network_of(samples):
    """The network between the ranks of the measured points, as their runs measured it (medians over points that are not
    oversubscribed, else over all), or an assumed one: 1 µs and 10 GB/s. Its name says which."""
    known = samples[samples["message_s"].notna()]
    fair = known[known["overload"].le(1)]
    rows = known if fair.empty else fair
    if rows.empty:
        return Machine(latency_s=1e-6, name="assumed network")
    return Machine(latency_s=float(rows["message_s"].median()), bandwidth_bytes_s=float(rows["message_bytes_s"].median()),
                   name="measured network")


class Model:
    """Rates of each series from measured points (`samples_of`), and the network of the machine they ran on."""

    def __init__(self, samples, network=None):
        self.samples = samples
        self.network = network or network_of(samples)

    def rate(self, series, cut, dim, local_batch):
        """Seconds a step and sequence: median of the measured points nearest in D, then in sequences a rank, and
        what had to be assumed (text). None where the series was never measured."""
        rows = self.samples[self.samples["series"].eq(series)]
        if rows.empty:
            return None
        solver, assumed = rows["solver"].iloc[0], []
        measured = rows[rows["cut"].eq(cut)]
        factor = 1.0
        if measured.empty:
            measured = rows
            ratio = cutting_factor(solver, dim)
            factor = ratio if cut else 1.0 / ratio
            assumed.append(f"c2 = {ratio:g} c1 (only {'un' if cut else ''}cut time was measured)")
        nearest = measured["D"].iloc[np.argmin(np.abs(np.log(measured["D"].astype(float) / dim)))]
        measured = measured[measured["D"].eq(nearest)]
        if nearest != dim:
            power = 3 if solver in DENSE and cut else 2
            factor *= (dim / nearest) ** power
            assumed.append(f"rates of D = {nearest:.0f} scaled with D^{power}")
        distance = np.abs(np.log(measured["local_batch"].astype(float) / local_batch))
        measured = measured[distance <= distance.min() + 1e-9]
        rates = []
        for _, row in measured.iterrows():
            seconds = row["time_s"]
            if row["time_ranks"] > 1:
                seconds -= row["iterations"] * self._network_s(row)
            rates.append(max(seconds, 0.1 * row["time_s"]) / row["units"])
        return float(np.median(rates)) * factor, assumed

    @staticmethod
    def chunks(rows, local_batch):
        """C: chunks a rank cuts its segment into, as at the points nearest in sequences a rank."""
        rows = rows[rows["time_ranks"].gt(1)] if rows["time_ranks"].gt(1).any() else rows
        distance = np.abs(np.log(rows["local_batch"].astype(float) / local_batch))
        return int(rows.loc[distance <= distance.min() + 1e-9, "chunks"].median())

    def _network_s(self, row):
        """Communication of an iteration of a measured point, without what it computes."""
        return communication_s(row["solver"], row["D"], row["local_batch"], row["bytes_a_number"], row["time_ranks"],
                               self.network, 0.0)

    def predict_row(self, row):
        """Seconds of a measured point."""
        found = self.rate(row["series"], row["cut"], row["D"], row["local_batch"])
        if found is None:
            return math.nan
        rate, _ = found
        if row["solver"] == "sequential":
            return rate * row["units"]
        exchange = communication_s(row["solver"], row["D"], row["local_batch"], row["bytes_a_number"],
                                   row["time_ranks"], self.network, rate, chunks=row["chunks"])
        return rate * row["units"] + row["iterations"] * exchange

    def solve(self, series, ranks, threads, length, batch, dim, machine, exchange="chain", iterations=None):
        """Predicted seconds of one solve, its share of communication, p_b and p_t, and the assumptions made.
        The batch is cut first (it needs no communication); of the ranks that are left, time takes the power of two
        that is fastest: a user need not use all cores."""
        rows = self.samples[self.samples["series"].eq(series)]
        solver, bytes_a_number = rows["solver"].iloc[0], int(rows["bytes_a_number"].iloc[0])
        batch_ranks = min(batch, ranks)
        local = math.ceil(batch / batch_ranks)
        if solver == "sequential":
            rate, assumed = self.rate(series, False, dim, local)
            return rate * length * math.ceil(local / threads), 0.0, batch_ranks, 1, assumed
        near = rows.iloc[np.argmin(np.abs(np.log(rows["T"].astype(float) / length)))]
        if iterations is None:
            iterations, work = near["iterations"], near["work"] if near["work"] > 0 else near["iterations"]
        else:
            work = iterations
        best = None
        time_ranks = 1
        while time_ranks <= min(ranks // batch_ranks, length):
            rate, assumed = self.rate(series, time_ranks * threads > 1, dim, local)
            compute = work * rate * local * math.ceil(length / min(time_ranks * threads, length))
            exchanged = iterations * communication_s(solver, dim, local, bytes_a_number, time_ranks, machine,
                                                     rate, exchange, self.chunks(rows, local))
            if best is None or compute + exchanged < best[0]:
                best = (compute + exchanged, exchanged / (compute + exchanged), batch_ranks, time_ranks, assumed)
            time_ranks *= 2
        return best


def validate(samples, network=None):
    """Each measured point predicted from the *other* points: columns predicted_s, ratio. NaN where the point is the
    only one of its series."""
    rows = samples.copy()
    rows["predicted_s"] = [Model(samples.drop(index=index), network).predict_row(row)
                           for index, row in samples.iterrows()]
    rows["ratio"] = rows["predicted_s"] / rows["time_s"]
    return rows


def sweep(model, cores, length, batch, dim, machine, iterations):
    """One row a series, exchange and number of cores: seconds, communication, speed-up over sequential; and the
    assumptions. `iterations` overrides those of solvers."""
    rows, assumptions = [], {}
    for series in model.samples["series"].unique():
        first = model.samples[model.samples["series"].eq(series)].iloc[0]
        for exchange in ("",) if first["solver"] == "sequential" else EXCHANGES:
            for n in cores:
                ranks = max(1, n // machine.threads)
                seconds, share, batch_ranks, time_ranks, assumed = model.solve(
                    series, ranks, machine.threads, length, batch, dim, machine, exchange,
                    iterations.get(first["solver"]))
                rows.append({"series": series, "solver": first["solver"], "label": first["label"],
                             "exchange": exchange, "nodes": math.ceil(n / machine.cores_per_node), "cores": n,
                             "batch_ranks": batch_ranks, "time_ranks": time_ranks, "time_s": seconds,
                             "communication": share})
                for text in assumed:
                    assumptions.setdefault(text, set()).add(first["solver"])
    frame = pd.DataFrame(rows)
    sequential = frame[frame["solver"].eq("sequential")].groupby("cores")["time_s"].min()
    frame["speedup_over_sequential"] = frame["cores"].map(sequential) / frame["time_s"]
    return frame, [f"{text}: {', '.join(sorted(solvers))}" for text, solvers in assumptions.items()]


def crossovers(frame):
    """(series, exchange) → smallest number of cores of the sweep that beats sequential evaluation (None: never)."""
    found = {}
    for key, part in frame[frame["solver"].ne("sequential")].groupby(["series", "exchange"], sort=False):
        faster = part[part["speedup_over_sequential"] > 1]
        found[key] = int(faster["cores"].min()) if len(faster) else None
    return found
