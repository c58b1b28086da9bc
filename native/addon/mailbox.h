// Carries work from the engine's thread to the JavaScript thread.
#pragma once

#include <napi.h>

#include <deque>
#include <functional>
#include <memory>
#include <mutex>

namespace paella::addon {

// One per JavaScript environment. Letters run on the JavaScript thread, in order; after close() they are dropped.
class Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  using Letter = std::function<void(Napi::Env)>;

  static std::shared_ptr<Mailbox> create(Napi::Env env);
  ~Mailbox();

  // Any thread.
  void post(Letter letter);

  // JavaScript thread. While anyone waits for an answer the process stays alive.
  void hold(Napi::Env env);
  void release(Napi::Env env);

  // JavaScript thread, before the environment ends.
  void close();

 private:
  Mailbox() = default;
  static void call_js(napi_env env, napi_value, void* context, void*);
  void deliver(Napi::Env env);

  std::mutex mutex_;
  std::deque<Letter> letters_;
  bool ringing_ = false;  // a call is under way that will deliver everything
  bool open_ = true;
  napi_threadsafe_function function_ = nullptr;
  int holders_ = 0;
};

}  // namespace paella::addon
