#!/usr/bin/env python3
"""The summary of results files for other programs: JSON (with deck and provenance) or CSV (a row a case).

    export.py FILE.h5… [--json | --csv] [-o FILE]      default: JSON, on the standard output

The columns are the attributes of a case (docs/results.md) behind `file`; what was not measured is null in JSON and
empty in CSV. docs/summary.schema.json describes the JSON. Raw times and histories stay in the results file.
"""

import argparse
import csv
import io
import json
import math
import os
import sys

import elkhorn_results as er
import numpy as np


def json_value(value):
    """NaN and the infinities, which JSON lacks, become null and text."""
    if isinstance(value, np.ndarray):
        return [json_value(er.plain(v)) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def columns_of(results):
    """The attributes of all files in the order of /summary, without repetition."""
    names = {}
    for one in results:
        with er.h5py.File(one.path) as file:
            names.update(dict.fromkeys(file["summary"].dtype.names))
    return list(names)


def row_of(case, names):
    return {name: json_value(case.attributes[name]) for name in names if name in case.attributes}


def to_json(results, names):
    return json.dumps({
        "format": "elkhorn-summary",
        "format_version": "1.0",
        "files": [{
            "file": one.path,
            "results_format_version": one.version,
            "created": one.created,
            "meta": {name: json_value(value) for name, value in sorted(one.meta.items())},
            "roofs": {name: json_value(value) for name, value in sorted(one.roofs.items())},
            "deck": one.deck,
            "cases": [row_of(case, names) for case in one.cases],
        } for one in results],
    }, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(results, names):
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", *names])
    for one in results:
        for case in one.cases:
            row = row_of(case, names)
            writer.writerow([one.path, *("" if row.get(name) is None else row[name] for name in names)])
    return text.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE.h5")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="the default")
    form.add_argument("--csv", action="store_true")
    parser.add_argument("-o", "--out", metavar="FILE", help="default: the standard output")
    arguments = parser.parse_args()
    results = [er.Results(path) for path in arguments.files]
    names = columns_of(results)
    text = to_csv(results, names) if arguments.csv else to_json(results, names)
    if not arguments.out:
        sys.stdout.reconfigure(encoding="utf-8")
        sys.stdout.write(text)
        return
    part = arguments.out + ".part"
    try:
        with open(part, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        os.replace(part, arguments.out)
    except OSError as problem:
        er.die(f"cannot write {arguments.out}: {problem.strerror}")


if __name__ == "__main__":
    main()
