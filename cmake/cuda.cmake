# CUDA as a language, for the plug-in only: which nvcc, which GPUs.

if(NOT CMAKE_SYSTEM_NAME STREQUAL "Linux" OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
  message(FATAL_ERROR "PAELLA_CUDA: expected Linux on x86-64, got ${CMAKE_SYSTEM_NAME} on ${CMAKE_SYSTEM_PROCESSOR}.")
endif()

if(NOT CMAKE_CUDA_COMPILER AND DEFINED ENV{CUDACXX})
  set(CMAKE_CUDA_COMPILER "$ENV{CUDACXX}" CACHE FILEPATH "nvcc")
endif()
if(NOT CMAKE_CUDA_COMPILER)
  find_program(CMAKE_CUDA_COMPILER nvcc
    HINTS ENV CUDA_PATH ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
endif()
if(NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR
    "nvcc was not found.\n"
    "Remedy: run `npm run build -- --cuda`, which fetches it; or install the CUDA toolkit, 12.4 or later, and pass "
    "-DCMAKE_CUDA_COMPILER=<path of nvcc>.")
endif()
# Before enable_language, which needs to know the architectures.
execute_process(COMMAND ${CMAKE_CUDA_COMPILER} --version OUTPUT_VARIABLE nvcc_text ERROR_QUIET)
string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" nvcc_text "${nvcc_text}")
set(nvcc_version "${CMAKE_MATCH_1}")
if(NOT nvcc_version OR nvcc_version VERSION_LESS 12.4)
  message(FATAL_ERROR "nvcc: expected version 12.4 or later, got '${nvcc_version}' (${CMAKE_CUDA_COMPILER}).")
endif()

# Compiled for A100, RTX 30, RTX 40 and L40, H100 and H200, RTX 50. Everything later takes the PTX of 9.0: PTX of 12.0
# would leave out 10.x, which is older than it.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(architectures 80-real 86-real 89-real 90a-real)
  if(nvcc_version VERSION_GREATER_EQUAL 12.8)
    list(APPEND architectures 120-real)
  endif()
  set(CMAKE_CUDA_ARCHITECTURES ${architectures} 90-virtual CACHE STRING "GPUs that the plug-in has kernels for")
endif()
string(REPLACE "-real" "" PAELLA_CUDA_ARCHITECTURES_TEXT "${CMAKE_CUDA_ARCHITECTURES}")
string(REGEX REPLACE "([0-9a-z]+)-virtual" "\\1 (PTX)" PAELLA_CUDA_ARCHITECTURES_TEXT "${PAELLA_CUDA_ARCHITECTURES_TEXT}")
string(REPLACE ";" ", " PAELLA_CUDA_ARCHITECTURES_TEXT "${PAELLA_CUDA_ARCHITECTURES_TEXT}")

# The toolkit of pip keeps its libraries in lib/, where nvcc does not look.
get_filename_component(toolkit "${CMAKE_CUDA_COMPILER}" REALPATH)
get_filename_component(toolkit "${toolkit}" DIRECTORY)
get_filename_component(toolkit "${toolkit}" DIRECTORY)
if(EXISTS "${toolkit}/lib/libcudart_static.a" AND NOT CMAKE_CUDA_FLAGS MATCHES "-L${toolkit}/lib")
  set(CMAKE_CUDA_FLAGS "${CMAKE_CUDA_FLAGS} -L${toolkit}/lib")
endif()
if(NOT CMAKE_CUDA_HOST_COMPILER)
  # One compiler for both sides of the boundary.
  set(CMAKE_CUDA_HOST_COMPILER "${CMAKE_CXX_COMPILER}")
endif()
# Keeps ptxas' report of each file beside its object (scripts/cuda/check-ptxas.mjs reads it).
set(CMAKE_CUDA_COMPILER_LAUNCHER
  "${PROJECT_SOURCE_DIR}/scripts/cuda/launch-nvcc.sh" "${PROJECT_SOURCE_DIR}" "${PROJECT_BINARY_DIR}")
enable_language(CUDA)
# CMake up to 3.25 does not know that this nvcc has C++20.
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
