# shellcheck shell=bash
# Shared by setup.sh, quickstart.sh and test.sh: sourced, never run.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build
state=$build/setup # logs, stamps and env.sh of the set-up
mkdir -p "$state"

# OpenBLAS would otherwise obey whatever the calling shell happens to hold, and the numbers with it.
for v in "${!OPENBLAS_@}"; do unset "$v"; done

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Jobs for a compilation: all cores, but no more than memory allows (about 1.2 GB for a Kokkos source file).
compile_jobs() {
  awk -v cores="$(nproc)" '/^MemAvailable/ {n = int($2 / 1200000)}
    END {print n < 1 ? 1 : n < cores ? n : cores}' /proc/meminfo
}

# lock FILE WHAT: only one process at a time, until this script ends.
lock() {
  local fd
  mkdir -p "$(dirname -- "$1")"
  exec {fd}> "$1"
  if ! flock --nonblock "$fd"; then
    echo "Waiting for another process that uses $2 …"
    flock "$fd"
  fi
}

# step TITLE HINT COMMAND…: runs COMMAND with its output in a log and shows progress and elapsed time.
# On failure it shows the end of the log and HINT (what to do), and ends the script.
step_number=0
step() {
  local title=$1 hint=$2 start=$SECONDS status=0 log monitor=
  shift 2
  step_number=$((step_number + 1))
  log=$state/$(basename -- "$0" .sh)-$step_number.log
  : > "$log"
  if [[ -t 1 ]]; then
    # The watcher is what runs in the background: a command there would not see Ctrl-C.
    show_progress "$$" "[$step_number] $title" "$log" &
    monitor=$!
  else
    echo "[$step_number] $title …"
  fi
  set +e
  (
    set -e # "step … || …" would switch it off for COMMAND
    "$@"
  ) > "$log" 2>&1 < /dev/null
  status=$?
  set -e
  if [[ -n $monitor ]]; then
    kill "$monitor" 2> /dev/null || true
    wait "$monitor" 2> /dev/null || true
    printf '\r\033[K'
  fi
  if ((status)); then
    {
      echo "[$step_number] $title: failed after $((SECONDS - start)) s (exit code $status)"
      grep -m 3 -E '[Ee]rror|undefined reference' "$log" | cut -c 1-300 || true
      echo "--- the last lines of $log:"
      tail -n 20 "$log" | cut -c 1-300
      echo "---"
      echo "What to do: $hint"
    } >&2
    exit 1
  fi
  echo "[$step_number] $title: done ($((SECONDS - start)) s)"
}

show_progress() { # PARENT TITLE LOG
  local start=$SECONDS
  while kill -0 "$1" 2> /dev/null; do
    # Ninja's "[3/70]" where the log has one.
    printf '\r\033[K%s … %d s  %s' "$2" $((SECONDS - start)) \
      "$(tail -c 2000 "$3" | grep -o '^\[[0-9]*/[0-9]*\]' | tail -n 1)"
    sleep 0.5
  done
}

# What mpirun needs as root, in a container, and with fewer cores than ranks (the last line: Open MPI 5).
mpi_environment() {
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_mpi_yield_when_idle=1
  export OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_hwloc_base_binding_policy=none
  export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
}

# The set-up, and what it found: ELKHORN_PYTHON, Kokkos_ROOT, KokkosKernels_ROOT, CMAKE_PREFIX_PATH.
set_up() {
  "$root/scripts/setup.sh"
  # shellcheck source=/dev/null
  source "$state/env.sh"
}

# The comment at the head of the calling script.
help_text() { sed -n '2,/^set -/{/^#/s/^# \{0,1\}//p}' "$0"; }

# Ninja in build/. The folders of Kokkos are named because a cached Kokkos_DIR would outlive a new prefix.
configure() {
  cmake -S "$root" -B "$build" -G Ninja -DELKHORN_WERROR="${ELKHORN_WERROR:-OFF}" \
    -DELKHORN_PYTHON="$ELKHORN_PYTHON" -DKokkos_DIR="$ELKHORN_KOKKOS_DIR" -DKokkosKernels_DIR="$ELKHORN_KERNELS_DIR"
}
# shellcheck disable=SC2034 # used by those who source this
configure_hint="if build/ was configured by hand with other options, remove build/CMakeCache.txt and call again;
otherwise scripts/setup.sh --force looks for everything anew."
# shellcheck disable=SC2034
build_hint="the first error above says what is wrong; if the compiler was killed, memory ran out: call again."
