// Which way a product is computed: entries per GPU and shape, and a prediction where there is no entry.
//
// The number of parts of K changes the bits of a result, so it is fixed per (GPU, N, K): a seed gives the same image in
// any batch. The tile's shape changes no bits and may depend on M.
#pragma once

#include <cstdint>
#include <iterator>

#include "cuda/products.h"

namespace paella::cuda {

// For up to `max_rows` rows (0: any number) of weights [columns, inner] on compute capability `sm` (90 for 9.0).
// Entries of one (sm, instruction of the tile, columns, inner) lie together, `max_rows` ascending, 0 last, all with the
// same `splits`.
struct ProductEntry {
  int sm;
  std::int64_t columns, inner, max_rows;
  int tile, splits;
};

// The tiles that product_table numbers. Equal shapes with more warps suit GPUs where one block fills shared memory.
inline constexpr ProductTile product_tile_list[] = {
    {128, 128, 32, 4, 2, 4},  // 0
    {128, 128, 32, 4, 2, 2},  // 1
    {128, 160, 32, 4, 4, 2},  // 2
    {128, 64, 32, 4, 2, 2},   // 3
    {64, 128, 32, 4, 2, 2},   // 4
    {64, 64, 64, 4, 2, 2},    // 5
    // A multiply-add of wgmma takes its 64 rows from four warps: `warps_across` is 1.
    {128, 128, 64, 6, 8, 1, Instruction::wgmma, 2, 1},  // 6
    {128, 128, 64, 6, 8, 1, Instruction::wgmma, 2, 2},  // 7
    {128, 160, 64, 5, 8, 1, Instruction::wgmma, 2, 1},  // 8
    {128, 160, 64, 5, 8, 1, Instruction::wgmma, 2, 2},  // 9
    {128, 256, 64, 4, 8, 1, Instruction::wgmma, 2, 1},  // 10
    {64, 128, 64, 6, 4, 1, Instruction::wgmma, 2, 1},   // 11
    {64, 64, 64, 8, 4, 1, Instruction::wgmma, 2, 2},    // 12
};

// Predicted by predicted_clocks() for the shapes of the v3 denoiser (108 and 132 multiprocessors; parts for the rows of
// one guided image at 64×64 tokens), not measured. To be replaced by a tuner's figures.
// clang-format off
inline constexpr ProductEntry product_table[] = {
    {80, 5120, 1280, 128, 3, 1},
    {80, 5120, 1280, 1024, 1, 1},
    {80, 5120, 1280, 0, 2, 1},
    {80, 1280, 5120, 128, 3, 3},
    {80, 1280, 5120, 256, 1, 3},
    {80, 1280, 5120, 0, 2, 3},
    {80, 3840, 1280, 128, 3, 1},
    {80, 3840, 1280, 256, 1, 1},
    {80, 3840, 1280, 0, 2, 1},
    {80, 1280, 1280, 256, 5, 1},
    {80, 1280, 1280, 512, 3, 1},
    {80, 1280, 1280, 4096, 1, 1},
    {80, 1280, 1280, 0, 2, 1},
    {80, 2560, 640, 128, 5, 1},
    {80, 2560, 640, 256, 3, 1},
    {80, 2560, 640, 2048, 1, 1},
    {80, 2560, 640, 0, 2, 1},
    {80, 640, 2560, 512, 5, 1},
    {80, 640, 2560, 1024, 3, 1},
    {80, 640, 2560, 8192, 1, 1},
    {80, 640, 2560, 0, 2, 1},
    {80, 1280, 2560, 128, 3, 4},
    {80, 1280, 2560, 1024, 1, 4},
    {80, 1280, 2560, 0, 2, 4},
    {80, 2560, 1280, 128, 5, 1},
    {80, 2560, 1280, 256, 3, 1},
    {80, 2560, 1280, 2048, 1, 1},
    {80, 2560, 1280, 0, 2, 1},
    {80, 1024, 640, 256, 5, 1},
    {80, 1024, 640, 512, 3, 1},
    {80, 1024, 640, 8192, 1, 1},
    {80, 1024, 640, 0, 2, 1},
    {90, 5120, 1280, 128, 3, 1},
    {90, 5120, 1280, 256, 1, 1},
    {90, 5120, 1280, 0, 2, 1},
    {90, 1280, 5120, 128, 5, 3},
    {90, 1280, 5120, 256, 3, 3},
    {90, 1280, 5120, 1024, 1, 3},
    {90, 1280, 5120, 0, 2, 3},
    {90, 3840, 1280, 128, 5, 1},
    {90, 3840, 1280, 256, 3, 1},
    {90, 3840, 1280, 1024, 1, 1},
    {90, 3840, 1280, 0, 2, 1},
    {90, 1280, 1280, 256, 5, 1},
    {90, 1280, 1280, 512, 3, 1},
    {90, 1280, 1280, 1024, 1, 1},
    {90, 1280, 1280, 0, 2, 1},
    {90, 2560, 640, 128, 5, 1},
    {90, 2560, 640, 256, 3, 1},
    {90, 2560, 640, 512, 1, 1},
    {90, 2560, 640, 0, 2, 1},
    {90, 640, 2560, 256, 5, 2},
    {90, 640, 2560, 512, 3, 2},
    {90, 640, 2560, 1024, 1, 2},
    {90, 640, 2560, 0, 2, 2},
    {90, 1280, 2560, 128, 5, 3},
    {90, 1280, 2560, 256, 3, 3},
    {90, 1280, 2560, 1024, 1, 3},
    {90, 1280, 2560, 0, 2, 3},
    {90, 2560, 1280, 128, 5, 1},
    {90, 2560, 1280, 256, 3, 1},
    {90, 2560, 1280, 512, 1, 1},
    {90, 2560, 1280, 0, 2, 1},
    {90, 1024, 640, 512, 5, 1},
    {90, 1024, 640, 1024, 3, 1},
    {90, 1024, 640, 8192, 1, 1},
    {90, 1024, 640, 0, 2, 1},
};
// clang-format on

// Clocks that a product takes by arithmetic: the busiest multiprocessor's tiles, each bound by the tensor cores (1,024
// multiply-adds a clock, 2,048 for wgmma) or by L2 (28 bytes a clock and multiprocessor); then the sum of the parts,
// bound by L2, and a kernel's start.
constexpr double predicted_clocks(const ProductTile& tile, int splits, std::int64_t rows, std::int64_t columns,
                                  std::int64_t inner, int multiprocessors) {
  const auto up = [](std::int64_t a, std::int64_t b) { return (a + b - 1) / b; };
  const std::int64_t cluster = tile.cluster_down * tile.cluster_across;
  const std::int64_t tiles =
      up(rows, tile.rows * tile.cluster_down) * up(columns, tile.columns * tile.cluster_across) * cluster * splits;
  const double multiply = tile.rows * tile.columns / (tile.instruction == Instruction::wgmma ? 2048.0 : 1024.0);
  const double load = (tile.rows / tile.cluster_across + tile.columns / tile.cluster_down) * 2 / 28.0;
  const double each = static_cast<double>(up(inner, splits)) * (multiply > load ? multiply : load) + 1500;
  const double sum = splits == 1 ? 0
                                 : 3000 + static_cast<double>(rows * columns) * 8.0 * splits /
                                              (static_cast<double>(multiprocessors) * 28.0);
  return static_cast<double>(up(tiles, multiprocessors)) * each + sum;
}

// The number of parts is chosen for this many rows: one guided image at the level where most of the work is. More parts
// must gain a tenth: they cost traffic that grows with the batch.
inline constexpr std::int64_t reference_rows = 512;
inline constexpr double needed_gain = 0.9;
inline constexpr int most_splits = 4;

constexpr int predicted_tile(Instruction instruction, int splits, std::int64_t rows, std::int64_t columns,
                             std::int64_t inner, int multiprocessors) {
  int best = -1;
  const auto clocks = [&](int tile) {
    return predicted_clocks(product_tile_list[tile], splits, rows, columns, inner, multiprocessors);
  };
  for (int tile = 0; tile < static_cast<int>(std::size(product_tile_list)); ++tile)
    if (product_tile_list[tile].instruction == instruction && (best < 0 || clocks(tile) < clocks(best))) best = tile;
  return best;
}

constexpr int predicted_splits(Instruction instruction, std::int64_t columns, std::int64_t inner, int multiprocessors) {
  int best = 1;
  double least = 0;
  for (int splits = 1; splits <= most_splits && (splits == 1 || inner >= std::int64_t{512} * splits); ++splits) {
    const int tile = predicted_tile(instruction, splits, reference_rows, columns, inner, multiprocessors);
    const double clocks =
        predicted_clocks(product_tile_list[tile], splits, reference_rows, columns, inner, multiprocessors);
    if (splits == 1 || clocks < needed_gain * least) {
      best = splits;
      least = clocks;
    }
  }
  return best;
}

constexpr ProductWay way_for(Instruction instruction, int sm, int multiprocessors, std::int64_t rows,
                             std::int64_t columns, std::int64_t inner) {
  for (const ProductEntry& entry : product_table)
    if (entry.sm == sm && product_tile_list[entry.tile].instruction == instruction && entry.columns == columns &&
        entry.inner == inner && (entry.max_rows == 0 || rows <= entry.max_rows))
      return {entry.tile, entry.splits};
  const int splits = predicted_splits(instruction, columns, inner, multiprocessors);
  return {predicted_tile(instruction, splits, rows, columns, inner, multiprocessors), splits};
}

constexpr bool table_is_sound() {
  for (std::size_t i = 0; i < std::size(product_table); ++i) {
    const ProductEntry& entry = product_table[i];
    if (entry.tile < 0 || entry.tile >= static_cast<int>(std::size(product_tile_list)) || entry.splits < 1)
      return false;
    const bool last =
        i + 1 == std::size(product_table) || product_table[i + 1].sm != entry.sm ||
        product_table[i + 1].columns != entry.columns || product_table[i + 1].inner != entry.inner ||
        product_tile_list[product_table[i + 1].tile].instruction != product_tile_list[entry.tile].instruction;
    if (last != (entry.max_rows == 0)) return false;
    if (!last && product_table[i + 1].splits != entry.splits) return false;
  }
  return true;
}
static_assert(table_is_sound());

}  // namespace paella::cuda
