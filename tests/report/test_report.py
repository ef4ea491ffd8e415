"""scripts/report.py and scripts/export.py on files the C++ writer made: test_report.py WRITE_SAMPLE_PROGRAM."""

import csv
import html.parser
import io
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from scripts_under_test import ROOT, WRITE_SAMPLE, script
import elkhorn_results as er  # noqa: E402
import pandas  # noqa: E402

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(html.parser.HTMLParser):
    """A page's tables, ids, references and text; notes tags that do not close."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.ids, self.references, self.text, self.open, self.wrong = [], [], [], [], [], []
        self.feed(text)
        self.wrong += self.open

    def handle_starttag(self, tag, attributes):
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "action", "data"):
                self.references.append(value)
            if name.startswith("on"):
                self.wrong.append(f"{tag} {name}")
        if tag == "table":
            self.tables.append([])
        if tag == "tr" and self.tables:
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"</{tag}>")

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)
        if "table" in self.open and self.tables[-1] and self.tables[-1][-1]:
            self.tables[-1][-1][-1] += data


class WithFiles(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="elkhorn-report-")
        for name, *options in (("base", "1", "1"), ("other", "1.1", "2")):
            subprocess.run([WRITE_SAMPLE, cls.path(f"{name}.h5"), *options], check=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)


class Report(WithFiles):
    def page(self, *arguments):
        out = self.path("page.html")
        done = script("report.py", *arguments, "-o", out)
        self.assertEqual((done.returncode, done.stderr, done.stdout), (0, "", out + "\n"))
        with open(out, encoding="utf-8") as file:
            text = file.read()
        page = Page(text)
        self.assertEqual(page.wrong, [])
        self.assertEqual(len(page.ids), len(set(page.ids)), "ids are unique, also those of the figures")
        for reference in page.references:
            self.assertTrue(reference.startswith("#") and reference[1:] in page.ids, reference)
        # Nothing from elsewhere: no import, no address but the names of XML's vocabularies.
        self.assertNotRegex(text, r"@import|url\((?!#)")
        self.assertEqual(set(re.findall(r"https?://[^\s\"'<)]+", text)) - {
            "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}, set())
        return text, page

    def test_one_file(self):
        text, page = self.page(self.path("base.h5"))
        self.assertIn("sample – σ²", "".join(page.text))
        # The winners, then a table a problem, then machine tables.
        self.assertEqual([row[0] for row in page.tables[0][1:]][:2],
                         ["gru, T = 1,000, D = 8, B = 4, float32", "gru, T = 10,000, D = 8, B = 4, float32"])
        cases = {case.name: case for case in er.Results(self.path("base.h5")).cases}
        head, *rows = page.tables[1]
        self.assertEqual(head[:4], ["solver", "status", "iter.", "time"])
        deer = dict(zip(head, rows[1]))
        self.assertEqual((deer["solver"], deer["status"], deer["iter."]), ("deer", "ok", "5"))
        self.assertEqual(deer["time"], er.seconds_text(cases["gru/deer/T=1000/float32"].time_median_s))
        self.assertEqual(sum(len(table) - 1 for table in page.tables[1:5]), 16)
        self.assertEqual(text.count("<svg"), 7, "convergence × 3, times × 3, scaling")
        for part in ("needs 61 TiB, 7.2 GiB are free", "is singular – \"no pivot\"", "some µ-architecture",
                     "OMP_NUM_THREADS=1 mpirun -n 2 build/elkhorn run base.toml --out again.h5", "length = [1000, 10000]"):
            self.assertIn(part, " ".join("".join(page.text).split()))

    def test_several_files(self):
        text, page = self.page(self.path("base.h5"), self.path("other.h5"), "--title", "A & B")
        self.assertIn("<title>A &amp; B</title>", text)
        head, *rows = page.tables[1]
        self.assertEqual(head[1], "file")
        self.assertEqual([row[1] for row in rows], ["base"] * 5 + ["other"] * 5)

    def test_files_of_one_name_are_told_apart(self):
        """In tables and, by their labels, in figures."""
        os.makedirs(self.path("elsewhere"), exist_ok=True)
        shutil.copy(self.path("base.h5"), self.path("elsewhere/base.h5"))
        files = [self.path("base.h5"), self.path("elsewhere/base.h5")]
        _, page = self.page(*files)
        self.assertEqual([row[1] for row in page.tables[1][1:]], ["base (1)"] * 5 + ["base (2)"] * 5)
        results = [er.Results(file) for file in files]
        er.name_files(results)
        labels = er.labels([case for one in results for case in one.cases[:5]])
        self.assertEqual(len(set(labels)), 10, labels)
        self.assertTrue(labels[0].endswith("base (1)") and labels[-1].endswith("base (2)"), labels)

    def changed(self, name, change, source="base.h5"):
        """A copy of `source` after change(its groups of cases)."""
        path = self.path(name)
        shutil.copy(self.path(source), path)
        with er.h5py.File(path, "r+") as file:
            change([file["cases"][case] for case in sorted(file["cases"])])
        return path

    def test_placements_are_told_apart(self):
        def on_four(cases):
            for case in cases:
                case.attrs.modify("ranks", 4)

        _, page = self.page(self.path("base.h5"), self.changed("four.h5", on_four, "other.h5"), "--no-figures")
        self.assertIn("seed 18446744073709551557, 2 ranks × 1 thread or 4 ranks × 1 thread", "".join(page.text))
        head, *rows = page.tables[1]
        self.assertEqual([row[head.index("on")] for row in rows], ["2 × 1"] * 5 + ["4 × 1"] * 5)
        _, page = self.page(self.path("base.h5"), self.path("other.h5"), "--no-figures")
        self.assertNotIn("on", page.tables[1][0])

    def test_the_days_of_all_files_are_told(self):
        path = self.changed("older.h5", lambda cases: cases[0].file.attrs.modify("created", "2020-02-29T12:00:00Z"))
        _, page = self.page(path, self.path("base.h5"), "--no-figures")
        day = er.Results(self.path("base.h5")).created[:10]
        self.assertIn(f"written 2020-02-29 to {day}", "".join(page.text))
        _, page = self.page(self.path("base.h5"), "--no-figures")
        self.assertIn(f"written {day}", "".join(page.text))

    def test_the_fastest_name_their_file_and_base(self):
        _, page = self.page(self.path("base.h5"), self.path("other.h5"), "--no-figures")
        head, first = page.tables[0][:2]
        row = dict(zip(head, first))
        self.assertRegex(row["fastest parallel"], r"^[a-z-]+.* \((base|other)\)$")
        cases = er.Results(self.path(re.search(r"\((\w+)\)$", row["fastest parallel"])[1] + ".h5")).cases
        self.assertEqual(row["sequential"], er.seconds_text(cases[0].time_median_s))

    def test_rows_that_would_look_alike_are_told(self):
        def twice(cases):
            cases[2].attrs.modify("solver", "deer")
            cases[1].attrs.modify("scan", "flat")
            cases[2].attrs.modify("scan", "serial")

        _, page = self.page(self.changed("twice.h5", twice), "--no-figures")
        self.assertEqual([row[0] for row in page.tables[1][1:4]], ["sequential", "deer, flat", "deer, serial"])

    def test_problems_that_differ_in_a_setting_are_two(self):
        def with_gain(cases):
            for i, case in enumerate(cases):
                gain = "gain=3-" if i == 1 else ""
                case.attrs.modify("name", f"gru-D8-{gain}T1000-B4-seed7-f32-{case.attrs['solver']}-n{i}")
            cases[2].attrs.modify("seed", er.np.uint64(7))

        path = self.changed("gain.h5", with_gain)
        self.assertEqual([case.setting for case in er.Results(path).cases[:2]], ["seed7", "gain=3-seed7"])
        _, page = self.page(path, "--no-figures")
        problems = [row[0] for row in page.tables[0][1:]]
        self.assertIn("gru, T = 1,000, D = 8, B = 4, float32, gain=3-seed7, seed 18446744073709551557", problems)
        self.assertIn("gru, T = 1,000, D = 8, B = 4, float32, seed 7", problems)
        self.assertEqual(len(problems), len(set(problems)))

    def test_a_cold_first_solve_is_told(self):
        def cold(cases):
            cases[1].attrs.modify("time_first_s", 3 * cases[1].attrs["time_median_s"])

        _, page = self.page(self.changed("cold.h5", cold), "--no-figures")
        head, *rows = page.tables[1]
        self.assertIn("first, cold 3.00×", rows[1][head.index("samples are")])

    def test_text_of_the_file_stays_text(self):
        path = self.path("evil.h5")
        shutil.copy(self.path("base.h5"), path)
        with er.h5py.File(path, "r+") as file:
            file["cases/000014"].attrs.modify("message", "</li><script>alert(1)</script>")
            file["meta"].attrs.modify("host", "<img src=x onerror=alert(1)>")
            del file["meta/deck"]
            file["meta/deck"] = 'title = "</pre><script>{{title}}"\n'
        text, page = self.page(path, "--no-figures")
        self.assertEqual(text.count("<script"), 1)
        self.assertIn("<script>alert(1)</script>", "".join(page.text))
        self.assertEqual(text.count("<svg"), 0)

    def test_errors_are_one_line(self):
        for arguments, pattern in (([self.path("none.h5")], "no such file"),
                                   ([self.path("base.h5"), "--no-figures", "-o", self.folder], "cannot write")):
            done = script("report.py", *arguments)
            self.assertEqual((done.returncode, done.stderr.count("\n"), done.stdout), (2, 1, ""), done.stderr)
            self.assertRegex(done.stderr, pattern)


class Export(WithFiles):
    def test_json_holds_the_summary_and_keeps_its_schema(self):
        done = script("export.py", self.path("base.h5"), self.path("other.h5"))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        told = json.loads(done.stdout, parse_constant=lambda name: self.fail(f"{name} is no JSON"))
        self.assertEqual(len(told["files"]), 2)
        with er.h5py.File(self.path("base.h5")) as file:
            summary = file["summary"][()]
        cases = told["files"][0]["cases"]
        self.assertEqual(len(cases), 16)
        for row, case in zip(summary, cases):
            self.assertEqual(list(case), list(summary.dtype.names))
            for name in summary.dtype.names:
                value = row[name].decode() if isinstance(row[name], bytes) else row[name].item()
                if isinstance(value, float) and not er.np.isfinite(value):
                    value = None if er.np.isnan(value) else "Infinity"
                self.assertEqual(case[name], value, name)
        self.assertEqual(cases[1]["seed"], 18446744073709551557, "no digit is lost")
        with open(os.path.join(ROOT, "docs", "summary.schema.json"), encoding="utf-8") as file:
            schema = json.load(file)
        self.assertEqual(set(schema["$defs"]["case"]["properties"]), set(summary.dtype.names), "the schema knows every column")
        try:
            import jsonschema
        except ImportError:
            self.skipTest("python3-jsonschema is not installed: the schema was not tried")
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(told, schema)
        told["files"][0]["cases"][0]["status"] = "fine"
        with self.assertRaises(jsonschema.ValidationError):
            jsonschema.validate(told, schema)

    def test_csv_holds_the_summary(self):
        out = self.path("summary.csv")
        done = script("export.py", self.path("base.h5"), "--csv", "-o", out)
        self.assertEqual((done.returncode, done.stderr, done.stdout), (0, "", ""))
        with open(out, encoding="utf-8", newline="") as file:
            text = file.read()
        rows = list(csv.DictReader(io.StringIO(text)))
        self.assertEqual(len(rows), 16)
        case = er.Results(self.path("base.h5")).cases[1]
        self.assertEqual(float(rows[1]["time_median_s"]), case.time_median_s)
        self.assertEqual(rows[1]["sigma2"], "")
        self.assertEqual(rows[14]["message"], er.Results(self.path("base.h5")).cases[14].message)
        frame = pandas.read_csv(io.StringIO(text), float_precision="round_trip")
        self.assertEqual(len(frame), 16)
        self.assertEqual(frame["time_median_s"][1], case.time_median_s)

    def test_files_of_format_1_0_are_read(self):
        # The reference results may be older than the program: what they lack is "not measured".
        path = self.path("old.h5")
        shutil.copy(self.path("base.h5"), path)
        with er.h5py.File(path, "r+") as file:
            file.attrs.modify("format_version", "1.0")
            for group in file["cases"].values():
                for name in er.SINCE_1_1:
                    if name in group.attrs:
                        del group.attrs[name]
        self.assertEqual(script("report.py", path, "--no-figures", "-o", self.path("old.html")).returncode, 0)
        self.assertEqual(script("compare.py", path, self.path("base.h5")).returncode, 0)


if __name__ == "__main__":
    unittest.main()
