#include "cpu/features.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "core/error.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace paella::cpu {

namespace {

constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// Value of "key: value" or "key   value" in a /proc file.
std::string proc_field(const std::string& path, const std::string& key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, key.size(), key) != 0) continue;
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const auto start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

std::optional<std::size_t> number(const std::string& text) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return std::nullopt;  // also "max"
  return static_cast<std::size_t>(std::strtoull(text.c_str(), nullptr, 10));
}

// Folders of this process's cgroup, innermost first; limits of all of them apply. Version 2, then version 1.
std::vector<std::string> cgroup_folders(const std::string& controller) {
  std::vector<std::string> folders;
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string root = "/sys/fs/cgroup";
    if (!controllers.empty()) {
      if (("," + controllers + ",").find("," + controller + ",") == std::string::npos) continue;
      root += "/" + controller;
    }
    for (std::string path = line.substr(second + 1); !path.empty() && path != "/"; path.resize(path.rfind('/')))
      folders.push_back(root + path);
    folders.push_back(root);
  }
  return folders;
}

double cpu_quota() {
  double quota = std::numeric_limits<double>::infinity();
  for (const std::string& folder : cgroup_folders("cpu")) {
    std::istringstream v2(first_line(folder + "/cpu.max"));
    std::string limit;
    double period = 0;
    if (v2 >> limit >> period && number(limit) && period > 0)
      quota = std::min(quota, static_cast<double>(*number(limit)) / period);
    const auto v1_limit = number(first_line(folder + "/cpu.cfs_quota_us"));
    const auto v1_period = number(first_line(folder + "/cpu.cfs_period_us"));
    if (v1_limit && v1_period && *v1_period > 0)
      quota = std::min(quota, static_cast<double>(*v1_limit) / static_cast<double>(*v1_period));
  }
  return quota;
}

std::size_t cached_file_pages(const std::string& path) {
  std::ifstream file(path);
  std::size_t value = 0;
  for (std::string key; file >> key >> value;)
    if (key == "inactive_file") return value;
  return 0;
}

std::size_t cgroup_memory_left() {
  std::size_t left = unlimited;
  for (const std::string& folder : cgroup_folders("memory")) {
    for (const auto& [limit_file, use_file] :
         {std::pair{"/memory.max", "/memory.current"}, std::pair{"/memory.limit_in_bytes", "/memory.usage_in_bytes"}}) {
      const auto limit = number(first_line(folder + limit_file)), use = number(first_line(folder + use_file));
      if (!limit || !use) continue;
      // Pages of files count as used but are given back on demand; without this a mapped model would look like a leak.
      const std::size_t pages = std::min(*use, cached_file_pages(folder + "/memory.stat"));
      left = std::min(left, *limit > *use - pages ? *limit - (*use - pages) : 0);
    }
  }
  return left;
}

std::size_t meminfo(const std::string& key) {
  const auto kilobytes = number(proc_field("/proc/meminfo", key));
  return kilobytes ? *kilobytes * 1024 : unlimited;
}

}  // namespace

const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::baseline:
      return "baseline";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512_bf16:
      return "avx512_bf16";
  }
  return "?";
}

bool supported(Isa isa) {
#if defined(PAELLA_X86_KERNELS)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  switch (isa) {
    case Isa::baseline:
      return true;
    case Isa::avx2:
      return avx2;
    case Isa::avx512:
      return avx512;
    case Isa::avx512_bf16:
      return avx512 && __builtin_cpu_supports("avx512bf16");
  }
#endif
  return isa == Isa::baseline;
}

Isa choose_isa() {
  const Isa all[] = {Isa::avx512_bf16, Isa::avx512, Isa::avx2, Isa::baseline};
  const char* wanted = std::getenv("PAELLA_CPU_ISA");
  std::string names;
  for (const Isa isa : all) {
    if (!supported(isa)) continue;
    if (wanted == nullptr || *wanted == '\0' || std::string(wanted) == name_of(isa)) return isa;
    names += concat(names.empty() ? "" : ", ", name_of(isa));
  }
  fail(ErrorCode::invalid_option, "PAELLA_CPU_ISA: expected one of ", names, " on this CPU, got ", wanted);
}

std::string cpu_model() {
  const std::string model = proc_field("/proc/cpuinfo", "model name");
  return model.empty() ? "CPU" : model;
}

int usable_cores() {
  int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    // Hyper-threads of one core share its multipliers: count each group of siblings once.
    std::set<std::string> groups;
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &set)) continue;
      const std::string siblings =
          first_line(concat("/sys/devices/system/cpu/cpu", cpu, "/topology/thread_siblings_list"));
      groups.insert(siblings.empty() ? concat("cpu", cpu) : siblings);
    }
    if (!groups.empty()) cores = static_cast<int>(groups.size());
  }
  const double quota = cpu_quota();
  if (quota < cores) cores = static_cast<int>(std::ceil(quota));
#endif
  return std::max(1, cores);
}

std::size_t memory_total() { return meminfo("MemTotal"); }

std::size_t memory_available() { return std::min(meminfo("MemAvailable"), cgroup_memory_left()); }

}  // namespace paella::cpu
