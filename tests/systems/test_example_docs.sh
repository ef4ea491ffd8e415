#!/bin/sh
# The code in docs/add-a-system.md must be the file that the tests compile.
set -eu
sed -n '/^```cpp$/,/^```$/p' "$ELKHORN_SOURCE/docs/add-a-system.md" | sed '/^```/d' > shown.cpp
diff -u "$ELKHORN_SOURCE/examples/fitzhugh_nagumo.cpp" shown.cpp
