#!/bin/sh
# CMake calls nvcc through this: launch-nvcc.sh <source folder> <build folder> nvcc … -o <object> …
#
# ptxas' report (registers, spills, stack) goes to <object>.ptxas; everything else that nvcc says is shown.
# With PAELLA_CUDA_CACHE=<folder>, objects are taken from there if nothing that goes into them has changed: the file,
# every header that it could include, the arguments, both compilers. CI uses that; the objects are the same without.
set -eu
source_root=$1 build_root=$2
shift 2

object='' dependencies='' unit='' previous=''
for argument in "$@"; do
  case $previous in
    -o) object=$argument ;;
    -MF) dependencies=$argument ;;
    -c) unit=$argument ;;
  esac
  previous=$argument
done
case $object in
  *.o) ;;
  *) exec "$@" ;; # not a compilation of ours
esac

# Paths differ from clone to clone.
portable() { sed -e "s|$build_root|@build@|g" -e "s|$source_root|@source@|g"; }
local_paths() { sed -e "s|@build@|$build_root|g" -e "s|@source@|$source_root|g"; }

entry=''
if [ -n "${PAELLA_CUDA_CACHE:-}" ] && [ -n "$unit" ] && [ -n "$dependencies" ]; then
  key=$(
    {
      printf '%s\n' "$@" | portable | sed -e 's|.*/bin/nvcc$|nvcc|' -e '/^-L/d' -e '/^-ccbin=/d'
      "$1" --version
      "${CXX:-c++}" --version
      cat "$0" "$unit"
      cd "$source_root/native"
      find core cuda -name '*.h' -o -name '*.cuh' | LC_ALL=C sort | while read -r header; do
        echo "$header"
        cat "$header"
      done
    } | sha256sum | cut -c1-40
  )
  entry=$PAELLA_CUDA_CACHE/$key
  if [ -f "$entry/object" ]; then
    cp "$entry/object" "$object"
    cp "$entry/report" "$object.ptxas"
    local_paths <"$entry/dependencies" >"$dependencies"
    touch "$entry" # the least recently used go first
    exit 0
  fi
fi

status=0
"$@" >"$object.ptxas" 2>&1 || status=$?
# What is no report is for the reader.
grep -v -E '^(ptxas info|    [0-9]+ bytes stack frame|[0-9]+ bytes stack frame)' "$object.ptxas" >&2 || true
[ "$status" -eq 0 ] || exit "$status"

if [ -n "$entry" ]; then
  mkdir -p "$PAELLA_CUDA_CACHE"
  part=$(mktemp -d "$entry.part.XXXXXX")
  cp "$object" "$part/object"
  cp "$object.ptxas" "$part/report"
  portable <"$dependencies" >"$part/dependencies"
  mv -T "$part" "$entry" 2>/dev/null || rm -rf "$part" # somebody else was faster
fi
