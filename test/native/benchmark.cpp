// usage: paella_bench products|operations [--threads N] [--precision fp32|bf16] [--seconds S]
//        paella_bench step|rate [the same] [--rounds N] [--model M] [--tokens HxW] [--batch N] [--guided true|false]
//        paella_bench gpu|generate|tune [--precision bf16|fp16|fp32] [--seconds S] [--model M] [--smoke true]
//
// The second kind runs on a GPU, through the plug-in beside this program; --smoke true runs tiny shapes on the CPU, to
// see that the program itself works, and its times mean nothing.
//
// One JSON object per line. `seconds` is the median of wall time.
#include "benchmark.h"

#include <omp.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>

#include "benchmark_gpu.h"
#include "core/error.h"
#include "cpu/cpu_backend.h"
#include "cuda/cuda_backend.h"

namespace paella::bench {

namespace {

double cpu_now() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

Timing measure(const Settings& settings, const std::function<void()>& body) {
  body();
  body();
  std::vector<double> wall, cpu;
  for (double spent = 0; wall.size() < 5 || (spent < settings.seconds && wall.size() < 1000);) {
    const auto begin = std::chrono::steady_clock::now();
    const double cpu_begin = cpu_now();
    body();
    cpu.push_back(cpu_now() - cpu_begin);
    wall.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    spent += wall.back();
  }
  return {median(wall), median(cpu)};
}

}  // namespace paella::bench

using namespace paella;
using namespace paella::bench;

static int usage() {
  std::fprintf(
      stderr,
      "usage: paella_bench products|operations [--threads N] [--precision fp32|bf16] [--seconds S]\n"
      "       paella_bench step|rate [the same] [--rounds N] [--model M] [--tokens HxW] [--batch N] "
      "[--guided true|false]\n"
      "       paella_bench gpu|generate|tune [--precision bf16|fp16|fp32] [--seconds S] [--model M] [--smoke true]\n"
      "       paella_bench predict\n");
  return 2;
}

static int on_gpu(const std::string& mode, const Settings& settings) {
  try {
    if (mode == "tune") return tune(settings), 0;
    const auto backend = settings.smoke ? cuda::make_backend({.precision = settings.precision}) : gpu_backend(settings);
    (mode == "gpu" ? gpu : generate)(settings, *backend);
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "%s: %s\n%s\n", code_name(error.code()), error.what(), error.remedy().c_str());
    return 1;
  }
}

int main(int count, char** arguments) {
  Settings settings;
  if (count < 2 || count % 2 != 0) return usage();
  const std::string mode = arguments[1];
  for (int i = 2; i + 1 < count; i += 2) {
    const std::string option = arguments[i];
    if (option == "--threads")
      settings.threads = std::atoi(arguments[i + 1]);
    else if (option == "--precision")
      settings.precision = arguments[i + 1];
    else if (option == "--seconds")
      settings.seconds = std::atof(arguments[i + 1]);
    else if (option == "--rounds")
      settings.rounds = std::atoi(arguments[i + 1]);
    else if (option == "--model")
      settings.model = arguments[i + 1];
    else if (option == "--batch")
      settings.batch = std::atoll(arguments[i + 1]);
    else if (option == "--guided")
      settings.guided = std::string(arguments[i + 1]) == "true";
    else if (option == "--tokens") {
      if (std::sscanf(arguments[i + 1], "%ldx%ld", &settings.height, &settings.width) != 2) return usage();
    } else if (option == "--smoke")
      settings.smoke = std::string(arguments[i + 1]) == "true";
    else
      return usage();
  }
  if (mode == "predict") return predict(), 0;
  if (mode == "gpu" || mode == "generate" || mode == "tune") return on_gpu(mode, settings);
  const std::map<std::string, void (*)(const Settings&)> modes{
      {"products", products}, {"operations", operations}, {"step", step}, {"rate", rate}};
  const auto found = modes.find(mode);
  if (found == modes.end() || settings.rounds < 1 || settings.batch < 1) return usage();
  const cpu::Description machine = cpu::describe();
  if (settings.threads == 0) settings.threads = machine.cores;
  omp_set_num_threads(settings.threads);
  std::vector<std::string> precisions = machine.precisions;
  if (settings.precision != "auto") precisions = {settings.precision};
  for (const std::string& precision : precisions) {
    settings.precision = precision;
    try {
      found->second(settings);
    } catch (const Error& error) {
      std::fprintf(stderr, "%s: %s\n", code_name(error.code()), error.what());
      return 1;
    }
  }
  return 0;
}
