#!/usr/bin/env bash
# Sets up what is missing, builds everything with its tests in build/, and runs the tests through ctest.
#
#   scripts/test.sh                           all tests but those labelled nightly, which take minutes each
#   scripts/test.sh [ARGUMENT OF CTEST…]      such as: -R deck, -L mpi, -L nightly, --rerun-failed, -V
#
# Environment: ELKHORN_WERROR=ON makes warnings errors (.ci/run sets it); those of scripts/setup.sh.
# It shares build/ and its options with scripts/quickstart.sh, so that nothing is compiled twice.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  -h | --help)
    help_text
    exit 0
    ;;
esac

lock "$state/lock" "$build"
set_up
step "Configure" "$configure_hint" configure
step "Build everything" "$build_hint" cmake --build "$build" --parallel "$(compile_jobs)"
[[ $# -gt 0 ]] || set -- -LE nightly
ctest --test-dir "$build" --output-on-failure --no-tests=error --parallel "$(nproc)" "$@"
