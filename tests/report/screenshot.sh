#!/usr/bin/env bash
# Pictures of the report as a phone (390 px) and a desktop (1280 px) show it, light and dark, of one results file and of
# several, to be looked at; the test itself is that a real browser draws pages that fit those widths, on the desktop with
# tables that need no scrolling, and that a click sorts a table. Installs chromium through apt only where it is missing, and only as root.
#
#   tests/report/screenshot.sh FILE.h5…        pictures and pages in ./screenshots/
set -euo pipefail
source_folder=${ELKHORN_SOURCE:-$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)}
python=${ELKHORN_PYTHON:-python3}
(($# > 0)) || set -- "$source_folder/results/reference/quickstart.h5"
browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
if [[ -z $browser ]]; then
  if ((EUID != 0)) || ! command -v apt-get > /dev/null; then
    echo "no chromium, and not root on a Debian system: skipped"
    exit 77
  fi
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends chromium > apt.log 2>&1 || {
    echo "chromium cannot be installed (apt.log): skipped"
    exit 77
  }
  browser=$(command -v chromium)
fi

mkdir -p screenshots profile
"$python" -B "$source_folder/scripts/report.py" "$1" -o screenshots/one.html
"$python" -B "$source_folder/scripts/report.py" "$1" "$1" "${@:2}" --title 'Several files' -o screenshots/several.html

chromium() { # URL OPTION…
  local url=$1
  shift
  timeout 120 "$browser" --headless=new --no-sandbox --disable-gpu --hide-scrollbars --disable-dev-shm-usage \
    --user-data-dir="$PWD/profile" --host-resolver-rules='MAP * ~NOTFOUND' --virtual-time-budget=3000 "$@" "$url"
}

status=0
for page in one several; do
  for width in 390 1280; do
    for scheme in light dark; do
      dark=()
      [[ $scheme == light ]] || dark=(--blink-settings=preferredColorScheme=0)
      # A frame of the wanted width: windows of a headless browser are at least 500 px wide.
      echo "<!doctype html><body style='margin:0'><iframe src='$page.html' style='border:0;width:${width}px;height:2600px'></iframe>" \
        > "screenshots/frame-$page-$width.html"
      chromium "file://$PWD/screenshots/frame-$page-$width.html" --window-size="$((width > 500 ? width : 500)),2600" "${dark[@]}" \
        --screenshot="$PWD/screenshots/$page-$width-$scheme.png" > browser.log 2>&1 || { cat browser.log; status=1; }
      [[ -s screenshots/$page-$width-$scheme.png ]] || { echo "no picture of $page at $width px"; status=1; }
    done
    # The page reports about itself: whether anything sticks out, and the order after a click on "time".
    cat > screenshots/probe.html << EOF
<!doctype html><body><pre id=out>no report</pre><iframe id=page style='border:0;width:${width}px;height:900px'></iframe><script>
const frame = document.getElementById("page"), out = document.getElementById("out");
frame.onload = () => {
  const page = frame.contentDocument, root = page.documentElement;
  const table = [...page.querySelectorAll("section table.sortable")].find(t => t.tBodies[0].rows.length > 2);
  const button = [...table.querySelectorAll("button")].find(b => b.textContent === "time");
  const column = button.parentElement.cellIndex;
  button.click();
  const values = [...table.tBodies[0].rows].map(r => r.cells[column].dataset.value).filter(v => v !== "").map(Number);
  const sorted = values.every((v, i) => i === 0 || values[i - 1] <= v);
  const whole = ${width} < 1280 || [...page.querySelectorAll("section .scroll")].every(s => s.scrollWidth <= s.clientWidth);
  out.textContent = "REPORT width " + (root.scrollWidth <= ${width} && whole) + " sorted " + (sorted && values.length > 1);
};
frame.src = "$page.html";
</script>
EOF
    told=$(chromium "file://$PWD/screenshots/probe.html" --allow-file-access-from-files --window-size=1400,1000 --dump-dom \
      2> browser.log | grep -o 'REPORT width [a-z]* sorted [a-z]*' || true)
    if [[ $told != 'REPORT width true sorted true' ]]; then
      echo "$page.html at $width px: ${told:-the page did not report}"
      status=1
    fi
  done
done
chromium "file://$PWD/screenshots/one.html" --print-to-pdf="$PWD/screenshots/one.pdf" > browser.log 2>&1 || status=1
[[ $(head -c 4 screenshots/one.pdf) == %PDF ]] || { echo "printing gave no PDF"; status=1; }
rm -rf profile
ls screenshots/*.png
exit "$status"
