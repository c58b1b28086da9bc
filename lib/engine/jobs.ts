/** Between native jobs and promises that follow an AbortSignal. */
import { fromNative } from '../errors.js';
import type { NativeJob } from '../native/contract.js';

/**
 * Starts a native job and waits for it. An aborted signal cancels it and the call rejects with `signal.reason`, also
 * when the abort came too late to save the work.
 */
export async function runJob<T>(start: () => NativeJob<T>, signal?: AbortSignal): Promise<T> {
  signal?.throwIfAborted();
  let job: NativeJob<T>;
  try {
    job = start();
  } catch (error) {
    throw fromNative(error, signal);
  }
  const cancel = () => job.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    const result = await job.promise;
    signal?.throwIfAborted();
    return result;
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw fromNative(error, signal);
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}
