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
    try {
      signal.throwIfAborted();
      if ((await work(i)) === false) return true;
    } catch (error) {
      if (signal.aborted) return false;
      throw error;
    }
  }
  return true;
}
