// Work on a thread of its own that tells JavaScript of its progress: exports, builds of engines.
#pragma once

#include <napi.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "addon/engine_object.h"

namespace paella::addon {

// Makes an event for the listener; on the JavaScript thread.
using MakeEvent = std::function<Napi::Object(Napi::Env)>;
// Makes the result; on the JavaScript thread.
using MakeResult = std::function<Napi::Value(Napi::Env)>;

// What the work sees of its job.
struct JobControl {
  std::shared_ptr<const std::atomic<bool>> cancelled;
  // Any thread, any rate; null if nobody listens.
  std::function<void(MakeEvent)> tell;

  // Throws ERR_ABORTED.
  void check() const;
};

struct BackgroundWork {
  std::string name;           // begins messages: "export"
  std::string memory_remedy;  // of ERR_OUT_OF_MEMORY
  std::function<MakeResult(const JobControl&)> run;
};

// Starts it → { promise, cancel() }. The promise rejects with ERR_ABORTED after cancel(), however far the work was.
Napi::Object start_job(Napi::Env env, const Napi::Value& listener, BackgroundWork work);

// Cancels every job of an environment and waits for their threads.
void stop_jobs(Environment& environment);

}  // namespace paella::addon
