#!/usr/bin/env bash
# What keeps the sources sound and is too slow, or takes too many tools, for every test run.
#
#   scripts/hygiene.sh format [--fix]      clang-format: lists files it would change; --fix changes them
#   scripts/hygiene.sh tidy [FILE…]        clang-tidy, findings are errors; without files all of src/
#   scripts/hygiene.sh headers             every header compiles on its own
#   scripts/hygiene.sh targets [FILE…]     kernels compile for processors with SSE2, AVX2 and AVX-512 (x86-64, haswell,
#                                          skylake-avx512), whatever this machine has; without files all with packs
#   scripts/hygiene.sh sanitize address|undefined|address,undefined|thread [ARGUMENT OF CTEST…]
#                                          all tests (thread: without the kernels' own; address: without fuzz_results, in which
#                                          HDF5 damages its heap) in build-<sanitizer>/; the two that get along share a
#                                          build in half the time. Hours on two cores, so tests have longer limits there
#   scripts/hygiene.sh coverage [ARGUMENT OF CTEST…]
#                                          all tests in build-coverage/; names every uncovered line (coverage.txt)
#   scripts/hygiene.sh fuzz [EXECUTIONS]   damaged decks and results files: 5 million, of which 1 in 5 are results
#   scripts/hygiene.sh python              every script and Python test compiles; ruff or pyflakes, where there is one
#
# tidy, headers and targets read build/compile_commands.json: build once before (scripts/test.sh). HYGIENE_BUILD names another
# build folder. Exit code: 0 clean, 1 findings or a failing test, 2 usage or a missing tool.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"
cd "$root"
HYGIENE_BUILD=${HYGIENE_BUILD:-$build}

usage() {
  help_text >&2
  exit 2
}
need() { # PROGRAM PACKAGE
  command -v "$1" > /dev/null || {
    echo "error: no $1; on Debian: apt-get install $2" >&2
    exit 2
  }
}
need_build() { # FILE
  [[ -f $HYGIENE_BUILD/$1 ]] || {
    echo "error: there is no $HYGIENE_BUILD/$1; build first (scripts/test.sh), or set HYGIENE_BUILD" >&2
    exit 2
  }
}
sources() { # PATTERN…: files that git knows or would add
  git ls-files --cached --others --exclude-standard -- "$@" |
    while read -r file; do [[ ! -f $file ]] || echo "$file"; done
}

check_format() {
  need clang-format clang-format
  local fix=(--dry-run --Werror)
  [[ ${1:-} != --fix ]] || fix=(-i)
  local count=0 file
  while read -r file; do
    if ! clang-format "${fix[@]}" "$file" 2> /dev/null; then
      echo "not formatted: $file"
      count=$((count + 1))
    fi
  done < <(sources '*.cpp' '*.hpp')
  ((count == 0)) || {
    echo "$count files; scripts/hygiene.sh format --fix formats them"
    return 1
  }
}

check_tidy() {
  need clang-tidy clang-tidy
  need_build compile_commands.json
  local files
  if (($# > 0)); then files=("$@"); else mapfile -t files < <(sources 'src/*.cpp'); fi
  # Clang takes the precompiled headers of GCC for broken ones of its own.
  local commands=$HYGIENE_BUILD/hygiene
  mkdir -p "$commands"
  sed 's/ -Winvalid-pch -include [^ ]*cmake_pch.hxx//' "$HYGIENE_BUILD/compile_commands.json" > "$commands/compile_commands.json"
  # GCC's flags that Clang does not know are no finding.
  printf '%s\n' "${files[@]}" |
    xargs -P "$(nproc)" -n 1 clang-tidy --quiet -p "$commands" --extra-arg=-Wno-unknown-warning-option \
      --extra-arg=-Wno-ignored-optimization-argument --extra-arg=-Wno-unused-command-line-argument
}

flags_of_a_source() { # compiler and flags of the library's sources
  need_build compile_commands.json
  python3 - "$HYGIENE_BUILD/compile_commands.json" << 'EOF'
import json, re, sys
command = next(c["command"] for c in json.load(open(sys.argv[1])) if c["file"].endswith("src/solvers/newton.cpp"))
print(re.sub(r" -o \S+ -c \S+| -Winvalid-pch -include \S+", "", command))
EOF
}

# Shapes of packs and tiles depend on the processor's registers, so what compiles here may not elsewhere.
check_targets() {
  [[ $(uname -m) == x86_64 ]] || {
    echo "error: targets are those of x86-64; this is $(uname -m)" >&2
    exit 2
  }
  local flags files
  flags=$(flags_of_a_source)
  flags=${flags//-march=native/}
  flags=${flags//-mprefer-vector-width=512/}
  if (($# > 0)); then files=("$@"); else mapfile -t files < <(sources 'src/s[yco]*/*.cpp' src/measure/roofs.cpp); fi
  one() { # TARGET FILE
    eval "$flags -march=$1 -Werror -fsyntax-only '$2'" || {
      echo "does not compile for $1: $2"
      return 1
    }
  }
  export -f one
  export flags
  local file
  for file in "${files[@]}"; do printf '%s\n' "x86-64 $file" "haswell $file" "skylake-avx512 $file"; done |
    xargs -P "$(compile_jobs)" -L 1 bash -c 'one "$@"' bash || return 1
}

# Compiles each header as if it were a source file, with the flags of a source file of the library.
check_headers() {
  local flags
  flags=$(flags_of_a_source)
  one() { # HEADER
    # "#pragma once" in a main file is what is wanted here.
    eval "$flags -Werror -fsyntax-only -x c++ -include '$root/$1' /dev/null" || {
      echo "does not compile on its own: $1"
      return 1
    }
  }
  local header
  export -f one
  export flags root
  sources 'src/*.hpp' | xargs -P "$(compile_jobs)" -I '{}' bash -c 'one {}' || return 1
  for header in $(sources 'src/*.hpp'); do
    grep -q '^#pragma once' "$header" || {
      echo "no #pragma once: $header"
      return 1
    }
  done
}

build_and_test() { # FOLDER "CMAKE OPTIONS" ARGUMENT OF CTEST…
  local folder=$1
  local -a options
  read -ra options <<< "$2"
  shift 2
  set_up
  cmake -S "$root" -B "$folder" -G Ninja -DELKHORN_PYTHON="$ELKHORN_PYTHON" -DKokkos_DIR="$ELKHORN_KOKKOS_DIR" \
    -DKokkosKernels_DIR="$ELKHORN_KERNELS_DIR" "${options[@]}"
  cmake --build "$folder" --parallel "$(compile_jobs)"
  ctest --test-dir "$folder" --output-on-failure --no-tests=error --parallel "$(nproc)" "$@"
}

check_sanitize() {
  local kind=${1:-}
  shift || true
  case $kind in
    address | undefined | address,undefined) ;;
    thread)
      # Kokkos and the OpenMP runtime are not instrumented, so their barriers look like none; what remains are the
      # program's own threads and signals.
      [[ $# -gt 0 ]] || set -- -LE nightly -R '^(deck|record|report|measure|parallel|app)_?'
      mkdir -p "$root/build-thread"
      printf 'called_from_lib:%s\n' libgomp libopen-pal libopen-rte libmpi libhwloc > "$root/build-thread/suppressions"
      export TSAN_OPTIONS="suppressions=$root/build-thread/suppressions ignore_noninstrumented_modules=1"
      ;;
    *) usage ;;
  esac
  [[ $# -gt 0 ]] || set -- -LE nightly
  # Instrumented kernels for wide vector registers take minutes a file to optimise.
  CXXFLAGS="${CXXFLAGS:-} -O1 -g1" build_and_test "$root/build-$kind" \
    "-DCMAKE_BUILD_TYPE=None -DELKHORN_NATIVE=OFF -DELKHORN_SANITIZE=$kind -DELKHORN_BENCHMARKS=OFF \
     -DELKHORN_TEST_PATIENCE=6" "$@"
}

check_coverage() {
  need gcovr gcovr
  local folder=$root/build-coverage status=0
  [[ $# -gt 0 ]] || set -- -LE nightly
  if [[ -d $folder ]]; then find "$folder" -name '*.gcda' -delete; fi
  # Without any optimisation the kernels are so slow that tests reach their time limits.
  CXXFLAGS="${CXXFLAGS:-} -O1 --coverage" build_and_test "$folder" \
    "-DCMAKE_BUILD_TYPE=None -DELKHORN_NATIVE=OFF -DELKHORN_BENCHMARKS=OFF -DELKHORN_TEST_PATIENCE=3" "$@" || status=1
  gcovr --root "$root" --filter 'src/' --exclude-throw-branches --gcov-ignore-parse-errors \
    --txt "$folder/coverage.txt" --html-details "$folder/coverage.html" "$folder"
  tail -n 3 "$folder/coverage.txt"
  echo "uncovered lines of each file: ${folder#"$root/"}/coverage.txt, coverage.html"
  return "$status"
}

check_fuzz() {
  local total=${1:-5000000} seed=${HYGIENE_SEED:-$(date +%s)} status=0
  need_build tests/fuzz/fuzz
  need_build tests/record/write_sample
  local folder=$HYGIENE_BUILD/fuzz-work
  mkdir -p "$folder"
  "$HYGIENE_BUILD/tests/record/write_sample" "$folder/small.h5" 1 1 small
  echo "seed $seed; findings in $folder/findings"
  "$HYGIENE_BUILD/tests/fuzz/fuzz" results --executions $((total / 5)) --seed "$seed" --findings "$folder/findings" \
    "$folder/small.h5" || status=1
  "$HYGIENE_BUILD/tests/fuzz/fuzz" deck --executions $((total - total / 5)) --seed "$seed" \
    --findings "$folder/findings" tests/fuzz/decks/*.toml || status=1
  return "$status"
}

check_python() {
  local status=0 file
  while read -r file; do
    python3 - "$file" << 'EOF' || status=1
import ast, sys
ast.parse(open(sys.argv[1], encoding="utf-8").read(), sys.argv[1])
EOF
  done < <(sources '*.py')
  if command -v ruff > /dev/null; then
    sources '*.py' | xargs ruff check --line-length 120 --select E,F,W || status=1
  elif python3 -c 'import pyflakes' 2> /dev/null; then
    sources '*.py' | xargs python3 -m pyflakes || status=1
  fi
  return "$status"
}

what=${1:-}
shift || true
case $what in
  format) check_format "$@" ;;
  tidy) check_tidy "$@" ;;
  headers) check_headers ;;
  targets) check_targets "$@" ;;
  sanitize) check_sanitize "$@" ;;
  coverage) check_coverage "$@" ;;
  fuzz) check_fuzz "$@" ;;
  python) check_python ;;
  -h | --help) help_text ;;
  *) usage ;;
esac
