#!/bin/sh
# usage: test_abort.sh MPIEXEC PROGRAM
set -u
output=$(timeout 60 "$1" -n 3 "$2" 2>&1)
code=$?
echo "$output"
fail() { echo "FAILED: $1"; exit 1; }
[ "$code" -ne 124 ] || fail "the job hangs"
[ "$code" -ne 0 ] || fail "the job ends with 0"
case "$output" in *"elkhorn: rank 1: the sea is too rough"*) ;; *) fail "the message is missing" ;; esac
case "$output" in *"never reached"*) fail "a rank went on" ;; *) ;; esac
