/** What every scenario gets beside its configuration. */
import type { LoadProgress } from '../../../options/load-options.js';
import type { BenchRow } from '../schema.js';
import type { Settings } from '../settings.js';

export interface Bench {
  settings: Settings;
  /** Aborted by Ctrl-C: what is measured by then is kept. */
  signal: AbortSignal;
  /** Takes a row; from then on nothing loses it. */
  emit(row: BenchRow): void;
  progress(text: string, done: number, total: number): void;
  loading(progress: LoadProgress): void;
}

/**
 * Runs `work` until it has run `times` times, gives false, or is interrupted, which is no failure: what was done by then
 * counts.
 * @returns false: it was interrupted
 */
export async function repeated(
  times: number,
  signal: AbortSignal,
  work: (i: number) => Promise<unknown>,
): Promise<boolean> {
  for (let i = 0; i < times; i++) {
    const outcome = await unlessInterrupted(signal, async () => ({ goOn: await work(i) }));
    if (!outcome) return false;
    if (outcome.goOn === false) return true;
  }
  return true;
}

/** @returns what `work` does; nothing if it was interrupted before or meanwhile, which is no failure either */
export async function unlessInterrupted<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T | undefined> {
  try {
    signal.throwIfAborted();
    return await work();
  } catch (error) {
    if (signal.aborted) return undefined;
    throw error;
  }
}
