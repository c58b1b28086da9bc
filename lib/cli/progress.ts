import { Paella } from '../engine/paella.js';
import type { LoadOptions, LoadProgress } from '../options/load-options.js';
import { bytes } from './text.js';

/** One line on stderr that is written over; nothing when stderr is no terminal. */
export class Progress {
  readonly #visible = process.stderr.isTTY === true;
  #shown = false;

  show(text: string): void {
    if (!this.#visible) return;
    process.stderr.write(`\r\x1b[2K${text}`);
    this.#shown = true;
  }

  bar(text: string, done: number, total: number): void {
    const width = 24;
    const filled = total > 0 ? Math.round((done / total) * width) : 0;
    this.show(
      `${text} ${'█'.repeat(filled)}${'░'.repeat(width - filled)} ${Math.round((done / Math.max(1, total)) * 100)} %`,
    );
  }

  /** For `onProgress` of Paella.load(). Random weights have no total: they come from no file. */
  readonly loading = ({ phase, loaded, total }: LoadProgress): void => {
    if (total > 0) this.bar(`loading ${phase}`, loaded, total);
    else this.show(`making ${phase} ${bytes(loaded)}`);
  };

  clear(): void {
    if (this.#shown) process.stderr.write('\r\x1b[2K');
    this.#shown = false;
  }
}

/** Paella.load() with its progress shown until it ends. */
export async function loadEngine(options: LoadOptions): Promise<Paella> {
  const progress = new Progress();
  try {
    return await Paella.load({ ...options, onProgress: progress.loading });
  } finally {
    progress.clear();
  }
}
