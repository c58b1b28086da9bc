#include "addon/mailbox.h"

namespace paella::addon {

std::shared_ptr<Mailbox> Mailbox::create(Napi::Env env) {
  std::shared_ptr<Mailbox> mailbox(new Mailbox);
  // The thread-safe function keeps its own reference, so that a late call finds the mailbox alive.
  auto* reference = new std::shared_ptr<Mailbox>(mailbox);
  const Napi::String name = Napi::String::New(env, "paella-native");
  const napi_status status = napi_create_threadsafe_function(
      env, nullptr, nullptr, name, 0, 1, reference,
      [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<Mailbox>*>(data); }, mailbox.get(), call_js,
      &mailbox->function_);
  if (status != napi_ok) {
    delete reference;
    throw Napi::Error::New(env, "could not create the channel between the engine and JavaScript");
  }
  // An idle engine does not keep the process alive.
  napi_unref_threadsafe_function(env, mailbox->function_);
  return mailbox;
}

Mailbox::~Mailbox() = default;

void Mailbox::post(Letter letter) {
  std::lock_guard lock(mutex_);
  if (!open_) return;
  letters_.push_back(std::move(letter));
  if (ringing_) return;
  ringing_ = true;
  napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
}

void Mailbox::call_js(napi_env env, napi_value, void* context, void*) {
  // Without an environment Node is tearing it down: the letters die with the mailbox.
  if (env == nullptr) return;
  const auto mailbox = static_cast<Mailbox*>(context)->shared_from_this();
  mailbox->deliver(Napi::Env(env));
}

void Mailbox::deliver(Napi::Env env) {
  Napi::HandleScope outer(env);
  while (true) {
    Letter letter;
    {
      std::lock_guard lock(mutex_);
      if (!open_ || letters_.empty()) {
        ringing_ = false;
        return;
      }
      letter = std::move(letters_.front());
      letters_.pop_front();
    }
    Napi::HandleScope scope(env);
    try {
      letter(env);
    } catch (const Napi::Error& error) {
      // An exception of a user's callback. It must not stop the letters behind it; it surfaces as any other
      // exception of an event handler does.
      {
        std::lock_guard lock(mutex_);
        if (open_ && !letters_.empty()) {
          napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
        } else {
          ringing_ = false;
        }
      }
      napi_fatal_exception(env, error.Value());
      return;
    }
  }
}

void Mailbox::hold(Napi::Env env) {
  if (++holders_ == 1 && open_) napi_ref_threadsafe_function(env, function_);
}

void Mailbox::release(Napi::Env env) {
  if (--holders_ == 0 && open_) napi_unref_threadsafe_function(env, function_);
}

void Mailbox::close() {
  std::deque<Letter> dropped;  // destroyed outside the lock, on the JavaScript thread
  std::lock_guard lock(mutex_);
  if (!open_) return;
  open_ = false;
  dropped.swap(letters_);
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
}

}  // namespace paella::addon
