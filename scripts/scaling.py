#!/usr/bin/env python3
"""Scaling studies from one description: strong, weak, throughput, ranks against threads (docs/scaling.md).

    scaling.py run STUDY.toml                          runs here what is missing or failed, then reports
    scaling.py generate STUDY.toml --scheduler slurm   writes a job script for each point that is missing or failed
    scaling.py collect STUDY.toml                      which points are done, missing, failed, and why
    scaling.py report STUDY.toml                       tables and pictures of what is there
    scaling.py predict STUDY.toml                      a cost model of the measured points, checked against them, and
                                                       the crossover with sequential evaluation on more nodes
`--dry-run` prints what run and generate would do, and touches nothing. Exit code: 0 every point is done, 1 some are
missing or failed, 2 a mistake in usage or in the description.
"""

import argparse
import functools
import math
import os
import re
import shlex
import subprocess
import sys

import elkhorn_results as er
import matplotlib.pyplot as plt
import numpy as np
import scaling_model as model
import scaling_report as report
from matplotlib.ticker import FuncFormatter
from plot import LOOKS, VARIANTS, save, seconds_text
from rich.console import Console
from rich.table import Table
from scaling_study import Description, DescriptionError, cores_here

TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")
SCHEDULERS = {  # how a script is submitted, and how it starts the ranks
    "slurm": ("sbatch", "srun --ntasks={ranks} --cpus-per-task={threads}"),
    "pbs": ("qsub", "mpirun -n {ranks}"),
    "flux": ("flux batch", "flux run --nodes={nodes} --ntasks={ranks} --cores-per-task={threads}"),
    "mpirun": ("bash", "mpirun -n {ranks}"),
}
# Open MPI as root, and with more ranks than cores (the last line: Open MPI 5).
OVERSUBSCRIBED = {
    "OMPI_MCA_rmaps_base_oversubscribe": "1", "OMPI_MCA_mpi_yield_when_idle": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none", "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}
ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def shell(words):
    return " ".join(shlex.quote(str(word)) for word in words)


def print_table(title, header, rows):
    console = Console() if sys.stdout.isatty() else Console(width=200)
    table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
    for number, name in enumerate(header):
        table.add_column(name, no_wrap=True, justify="right" if number in (2, 3, 5, 7, 8, 9, 10) else "left",
                         overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


# ------------------------------------------------------------------------------------------------------ running


def point_environment(point, cores):
    """What a run here needs; variables that the user has set stay."""
    extra = {"OMP_NUM_THREADS": str(point.threads)}
    fits = point.cores <= cores
    if not fits:
        extra |= OVERSUBSCRIBED
    elif point.threads == 1 or point.ranks > 1:
        extra["OMP_PROC_BIND"] = "false" if point.threads == 1 else "close"
    if not fits or point.threads == 1:
        extra["OMP_PROC_BIND"] = "false"
        extra["KOKKOS_DISABLE_WARNINGS"] = "1"  # it would advise to bind threads, and there is nothing to bind
    if os.geteuid() == 0:
        extra |= ROOT
    return extra


@functools.cache
def mpirun_version():
    try:
        return subprocess.run(["mpirun", "--version"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        er.die("mpirun is not in PATH; set job.launcher in the description")


def launcher_of(description, point, cores):
    """The words that start the ranks of a point here. Open MPI binds each rank to cores of its own where they fit;
    other MPIs are left to their defaults."""
    if "launcher" in description.job:
        return shlex.split(fill_launcher(description.job["launcher"], point, point.nodes or 1))
    words = ["mpirun", "-n", str(point.ranks)]
    if "Open MPI" in mpirun_version() or "OpenRTE" in mpirun_version():
        bound = ["--map-by", f"slot:PE={point.threads}", "--bind-to", "core"]
        words += bound if point.cores <= cores else ["--bind-to", "none"]
    return words


def fill_launcher(text, point, nodes):
    try:
        return text.format(ranks=point.ranks, threads=point.threads, nodes=nodes)
    except (KeyError, IndexError, ValueError):
        raise DescriptionError("job.launcher: may hold {ranks}, {threads} and {nodes}; other braces are doubled, not " +
                               repr(text)) from None


def run_point(description, point, cores):
    """One run of the program; its output goes to the log, its exit code to a file beside it."""
    os.makedirs(os.path.dirname(point.file), exist_ok=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_")}
    environment |= point_environment(point, cores)
    if os.path.exists(point.code_file):
        os.remove(point.code_file)
    with open(point.log, "w", encoding="utf-8") as log:
        try:
            code = subprocess.run([*launcher_of(description, point, cores), *point.arguments()], stdout=log,
                                  stderr=log, stdin=subprocess.DEVNULL, cwd=description.folder, env=environment,
                                  check=False).returncode
        except OSError as problem:
            code = 127
            print(f"{problem.filename}: {problem.strerror}", file=log)
    with open(point.code_file, "w", encoding="utf-8") as file:
        print(code, file=file)
    return point.state()


def run(description, chosen, arguments):
    cores = cores_here()
    if arguments.dry_run:
        for point in chosen:
            state = point.state()[0]
            mark = "" if point.cores <= cores else f"  # oversubscribed: {er.count_text(point.cores, 'thread')} on {er.count_text(cores, 'core')}"
            if state == "done":
                print(f"# {point.title}: done, nothing to run")
                continue
            variables = [f"{key}={value}" for key, value in point_environment(point, cores).items()]
            words = [*variables, *launcher_of(description, point, cores), *point.arguments()]
            print(f"# {point.title}: {state}{mark}\n{shell(words)}")
        return 0
    description.write_deck()
    for number, point in enumerate(chosen, 1):
        where = f"[{number}/{len(chosen)}] {point.title}"
        if point.state()[0] == "done":
            print(f"{where}: done before", file=sys.stderr)
            continue
        state, why, _ = run_point(description, point, cores)
        mark = "" if point.cores <= cores else f" (oversubscribed: {er.count_text(point.cores, 'thread')} on {er.count_text(cores, 'core')})"
        print(f"{where}: {state}{mark}{': ' + why if why else ''}", file=sys.stderr)
    return write_report(description, arguments)


# --------------------------------------------------------------------------------------------------- job scripts


def nodes_of(description, point):
    """Nodes and ranks a node of a point; whole ranks fit on a node."""
    per_node = description.job["cores_per_node"] // point.threads
    if per_node < 1:
        raise DescriptionError(f"{point.title}: {point.threads} threads do not fit on a node: job.cores_per_node is "
                               f"{description.job['cores_per_node']}")
    nodes = point.nodes or math.ceil(point.ranks / per_node)
    if math.ceil(point.ranks / nodes) > per_node:
        raise DescriptionError(f"{point.title}: {er.place_text(point.ranks, point.threads)} do not fit on "
                               f"{er.count_text(nodes, 'node')} of {description.job['cores_per_node']} cores (job.cores_per_node)")
    return nodes, math.ceil(point.ranks / nodes)


def job_script(description, point, scheduler, templates=TEMPLATES):
    """The text of a job script: the scheduler's template around the common body."""
    nodes, per_node = nodes_of(description, point)
    job = description.job
    limit = description.time_limit_s
    clock = f"{limit // 3600:02}:{limit // 60 % 60:02}:{limit % 60:02}"
    # Slurm tells its jobs when they end, others do not (PBS Pro, Flux), or there is nobody to tell (mpirun).
    command = point.arguments() + ([] if scheduler == "slurm" else ["--time-limit", clock])
    launch = fill_launcher(job.get("launcher", SCHEDULERS[scheduler][1]), point, nodes)
    variables = {"OMP_PROC_BIND": "false"} if point.threads == 1 else {"OMP_PROC_BIND": "close", "OMP_PLACES": "cores"}
    texts = {
        "NAME": re.sub(r"[^A-Za-z0-9_-]", "-", f"{point.study.name}-{point.name}"),
        "NODES": nodes, "RANKS": point.ranks, "THREADS": point.threads, "RANKS_PER_NODE": per_node,
        "CORES_OF_NODE": per_node * point.threads, "TIME_LIMIT": clock, "TIME_LIMIT_S": limit,
        "OPTIONS": "\n".join(job.get("options", [])), "SETUP": "\n".join(job.get("setup", [])),
        "FOLDER": shlex.quote(description.folder), "RESULTS": shlex.quote(os.path.dirname(point.file)),
        "CODE": shlex.quote(point.code_file), "LAUNCH": launch, "COMMAND": shell(command),
        # A directive is no shell: it takes the path as it is.
        "LOG": shlex.quote(point.log) if scheduler == "mpirun" else point.log,
        "ENVIRONMENT": "\n".join(f"export {key}={value}" for key, value in variables.items()),
    }
    if scheduler != "mpirun" and re.search(r"\s", point.log):
        raise DescriptionError(f"{point.log}: schedulers take no log file with blanks in its path; change --out")

    def fill(name):
        path = os.path.join(templates, name)
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except OSError as problem:
            raise DescriptionError(f"{path}: {problem.strerror}") from None

        def replacement(match):
            if match[1] == "BODY":
                return fill("body.sh")
            if match[1] not in texts:
                raise DescriptionError(f"{path}: @{match[1]}@ is no placeholder; known are BODY, {', '.join(texts)}")
            return str(texts[match[1]])

        return re.sub(r"@([A-Z_]+)@", replacement, text)

    return re.sub(r"\n\n+", "\n", fill(f"{scheduler}.sh"))  # optional parts that are empty leave no gaps


def generate(description, chosen, arguments):
    if "cores_per_node" not in description.job:
        raise DescriptionError("job.cores_per_node: is missing; job scripts need it to choose the number of nodes")
    wanted = [point for point in chosen if point.state()[0] != "done"]
    scripts = [(point.job, job_script(description, point, arguments.scheduler, arguments.templates))
               for point in wanted]
    submit = description.job.get("submit", SCHEDULERS[arguments.scheduler][0])
    lines = ["#!/bin/bash", "# Submits every point that was missing or failed when this was written.", "code=0"]
    lines += [f"{submit} {shlex.quote(path)} || code=1" for path, _ in scripts] + ['exit "$code"', ""]
    scripts.append((os.path.join(description.out, "submit.sh"), "\n".join(lines)))
    if arguments.dry_run:
        for path, text in scripts:
            print(f"# ==== {path}\n{text}")
        return 0
    description.write_deck()
    for point in wanted:
        os.makedirs(os.path.dirname(point.file), exist_ok=True)  # the log is opened before the script runs
        os.makedirs(os.path.dirname(point.job), exist_ok=True)
    os.makedirs(description.out, exist_ok=True)
    for path, text in scripts:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, 0o755)
    print(f"{len(wanted)} of {len(chosen)} points to run; submit them with\n  {scripts[-1][0]}\nand then\n"
          f"  {os.path.relpath(sys.argv[0])} report {description.path} --out {description.out}")
    return 0


# ------------------------------------------------------------------------------------------------------- results


def counts_text(points):
    states = [point.state()[0] for point in points]
    return ", ".join(f"{states.count(s)} {s}" for s in ("done", "missing", "failed") if states.count(s)), \
        int(states.count("done") < len(states))


def collect(description, chosen, _):
    print_table(description.title, ["point", "state", ""],
                [(point.title, *point.state()[:2]) for point in chosen])
    text, code = counts_text(chosen)
    print(f"{len(chosen)} points: {text}")
    return code


def write_report(description, arguments):
    frame = report.collect(description)
    for study in description.studies:
        part = frame[frame["study"].eq(study.name)]
        print_table(f"\n{study.name} ({study.kind})", *report.table_rows(part))
        for line in report.notes(study, part):
            print(line)
    try:
        written = report.write(description, frame, getattr(arguments, "format", "png"))
    except OSError as problem:
        er.die(f"cannot write {problem.filename}: {problem.strerror}")
    text, code = counts_text(description.points)
    print(f"\n{len(description.points)} points: {text}")
    for path in written:
        print(path)
    return code


# ---------------------------------------------------------------------------------------------------- prediction


def machine_of(description, arguments):
    given = {**description.machine,
             **{key: value for key in ("latency_s", "bandwidth_bytes_s", "cores_per_node", "threads")
                if (value := getattr(arguments, key)) is not None}}
    given.pop("nodes", None)
    for key, value in given.items():
        if key != "name" and not 0 < value < math.inf:
            er.die(f"{key} must be positive, not {value:g}")
    return model.Machine(**given)


def predict(description, _, arguments):
    frame = report.collect(description)
    samples = model.samples_of(frame)
    if samples.empty or samples["solver"].nunique() < 2:
        er.die(f"{description.out}: no measured points of sequential and a parallel solver to calibrate on; first "
               f"`scaling.py run {description.path}`")
    if not samples["solver"].eq("sequential").any():
        er.die("no measured point of `sequential`, which the others are compared with")
    checked = model.validate(samples)
    print_table("Each measured point predicted from the others", ["solver", "study/point", "T", "B", "measured",
                                                                  "predicted", "", "predicted / measured"],
                [(row["label"], f"{row['study']}/{row['point']}" + (report.MARK if row["oversubscribed"] else ""),
                  f"{row['T']:.0f}", f"{row['B']:.0f}", seconds_text(row["time_s"]),
                  seconds_text(row["predicted_s"]) if row["predicted_s"] > 0 else "only one", "",
                  f"{row['ratio']:.2f}" if math.isfinite(row["ratio"]) else "–")
                 for _, row in checked.iterrows()])
    fair = checked[np.isfinite(checked["ratio"])]
    verdict = "no point could be predicted from others"
    if len(fair):
        off = np.exp(np.abs(np.log(fair["ratio"])))
        verdict = f"{len(fair)} points predicted from the others: off by a factor of {off.median():.2f} " \
                  f"(median), {off.max():.2f} (worst)"
    print(verdict)
    if checked["oversubscribed"].any():
        print(f"{report.MARK} oversubscribed: the model divides the cores, and knows nothing of the scheduler")

    machine = machine_of(description, arguments)
    nodes = arguments.nodes or description.machine.get("nodes")
    # Parts of one node, where crossovers often are, then whole nodes.
    cores = [n * machine.cores_per_node for n in nodes or [2**k for k in range(13)]]
    if not nodes:
        cores = [2**k for k in range(machine.cores_per_node.bit_length()) if 2**k < machine.cores_per_node] + cores
    dim = arguments.state_dim or int(samples["D"].iloc[0])
    length = arguments.length or int(samples["T"].max())
    batch = arguments.batch or int(samples["B"].min())
    swept, assumed = model.sweep(model.Model(samples), cores, length, batch, dim, machine, arguments.iterations)
    found = model.crossovers(swept)
    first = samples.iloc[0]
    used = {s: p["local_batch"].astype(int) for s, p in samples.groupby("solver")}
    assumptions = [
        f"{machine.name}: {machine.cores_per_node} cores a node, {er.count_text(machine.threads, 'thread')} a rank; "
        f"α = {seconds_text(machine.latency_s)}, {machine.bandwidth_bytes_s / 1e9:g} GB/s a rank",
        f"compute rates measured on {first['cpu']}, {first['precision']}, at "
        f"{min(u.min() for u in used.values())}–{max(u.max() for u in used.values())} sequences a rank (nearest "
        "taken); the same on every core and for every T: no caches, no shared memory bandwidth, no imbalance",
        "iterations: " + ", ".join(
            f"{solver} {arguments.iterations.get(solver, 'as measured at the nearest T')}"
            for solver in dict.fromkeys(samples["solver"]) if solver != "sequential"),
        "batch cut first, time by the power of two of the ranks left that is fastest; threads cut time; communication "
        "not overlapped; chain: as the program does, log2: summaries combined in a tree instead",
        *assumed, f"check: {verdict}"]
    here = model.network_of(samples)
    print(f"{here.name} of these points: α = {seconds_text(here.latency_s)}, {here.bandwidth_bytes_s / 1e9:.3g} GB/s")
    print(f"\nPredicted for T = {length:,}, D = {dim}, B = {batch}")
    print_table("", ["solver", "exchange", "nodes", "cores", "batch × time", "time", "", "comm.", "over sequential"],
                [(row["label"], row["exchange"], f"{row['nodes']}", f"{row['cores']}",
                  f"{row['batch_ranks']} × {row['time_ranks']}", seconds_text(row["time_s"]), "",
                  report.share_text(row["communication"]),
                  f"{row['speedup_over_sequential']:.3g}×") for _, row in swept.iterrows()])
    for (series, exchange), where in found.items():
        label = swept[swept["series"].eq(series)]["label"].iloc[0]
        print(f"{label}, {exchange}: " + (f"faster than sequential from {where} cores" if where else
                                           f"not faster than sequential on up to {max(cores)} cores"))
    print("Assumptions:\n- " + "\n- ".join(assumptions))
    figure = draw_prediction(swept, found, f"predicted: {first['case'].system.replace('_', '-')}, T = {length:,}, "
                             f"D = {dim}, B = {batch}", assumptions, machine.cores_per_node)
    written = []
    os.makedirs(description.out, exist_ok=True)
    save(figure, description.out, "prediction", arguments.format, written)
    swept.to_csv(os.path.join(description.out, "prediction.csv"), index=False)
    checked.drop(columns=["case", "meta"]).to_csv(os.path.join(description.out, "validation.csv"), index=False)
    for name in (written[0], *(os.path.join(description.out, n) for n in ("prediction.csv", "validation.csv"))):
        print(name)
    return 0


def draw_prediction(swept, found, title, assumptions, cores_per_node):
    figure, (times, shares) = plt.subplots(1, 2, figsize=(8.4, 3.6))
    handles, seen = {}, {}
    for (series, exchange), part in swept.groupby(["series", "exchange"], sort=False):
        solver, label = part["solver"].iloc[0], part["label"].iloc[0]
        known = seen.setdefault(solver, [])
        if series not in known:
            known.append(series)
        colour, marker = LOOKS.get(solver, ("#777777", "."))
        number = known.index(series)
        look = {"color": colour, "marker": marker if number == 0 else VARIANTS[(number - 1) % len(VARIANTS)],
                "markersize": 4, "linestyle": "--" if exchange == "log2" else "-"}
        label = (label if number == 0 else series) + (f", {exchange}" if exchange else "")
        (handles[label],) = times.plot(part["cores"], part["time_s"], **look)
        if solver != "sequential":
            shares.plot(part["cores"], part["communication"], **look)
            if found[series, exchange]:
                at = part[part["cores"].eq(found[series, exchange])].iloc[0]
                (handles["first faster than sequential"],) = times.plot(
                    at["cores"], at["time_s"], "o", color="black", markerfacecolor="none", markersize=11)
    for axis in (times, shares):
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.set_xlabel("cores")
        if swept["cores"].min() < cores_per_node < swept["cores"].max():
            handles["one node"] = axis.axvline(cores_per_node, color="#777777", linewidth=0.8)
    times.set_yscale("log")
    times.set_ylabel("time of one solve (s)")
    shares.set_ylabel("share of communication")
    shares.set_ylim(0, 1.03)
    shares.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.0%}"))
    figure.suptitle(title, fontsize=10)
    text = "Assumptions\n" + "\n".join("– " + report.wrapped(line, 125).replace("\n", "\n   ") for line in assumptions)
    figure.supxlabel(text, fontsize=7, x=0.02, ha="left")
    figure.legend(handles.values(), handles.keys(), loc="upper center", bbox_to_anchor=(0.5, 0.0),
                  ncol=min(4, len(handles)))
    return figure


# --------------------------------------------------------------------------------------------------------- command


def iterations_pair(text):
    solver, _, count = text.partition("=")
    if solver not in LOOKS or not count.isdigit() or int(count) < 1:
        raise argparse.ArgumentTypeError(f"must be SOLVER=COUNT, such as deer=5, not {text!r}")
    return solver, int(count)


def count(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, not {text!r}")
    return int(text)


class Parser(argparse.ArgumentParser):
    def error(self, message):
        er.die(f"{message} (see {self.prog} --help)")


def parse():
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    parsers = {}
    for name, action, text in (("run", run, "run here what is missing or failed, then report"),
                               ("generate", generate, "write job scripts for what is missing or failed"),
                               ("collect", collect, "tell done, missing and failed points"),
                               ("report", lambda d, _, a: write_report(d, a), "tables and pictures"),
                               ("predict", predict, "cost model, its check, and larger machines")):
        sub = parsers[name] = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(action=action)
        sub.add_argument("description", metavar="STUDY.toml")
        sub.add_argument("--out", metavar="DIR", help="results (default: results/scaling/STUDY)")
        if name in ("run", "generate", "collect"):
            sub.add_argument("--only", nargs="+", metavar="NAME", help="only these studies of the description")
        if name in ("run", "generate"):
            sub.add_argument("--dry-run", action="store_true", help="print everything, touch nothing")
        if name in ("run", "report", "predict"):
            sub.add_argument("--format", choices=("png", "pdf", "svg"), default="png", help="default: png")
    parsers["generate"].add_argument("--scheduler", choices=SCHEDULERS, required=True)
    parsers["generate"].add_argument("--templates", metavar="DIR", default=TEMPLATES,
                                     help="your own templates instead of scripts/templates")
    sub = parsers["predict"]
    sub.add_argument("--nodes", type=count, nargs="+", metavar="N",
                     help="default: machine.nodes, or parts of one node, then 1, 2, 4 … 4096")
    sub.add_argument("--length", type=count, metavar="T", help="default: the longest that was measured")
    sub.add_argument("--batch", type=count, metavar="B", help="default: the smallest that was measured")
    sub.add_argument("--state-dim", type=count, metavar="D", help="default: as measured")
    sub.add_argument("--cores-per-node", type=count, metavar="N")
    sub.add_argument("--threads", type=count, metavar="N", help="threads a rank")
    sub.add_argument("--latency", dest="latency_s", type=float, metavar="S", help="α of a message, seconds")
    sub.add_argument("--bandwidth", dest="bandwidth_bytes_s", type=float, metavar="B/S", help="1/β, bytes a second")
    sub.add_argument("--iterations", type=iterations_pair, nargs="+", metavar="SOLVER=COUNT", default=[])
    arguments = parser.parse_args()
    if arguments.command == "predict":
        arguments.iterations = dict(arguments.iterations)
    return arguments


def main():
    arguments = parse()
    try:
        description = Description(arguments.description, arguments.out)
        chosen = description.points
        if getattr(arguments, "only", None):
            names = [study.name for study in description.studies]
            for name in arguments.only:
                if name not in names:
                    er.die(f"--only {name}: {arguments.description} has no such study, only {', '.join(names)}")
            chosen = [point for point in chosen if point.study.name in arguments.only]
        sys.exit(arguments.action(description, chosen, arguments))
    except DescriptionError as problem:
        text = str(problem)
        er.die(text if text.startswith(arguments.description) else f"{arguments.description}: {text}")
    except KeyboardInterrupt:
        print("scaling.py: interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
