// A backend that holds constants and nothing else.
#include <bit>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "onnx/onnx_model.h"

namespace paella::onnx {

namespace {

// Elements converted at a time: small enough for the cache.
constexpr std::size_t piece = 16384;

std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);  // to nearest, ties to even
}

std::uint16_t to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint32_t>(bits >> 16) & 0x8000u;
  const float size = std::fabs(value);
  if (size >= 65520.0f) return static_cast<std::uint16_t>(sign | 0x7C00u);
  if (size < 0x1p-14f)  // subnormal: the rounding of this sum is what is wanted
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(size + 0.5f) - 0x3F000000u));
  const std::uint32_t magnitude = std::bit_cast<std::uint32_t>(size);
  return static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u + 0x0FFFu + ((magnitude >> 13) & 1u)) >> 13));
}

// `count` elements from `first`, as f32.
std::vector<float> part_of(const HostTensor& tensor, std::size_t first, std::size_t count) {
  const auto* data = static_cast<const std::uint8_t*>(tensor.data) + first * size_of(tensor.dtype);
  return to_f32({tensor.name, {static_cast<std::int64_t>(count)}, tensor.dtype, data});
}

void convert(std::span<const float> from, DType type, std::uint8_t* to) {
  if (type == DType::f32) {
    std::memcpy(to, from.data(), from.size_bytes());
    return;
  }
  auto* halves = reinterpret_cast<std::uint16_t*>(to);
  if (type == DType::bf16) {
    for (std::size_t i = 0; i < from.size(); ++i) halves[i] = to_bf16(from[i]);
  } else {
    for (std::size_t i = 0; i < from.size(); ++i) halves[i] = to_f16(from[i]);
  }
}

void check_values(std::span<const float> values, DType type, const std::string& name) {
  if (type != DType::f16) return;
  for (const float value : values)
    if (std::fabs(value) >= 65520.0f)
      throw Error(ErrorCode::numeric, concat(name, ": expected weights within the range of fp16, found ", value),
                  "use precision bf16 or fp32");
}

DType type_of(Layout layout, DType operand) {
  // In a file weights of 8 bits are whole again.
  const bool operand_layout = layout == Layout::matrix || layout == Layout::matrix_w8 || layout == Layout::table;
  return operand_layout ? operand : DType::f32;
}

[[noreturn]] void records_only(const char* what) {
  fail(ErrorCode::internal, "ONNX: ", what, ": this backend records networks and cannot run them");
}

class OnnxBackend final : public Backend {
 public:
  explicit OnnxBackend(DType operand) : operand_(operand) {}
  std::string name() const override { return "onnx"; }
  std::string device() const override { return "none"; }
  std::string precision() const override {
    return operand_ == DType::f32 ? "fp32" : operand_ == DType::bf16 ? "bf16" : "fp16";
  }
  DType operand_type() const override { return operand_; }

  ConstantPtr constant(const HostTensor& tensor, Layout layout) override {
    auto made = make_constant(tensor, layout, operand_);
    use_.weights += made->bytes;
    use_.peak = use_.weights;
    return made;
  }
  std::vector<float> host_product(std::span<const float> x, std::span<const float> w, std::int64_t rows,
                                  std::int64_t inner, std::int64_t columns) override;

  Buffer allocate(std::size_t) override { records_only("allocate"); }
  void upload(const void*, const Tensor&) override { records_only("upload"); }
  void download(const Tensor&, void*) override { records_only("download"); }
  void copy(const Tensor&, const Tensor&) override { records_only("copy"); }
  std::unique_ptr<Network> compile(std::shared_ptr<const Description>, std::span<const TensorSpec>,
                                   std::span<const TensorSpec>) override {
    records_only("compile");
  }
  Sampler& sampler() override { records_only("sampler"); }
  MemoryUse memory() const override { return use_; }

 private:
  DType operand_;
  MemoryUse use_;
};

// Blocks of columns stay in the cache while rows pass by; sums over a fixed count of lanes vectorise without leave to
// reorder.
std::vector<float> OnnxBackend::host_product(std::span<const float> x, std::span<const float> w, std::int64_t rows,
                                             std::int64_t inner, std::int64_t columns) {
  expect(x.size() == static_cast<std::size_t>(rows * inner) && w.size() == static_cast<std::size_t>(columns * inner),
         "host_product: expected ", rows, "×", inner, " and ", columns, "×", inner, " numbers, got ", x.size(), " and ",
         w.size());
  // [K, N]: neighbouring columns in neighbouring lanes.
  std::vector<float> transposed(w.size());
  for (std::int64_t n = 0; n < columns; ++n)
    for (std::int64_t k = 0; k < inner; ++k)
      transposed[static_cast<std::size_t>(k * columns + n)] = w[static_cast<std::size_t>(n * inner + k)];
  std::vector<float> out(static_cast<std::size_t>(rows * columns), 0.0f);
  constexpr std::int64_t row_block = 32, inner_block = 64;
#pragma omp parallel for schedule(static)
  for (std::int64_t first = 0; first < rows; first += row_block)
    for (std::int64_t k_first = 0; k_first < inner; k_first += inner_block)
      for (std::int64_t row = first; row < std::min(rows, first + row_block); ++row)
        for (std::int64_t k = k_first; k < std::min(inner, k_first + inner_block); ++k) {
          const float factor = x[static_cast<std::size_t>(row * inner + k)];
          const float* from = transposed.data() + k * columns;
          float* to = out.data() + row * columns;
          for (std::int64_t n = 0; n < columns; ++n) to[n] += factor * from[n];
        }
  return out;
}

}  // namespace

OnnxConstant::OnnxConstant(const HostTensor& tensor, Layout layout, DType type)
    : tensor_(tensor), layout_(layout), type_(type) {
  shape = tensor.shape;
  const auto count = static_cast<std::size_t>(tensor.elements());
  bytes = count * size_of(type);
  // Not a vector: billions of bytes need no zeros first.
  std::shared_ptr<std::uint8_t[]> own;
  if (tensor.owner == nullptr) own = std::make_shared_for_overwrite<std::uint8_t[]>(bytes);
  for (std::size_t first = 0; first < count; first += piece) {
    const std::vector<float> values =
        part_of(tensor, first, std::min(piece, count - first));  // checks that they are finite
    check_values(values, type, tensor.name);
    if (tensor.owner == nullptr) convert(values, type, own.get() + first * size_of(type));
  }
  if (tensor.owner != nullptr) return;
  tensor_.data = own.get();
  tensor_.dtype = type;
  tensor_.owner = own;
}

const void* OnnxConstant::data() const { return tensor_.dtype == type_ ? tensor_.data : nullptr; }

void OnnxConstant::read(std::size_t first, std::span<std::uint8_t> out) const {
  expect(first + out.size() <= bytes, name(), ": expected at most ", bytes, " bytes, got ", first, " + ", out.size());
  if (data() != nullptr) {
    std::memcpy(out.data(), static_cast<const std::uint8_t*>(tensor_.data) + first, out.size());
    return;
  }
  const std::size_t size = size_of(type_), from = first / size, count = out.size() / size;
  for (std::size_t done = 0; done < count; done += piece)
    convert(part_of(tensor_, from + done, std::min(piece, count - done)), type_, out.data() + done * size);
}

std::shared_ptr<const OnnxConstant> make_constant(const HostTensor& tensor, Layout layout, DType operand) {
  return std::make_shared<const OnnxConstant>(tensor, layout, type_of(layout, operand));
}

std::unique_ptr<Backend> make_backend(const std::string& precision) {
  if (precision == "fp32") return std::make_unique<OnnxBackend>(DType::f32);
  if (precision == "bf16") return std::make_unique<OnnxBackend>(DType::bf16);
  if (precision == "fp16") return std::make_unique<OnnxBackend>(DType::f16);
  fail(ErrorCode::invalid_option, "precision: expected one of fp32, bf16, fp16 for ONNX, got ", precision);
}

}  // namespace paella::onnx
