#!/bin/sh
# prebuildify calls its --node-gyp program with node-gyp's arguments. The addon is built by CMake: they mean nothing
# here, and the build of build/Release is made (or found current) by setup.
exec node "$(dirname "$0")/setup.mjs"
