#!/usr/bin/env python3
"""Runs every benchmark of a program for an instant: all must end, with the fields that people read."""

import json
import math
import subprocess
import sys
import tempfile

FIELDS = ("threads", "bytes", "flops", "functions", "best_us", "bound_us", "of_bound")
PROBLEM = ("T", "D", "B")


def main():
    program = sys.argv[1]
    with tempfile.NamedTemporaryFile("r", suffix=".json", encoding="utf-8") as file:  # libraries write to stdout, too
        subprocess.run([program, "--benchmark_min_time=0.0001", f"--benchmark_out={file.name}",
                        "--benchmark_out_format=json"], check=True, stdout=subprocess.DEVNULL)
        rows = json.load(file)["benchmarks"]
    roofs = [row for row in rows if row["name"].startswith("roofs/")]
    problems = []
    if len(roofs) != 2:
        problems.append(f"{len(roofs)} roofs instead of those of float32 and float64")
    for row in roofs:
        problems += [f"{row['name']}: {field} is {row[field]}" for field in ("bytes", "flops", "gemm", "functions")
                     if not row[field] > 1e6]
    if len(rows) < 20:
        problems.append(f"only {len(rows)} benchmarks")
    for row in rows:
        if row in roofs:
            continue
        fields = FIELDS + (() if row["name"].startswith("function/") else PROBLEM)
        values = {field: row.get(field, math.nan) for field in fields}
        bad = [field for field, value in values.items() if not (math.isfinite(value) and value >= 0)]
        bad += [field for field in ("best_us", "bound_us", "of_bound") if not values[field] > 0]
        if bad or row.get("error_occurred") or row["label"] not in ("bandwidth", "flops", "functions"):
            problems.append(f"{row['name']}: {bad} {row.get('error_message', '')} {row.get('label')}")
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{len(rows)} benchmarks")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
