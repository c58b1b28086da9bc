#include "cpu/cpu_ops.h"

#include <algorithm>
#include <cmath>

#include "core/error.h"

namespace paella::cpu {

namespace {

// Queries of one head are split further only if there are too few heads to keep all threads busy: every part packs the
// head's keys again.
std::int64_t queries_per_task(std::int64_t queries, std::int64_t heads_in_all, int threads) {
  const std::int64_t wanted = 3 * static_cast<std::int64_t>(threads);
  const std::int64_t parts =
      std::clamp<std::int64_t>((wanted + heads_in_all - 1) / heads_in_all, 1, (queries + 63) / 64);
  return threads == 1 ? queries : (queries + parts - 1) / parts;
}

double cost_ns(std::int64_t queries, std::int64_t keys, std::int64_t dimension) {
  return static_cast<double>(queries * keys * dimension) * 0.04;  // 4 flops a multiply-add pair at 100 GFLOP/s
}

std::size_t rounded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

void CpuOps::do_image_attention(const Tensor& qkv, const ConditionKeys& condition, int heads, const Tensor& out) {
  const std::int64_t images = qkv.shape[0], pixels = qkv.shape[1] * qkv.shape[2], channels = qkv.shape[3] / 3;
  const std::int64_t d = channels / heads, rows = out.shape[0], padded = condition.kv.shape[1];
  const auto width = static_cast<std::int64_t>(size_of(qkv.dtype));
  const Element type = element_of(qkv.dtype);
  const std::size_t per_thread = rounded(kernels().attention_scratch(pixels + padded, d, type));
  auto* scratch = static_cast<std::uint8_t*>(context_.scratch(per_thread * static_cast<std::size_t>(threads())));
  const std::int64_t step = queries_per_task(pixels, rows * heads, threads()), parts = (pixels + step - 1) / step;

  parallel_tasks(
      threads(), rows * heads * parts, cost_ns(step, pixels + padded, d), [&](std::int64_t item, int thread) {
        const std::int64_t part = item % parts, head = item / parts % heads, row = item / parts / heads;
        const std::int64_t condition_row = condition.index.as<std::int32_t>()[row];
        const std::uint8_t* image = qkv.as<std::uint8_t>() + row % images * pixels * 3 * channels * width;
        const std::uint8_t* text = condition.kv.as<std::uint8_t>() + condition_row * padded * 2 * channels * width;
        const std::int64_t first = part * step, at_head = head * d * width;
        AttentionTask task;
        task.query = image + first * 3 * channels * width + at_head;
        task.query_stride = 3 * channels;
        task.queries = std::min(step, pixels - first);
        task.segments[0] = {image + channels * width + at_head, image + 2 * channels * width + at_head, 3 * channels,
                            pixels};
        task.segments[1] = {text + at_head, text + channels * width + at_head, 2 * channels,
                            condition.length.as<std::int32_t>()[condition_row]};
        task.dimension = d;
        task.scale = 1.0f / std::sqrt(static_cast<float>(d));
        task.out = out.as<std::uint8_t>() + (row * pixels + first) * channels * width + at_head;
        task.out_stride = channels;
        task.type = type;
        task.scratch = scratch + static_cast<std::size_t>(thread) * per_thread;
        kernels().attention(task);
      });
}

void CpuOps::do_text_attention(const Tensor& qkv, const Tensor& bias, int heads, const Tensor& out) {
  const std::int64_t tokens = qkv.shape[0], channels = qkv.shape[1] / 3, d = channels / heads;
  const auto width = static_cast<std::int64_t>(size_of(qkv.dtype));
  const Element type = element_of(qkv.dtype);
  const std::size_t per_thread = rounded(kernels().attention_scratch(tokens, d, type));
  auto* scratch = static_cast<std::uint8_t*>(context_.scratch(per_thread * static_cast<std::size_t>(threads())));
  const std::int64_t step = queries_per_task(tokens, heads, threads()), parts = (tokens + step - 1) / step;

  parallel_tasks(threads(), heads * parts, cost_ns(step, tokens, d), [&](std::int64_t item, int thread) {
    const std::int64_t head = item / parts, first = item % parts * step, at_head = head * d * width;
    const auto* data = qkv.as<std::uint8_t>();
    AttentionTask task;
    task.query = data + first * 3 * channels * width + at_head;
    task.query_stride = 3 * channels;
    task.queries = std::min(step, tokens - first);
    task.segments[0] = {data + channels * width + at_head, data + 2 * channels * width + at_head, 3 * channels, tokens};
    task.dimension = d;
    task.bias = bias.as<float>() + head * (2 * tokens - 1) + tokens - 1 - first;
    task.out = out.as<std::uint8_t>() + first * channels * width + at_head;
    task.out_stride = channels;
    task.type = type;
    task.scratch = scratch + static_cast<std::size_t>(thread) * per_thread;
    kernels().attention(task);
  });
}

}  // namespace paella::cpu
