// Attention of one head, for a block of queries at a time: scores of the block against all keys, softmax, values.
// Scores of a block stay in cache; those of the whole grid never exist.
//
// Keys and values are first copied into the order in which the inner loops read them. There, a `Cell` is what one
// multiply-add of a lane consumes: one float, or, where the CPU multiplies pairs of bf16, one such pair. Sums and
// softmax are f32 in both cases. Each query's arithmetic is the same whatever block or neighbours it has.
#include "cpu/kernels/family.h"
#include "cpu/kernels/simd.h"

namespace paella::cpu::PAELLA_ISA {

namespace {

// Register tile of the inner loops: 4 queries × this many vectors of keys or of value channels.
constexpr int query_tile = 4;
#if defined(__AVX512F__)
constexpr int key_tile = 4;    // 16 accumulators of 32 registers
constexpr int value_tile = 5;  // 80 channels at once
#else
constexpr int key_tile = 2;  // 8 accumulators of 16 registers
constexpr int value_tile = 2;
#endif

constexpr std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

template <typename T>
struct Single {
  using Input = T;
  using Cell = float;
  static constexpr std::int64_t cells(std::int64_t n) { return n; }
  PAELLA_KERNEL Floats accumulate(Floats sum, Cell a, const Cell* b) { return sum + a * load(b); }
  // Cell i of a row of n elements.
  PAELLA_KERNEL Cell pick(const T* row, std::int64_t i, std::int64_t) { return to_float(row[i]); }
  // out[c] = the cells of one key's values (`count` = 1).
  PAELLA_KERNEL void interleave(const T* const rows[2], std::int64_t, std::int64_t channels, Cell* out) {
    for (std::int64_t c = 0; c < channels; ++c) out[c] = to_float(rows[0][c]);
  }
  // Probabilities, in place.
  PAELLA_KERNEL const Cell* probabilities(float* row, std::int64_t) { return row; }
};

#if defined(__AVX512BF16__)
struct Pairs {
  using Input = Bf16;
  using Cell = std::uint32_t;  // low half: even index
  static constexpr std::int64_t cells(std::int64_t n) { return (n + 1) / 2; }
  PAELLA_KERNEL Floats accumulate(Floats sum, Cell a, const Cell* b) {
    Words v;
    __builtin_memcpy(&v, b, sizeof(v));
    return (Floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(static_cast<int>(a)), (__m512bh)v);
  }
  PAELLA_KERNEL Cell pick(const Bf16* row, std::int64_t i, std::int64_t n) {
    return row[2 * i] | (2 * i + 1 < n ? static_cast<Cell>(row[2 * i + 1]) << 16 : 0u);
  }
  PAELLA_KERNEL void interleave(const Bf16* const rows[2], std::int64_t count, std::int64_t channels, Cell* out) {
    if (count == 2)
      for (std::int64_t c = 0; c < channels; ++c) out[c] = rows[0][c] | (static_cast<Cell>(rows[1][c]) << 16);
    else
      for (std::int64_t c = 0; c < channels; ++c) out[c] = rows[0][c];
  }
  // Halves its own memory from the front: what is written always lies before what is still to be read.
  PAELLA_KERNEL const Cell* probabilities(float* row, std::int64_t count) {
    auto* packed = reinterpret_cast<Bf16*>(row);
    const std::int64_t padded = round_up(count, 2);
    if (padded > count) row[count] = 0;
    for (std::int64_t j = 0; j < padded; j += lanes) {
      const Halves h = to_bf16(load(row + j));
      __builtin_memcpy(packed + j, &h, sizeof(h));
    }
    return reinterpret_cast<const Cell*>(row);
  }
};
#endif

// sums[q][v] = Σ over i of a[q·a_stride + i]·b[(v·b_vector + i·b_step)…]: the inner loop of both products.
template <typename Mode, int vectors>
PAELLA_KERNEL void tile_product(const typename Mode::Cell* a, std::int64_t a_stride, const typename Mode::Cell* b,
                                std::int64_t b_vector, std::int64_t b_step, std::int64_t depth,
                                Floats (&sums)[query_tile][vectors]) {
#pragma GCC unroll 8
  for (int q = 0; q < query_tile; ++q)
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[q][v] = Floats{};
  for (std::int64_t i = 0; i < depth; ++i) {
#pragma GCC unroll 8
    for (int q = 0; q < query_tile; ++q) {
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v)
        sums[q][v] = Mode::accumulate(sums[q][v], a[q * a_stride + i], b + v * b_vector + i * b_step);
    }
  }
}

template <typename T>
PAELLA_KERNEL const T* row_of(const KeySegment (&segments)[2], std::int64_t key, bool values) {
  const KeySegment& segment = key < segments[0].count ? segments[0] : segments[1];
  if (key >= segments[0].count) key -= segments[0].count;
  return static_cast<const T*>(values ? segment.values : segment.keys) + key * segment.stride;
}

struct Plan {
  std::int64_t keys, padded_keys, block;  // block: queries handled together
  std::int64_t depth, padded_channels, key_cells;
  std::size_t query_bytes, key_bytes, value_bytes, score_bytes;
};

template <typename Mode>
Plan plan_for(std::int64_t keys, std::int64_t dimension) {
  constexpr std::int64_t score_budget = 128 << 10;  // bytes; stays in the second-level cache with keys and values
  Plan plan;
  plan.keys = keys;
  plan.padded_keys = round_up(keys, key_tile * lanes);
  const std::int64_t fitting = score_budget / (plan.padded_keys * 4) / query_tile * query_tile;
  plan.block = fitting < 16 ? 16 : fitting > 64 ? 64 : fitting;
  plan.depth = Mode::cells(dimension);
  plan.padded_channels = round_up(dimension, lanes);
  plan.key_cells = Mode::cells(keys);
  plan.query_bytes = static_cast<std::size_t>(round_up(plan.block * plan.depth * 4, 64));
  plan.key_bytes = static_cast<std::size_t>(round_up(plan.padded_keys * plan.depth * 4, 64));
  plan.value_bytes = static_cast<std::size_t>(round_up(plan.key_cells * plan.padded_channels * 4, 64));
  plan.score_bytes = static_cast<std::size_t>(plan.block * plan.padded_keys * 4);
  return plan;
}

template <typename Mode>
void pack_keys(const AttentionTask& task, const Plan& plan, typename Mode::Cell* packed) {
  using T = typename Mode::Input;
  for (std::int64_t key = 0; key < plan.padded_keys; ++key) {
    typename Mode::Cell* to = packed + (key / lanes) * plan.depth * lanes + key % lanes;
    if (key < plan.keys) {
      const T* row = row_of<T>(task.segments, key, false);
      for (std::int64_t i = 0; i < plan.depth; ++i) to[i * lanes] = Mode::pick(row, i, task.dimension);
    } else {
      for (std::int64_t i = 0; i < plan.depth; ++i) to[i * lanes] = 0;
    }
  }
}

template <typename Mode>
void pack_values(const AttentionTask& task, const Plan& plan, typename Mode::Cell* packed) {
  using T = typename Mode::Input;
  const std::int64_t per_cell = plan.key_cells == plan.keys ? 1 : 2;
  for (std::int64_t cell = 0; cell < plan.key_cells; ++cell, packed += plan.padded_channels) {
    const std::int64_t first = cell * per_cell, count = first + per_cell <= plan.keys ? per_cell : plan.keys - first;
    const T* rows[2] = {row_of<T>(task.segments, first, true), row_of<T>(task.segments, first + count - 1, true)};
    Mode::interleave(rows, count, task.dimension, packed);
    for (std::int64_t c = task.dimension; c < plan.padded_channels; ++c) packed[c] = 0;
  }
}

// Softmax numerators in place; returns the denominator.
PAELLA_KERNEL float softmax_row(float* scores, std::int64_t keys, float scale, const float* bias) {
  Floats best = splat(-__builtin_inff());
  float rest = -__builtin_inff();
  std::int64_t j = 0;
  for (; j + lanes <= keys; j += lanes) {
    Floats s = load(scores + j) * scale;
    if (bias != nullptr) s += load(bias + j);
    store(scores + j, s);
    best = maximum(best, s);
  }
  for (; j < keys; ++j) {
    scores[j] *= scale;
    if (bias != nullptr) scores[j] += bias[j];
    rest = scores[j] > rest ? scores[j] : rest;
  }
  const float vector_best = horizontal_maximum(best);
  const float top = vector_best > rest ? vector_best : rest;
  Floats sums = {};
  float rest_sum = 0;
  for (j = 0; j + lanes <= keys; j += lanes) {
    const Floats p = exponential(load(scores + j) - top);
    store(scores + j, p);
    sums += p;
  }
  if (j < keys) {
    const Floats p = exponential(load_part(scores + j, keys - j) - top);
    store_part(scores + j, p, keys - j);
    for (; j < keys; ++j) rest_sum += scores[j];
  }
  return horizontal_sum(sums) + rest_sum;
}

template <typename Mode, int vectors>
void value_product(const typename Mode::Cell* const (&probabilities)[query_tile], std::int64_t stride,
                   const typename Mode::Cell* values, const Plan& plan, const float* factors, std::int64_t channel,
                   std::int64_t dimension, typename Mode::Input* const (&out)[query_tile]) {
  Floats sums[query_tile][vectors];
  tile_product<Mode, vectors>(probabilities[0], stride, values + channel, lanes, plan.padded_channels, plan.key_cells,
                              sums);
  for (int q = 0; q < query_tile; ++q) {
    if (out[q] == nullptr) continue;
    for (int v = 0; v < vectors; ++v) {
      const std::int64_t c = channel + v * lanes;
      const Floats result = sums[q][v] * factors[q];
      if (c + lanes <= dimension)
        store(out[q] + c, result);
      else
        store_part(out[q] + c, result, dimension - c);
    }
  }
}

template <typename Mode>
void attend(const AttentionTask& task) {
  using Cell = typename Mode::Cell;
  using T = typename Mode::Input;
  const std::int64_t keys = task.segments[0].count + task.segments[1].count, d = task.dimension;
  const Plan plan = plan_for<Mode>(keys, d);
  auto* memory = static_cast<std::uint8_t*>(task.scratch);
  auto* queries = reinterpret_cast<Cell*>(memory);
  auto* packed_keys = reinterpret_cast<Cell*>(memory += plan.query_bytes);
  auto* packed_values = reinterpret_cast<Cell*>(memory += plan.key_bytes);
  auto* scores = reinterpret_cast<float*>(memory += plan.value_bytes);
  pack_keys<Mode>(task, plan, packed_keys);
  pack_values<Mode>(task, plan, packed_values);

  for (std::int64_t first = 0; first < task.queries; first += plan.block) {
    const std::int64_t count = task.queries - first < plan.block ? task.queries - first : plan.block;
    const std::int64_t padded = round_up(count, query_tile);
    for (std::int64_t q = 0; q < padded; ++q) {
      // A tile that is not full repeats the last query; the surplus is not written.
      const T* row = static_cast<const T*>(task.query) + (first + (q < count ? q : count - 1)) * task.query_stride;
      for (std::int64_t i = 0; i < plan.depth; ++i) queries[q * plan.depth + i] = Mode::pick(row, i, d);
    }
    for (std::int64_t key = 0; key < plan.padded_keys; key += key_tile * lanes) {
      for (std::int64_t q = 0; q < padded; q += query_tile) {
        Floats sums[query_tile][key_tile];
        tile_product<Mode, key_tile>(queries + q * plan.depth, plan.depth, packed_keys + key * plan.depth,
                                     plan.depth * lanes, lanes, plan.depth, sums);
        for (int i = 0; i < query_tile; ++i)
          for (int v = 0; v < key_tile; ++v) store(scores + (q + i) * plan.padded_keys + key + v * lanes, sums[i][v]);
      }
    }
    for (std::int64_t q = 0; q < padded; q += query_tile) {
      float factors[query_tile];
      const Cell* probabilities[query_tile];
      T* out[query_tile];
      for (int i = 0; i < query_tile; ++i) {
        const std::int64_t query = first + (q + i < count ? q + i : count - 1);
        float* row = scores + (q + i) * plan.padded_keys;
        factors[i] = 1.0f / softmax_row(row, keys, task.scale, task.bias == nullptr ? nullptr : task.bias - query);
        probabilities[i] = Mode::probabilities(row, keys);
        out[i] = q + i < count ? static_cast<T*>(task.out) + query * task.out_stride : nullptr;
      }
      std::int64_t channel = 0;
      for (; channel + value_tile * lanes <= plan.padded_channels; channel += value_tile * lanes)
        value_product<Mode, value_tile>(probabilities, plan.padded_keys, packed_values, plan, factors, channel, d, out);
      for (; channel < plan.padded_channels; channel += lanes)
        value_product<Mode, 1>(probabilities, plan.padded_keys, packed_values, plan, factors, channel, d, out);
    }
  }
}

template <typename Mode>
std::size_t scratch_for(std::int64_t keys, std::int64_t dimension) {
  const Plan plan = plan_for<Mode>(keys, dimension);
  return plan.query_bytes + plan.key_bytes + plan.value_bytes + plan.score_bytes;
}

#if defined(__AVX512BF16__)
using Bf16Mode = Pairs;
#else
using Bf16Mode = Single<Bf16>;
#endif

}  // namespace

std::size_t attention_scratch(std::int64_t keys, std::int64_t dimension, Element type) {
  return type == Element::bf16 ? scratch_for<Bf16Mode>(keys, dimension) : scratch_for<Single<float>>(keys, dimension);
}

void attention(const AttentionTask& task) {
  if (task.type == Element::bf16)
    attend<Bf16Mode>(task);
  else
    attend<Single<float>>(task);
}

}  // namespace paella::cpu::PAELLA_ISA
