# elkhorn_find_kokkos(): Kokkos and Kokkos Kernels, fit for Elkhorn. The root CMakeLists.txt and the
# set-up's probe share this one rule of what fits.
#
# Elkhorn measures parallel evaluation, so a Serial-only Kokkos (such as Debian's binary package, which
# CMake finds by itself in /usr) is refused unless ELKHORN_ALLOW_SERIAL asks for it.

macro(elkhorn_find_kokkos)
  find_package(Kokkos 3.4 CONFIG)
  if(NOT Kokkos_FOUND)
    message(FATAL_ERROR "No Kokkos >= 3.4 found. Run scripts/setup.sh and source build/setup/env.sh, or point "
      "CMAKE_PREFIX_PATH (or Kokkos_ROOT) to an installation, or configure with -DELKHORN_FETCH_KOKKOS=ON.")
  endif()
  elkhorn_check_kokkos_devices("${Kokkos_DIR}")

  find_package(KokkosKernels CONFIG)
  if(NOT KokkosKernels_FOUND)
    message(FATAL_ERROR "Kokkos was found in ${Kokkos_DIR}, but no Kokkos Kernels that goes with it. "
      "Point KokkosKernels_ROOT to one, or let scripts/setup.sh build both.")
  endif()
endmacro()

function(elkhorn_check_kokkos_devices where)
  set(parallel ${Kokkos_DEVICES})
  list(REMOVE_ITEM parallel SERIAL)
  if(NOT parallel AND NOT ELKHORN_ALLOW_SERIAL)
    message(FATAL_ERROR "The Kokkos in ${where} has the Serial back-end only. Use one with OpenMP, Threads, CUDA, "
      "HIP or SYCL (scripts/setup.sh builds one), or configure with -DELKHORN_ALLOW_SERIAL=ON.")
  endif()
endfunction()
