#!/usr/bin/env bash
# Does compare.py tell a slower build from noise on this machine? Twenty comparisons of the program with itself, which
# should say "same", and one with a copy in which quasi-DEER alone was slowed by 5 % on purpose, both made of a patched
# object linked in front of the library of the same (Ninja) build. Cases are judged relative to each other, for a
# machine that others use, too. Takes about twelve minutes on a quiet machine with two cores.
#
#   tests/report/regression.sh [TRIALS] [ROUNDS]     with ELKHORN_BUILD, ELKHORN_SOURCE, ELKHORN_PYTHON in the environment
set -euo pipefail
source_folder=${ELKHORN_SOURCE:-$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)}
build=$(realpath "${ELKHORN_BUILD:-$source_folder/build}")
python=${ELKHORN_PYTHON:-python3}
trials=${1:-20}
rounds=${2:-12}
export OMP_NUM_THREADS=1 KOKKOS_DISABLE_WARNINGS=1
# One process needs neither Open MPI's helper process nor a look for networks.
export OMPI_MCA_ess_singleton_isolated=1 OMPI_MCA_btl=self OMPI_MCA_pml=ob1

cat > deck.toml << 'EOF'
title = "Is it slower?"
[system]
kind = "gru"
state_dim = 8
[problem]
length = 2000
batch = 8
[[solver]]
kind = ["sequential", "deer", "quasi_deer"]
[[solver]]
kind = ["elk", "quasi_elk"]
sigma2 = 1e4
[measure]
warmup = 2
repetitions = 25
[output]
history = false
EOF

# The slowed copy: quasi-DEER is the undamped solver with a diagonal linearization. Both programs are made of the same
# patched object, so that the compiler arranges their code alike (that alone can make 3 %); a flag of one byte in another
# object tells them apart.
"$python" - "$source_folder/src/solvers/newton.cpp" > newton_patched.cpp << 'EOF'
import re, sys
text = open(sys.argv[1], encoding="utf-8").read()
slowed = """#include <chrono>
extern const volatile bool slowed_on_purpose;
namespace elkhorn::solvers {
struct SlowedOnPurpose {
  bool on;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  ~SlowedOnPurpose() {
    const auto end = start + (std::chrono::steady_clock::now() - start) * 21 / 20;
    while (on && std::chrono::steady_clock::now() < end) {
    }
  }
};
"""
use = r"""\g<0>
  const SlowedOnPurpose slowed{slowed_on_purpose && kind_.linearization == Linearization::diagonal &&
                               kind_.damping == Damping::none};"""
text, found = re.subn(r"^namespace elkhorn::solvers \{\n", lambda _: slowed, text, count=1, flags=re.MULTILINE)
text, used = re.subn(r"^Outcome Newton<Real>::solve\(.*\{$", use, text, count=1, flags=re.MULTILINE)
assert found == 1 and used == 1, "newton.cpp has changed: this test must follow"
print(text)
EOF
here=$PWD
command_of() { # PATTERN of the last command that makes a target
  ninja -C "$build" -t commands elkhorn | grep -- "$1" | tail -n 1
}
compile=$(command_of 'src/solvers/newton.cpp.o -c')
# Its own folder for #include "…", and outputs here.
compile=$(sed -E "s| -MD .*||; s| -o [^ ]+||" <<< "$compile")
(cd "$build" && eval "$compile -I '$source_folder/src/solvers' -o '$here/newton.o' -c '$here/newton_patched.cpp'")
link=$(command_of '-o elkhorn ')
for flag in true false; do
  echo "extern const volatile bool slowed_on_purpose; const volatile bool slowed_on_purpose = $flag;" > flag.cpp
  c++ -c flag.cpp -o flag.o
  (cd "$build" && eval "${link/-o elkhorn /-o \'$here/elkhorn-$flag\' \'$here/newton.o\' \'$here/flag.o\' }")
done
mv elkhorn-true elkhorn-slowed
mv elkhorn-false elkhorn-as-it-is

compare() { # OUT ROUNDS NEW: verdicts as JSON in OUT.json
  "$python" -B "$source_folder/scripts/compare_builds.py" "$here/elkhorn-as-it-is" "$3" deck.toml --rounds "$2" --out "$1" --relative --json \
    > "$1.json" 2> "$1.log" || (($? <= 2))
}

: > trials.txt
for ((i = 1; i <= trials; ++i)); do
  compare "same-$i" "$rounds" "$here/elkhorn-as-it-is"
  "$python" - "same-$i.json" << 'EOF' | tee -a trials.txt
import json, sys
cases = json.load(open(sys.argv[1]))["cases"]
print(sys.argv[1], *(f"{case['verdict']}:{case['ratio']:.3f}[{case['low']:.3f},{case['high']:.3f}]" for case in cases))
EOF
done
compare slowed $((2 * rounds)) "$here/elkhorn-slowed"
"$python" - "$trials" << 'EOF'
import json, sys
trials = [[word.partition(":")[0] for word in line.split()[1:]] for line in open("trials.txt")]
told = [verdict for trial in trials for verdict in trial]
counts = {verdict: told.count(verdict) for verdict in sorted(set(told))}
alarms = sum(any(v in ("slower", "faster", "worse") for v in trial) for trial in trials)
all_same = sum(set(trial) == {"same"} for trial in trials)
print(f"the program with itself: {len(trials)} trials, {all_same} all the same, {alarms} with an alarm; verdicts of their "
      f"cases: {counts}")
slowed = json.load(open("slowed.json"))
for case in slowed["cases"]:
    print(f"slowed by 5 %: {case['verdict']:12} {case['ratio']:.3f} [{case['low']:.3f}, {case['high']:.3f}] {case['name']}")
found = {case["name"].rpartition("-B8-f32-")[2]: case["verdict"] for case in slowed["cases"]}
wrong = []
if told.count("same") < 0.95 * len(told):
    wrong.append("fewer than 95 % of the verdicts say same")
if alarms > max(1, 0.05 * len(trials)):
    wrong.append("false alarms in more than 5 % of the trials")
if found.pop("quasi_deer") != "slower":
    wrong.append("the slowed solver was not found")
if any(v in ("slower", "worse") for v in found.values()):
    wrong.append("another solver was called slower")
sys.exit("; ".join(wrong) or 0)
EOF
