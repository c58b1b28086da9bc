# paella_abi(<variable> <header>...): compiler and contents of the headers that two sides share whose objects cross between
# them, as one line: "GNU-12 0123456789ab".
function(paella_abi variable)
  set(hashes "")
  foreach(header ${ARGN})
    file(SHA256 ${header} hash)
    string(APPEND hashes ${hash})
  endforeach()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${ARGN})
  string(SHA256 hash "${hashes}")
  string(SUBSTRING ${hash} 0 12 hash)
  string(REGEX MATCH "^[0-9]+" compiler_major "${CMAKE_CXX_COMPILER_VERSION}")
  set(${variable} "${CMAKE_CXX_COMPILER_ID}-${compiler_major} ${hash}" PARENT_SCOPE)
endfunction()
