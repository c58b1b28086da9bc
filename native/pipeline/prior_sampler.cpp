#include "pipeline/prior_sampler.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <numbers>

#include "core/error.h"
#include "core/normal.h"
#include "models/unet.h"

namespace paella {

namespace {

// Share of the signal's energy at noise level t: a squared cosine.
double signal_share(double t) {
  constexpr double s = 0.008;
  const auto cosine = [](double at) {
    const double value = std::cos((at + s) / (1 + s) * std::numbers::pi / 2);
    return value * value;
  };
  return std::clamp(cosine(t) / cosine(0), 1e-4, 0.9999);
}

// Buffers and networks for R embeddings.
class Loop {
 public:
  Loop(Backend& backend, const Prior& prior, const PriorSettings& settings, std::int64_t rows)
      : backend_(backend), config_(prior.config()), rows_(rows), steps_(settings.steps) {
    static std::atomic<std::uint64_t> number{0};
    key_ = concat("prior ", number++, ' ');
    add(x_, {rows, config_.c_in});
    add(noise_, {2 * rows, 1, 1, config_.c_in});
    add(guided_, {rows, 1, 1, config_.c_in});
    add(guidance_, {rows});
    add(of_x_, {steps_, 2 * config_.c_in});
    add(of_noise_, {steps_, 2 * config_.c_in});
    add(normal_, {steps_, rows, config_.c_in});
    memory_.push_back(backend_.allocate(sizeof(std::int32_t)));
    step_ = memory_.back().tensor({1}, DType::i32);
    terms_.resize(static_cast<std::size_t>(2 * config_.num_layers));
    for (std::int64_t i = 0; i < config_.num_layers; ++i) {
      add(terms_[static_cast<std::size_t>(i)], {2 * rows, config_.c_inner});
      add(terms_[static_cast<std::size_t>(config_.num_layers + i)], {steps_, 2 * config_.c_inner});
    }
    std::vector<Tensor> inputs{x_, step_};
    inputs.insert(inputs.end(), terms_.begin(), terms_.end());
    denoise_inputs_ = std::move(inputs);
    denoise_ = compile(prior.denoise(), denoise_inputs_, {noise_});
    update_inputs_ = {x_, guided_, step_, of_x_, of_noise_, normal_};
    update_ = compile(prior.update(), update_inputs_, {x_});
  }
  ~Loop() { backend_.forget(key_); }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void start(const Prior& prior, const PriorSettings& settings, std::span<const float> text,
             std::span<const std::uint64_t> seeds) {
    const std::vector<PriorStep> schedule = prior_schedule(settings);
    // What the text adds; nothing for the second half of the rows.
    const std::vector<float> zeros(static_cast<std::size_t>(rows_ * config_.c_inner), 0.0f);
    std::vector<Tensor> conditional, levels;
    for (std::int64_t i = 0; i < config_.num_layers; ++i) {
      const Tensor& term = terms_[static_cast<std::size_t>(i)];
      backend_.upload(zeros.data(), term.slice(rows_, rows_));
      conditional.push_back(term.slice(0, rows_));
      levels.push_back(terms_[static_cast<std::size_t>(config_.num_layers + i)]);
    }
    run_once(prior.condition(), {rows_, config_.c_cond}, text, conditional);
    std::vector<float> embeddings;
    for (const PriorStep& step : schedule) {
      const auto one = noise_embedding(static_cast<float>(step.noise_level), config_.c_r);
      embeddings.insert(embeddings.end(), one.begin(), one.end());
    }
    run_once(prior.noise(), {steps_, config_.c_r}, embeddings, levels);
    upload_tables(schedule, settings, seeds);
  }

  void step() {
    backend_.replay(key_, [&] {
      denoise_->run(denoise_inputs_, {&noise_, 1});
      backend_.sampler().guide(noise_, guidance_, guided_);
      update_->run(update_inputs_, {&x_, 1});
      backend_.sampler().advance(step_);
    });
  }

  std::vector<float> result() {
    std::vector<float> values(static_cast<std::size_t>(x_.elements()));
    backend_.download(x_, values.data());
    return values;
  }

 private:
  void add(Tensor& tensor, Shape shape) {
    const TensorSpec spec{shape, DType::f32};
    memory_.push_back(backend_.allocate(spec.bytes()));
    tensor = memory_.back().tensor(shape, DType::f32);
  }

  std::unique_ptr<Network> compile(std::shared_ptr<const Description> description, const std::vector<Tensor>& inputs,
                                   const std::vector<Tensor>& outputs) {
    const auto specs_of = [](const std::vector<Tensor>& tensors) {
      std::vector<TensorSpec> specs;
      for (const Tensor& tensor : tensors) specs.push_back({tensor.shape, tensor.dtype});
      return specs;
    };
    return backend_.compile(std::move(description), specs_of(inputs), specs_of(outputs));
  }

  void run_once(std::shared_ptr<const Description> description, Shape shape, std::span<const float> values,
                const std::vector<Tensor>& outputs) {
    const TensorSpec spec{shape, DType::f32};
    const Buffer memory = backend_.allocate(spec.bytes());
    const Tensor input = memory.tensor(shape, DType::f32);
    backend_.upload(values.data(), input);
    compile(std::move(description), {input}, outputs)->run({&input, 1}, outputs);
    backend_.synchronize();  // before the input's memory goes
  }

  void upload_tables(const std::vector<PriorStep>& schedule, const PriorSettings& settings,
                     std::span<const std::uint64_t> seeds) {
    const auto width = static_cast<std::size_t>(config_.c_in), rows = static_cast<std::size_t>(rows_);
    std::vector<float> of_x(schedule.size() * 2 * width, 0.0f), of_noise = of_x, normal;
    normal.reserve(schedule.size() * rows * width);
    std::vector<float> first;
    for (const std::uint64_t seed : seeds)
      for (std::size_t k = 0; k < width; ++k)
        first.push_back(standard_normal(seed, Purpose::prior, 0, static_cast<std::uint32_t>(k)));
    for (std::size_t i = 0; i < schedule.size(); ++i) {
      const PriorStep& step = schedule[i];
      std::fill_n(of_x.begin() + static_cast<std::ptrdiff_t>(i * 2 * width), width, static_cast<float>(step.of_x - 1));
      std::fill_n(of_noise.begin() + static_cast<std::ptrdiff_t>(i * 2 * width), width,
                  static_cast<float>(step.of_noise - 1));
      for (const std::uint64_t seed : seeds)
        for (std::size_t k = 0; k < width; ++k)
          normal.push_back(step.deviation == 0
                               ? 0.0f
                               : static_cast<float>(step.deviation) * standard_normal(seed, Purpose::prior,
                                                                                      static_cast<std::uint32_t>(i + 1),
                                                                                      static_cast<std::uint32_t>(k)));
    }
    const std::vector<float> guidance(rows, static_cast<float>(settings.guidance_scale));
    const std::int32_t zero = 0;
    backend_.upload(first.data(), x_);
    backend_.upload(of_x.data(), of_x_);
    backend_.upload(of_noise.data(), of_noise_);
    backend_.upload(normal.data(), normal_);
    backend_.upload(guidance.data(), guidance_);
    backend_.upload(&zero, step_);
  }

  Backend& backend_;
  PriorConfig config_;
  std::int64_t rows_, steps_;
  std::string key_;
  std::vector<Buffer> memory_;
  Tensor x_, noise_, guided_, guidance_, of_x_, of_noise_, normal_, step_;
  std::vector<Tensor> terms_;  // per block: of the text, then of the noise levels
  std::vector<Tensor> denoise_inputs_, update_inputs_;
  std::unique_ptr<Network> denoise_, update_;
};

}  // namespace

std::vector<PriorStep> prior_schedule(const PriorSettings& settings) {
  // linspace(1, 0, steps + 2) without its first entry.
  const auto level = [&](std::int64_t i) {
    return 1.0 - static_cast<double>(i + 1) / static_cast<double>(settings.steps + 1);
  };
  std::vector<PriorStep> schedule;
  for (std::int64_t i = 0; i < settings.steps; ++i) {
    const double t = level(i), now = signal_share(t), next = signal_share(i + 1 == settings.steps ? 0 : level(i + 1));
    PriorStep step{t, 0, 0, 0};
    if (settings.method == PriorMethod::ddim) {
      step.of_x = std::sqrt(next / now);
      step.of_noise = std::sqrt(1 - next) - std::sqrt(next * (1 - now) / now);
    } else {
      const double a = now / next;
      step.of_x = 1 / std::sqrt(a);
      step.of_noise = -(1 - a) / std::sqrt((1 - now) * a);
      step.deviation = i + 1 == settings.steps ? 0 : std::sqrt((1 - a) * (1 - next) / (1 - now));
    }
    schedule.push_back(step);
  }
  return schedule;
}

std::vector<float> sample_prior(Backend& backend, const Prior& prior, const PriorSettings& settings,
                                std::span<const float> text, std::span<const std::uint64_t> seeds,
                                const std::function<bool()>& keep_going) {
  const auto rows = static_cast<std::int64_t>(seeds.size());
  expect(rows > 0 && static_cast<std::int64_t>(text.size()) == rows * prior.config().c_cond && settings.steps > 0,
         "prior: expected a text embedding of ", prior.config().c_cond, " numbers for each seed, got ", text.size(),
         " numbers for ", rows, " seeds");
  Loop loop(backend, prior, settings, rows);
  loop.start(prior, settings, text, seeds);
  for (std::int64_t i = 0; i < settings.steps; ++i) {
    if (!keep_going()) fail(ErrorCode::aborted, "prior: aborted before step ", i + 1, " of ", settings.steps);
    loop.step();
  }
  std::vector<float> result = loop.result();
  for (const float value : result)
    if (!std::isfinite(value))
      throw Error(ErrorCode::numeric, "prior: the image embedding is not finite",
                  "The weights may be damaged or unsuitable for this precision; try precision fp32.");
  return result;
}

}  // namespace paella
