/** generate() without an engine of one's own. */
import { PaellaError } from '../errors.js';
import type { GeneratedImage } from '../images/generated-image.js';
import type { GenerateOptions } from '../options/generate-options.js';
import { type LoadOptions, resolveLoadOptions } from '../options/load-options.js';
import { Paella } from './paella.js';

const engines = new Map<string, Promise<Paella>>();

/**
 * Draws images with a shared engine, loaded on first use and kept; each set of load options has its own. It does not
 * keep the process alive. For control over memory use `Paella.load()` and `dispose()`. `signal` and `deadlineMs` hold
 * while the engine loads, too, which goes on for others; `onProgress` and `logger` are those of the call that loads it.
 * Rejects like `Paella.load()` and `Paella.generate()`.
 */
export async function generate(prompt: string | GenerateOptions, load: LoadOptions = {}): Promise<GeneratedImage[]> {
  const called = performance.now();
  const { signal, onProgress, logger, ...plain } = resolveLoadOptions(load);
  const { signal: own, deadlineMs } = limitsOf(prompt);
  const signals = [signal, own].filter((each) => each !== undefined);
  for (const each of signals) each.throwIfAborted();
  const key = JSON.stringify(plain);
  let engine = engines.get(key);
  if (!engine) {
    // Without the signal: others may wait for the same engine by the time that it is aborted.
    const { signal: _, ...shared } = load;
    engine = Paella.load(shared);
    engines.set(key, engine);
    engine.catch(() => engines.delete(key)); // the next call tries again
  }
  const loaded = await waitFor(engine, signals, deadlineMs);
  if (deadlineMs === undefined || typeof prompt === 'string') return loaded.generate(prompt);
  const left = Math.max(1, deadlineMs - (performance.now() - called));
  return loaded.generate({ ...prompt, deadlineMs: left });
}

/** What a call says about waiting, where it is well-formed; `Paella.generate()` names what is not. */
function limitsOf(prompt: unknown): { signal?: AbortSignal; deadlineMs?: number } {
  if (typeof prompt !== 'object' || prompt === null) return {};
  const { signal, deadlineMs } = prompt as Record<string, unknown>;
  return {
    ...(signal instanceof AbortSignal ? { signal } : {}),
    ...(typeof deadlineMs === 'number' && deadlineMs >= 1 && deadlineMs <= LONGEST_TIMER ? { deadlineMs } : {}),
  };
}

/** ms: timers of Node run at once beyond it. */
const LONGEST_TIMER = 2_147_483_647;

/** The engine, unless a signal is aborted or the time is over before: then rejects with its reason, or `ERR_DEADLINE`. */
async function waitFor(engine: Promise<Paella>, signals: AbortSignal[], deadlineMs?: number): Promise<Paella> {
  let stop = () => {};
  const given = new Promise<never>((_, reject) => {
    const aborted = (event: Event) => reject((event.target as AbortSignal).reason);
    for (const signal of signals) signal.addEventListener('abort', aborted, { once: true });
    const late = () =>
      reject(
        new PaellaError('ERR_DEADLINE', `deadlineMs: expected to start within ${deadlineMs} ms, the model still loads`),
      );
    const timer = deadlineMs === undefined ? undefined : setTimeout(late, deadlineMs);
    stop = () => {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener('abort', aborted);
    };
  });
  try {
    return await Promise.race([engine, given]);
  } finally {
    stop();
  }
}
