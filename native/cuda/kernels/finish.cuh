// What follows a matrix product: bias, activation, residual, modulation, in this order, on a few neighbouring columns
// of one row. Multiplications and additions that might be contracted are written as fmaf, so that all kernels round
// alike.
#pragma once

#include "core/ops.h"
#include "cuda/device.cuh"

namespace paella::cuda {

enum class Output : int {
  operand,  // T
  f32,
  add,      // f32, added to what is there
  partial,  // f32, the sums as they are: a part of K, finished by another kernel
};

struct Finish {
  const float* bias = nullptr;   // [N]
  const float* scale = nullptr;  // [N]; then `shift` is given, too
  const float* shift = nullptr;  // [N]
  void* out = nullptr;           // [M, N]
  float* sums = nullptr;         // [M / 64, N]: sums of squares of the rounded results
  Activation activation = Activation::none;
  Output output = Output::operand;
};

inline constexpr int sum_run = 64;

template <int N>
PAELLA_DEVICE void activate(Activation activation, float (&v)[N]) {
  switch (activation) {
    case Activation::gelu_erf:
#pragma unroll
      for (int i = 0; i < N; ++i) v[i] = 0.5f * v[i] * (1.0f + erff(v[i] * 0.70710678118654752f));
      break;
    case Activation::gelu_tanh:
#pragma unroll
      for (int i = 0; i < N; ++i) {
        const float inner = 0.79788456080286536f * fmaf(0.044715f * v[i] * v[i], v[i], v[i]);
        v[i] = 0.5f * v[i] * (1.0f + tanhf(inner));
      }
      break;
    case Activation::silu:
#pragma unroll
      for (int i = 0; i < N; ++i) v[i] = v[i] / (1.0f + expf(-v[i]));
      break;
    case Activation::none:
      break;
  }
}

// W neighbouring elements of which the first `count` exist. `whole`: all of them do, and they are aligned.
template <int W, typename T>
PAELLA_DEVICE void read_columns(const T* from, int count, bool whole, float (&to)[W]) {
  if (whole) {
    load_floats<W>(from, to);
    return;
  }
#pragma unroll
  for (int i = 0; i < W; ++i) to[i] = i < count ? to_float(from[i]) : 0.0f;
}
template <int W, typename T>
PAELLA_DEVICE void write_columns(T* to, int count, bool whole, const float (&from)[W]) {
  if (whole) {
    store_floats<W>(to, from);
    return;
  }
#pragma unroll
  for (int i = 0; i < W; ++i)
    if (i < count) assign(to[i], from[i]);
}

// The end of products in W columns, for as many rows as one likes.
template <int W, typename T>
class Finisher {
 public:
  // `columns` is the width of the result; `column` is a multiple of W.
  PAELLA_DEVICE Finisher(const Finish& finish, int column, int columns)
      : finish_(finish), column_(column), columns_(columns), count_(columns - column) {
    whole_ = columns % W == 0;
#pragma unroll
    for (int i = 0; i < W; ++i) bias_[i] = 0.0f;
    if (finish.bias != nullptr) read_columns<W>(finish.bias + column, count_, whole_, bias_);
    // A modulation may begin anywhere in a table: element by element.
#pragma unroll
    for (int i = 0; i < W; ++i) {
      const bool exists = finish.scale != nullptr && i < count_;
      scale_[i] = exists ? 1.0f + finish.scale[column + i] : 1.0f;
      shift_[i] = exists ? finish.shift[column + i] : 0.0f;
    }
  }

  // What `finish` adds to: read early, so that it is there when it is needed.
  PAELLA_DEVICE void read_residual(std::int64_t row, float (&residual)[W]) const {
    if (finish_.output == Output::add)
      read_columns<W>(static_cast<const float*>(finish_.out) + row * columns_ + column_, count_, whole_, residual);
  }

  // v: sums of products; afterwards the results as they were stored.
  PAELLA_DEVICE void finish(std::int64_t row, float (&v)[W], const float (&residual)[W]) const {
    const std::int64_t at = row * columns_ + column_;
    if (finish_.output == Output::partial) {
      write_columns<W>(static_cast<float*>(finish_.out) + at, count_, whole_, v);
      return;
    }
#pragma unroll
    for (int i = 0; i < W; ++i) v[i] += bias_[i];
    activate(finish_.activation, v);
    if (finish_.output == Output::operand) {
#pragma unroll
      for (int i = 0; i < W; ++i) v[i] = to_float(from_float<T>(v[i]));
      write_columns<W>(static_cast<T*>(finish_.out) + at, count_, whole_, v);
      return;
    }
    if (finish_.output == Output::add) {
#pragma unroll
      for (int i = 0; i < W; ++i) v[i] += residual[i];
      if (finish_.scale != nullptr) {
#pragma unroll
        for (int i = 0; i < W; ++i) v[i] = fmaf(v[i], scale_[i], shift_[i]);
      }
    }
    write_columns<W>(static_cast<float*>(finish_.out) + at, count_, whole_, v);
  }

 private:
  const Finish& finish_;
  int column_, columns_, count_;
  bool whole_;
  float bias_[W], scale_[W], shift_[W];
};

}  // namespace paella::cuda
