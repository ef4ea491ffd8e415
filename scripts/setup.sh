#!/usr/bin/env bash
# Installs what Elkhorn needs on Debian and its relatives: packages through apt, and Kokkos with OpenMP built
# from the distribution's own source package, unless CMake already finds a Kokkos that fits.
#
#   scripts/setup.sh [--force] [--help]
#
# Environment:
#   ELKHORN_PREFIX     where Kokkos is installed
#                      (default: ${XDG_CACHE_HOME:-~/.cache}/elkhorn/<distribution, compiler, options>)
#   Kokkos_ROOT, KokkosKernels_ROOT, CMAKE_PREFIX_PATH   installations to look at first
#   CXX                the compiler, as CMake understands it
# Result: build/setup/env.sh, to be sourced before a cmake by hand. A call with nothing to do takes about a second.
set -euo pipefail
# shellcheck source=scripts/common.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  --force) rm -f "$state/stamp" ;;
  -h | --help)
    help_text
    exit 0
    ;;
  '') ;;
  *) die "unknown argument '$1' (see scripts/setup.sh --help)" ;;
esac

packages=(g++ cmake ninja-build git pkg-config
  openmpi-bin libopenmpi-dev libhdf5-dev hdf5-tools libhwloc-dev
  libopenblas-openmp-dev # its threads are OpenMP's, as Kokkos's are: one owner, and serial inside a parallel region
  libbenchmark-dev libgtest-dev libgmock-dev
  libcli11-dev libtomlplusplus-dev libfmt-dev nlohmann-json3-dev librandom123-dev
  ca-certificates xz-utils)
python_packages=(python3 python3-h5py python3-numpy python3-pandas python3-matplotlib python3-rich python3-jsonschema)

lock "$state/setup.lock" "$state"

# --- packages ---------------------------------------------------------------------------------------------------

missing_packages() { # PACKAGE…
  comm -23 <(printf '%s\n' "$@" | sort) \
    <(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2> /dev/null | sed -n 's/^installed //p' | sort -u)
}

install_packages() { # SUDO PACKAGE…  (SUDO may be empty)
  local sudo=$1
  shift
  # A list of packages that is merely out of date often still works, so a failing update is not the end.
  $sudo apt-get -o DPkg::Lock::Timeout=300 update || true
  $sudo env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "$@"
}

ensure_packages() { # PACKAGE…
  local missing sudo=
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    if sudo -n true 2> /dev/null; then
      sudo='sudo -n'
    else
      {
        echo "Packages are missing, and installing them takes an administrator. Ask for:"
        echo "  apt-get update && apt-get install --no-install-recommends ${missing[*]}"
        echo "then call ${0##*/} again. Without Debian packages, see docs/install.md."
      } >&2
      exit 1
    fi
  fi
  step "Install ${#missing[@]} Debian packages" \
    "check that this machine reaches its Debian mirror (apt-get update), and that the names above exist in it." \
    install_packages "$sudo" "${missing[@]}"
}

# --- what the result depends on -----------------------------------------------------------------------------------

# shellcheck source=/dev/null
distribution=$(. /etc/os-release && echo "${ID:-linux}${VERSION_ID:-}")

inputs_hash() {
  {
    cat "$root"/scripts/{setup,common}.sh "$root"/cmake/ElkhornKokkos.cmake "$root"/cmake/probe/*
    echo "$distribution $(uname -m) ${CXX:-} $(${CXX:-c++} --version | head -n 1) $(cmake --version | head -n 1)"
    echo "$PATH ${HOME:-} ${XDG_CACHE_HOME:-} ${ELKHORN_PREFIX:-} ${ELKHORN_PYTHON:-} $(type -P python3)"
    echo "${Kokkos_ROOT:-} ${KokkosKernels_ROOT:-} ${Kokkos_DIR:-} ${KokkosKernels_DIR:-} ${CMAKE_PREFIX_PATH:-}"
  } 2> /dev/null | sha256sum | cut -c 1-16
}

up_to_date() (
  [[ -f $state/stamp && -f $state/env.sh && $(< "$state/stamp") == "$(inputs_hash)" ]] || return 1
  # shellcheck source=/dev/null
  source "$state/env.sh"
  [[ -d $ELKHORN_KOKKOS_DIR && -d $ELKHORN_KERNELS_DIR && -x $ELKHORN_PYTHON ]]
)

# The python3 on PATH may be a version manager's, without the modules; then Debian's own has them.
find_python() {
  local candidate
  for candidate in "${ELKHORN_PYTHON:-python3}" python3 /usr/bin/python3; do
    if command -v "$candidate" > /dev/null && "$candidate" -c 'import h5py, numpy, pandas, matplotlib, rich' 2> /dev/null
    then
      command -v "$candidate"
      return
    fi
  done
  return 1
}

if command -v dpkg-query > /dev/null; then
  # Whether Python imports its modules takes seconds to find out: only asked when something is to be done.
  if ! up_to_date; then find_python > /dev/null || packages+=("${python_packages[@]}"); fi
  ensure_packages "${packages[@]}"
else
  echo "Not a Debian system: taking compiler, MPI, HDF5 and the other libraries as they are (docs/install.md)."
fi
if up_to_date; then
  echo "Set-up: nothing to do."
  exit 0
fi

cxx=${CXX:-c++}
command -v "${cxx%% *}" > /dev/null || die "no C++ compiler '$cxx'"
compiler=$($cxx --version | head -n 1)
compiler=${compiler#* } # without the name it was called by: c++ and g++ are one
python=$(find_python) ||
  die "no python3 with h5py, numpy, pandas, matplotlib and rich; set ELKHORN_PYTHON to one that has them."
stamp=$(inputs_hash)

# --- Kokkos -----------------------------------------------------------------------------------------------------

# No -march: what Kokkos Kernels does not pass on to OpenBLAS (which looks at the CPU itself) is compiled from
# headers in Elkhorn's own build. So one prefix serves every machine that shares a home directory.
common_options=(-G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DCMAKE_CXX_STANDARD=17
  -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_INSTALL_RPATH_USE_LINK_PATH=ON)
kokkos_options=(-DKokkos_ENABLE_OPENMP=ON -DKokkos_ENABLE_SERIAL=ON)
# Without sparse kernels (no ordinals, no offsets) and one layout, 70 source files are left of several hundred;
# the last line says the same to Kokkos Kernels 4. F77_BLAS_MANGLE saves the search for a Fortran compiler.
kernels_options=(-DKokkosKernels_INST_FLOAT=ON -DKokkosKernels_INST_DOUBLE=ON
  -DKokkosKernels_INST_LAYOUTRIGHT=ON -DKokkosKernels_INST_LAYOUTLEFT=OFF -DKokkosKernels_INST_EXECSPACE_SERIAL=OFF
  -DKokkosKernels_INST_ORDINAL_INT=OFF -DKokkosKernels_INST_OFFSET_INT=OFF -DKokkosKernels_INST_OFFSET_SIZE_T=OFF
  -DKokkosKernels_ENABLE_TPL_BLAS=ON "-DF77_BLAS_MANGLE=(name,NAME) name ## _"
  -DKokkosKernels_ENABLE_ALL_COMPONENTS=OFF -DKokkosKernels_ENABLE_COMPONENT_BLAS=ON
  -DKokkosKernels_ENABLE_COMPONENT_BATCHED=ON -DKokkosKernels_ENABLE_TESTS=OFF)
recipe="$compiler ${common_options[*]} ${kokkos_options[*]} ${kernels_options[*]}"
case $compiler in *clang*) family=clang ;; *) family=gcc ;; esac
key=kokkos-$distribution-$(uname -m)-$family$($cxx -dumpfullversion -dumpversion)-$(sha256sum <<< "$recipe" | cut -c 1-8)
prefix=${ELKHORN_PREFIX:-${XDG_CACHE_HOME:-$HOME/.cache}/elkhorn/$key}
[[ $prefix == /* ]] || prefix=$PWD/$prefix
work=$state/work

probe() { # REPORT: succeeds when CMake finds a Kokkos that fits; the report names it
  local folder=$work/probe
  rm -rf "$folder"
  cmake -S "$root/cmake/probe" -B "$folder" -G Ninja > "$1" 2>&1
}
probed() { sed -n "s/^-- elkhorn_$2=//p" "$1"; } # REPORT NAME

prefix_is_ours() { [[ -f $prefix/elkhorn.key && $(< "$prefix/elkhorn.key") == "$key" ]]; }

# apt's own configuration with every source turned into a deb-src one, in a private state folder: nothing of the
# machine's set-up changes, no root is needed, and apt checks signatures and hashes as ever.
fetch_source() {
  local apt=$work/apt file name
  mkdir -p "$apt/parts" "$apt/lists/partial" "$apt/cache/archives/partial"
  local sources=/etc/apt/sources.list parts=/etc/apt/sources.list.d
  eval "$(apt-config shell sources Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
  for file in "$sources" "${parts%/}"/*.list; do
    [[ -f $file ]] || continue
    name=$(basename -- "$file")
    sed -nE 's/^[[:space:]]*deb(-src)?[[:space:]]/deb-src /p' "$file" | sort -u > "$apt/parts/${name%.list}.list"
  done
  for file in "${parts%/}"/*.sources; do
    [[ -f $file ]] || continue
    sed -E 's/^[Tt]ypes:.*/Types: deb-src/' "$file" > "$apt/parts/$(basename -- "$file")"
  done
  local options=(-o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$apt/parts"
    -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root)
  # A third party's repository without sources must not stop us: what counts is that trilinos is found.
  apt-get "${options[@]}" update || true
  (cd "$work" && apt-get "${options[@]}" source --download-only trilinos)

  rm -rf "$work/trilinos"
  mkdir "$work/trilinos"
  tar -xf "$work"/trilinos_*.orig.tar.* -C "$work/trilinos" --strip-components=1 --wildcards \
    '*/packages/kokkos/*' '*/packages/kokkos-kernels/*'
  touch "$work/trilinos/complete"
}

openblas_folder() {
  local folder
  folder=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2> /dev/null || echo "$(uname -m)-linux-gnu")/openblas-openmp
  # Named in full, so that the run path leads there whatever the machine's BLAS "alternative" says.
  if [[ -e $folder/libopenblas.so ]]; then echo "$folder"; else pkg-config --variable=libdir openblas; fi
}

build_kokkos() {
  cmake -S "$work/trilinos/packages/kokkos" -B "$work/kokkos" "${common_options[@]}" "${kokkos_options[@]}" \
    -DCMAKE_INSTALL_PREFIX="$prefix"
  cmake --build "$work/kokkos" --parallel "$(compile_jobs)"
  cmake --install "$work/kokkos"
}

build_kernels() {
  cmake -S "$work/trilinos/packages/kokkos-kernels" -B "$work/kernels" "${common_options[@]}" "${kernels_options[@]}" \
    -DBLAS_LIBRARIES=openblas -DBLAS_LIBRARY_DIRS="$(openblas_folder)" \
    -DKokkos_DIR="$prefix/lib/cmake/Kokkos" -DCMAKE_INSTALL_PREFIX="$prefix"
  cmake --build "$work/kernels" --parallel "$(compile_jobs)"
  cmake --install "$work/kernels"
  cat "$work"/{kokkos,kernels}/install_manifest.txt > "$prefix/elkhorn.files"
}

install_kokkos() {
  if [[ -f $prefix/elkhorn.files ]]; then # an installation of ours that no longer fits
    xargs -d '\n' rm -f < "$prefix/elkhorn.files"
    rm -f "$prefix"/elkhorn.{files,key}
  fi
  if [[ -f $work/key && $(< "$work/key") != "$key $prefix" ]]; then rm -rf "$work"; fi
  mkdir -p "$work" "$prefix"
  echo "$key $prefix" > "$work/key" # a call that was interrupted goes on where it stopped
  if [[ ! -f $work/trilinos/complete ]]; then
    step "Fetch the source package of Kokkos (trilinos, about 170 MB)" \
      "the machine's Debian mirror must offer source packages; otherwise install Kokkos with OpenMP and Kokkos Kernels
yourself (docs/install.md) and set CMAKE_PREFIX_PATH." fetch_source
  fi
  step "Build Kokkos (about half a minute on 2 cores)" \
    "if a source file fails to compile, try another compiler through CXX; docs/install.md names tested ones." build_kokkos
  step "Build Kokkos Kernels (about 3 minutes on 2 cores)" \
    "if the compiler was killed, memory ran out: close other programs and call again; it goes on where it stopped." \
    build_kernels
  echo "$key" > "$prefix/elkhorn.key"
}

mkdir -p "$work"
report=$state/probe.log
own=1
if probe "$report"; then
  # Ours as well, where the caller has sourced env.sh; but then it must be up to date.
  if [[ $(probed "$report" kokkos_dir) != "$prefix"/* ]]; then own=0; fi
elif grep -q 'Kokkos was found\|The Kokkos in' "$report"; then
  grep -A 2 'Kokkos was found\|The Kokkos in' "$report"
  echo "So Elkhorn uses a Kokkos of its own."
fi
if ((own)); then
  command -v apt-get > /dev/null ||
    die "no Kokkos with a parallel back-end and Kokkos Kernels found, and no apt to fetch the source with: docs/install.md"
  if ! prefix_is_ours; then
    if ! mkdir -p "$prefix" || [[ ! -w $prefix ]]; then die "cannot write to $prefix; set ELKHORN_PREFIX to another folder."; fi
    lock "$prefix.lock" "$prefix"
    prefix_is_ours || install_kokkos # unless someone else just did
  fi
  unset Kokkos_DIR KokkosKernels_DIR
  export Kokkos_ROOT=$prefix KokkosKernels_ROOT=$prefix
  probe "$report" || {
    tail -n 20 "$report" >&2
    die "CMake cannot use the Kokkos just installed in $prefix; remove that folder and call again."
  }
fi

{
  echo "# Written by scripts/setup.sh: source it before calling cmake by hand."
  printf 'export ELKHORN_PYTHON=%q\n' "$python"
  printf 'export ELKHORN_KOKKOS_DIR=%q ELKHORN_KERNELS_DIR=%q\n' \
    "$(probed "$report" kokkos_dir)" "$(probed "$report" kernels_dir)"
  if ((own)); then
    printf 'export Kokkos_ROOT=%q KokkosKernels_ROOT=%q\n' "$prefix" "$prefix"
    echo 'unset Kokkos_DIR KokkosKernels_DIR'
  fi
} > "$state/env.sh"
echo "Kokkos $(probed "$report" kokkos_version) ($(probed "$report" kokkos_devices)): $(probed "$report" kokkos_dir)"
echo "$stamp" > "$state/stamp"
rm -rf "$work"
echo "Set-up done in $SECONDS s. For a cmake by hand: source build/setup/env.sh"
