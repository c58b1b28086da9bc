// What this machine offers: instruction set, usable cores, memory.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace paella::cpu {

// Instruction sets that the kernels are compiled for, weakest first.
enum class Isa { baseline, avx2, avx512, avx512_bf16 };

const char* name_of(Isa isa);
bool supported(Isa isa);
// The best one that this CPU and operating system support, or the one that the environment variable PAELLA_CPU_ISA
// names (for tests); ERR_INVALID_OPTION if that one is unknown or not supported here. It does not restrict oneDNN.
Isa choose_isa();

std::string cpu_model();
// Cores that this process may use: its affinity, without second hyper-threads of a core, within the cgroup's quota.
int usable_cores();
std::size_t memory_total();
// Bytes that can be allocated before the system starts to kill: the smaller of the machine's and the cgroup's rest.
std::size_t memory_available();

}  // namespace paella::cpu
