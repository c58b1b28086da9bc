// The JavaScript side of one engine.
#pragma once

#include <napi.h>

#include <future>
#include <list>
#include <memory>
#include <vector>

#include "addon/mailbox.h"

namespace paella::addon {

// Per-environment data: nothing of ours is static, so that worker threads do not share JavaScript values.
struct Environment {
  std::shared_ptr<Mailbox> mailbox;
  std::vector<std::weak_ptr<class EngineHandle>> engines;
  std::list<std::future<void>> surveys;  // of backends(); destroying one waits for it
  std::list<std::shared_ptr<class BackgroundJob>> jobs;
};

// load(request, onProgress) → { promise, cancel() }
Napi::Value load_engine(const Napi::CallbackInfo& info);

// Stops every engine of an environment and waits for all its threads.
void stop(Environment& environment);

}  // namespace paella::addon
