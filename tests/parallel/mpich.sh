#!/usr/bin/env bash
# The same tests under another MPI: installs Debian's MPICH where it is missing, builds the tree against it in a folder
# of its own, and runs every test that starts ranks (1 to 4 of them).
#
#   tests/parallel/mpich.sh [FOLDER]      FOLDER (default: a temporary one) keeps the build for the next call
#
# As root on Debian; ends with 77 (skipped) where MPICH is missing and cannot be installed. The machine's default MPI
# stays what it is. Environment: ELKHORN_BUILD, an existing build whose Kokkos, Python and compiler are used (default:
# build/).
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
base=${ELKHORN_BUILD:-$root/build}

skip() {
  echo "skipped: $*"
  exit 77
}
if ! command -v mpicc.mpich mpiexec.mpich > /dev/null; then
  command -v apt-get > /dev/null || skip "MPICH is missing, and there is no apt-get"
  [[ $(id -u) == 0 ]] || skip "installing MPICH takes root"
  export DEBIAN_FRONTEND=noninteractive
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends mpich libmpich-dev; } > /dev/null 2>&1 ||
    skip "apt-get could not install mpich and libmpich-dev"
fi
[[ -f $base/CMakeCache.txt ]] || { echo "error: no build in $base to take Kokkos from" >&2 && exit 1; }

build=${1:-$(mktemp -d /tmp/elkhorn-mpich-XXXXXX)}
[[ $# -gt 0 ]] || trap 'rm -rf "$build"' EXIT
same=()
for name in CMAKE_BUILD_TYPE CMAKE_CXX_COMPILER Kokkos_DIR KokkosKernels_DIR ELKHORN_PYTHON; do
  value=$(sed -nE "s/^$name:[A-Z]+=//p" "$base/CMakeCache.txt")
  [[ -z $value ]] || same+=("-D$name=$value")
done
cmake -S "$root" -B "$build" -G Ninja "${same[@]}" -DELKHORN_BENCHMARKS=OFF \
  -DMPI_C_COMPILER="$(command -v mpicc.mpich)" -DMPIEXEC_EXECUTABLE="$(command -v mpiexec.mpich)" > "$build.log" 2>&1 ||
  { cat "$build.log" && exit 1; }
rm -f "$build.log"

# The GoogleTest programs among the tests with ranks; ctest calls them name.np<ranks>.
mapfile -t programs < <(ctest --test-dir "$build" -N -L mpi | sed -nE 's/.*: (.*)\.np[0-9]+$/test_\1/p' | sort -u)
((${#programs[@]})) || { echo "error: there is no test with ranks" >&2 && exit 1; }
cmake --build "$build" --target elkhorn abort_program faulty_io "${programs[@]}"
"$build/elkhorn" info | grep '^mpi ' | tee /dev/stderr | grep -qi mpich ||
  { echo "error: the program was built against another MPI" >&2 && exit 1; }
status=0
ctest --test-dir "$build" --output-on-failure --no-tests=error -L mpi || status=1
ctest --test-dir "$build" --output-on-failure --no-tests=error \
  -R '^app_(ranks|kill|random_kills|interrupt|disk|faults|commands)$' || status=1
exit "$status"
