"""A scaling study as data: its description (TOML), the points it expands to, and how far each of them is.

docs/scaling.md says what a description may hold. A point is one run of the program; its files carry a digest of
everything that decides its result, so a result of another description is never taken for one of this.
"""

import contextlib
import hashlib
import io
import json
import math
import os
import re

import elkhorn_results as er

try:
    import tomllib
except ImportError:  # Python before 3.11
    try:
        import tomli as tomllib
    except ImportError:
        er.die("reading TOML takes Python 3.11 or the package tomli")

KINDS = ("strong", "weak", "throughput", "placement")
SPLITS = ("batch", "time", "both")
COUNT, TEXT, TABLE, LIST, NUMBER, COUNTS = "a whole number of at least 1", "text", "a table", "a list", \
    "a positive number", "a list of whole numbers of at least 1"

KEYS = {
    "": {"title": TEXT, "deck": None, "program": TEXT, "threads": COUNT, "study": LIST, "job": TABLE,
         "machine": TABLE},
    "study": {"name": TEXT, "kind": TEXT, "grows": TEXT, "split": TEXT, "ranks": COUNTS, "threads": COUNT,
              "cores": COUNT, "batch": COUNTS, "points": LIST, "set": TABLE, "filter": TEXT, "base": TABLE},
    "points": {"ranks": COUNT, "threads": COUNT, "time_ranks": COUNT, "nodes": COUNT, "set": TABLE},
    "base": {"ranks": COUNT, "threads": COUNT, "time_ranks": COUNT, "solver": TEXT},
    "job": {"cores_per_node": COUNT, "time_limit": TEXT, "launcher": TEXT, "setup": LIST, "options": LIST,
            "submit": TEXT},
    "machine": {"name": TEXT, "cores_per_node": COUNT, "threads": COUNT, "latency_s": NUMBER,
                "bandwidth_bytes_s": NUMBER, "nodes": COUNTS},
}


class DescriptionError(Exception):
    """A mistake in the description: one line that names file and key."""


def is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


FITS = {
    COUNT: is_count,
    TEXT: lambda v: isinstance(v, str) and v,
    TABLE: lambda v: isinstance(v, dict),
    LIST: lambda v: isinstance(v, list),
    COUNTS: lambda v: isinstance(v, list) and v and all(map(is_count, v)),
    NUMBER: lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < math.inf,
}


def toml_value(value):
    """A value as TOML, also for --set."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml_key(k)} = {toml_value(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


def toml_key(key):
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)


def toml_text(table, path=()):
    """A table as a TOML document; tables and arrays of tables become headers."""
    lines, rest = [], []
    for key, value in table.items():
        here = (*path, toml_key(key))
        if isinstance(value, dict):
            rest.append(f"\n[{'.'.join(here)}]\n" + toml_text(value, here))
        elif isinstance(value, list) and value and all(isinstance(v, dict) for v in value):
            rest += [f"\n[[{'.'.join(here)}]]\n" + toml_text(v, here) for v in value]
        else:
            lines.append(f"{toml_key(key)} = {toml_value(value)}\n")
    return "".join(lines + rest)


def seconds_of(limit):
    """Of a job's time limit, which each scheduler writes in its own way: "1:30:00", "2-00:00:00"."""
    match = re.fullmatch(r"(?:(\d+)-)?(\d+):([0-5]\d):([0-5]\d)", limit)
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    total = ((24 * days + hours) * 60 + minutes) * 60 + seconds
    if total == 0:
        raise DescriptionError('job.time_limit: must be hours, minutes and seconds such as "0:30:00", or with days '
                               f'"2-00:00:00", not {limit!r}')
    return total


def cores_here():
    return len(os.sched_getaffinity(0))


class Point:
    """One run: `ranks` × `threads` on `nodes` (None: as few as fit), `overrides` for --set, and its files."""

    def __init__(self, study, ranks, threads, time_ranks, nodes, overrides, where):
        self.study, self.ranks, self.threads, self.time_ranks, self.nodes = study, ranks, threads, time_ranks, nodes
        self.overrides = overrides
        if ranks % time_ranks:
            raise DescriptionError(f"{where}: time_ranks = {time_ranks} does not divide the {ranks} ranks")
        description = study.description
        decides = [description.deck_text, sorted(overrides.items()), study.filter, ranks, threads, time_ranks, nodes]
        digest = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:8]
        self.name = f"r{ranks}-t{threads}-p{time_ranks}" + "".join(
            f"-{letter}{overrides[key]}" for letter, key in (("T", "problem.length"), ("B", "problem.batch"))
            if isinstance(overrides.get(key), int))
        stem = os.path.join(description.out, study.name, f"{self.name}-{digest}")
        self.file, self.log, self.code_file = stem + ".h5", stem + ".log", stem + ".code"
        self.job = os.path.join(description.out, "jobs", f"{study.name}-{self.name}.sh")

    @property
    def cores(self):
        return self.ranks * self.threads

    @property
    def title(self):
        return f"{self.study.name}/{self.name}"

    def arguments(self):
        """The command line of the program, without the launcher. --resume keeps the cases that have finished."""
        description = self.study.description
        overrides = {**self.overrides, "parallel.time_ranks": self.time_ranks}
        sets = [word for key, value in overrides.items() for word in ("--set", f"{key}={toml_value(value)}")]
        chosen = ["--filter", self.study.filter] if self.study.filter else []
        return [description.program, "run", description.deck_path, "--out", self.file, "--resume", *sets, *chosen]

    def state(self):
        """`done`, `failed` or `missing`, a sentence on it, and the Results where there are any."""
        code = self._code()
        if os.path.exists(self.file):
            said = io.StringIO()
            try:
                with contextlib.redirect_stderr(said):
                    results = er.Results(self.file)
            except SystemExit:
                return "failed", said.getvalue().strip(), None
            failed = [case for case in results.cases if case.status == "failed"]
            if failed:
                return "failed", f"{len(failed)} of {len(results.cases)} cases failed: {failed[0].message}", results
            if code in (None, 0, 1):  # 1: some case is `wrong`, which running again does not change
                return "done", "", results
            return "failed", f"exit code {code}: {self._last_words()}", None
        if code == 75:  # stopped in good order, and goes on where it stopped
            return "missing", self._last_words(), None
        if code is not None:
            return "failed", f"exit code {code}: {self._last_words()}", None
        if os.path.exists(self.log):
            return "missing", "started, but has not finished: it runs, or was killed", None
        return "missing", "", None

    def _code(self):
        try:
            with open(self.code_file, encoding="utf-8") as file:
                return int(file.read())
        except (FileNotFoundError, ValueError):
            return None

    def _last_words(self):
        """What the program said last; without its warnings and what MPI adds to them."""
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                lines = [line.strip() for line in file if line.strip()]
        except FileNotFoundError:
            return "no log"
        own = [line for line in lines if line.startswith("elkhorn: ") and "warning:" not in line]
        return (own or lines or ["it said nothing"])[-1].removeprefix("elkhorn: ")


class Study:
    """One question, with its points; `kind` decides what is compared with what (docs/scaling.md)."""

    def __init__(self, description, table, where):
        self.description = description
        description.check(table, "study", where)
        for key in ("name", "kind"):
            if key not in table:
                raise DescriptionError(f"{where}.{key}: is missing")
        self.name, self.kind = table["name"], table["kind"]
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", self.name) or self.name in (".", "..", "jobs"):
            raise DescriptionError(f"{where}.name: names a folder: letters, digits, _ and - only, not {self.name!r}")
        self._one_of(where, "kind", self.kind, KINDS)
        self.grows = table.get("grows", "batch")
        self._one_of(where, "grows", self.grows, SPLITS)
        if "grows" in table and self.kind != "weak":
            raise DescriptionError(f"{where}.grows: only weak scaling grows the problem, and this is {self.kind}")
        self.split = table.get("split", self.grows if self.kind == "weak" else "batch")
        self._one_of(where, "split", self.split, SPLITS)
        self.filter = table.get("filter", "")
        self.set = table.get("set", {})
        self.threads = table.get("threads", description.threads)
        plan = self._plan(table, where)
        self.points = [self._point(row, plan[0], where) for row in plan]
        names = [point.file for point in self.points]
        if len(set(names)) < len(names):
            raise DescriptionError(f"{where}: two of its points are the same run")
        self.base_solver = None
        self.base = self._base(table.get("base", {}), where)

    @staticmethod
    def _one_of(where, key, value, names):
        if value not in names:
            raise DescriptionError(f"{where}.{key}: must be one of {', '.join(names)}, not {value!r}")

    def _time_ranks(self, ranks):
        if self.split == "both":  # the most even grid; the batch gets the larger part
            return max(p for p in range(1, math.isqrt(ranks) + 1) if ranks % p == 0)
        return ranks if self.split == "time" else 1

    def _plan(self, table, where):
        """The points as dictionaries: ranks, threads, time_ranks, nodes, set, where."""
        forms = [key for key in ("ranks", "points", "cores") if key in table]
        wanted = {"throughput": "batch", "placement": "cores or points"}.get(self.kind, "ranks or points")
        if self.kind == "throughput":
            if "batch" not in table:
                raise DescriptionError(f"{where}.batch: is missing: a throughput study lists batch sizes")
            if len(table.get("ranks", [1])) > 1 or "points" in table or "cores" in table:
                raise DescriptionError(f"{where}.ranks: a throughput study has one number of ranks, such as [2]")
            ranks = table.get("ranks", [1])[0]
            return [self._row(ranks, where, set={"problem.batch": batch}) for batch in table["batch"]]
        if "batch" in table:
            raise DescriptionError(f"{where}.batch: belongs to throughput studies; here write set = "
                                   '{ "problem.batch" = … }')
        if len(forms) != 1 or (forms == ["cores"] and self.kind != "placement"):
            raise DescriptionError(f"{where}: needs one of {wanted}" +
                                   (f", and has {' and '.join(forms)}" if forms else ""))
        if forms == ["cores"]:
            cores = table["cores"]
            divisors = [n for n in range(1, cores + 1) if cores % n == 0]
            return [self._row(ranks, where, threads=cores // ranks) for ranks in divisors]
        if forms == ["ranks"]:
            return [self._row(ranks, where) for ranks in table["ranks"]]
        rows = []
        if not table["points"]:
            raise DescriptionError(f"{where}.points: is empty")
        for index, row in enumerate(table["points"], 1):
            here = f"{where}.points[{index}]"
            if not isinstance(row, dict):
                raise DescriptionError(f"{here}: must be a table such as {{ ranks = 2, threads = 1 }}")
            self.description.check(row, "points", here)
            if "ranks" not in row:
                raise DescriptionError(f"{here}.ranks: is missing")
            rows.append(self._row(row["ranks"], here, **{k: v for k, v in row.items() if k != "ranks"}))
        return rows

    def _row(self, ranks, where, **given):
        return {"ranks": ranks, "threads": self.threads, "time_ranks": self._time_ranks(ranks), "nodes": None,
                "set": {}, "where": where, **given}

    def _point(self, row, first, where):
        overrides = {**self.set, **row["set"]}
        if self.kind == "weak":
            overrides |= self._grown(row, first, where)
        return Point(self, row["ranks"], row["threads"], row["time_ranks"], row["nodes"], overrides, row["where"])

    def _grown(self, row, first, where):
        """The problem of a point of a weak study: the first point's, times what its cores have grown by."""
        def ratio(key):
            return row[key] / first[key]

        whole = ratio("ranks") * ratio("threads")
        batch = {"batch": whole, "time": 1.0, "both": ratio("ranks") / ratio("time_ranks")}[self.grows]
        factors = {"problem.batch": batch, "problem.length": whole / batch}
        grown = {}
        for key, factor in factors.items():
            if self.grows not in ("both", {"problem.batch": "batch", "problem.length": "time"}[key]):
                continue
            size = self.set.get(key, self.description.problem.get(key.split(".")[1]))
            if size is None and key == "problem.batch" and self.description.problem:
                size = 1
            if not is_count(size):
                raise DescriptionError(f"{where}.set: weak scaling needs the {key} of its first point as one whole "
                                       "number, here or in the deck")
            if abs(size * factor - round(size * factor)) > 1e-9 or round(size * factor) < 1:
                raise DescriptionError(f"{row['where']}: {key} = {size} × {factor:g} is not a whole number")
            grown[key] = round(size * factor)
        return grown

    def _base(self, wanted, where):
        """The point the others are compared with."""
        self.description.check(wanted, "base", f"{where}.base")
        self.base_solver = wanted.get("solver")
        sought = {key: value for key, value in wanted.items() if key != "solver"}
        for point in self.points:
            if all(getattr(point, key) == value for key, value in sought.items()):
                return point
        raise DescriptionError(f"{where}.base: no point of the study has " +
                               ", ".join(f"{k} = {v}" for k, v in sought.items()))


class Description:
    """A study file. `out` is the folder that holds or will hold the results. Throws DescriptionError."""

    def __init__(self, path, out=None):
        self.path = path
        try:
            with open(path, "rb") as file:
                table = tomllib.load(file)
        except OSError as problem:
            raise DescriptionError(f"{path}: {problem.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
            raise DescriptionError(f"{path}: {problem}") from None
        try:
            self._read(table, out)
        except DescriptionError as problem:
            raise DescriptionError(f"{path}: {problem}") from None

    def check(self, table, kind, where):
        """Only known keys, of the right type."""
        for key, value in table.items():
            here = f"{where}.{key}".lstrip(".")
            if key not in KEYS[kind]:
                raise DescriptionError(f"{here}: unknown key; known are {', '.join(KEYS[kind])}")
            wanted = KEYS[kind][key]
            if wanted and not FITS[wanted](value):
                raise DescriptionError(f"{here}: must be {wanted}, not {toml_value(value)}")

    def _read(self, table, out):
        self.check(table, "", "")
        stem = os.path.splitext(os.path.basename(self.path))[0]
        self.title = table.get("title", stem)
        self.folder = os.path.dirname(os.path.abspath(self.path))
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self.out = os.path.abspath(out or os.path.join(root, "results", "scaling", stem))
        self.threads = table.get("threads", 1)
        default = os.environ.get("ELKHORN") or os.path.join(root, "build", "elkhorn")
        # A program with a folder in its name is beside the description, one without is looked for in PATH.
        program = table.get("program")
        beside = program and os.sep in program
        self.program = os.path.join(self.folder, program) if beside else program or os.path.abspath(default)
        self._read_deck(table.get("deck"), stem)
        for name in ("job", "machine"):
            self.check(table.get(name, {}), name, name)
        self.job, self.machine = table.get("job", {}), table.get("machine", {})
        self.time_limit_s = seconds_of(self.job.get("time_limit", "00:30:00"))
        for key in ("setup", "options"):
            if not all(isinstance(line, str) for line in self.job.get(key, [])):
                raise DescriptionError(f"job.{key}: must be a list of text, one line each")
        if not table.get("study"):
            raise DescriptionError("study: is missing: at least one [[study]]")
        if not all(isinstance(study, dict) for study in table["study"]):
            raise DescriptionError("study: must be tables: [[study]]")
        self.studies = [Study(self, study, f"study[{i}]") for i, study in enumerate(table["study"], 1)]
        names = [study.name for study in self.studies]
        for name in names:
            if names.count(name) > 1:
                raise DescriptionError(f"study: {names.count(name)} studies are called {name!r}")

    def _read_deck(self, deck, stem):
        if isinstance(deck, str):
            self.deck_path = os.path.join(self.folder, deck)
            try:
                with open(self.deck_path, encoding="utf-8") as file:
                    self.deck_text = file.read()
                self.problem = tomllib.loads(self.deck_text).get("problem", {})
            except OSError as problem:
                raise DescriptionError(f"deck: {self.deck_path}: {problem.strerror}") from None
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
                raise DescriptionError(f"deck: {self.deck_path}: {problem}") from None
            self.inline = False
        elif isinstance(deck, dict):
            # Written where it is used; named by the description so that messages of the program can be traced.
            self.deck_text, self.problem, self.inline = toml_text(deck), deck.get("problem", {}), True
            self.deck_path = os.path.join(self.out, f"{stem}_deck.toml")
        else:
            raise DescriptionError('deck: must be the path of a deck ("gru.toml") or its tables ([deck.system] …)')
        if not isinstance(self.problem, dict):
            raise DescriptionError("deck.problem: must be a table")

    @property
    def points(self):
        return [point for study in self.studies for point in study.points]

    def write_deck(self):
        """The inline deck as a file, beside the results."""
        if self.inline:
            os.makedirs(self.out, exist_ok=True)
            with open(self.deck_path, "w", encoding="utf-8") as file:
                file.write(self.deck_text)


# --------------------------------------------------------------------------------------------- cores and placement


def processors(text):
    """The numbers in a list of processors: "0-3,8" holds five."""
    numbers = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    return numbers


def load_on_cores(meta):
    """Threads that compute per physical core they may use, on the fullest host, from /meta of a results file;
    more than 1 is oversubscribed. NaN where the file does not tell."""
    hosts = {}
    for line in str(meta.get("placement", "")).splitlines():
        row = re.match(r"\s*\d+\s+(\S+)\s+(\d+)\s+\d+\s+([\d,-]+)(\s|$)", line)
        if row:
            host = hosts.setdefault(row[1], [0, set()])
            host[0] += int(row[2])
            host[1] |= processors(row[3])
    smt = max(1.0, float(meta.get("cpu_hardware_threads", 1)) / max(1.0, float(meta.get("cpu_cores", 1))))
    loads = [threads * smt / len(allowed) for threads, allowed in hosts.values() if allowed]
    if not loads and "cpu_allowed_hardware_threads" in meta:
        per_node = float(meta.get("ranks_per_node", meta["ranks"]))
        loads = [per_node * float(meta["threads"]) * smt / float(meta["cpu_allowed_hardware_threads"])]
    return max(loads, default=math.nan)
