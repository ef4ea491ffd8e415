# A released Kokkos and Kokkos Kernels, built as part of Elkhorn (ELKHORN_FETCH_KOKKOS=ON; needs internet access).
# Other versions: set the four variables; the hashes are in the SHA-256 file beside each release.
include(FetchContent)
if(POLICY CMP0135)
  cmake_policy(SET CMP0135 NEW) # a new version's files count as new
endif()

set(ELKHORN_KOKKOS_VERSION 4.7.02 CACHE STRING "Release of Kokkos and Kokkos Kernels to download")
set(ELKHORN_KOKKOS_SHA256 a81826ac0a167933d13506bc2a986fb5517038df9abb780fe9bb2c1d4e80803b CACHE STRING
  "SHA-256 of kokkos-<version>.tar.gz")
set(ELKHORN_KOKKOS_KERNELS_SHA256 2d3b3e10ac112e382b88c50d66e4222ce543fca5d42be6d8376a684b82b8b238 CACHE STRING
  "SHA-256 of kokkos-kernels-<version>.tar.gz")
mark_as_advanced(ELKHORN_KOKKOS_VERSION ELKHORN_KOKKOS_SHA256 ELKHORN_KOKKOS_KERNELS_SHA256)

# OpenMP unless the command line chose back-ends: -DKokkos_ENABLE_CUDA=ON -DKokkos_ARCH_… and so on work as ever.
option(Kokkos_ENABLE_SERIAL "" ON)
option(Kokkos_ENABLE_OPENMP "" ON)
option(KokkosKernels_ENABLE_TPL_BLAS "" ON)
# Dense kernels for the types and the layout that Elkhorn uses; the rest would take many minutes.
option(KokkosKernels_ENABLE_ALL_COMPONENTS "" OFF)
option(KokkosKernels_ENABLE_COMPONENT_BLAS "" ON)
option(KokkosKernels_ENABLE_COMPONENT_BATCHED "" ON)
option(KokkosKernels_INST_FLOAT "" ON)
option(KokkosKernels_INST_DOUBLE "" ON)
option(KokkosKernels_INST_LAYOUTRIGHT "" ON)
option(KokkosKernels_INST_LAYOUTLEFT "" OFF)
option(KokkosKernels_INST_EXECSPACE_SERIAL "" OFF)

set(release https://github.com/kokkos)
set(version ${ELKHORN_KOKKOS_VERSION})
FetchContent_Declare(Kokkos SYSTEM
  URL ${release}/kokkos/releases/download/${version}/kokkos-${version}.tar.gz
  URL_HASH SHA256=${ELKHORN_KOKKOS_SHA256}
  OVERRIDE_FIND_PACKAGE) # for Kokkos Kernels, which looks for it
FetchContent_Declare(KokkosKernels SYSTEM
  URL ${release}/kokkos-kernels/releases/download/${version}/kokkos-kernels-${version}.tar.gz
  URL_HASH SHA256=${ELKHORN_KOKKOS_KERNELS_SHA256})
FetchContent_MakeAvailable(Kokkos)
FetchContent_MakeAvailable(KokkosKernels)

# What find_package would have told.
get_directory_property(Kokkos_VERSION DIRECTORY ${kokkos_SOURCE_DIR} DEFINITION Kokkos_VERSION)
get_directory_property(Kokkos_DEVICES DIRECTORY ${kokkos_SOURCE_DIR} DEFINITION KOKKOS_ENABLED_DEVICES)
elkhorn_check_kokkos_devices(${kokkos_SOURCE_DIR})
