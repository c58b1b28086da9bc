#include "addon/background_job.h"

#include <future>
#include <new>
#include <optional>

#include "addon/convert.h"

namespace paella::addon {

void JobControl::check() const {
  if (*cancelled) throw Error(ErrorCode::aborted, "the job was aborted");
}

// Lives and dies on the JavaScript thread; its thread and its letters hold weak references and the flag only.
class BackgroundJob : public std::enable_shared_from_this<BackgroundJob> {
 public:
  BackgroundJob(Napi::Env env, std::shared_ptr<Mailbox> mailbox, const Napi::Value& listener)
      : mailbox_(std::move(mailbox)), deferred_(Napi::Promise::Deferred::New(env)) {
    if (listener.IsFunction()) listener_ = Napi::Persistent(listener.As<Napi::Function>());
  }

  Napi::Object start(Napi::Env env, BackgroundWork work);
  bool running() const { return running_; }
  void cancel() { *cancelled_ = true; }
  void wait() {
    if (thread_.valid()) thread_.wait();
  }

 private:
  using Action = std::function<void(Napi::Env, BackgroundJob&)>;
  void settle(Napi::Env env) {
    running_ = false;
    mailbox_->release(env);
  }

  std::shared_ptr<Mailbox> mailbox_;
  Napi::Promise::Deferred deferred_;
  Napi::FunctionReference listener_;
  std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
  bool running_ = true;
  std::future<void> thread_;  // last: waited for before the rest goes
};

Napi::Object BackgroundJob::start(Napi::Env env, BackgroundWork work) {
  mailbox_->hold(env);
  const auto send = [mailbox = mailbox_, weak = weak_from_this()](Action action) {
    mailbox->post([weak, action = std::move(action)](Napi::Env letter_env) {
      if (const auto job = weak.lock()) action(letter_env, *job);
    });
  };
  JobControl control{cancelled_, nullptr};
  if (!listener_.IsEmpty())
    control.tell = [send](MakeEvent make) {
      send([make = std::move(make)](Napi::Env letter_env, BackgroundJob& job) {
        if (job.running_) job.listener_.Call({make(letter_env)});
      });
    };
  thread_ = std::async(std::launch::async, [send, control, work = std::move(work)] {
    std::optional<Error> failure;
    try {
      MakeResult make = work.run(control);
      control.check();
      send([make = std::move(make)](Napi::Env letter_env, BackgroundJob& job) {
        job.settle(letter_env);
        job.deferred_.Resolve(make(letter_env));
      });
      return;
    } catch (const Error& error) {
      failure = error;
    } catch (const std::bad_alloc&) {
      failure = Error(ErrorCode::out_of_memory, work.name + ": out of host memory", work.memory_remedy);
    } catch (const std::exception& error) {
      failure = Error(ErrorCode::internal, concat(work.name, ": ", error.what()));
    }
    send([error = *failure](Napi::Env letter_env, BackgroundJob& job) {
      job.settle(letter_env);
      job.deferred_.Reject(to_js(letter_env, error));
    });
  });
  Napi::Object object = Napi::Object::New(env);
  object.Set("promise", deferred_.Promise());
  object.Set("cancel", Napi::Function::New(
                           env, [cancelled = cancelled_](const Napi::CallbackInfo&) { *cancelled = true; }, "cancel"));
  return object;
}

Napi::Object start_job(Napi::Env env, const Napi::Value& listener, BackgroundWork work) {
  Environment& environment = **env.GetInstanceData<std::shared_ptr<Environment>>();
  std::erase_if(environment.jobs, [](const auto& job) { return !job->running(); });
  const auto job = std::make_shared<BackgroundJob>(env, environment.mailbox, listener);
  environment.jobs.push_back(job);
  return job->start(env, std::move(work));
}

void stop_jobs(Environment& environment) {
  for (const auto& job : environment.jobs) job->cancel();
  for (const auto& job : environment.jobs) job->wait();
  environment.jobs.clear();
}

}  // namespace paella::addon
