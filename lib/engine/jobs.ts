/** Between native jobs and promises that follow an AbortSignal. */
import { fromNative } from '../errors.js';
import type { NativeJob } from '../native/contract.js';

/**
 * Starts a native job and waits for it. An aborted signal cancels it and the call rejects with `signal.reason`, also
 * when the abort came too late to save the work: `discard` then gets the result.
 */
export async function runJob<T>(
  start: () => NativeJob<T>,
  signal?: AbortSignal,
  discard?: (result: T) => Promise<void>,
): Promise<T> {
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
    if (signal?.aborted) await discard?.(result);
    signal?.throwIfAborted();
    return result;
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw fromNative(error, signal);
  } finally {
    signal?.removeEventListener('abort', cancel);
  }
}

/**
 * The same for a job that tells of itself. What the listener throws cancels the job and is what the call rejects with, even
 * if the work was done by then: `discard` then gets the result.
 */
export async function runHeardJob<T, E>(
  start: (hear: ((event: E) => void) | null) => NativeJob<T>,
  listener: ((event: E) => void) | undefined,
  signal?: AbortSignal,
  discard?: (result: T) => Promise<void>,
): Promise<T> {
  let job: NativeJob<T> | undefined;
  let thrown: { error: unknown } | undefined;
  const hear = (event: E) => {
    if (thrown) return;
    try {
      listener?.(event);
    } catch (error) {
      thrown = { error };
      job?.cancel();
    }
  };
  const begin = () => {
    job = start(listener ? hear : null);
    return job;
  };
  const result = await runJob(begin, signal, discard).catch((error: unknown) => {
    throw thrown ? thrown.error : error;
  });
  if (!thrown) return result;
  await discard?.(result);
  throw (thrown as { error: unknown }).error;
}
