#!/bin/sh
# usage: test_harness.sh MPIEXEC FAILING_PROGRAM
set -u
mpiexec=$1
program=$2

# check WANTED_CODE (0 or not0) WANTED_TEXT FILTER
check() {
  output=$(timeout 30 "$mpiexec" -n 2 "$program" --gtest_filter="$3" 2>&1)
  code=$?
  [ "$code" -eq 124 ] && echo "FAILED: hangs with $3" && exit 1
  [ "$code" -eq 0 ] || code=not0
  case "$code $output" in
    "$1 "*"$2"*) ;;
    *)
      echo "FAILED: $3: expected exit code $1 and the text '$2', got $code and:"
      echo "$output"
      exit 1
      ;;
  esac
}

check 0 '[  PASSED  ] 1 test' 'Passing.*'
check not0 '[rank 1] Failing.expectation' 'Failing.expectation'
check not0 'thrown on purpose' 'Failing.exception'
check not0 'no test was run' 'No.such'
