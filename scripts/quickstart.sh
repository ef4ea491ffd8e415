#!/usr/bin/env bash
# From a fresh Debian machine to results: sets up what is missing, builds build/elkhorn, runs inputs/quickstart.toml on
# two MPI ranks, checks the results file and draws it. All of it lands in results/quickstart/.
#
#   scripts/quickstart.sh [--force] [--help]
#
# A second call redoes only what changed: results are kept while the program, the deck, the data in inputs/ and the
# number of threads are the same (--force runs anyway); a run that was interrupted is resumed.
# Exit code: that of "elkhorn run", where 1 means that a case is wrong or failed.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

force=0
case ${1:-} in
  --force) force=1 ;;
  -h | --help)
    help_text
    exit 0
    ;;
  '') ;;
  *) die "unknown argument '$1' (see scripts/quickstart.sh --help)" ;;
esac

lock "$state/lock" "$build"
set_up
step "Configure" "$configure_hint" configure
step "Build elkhorn" "$build_hint" cmake --build "$build" --parallel "$(compile_jobs)" --target elkhorn

deck=$root/inputs/quickstart.toml
results=$root/results/quickstart
file=$results/quickstart.h5
mkdir -p "$results"

mpi_environment
ranks=2
threads=$(($(nproc) / ranks))
export OMP_NUM_THREADS=$((threads > 1 ? threads : 1))
export OMP_PROC_BIND=false # both ranks would be bound to the same first cores

# What the results depend on, by content: a commit changes the program too, which records its git state.
key=$({
  sha256sum < "$build/elkhorn"
  sha256sum < "$deck"
  find "$root/inputs" -name '*.h5' -type f -print0 | sort -z | xargs -0r sha256sum
  echo "$ranks $OMP_NUM_THREADS"
} | sha256sum | cut -d ' ' -f 1)
is_key() { [[ -f $1 && $(< "$1") == "$key" ]]; }

status=0
if ((!force)) && [[ -f $file ]] && is_key "$results/.done"; then
  echo "Program and deck are unchanged: showing the results of $(date -r "$file" '+%Y-%m-%d %H:%M') (--force runs again)."
  cat "$results/table.txt"
  status=$(< "$results/.status")
else
  resume=()
  if ((!force)) && [[ -f $file.journal.jsonl ]] && is_key "$results/.started"; then resume=(--resume); fi
  rm -f "$results/.done"
  echo "$key" > "$results/.started"
  mpiexec=$(sed -n 's/^MPIEXEC_EXECUTABLE:[^=]*=//p' "$build/CMakeCache.txt") # of the MPI that was linked
  echo "Running inputs/quickstart.toml on $ranks ranks, OMP_NUM_THREADS=$OMP_NUM_THREADS each"
  "$mpiexec" -n "$ranks" "$build/elkhorn" run "$deck" --out "$file" "${resume[@]}" < /dev/null |
    tee "$results/table.txt" || status=$?
  # 1: some case is wrong or failed, which is a result. Anything else: there are none.
  if ((status > 1)) || [[ ! -f $file ]]; then
    die "the run ended with exit code $status and without results; see above."
  fi
  echo "$status" > "$results/.status"
  mv "$results/.started" "$results/.done"
fi

"$build/elkhorn" check "$file"
if [[ ! -f $results/.plotted || $file -nt $results/.plotted || $root/scripts/plot.py -nt $results/.plotted ]]; then
  step "Draw the plots" "see the message above; the results themselves are complete: $file" \
    "$ELKHORN_PYTHON" "$root/scripts/plot.py" "$file" --out "$results"
  touch "$results/.plotted"
fi

echo "Results in results/quickstart/:"
(cd "$results" && printf '  %s\n' *)
exit "$status"
