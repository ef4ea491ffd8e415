# Compiler flags, all in one place. elkhorn_apply_flags(target) sets them.
include(CheckCXXCompilerFlag)
include(CheckCXXSourceCompiles)

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Debug, Release, RelWithDebInfo or MinSizeRel" FORCE)
endif()
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON) # for clang-tidy and editors

option(ELKHORN_NATIVE "Compile for the CPU of this machine (-march=native)" ON)
set(ELKHORN_VECTOR_WIDTH auto CACHE STRING
  "Vector width compilers should prefer, in bits: auto (512 where the CPU has AVX-512), 128, 256, 512 or default")
option(ELKHORN_WERROR "Treat warnings as errors" OFF)
set(ELKHORN_SANITIZE "" CACHE STRING "Sanitizers: address, undefined, address,undefined, thread, or empty for none")

# Products and sums are fused where the target can: kernels compute whole packs of lanes with the same instructions, so
# this cannot make one lane's result differ from another's. The two other flags change no value; they let loops with
# square roots and selections be vectorised.
set(elkhorn_flags -ffp-contract=fast -fno-math-errno -fno-trapping-math)
# GCC for AMD processors leaves some chains of sums unfused, by what stands around them: then the two halves of a pack, or
# two kernels, would round the same sum differently, and states would depend on which lanes a sequence has.
check_cxx_compiler_flag(--param=avoid-fma-max-bits=0 ELKHORN_CAN_FUSE_CHAINS)
if(ELKHORN_CAN_FUSE_CHAINS)
  list(APPEND elkhorn_flags --param=avoid-fma-max-bits=0)
endif()
set(elkhorn_link_flags)

if(ELKHORN_NATIVE)
  set(CMAKE_REQUIRED_FLAGS -march=native)
  check_cxx_source_compiles("int main() {}" ELKHORN_HAS_MARCH_NATIVE)
  check_cxx_source_compiles("
    #ifndef __AVX512F__
    #error no AVX-512
    #endif
    int main() {}" ELKHORN_HAS_AVX512)
  unset(CMAKE_REQUIRED_FLAGS)
  if(ELKHORN_HAS_MARCH_NATIVE)
    list(APPEND elkhorn_flags -march=native)
  else() # some compilers for Arm and POWER
    list(APPEND elkhorn_flags -mcpu=native)
  endif()
  # GCC and Clang prefer 256 bits even where there are 512.
  if(ELKHORN_VECTOR_WIDTH STREQUAL "auto" AND ELKHORN_HAS_AVX512)
    list(APPEND elkhorn_flags -mprefer-vector-width=512)
  endif()
endif()
if(ELKHORN_VECTOR_WIDTH MATCHES "^[0-9]+$")
  list(APPEND elkhorn_flags -mprefer-vector-width=${ELKHORN_VECTOR_WIDTH})
endif()

if(ELKHORN_SANITIZE)
  if(NOT ELKHORN_SANITIZE MATCHES "^(address|undefined|address,undefined|thread)$")
    message(FATAL_ERROR
      "ELKHORN_SANITIZE is '${ELKHORN_SANITIZE}'; it can be address, undefined, address,undefined or thread.")
  endif()
  list(APPEND elkhorn_flags -fsanitize=${ELKHORN_SANITIZE} -fno-omit-frame-pointer -g)
  list(APPEND elkhorn_link_flags -fsanitize=${ELKHORN_SANITIZE})
  if(ELKHORN_SANITIZE MATCHES "undefined")
    list(APPEND elkhorn_flags -fno-sanitize-recover=all) # a finding must fail its test
  endif()
endif()

string(TOUPPER "${CMAKE_BUILD_TYPE}" elkhorn_build_type)
list(JOIN elkhorn_flags " " elkhorn_flags_text)
string(STRIP "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${elkhorn_build_type}} ${elkhorn_flags_text}" elkhorn_flags_text)
string(PREPEND elkhorn_flags_text " ")

# What changes code is PUBLIC, so that tests and benchmarks measure the same code; warnings are each target's own.
function(elkhorn_apply_flags target)
  target_compile_options(${target} PUBLIC ${elkhorn_flags})
  target_link_options(${target} PUBLIC ${elkhorn_link_flags})
  elkhorn_apply_warnings(${target})
endfunction()

function(elkhorn_apply_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wshadow)
  if(ELKHORN_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()

option(ELKHORN_PRECOMPILE "Precompile headers of libraries, which are a tenth of a build's work" ON)

# elkhorn_precompile(target <header>… | LIKE other): what all sources of a target include first. LIKE: as the other target, whose
# flags are the same, has done. Sources still include what they use; scripts/hygiene.sh compiles them without.
function(elkhorn_precompile target)
  if(NOT ELKHORN_PRECOMPILE OR Kokkos_DEVICES MATCHES "CUDA|HIP|SYCL" OR ELKHORN_SANITIZE)
    return() # compilers of GPU code have no such headers
  endif()
  if(ARGV1 STREQUAL "LIKE")
    target_precompile_headers(${target} REUSE_FROM ${ARGV2})
  else()
    target_precompile_headers(${target} PRIVATE ${ARGN})
  endif()
endfunction()

# What is not measured is optimised less, which takes a quarter off its compilation: tests, and all of the library but kernels.
set(elkhorn_less_optimised $<$<CONFIG:Release>:-O2>)
