// What the stand-in for TensorRT's libraries tells its tests. The first letter of a plan says what goes wrong with it:
//   D deserialising, P the parser's refit, R the refit, S the shapes, A addresses, E enqueue; anything else: nothing.
#pragma once

extern "C" {
// All calls so far, one per line; and forgets them.
const char* stand_in_calls();
}
using StandInCalls = const char* (*)();

inline constexpr const char* stand_in_build = "4711";
