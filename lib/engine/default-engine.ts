/** generate() without an engine of one's own. */
import type { GeneratedImage } from '../images/generated-image.js';
import type { GenerateOptions } from '../options/generate-options.js';
import { type LoadOptions, resolveLoadOptions } from '../options/load-options.js';
import { Paella } from './paella.js';

const engines = new Map<string, Promise<Paella>>();

/**
 * Draws images with a shared engine, loaded on first use and kept; each set of load options has its own. It does not
 * keep the process alive. For control over memory use `Paella.load()` and `dispose()`.
 * Rejects like `Paella.load()` and `Paella.generate()`.
 */
export async function generate(prompt: string | GenerateOptions, load: LoadOptions = {}): Promise<GeneratedImage[]> {
  const { signal, onProgress, logger, ...plain } = resolveLoadOptions(load);
  const key = JSON.stringify(plain);
  signal?.throwIfAborted();
  let engine = engines.get(key);
  if (!engine) {
    // Without the signal: others may wait for the same engine by the time that it is aborted.
    const { signal: _, ...shared } = load;
    engine = Paella.load(shared);
    engines.set(key, engine);
    engine.catch(() => engines.delete(key)); // the next call tries again
  }
  return (await unlessAborted(engine, signal)).generate(prompt);
}

/** Waits no longer than until the signal is aborted, and then rejects with its reason. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
