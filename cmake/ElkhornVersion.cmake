# core/version.hpp. Included by the root CMakeLists.txt it adds a target that runs this same file as a script at every
# build, because the git state changes between builds; the header is only touched when its text changes.
if(NOT CMAKE_SCRIPT_MODE_FILE)
  set(header ${PROJECT_BINARY_DIR}/generated/core/version.hpp)
  string(STRIP "${elkhorn_flags_text}" flags)
  add_custom_target(elkhorn_version BYPRODUCTS ${header} VERBATIM
    COMMAND ${CMAKE_COMMAND} -Dsource=${PROJECT_SOURCE_DIR} -Dheader=${header} -Dversion=${PROJECT_VERSION}
      "-Dcompiler=${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}" "-Dflags=${flags}"
      "-Dbuild_type=${CMAKE_BUILD_TYPE}" -P ${CMAKE_CURRENT_LIST_FILE}
    COMMENT "Reading the version and the git state")
  add_dependencies(elkhorn_lib elkhorn_version)
  return()
endif()

function(git result)
  execute_process(COMMAND git --no-optional-locks ${ARGN} WORKING_DIRECTORY ${source}
    OUTPUT_VARIABLE output RESULT_VARIABLE code ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(NOT code EQUAL 0)
    set(output unknown)
  endif()
  set(${result} "${output}" PARENT_SCOPE)
endfunction()

git(top rev-parse --show-toplevel)
set(git_sha unknown)
set(git_dirty false)
file(REAL_PATH ${source} source_path)
if(top STREQUAL source_path) # not the repository of someone who unpacked an archive inside theirs
  git(git_sha rev-parse HEAD)
  git(changes status --porcelain --untracked-files=no)
  if(changes)
    set(git_dirty true)
  endif()
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/version.hpp.in ${header} @ONLY)
