// Attention.
#include <cmath>
#include <type_traits>

#include "cuda/cuda_ops.h"
#include "cuda/dispatch.cuh"
#include "cuda/kernels/attention.cuh"
#include "cuda/launch.cuh"

namespace paella::cuda {

namespace {

template <typename T>
void attend_plain(Runtime& runtime, const AttentionTask<T>& task, std::int64_t rows, int heads) {
  launch(runtime, plain_attention_kernel<T>, grid(ceil_div(task.queries, plain_queries), heads, rows), plain_threads,
         plain_shared_bytes(task.width), task);
}

template <typename T, int width>
void attend_flash(Runtime& runtime, const AttentionTask<T>& task, std::int64_t rows, int heads) {
  launch(runtime, flash_kernel<T, width>, grid(ceil_div(task.queries, flash_queries), heads, rows), flash_threads,
         flash_shared_bytes<width>, task);
}

// By the head's width only: a row's bits must not depend on the batch.
template <typename T>
void attend(Runtime& runtime, const AttentionTask<T>& task, std::int64_t rows, int heads) {
  if (rows == 0 || task.queries == 0) return;
  if constexpr (!std::is_same_v<T, float>) {
    if (task.width % 8 == 0) {
      switch ((task.width + 15) / 16) {
        case 1:
          return attend_flash<T, 16>(runtime, task, rows, heads);
        case 2:
          return attend_flash<T, 32>(runtime, task, rows, heads);
        case 3:
          return attend_flash<T, 48>(runtime, task, rows, heads);
        case 4:
          return attend_flash<T, 64>(runtime, task, rows, heads);
        case 5:
          return attend_flash<T, 80>(runtime, task, rows, heads);
        case 6:
          return attend_flash<T, 96>(runtime, task, rows, heads);
        case 7:
          return attend_flash<T, 112>(runtime, task, rows, heads);
        case 8:
          return attend_flash<T, 128>(runtime, task, rows, heads);
        default:
          break;
      }
    }
  }
  attend_plain(runtime, task, rows, heads);
}

}  // namespace

void CudaOps::do_image_attention(const Tensor& qkv, const ConditionKeys& condition, int heads, const Tensor& out) {
  const std::int64_t pixels = qkv.shape[1] * qkv.shape[2], channels = qkv.shape[3] / 3, width = channels / heads;
  with_type(qkv.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    AttentionTask<T> task{};
    task.qkv = qkv.as<T>();
    task.kv = condition.kv.as<T>();
    task.length = condition.length.as<std::int32_t>();
    task.index = condition.index.as<std::int32_t>();
    task.out = out.as<T>();
    task.images = static_cast<int>(qkv.shape[0]);
    task.queries = static_cast<int>(pixels);
    task.padded = static_cast<int>(condition.kv.shape[1]);
    task.channels = static_cast<int>(channels);
    task.width = static_cast<int>(width);
    task.scale = 1.0f / std::sqrt(static_cast<float>(width));
    attend(runtime(), task, out.shape[0], heads);
  });
}

void CudaOps::do_text_attention(const Tensor& qkv, const Tensor& bias, int heads, const Tensor& out) {
  const std::int64_t tokens = qkv.shape[0], channels = qkv.shape[1] / 3;
  with_type(qkv.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    AttentionTask<T> task{};
    task.qkv = qkv.as<T>();
    task.bias = bias.as<float>();
    task.out = out.as<T>();
    task.images = 1;
    task.queries = static_cast<int>(tokens);
    task.channels = static_cast<int>(channels);
    task.width = static_cast<int>(channels / heads);
    task.scale = 1.0f;
    attend(runtime(), task, 1, heads);
  });
}

}  // namespace paella::cuda
