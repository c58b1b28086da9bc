/** What stream() yields, and the queue between native events and `for await`. */
import type { GeneratedImage } from '../images/generated-image.js';
import type { StepEvent } from './types.js';

/** An image on its way, decoded from the tokens after a step. */
export interface Preview {
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  channels: 3;
  /** RGB, [height, width, 3]. */
  data: Uint8Array;
}

export type GenerateEvent =
  | { type: 'queued' /** Jobs before this one. */; position: number }
  | ({ type: 'step' } & StepEvent)
  | { type: 'preview' /** Of the image, from 0. */; index: number; step: number; steps: number; preview: Preview }
  | { type: 'image' /** From 0. */; index: number; image: GeneratedImage };

/** A queue that one side pushes into and the other reads as an async iterable until it is closed. */
export class EventQueue<T> {
  readonly #waiting: T[] = [];
  #closed = false;
  #failure: { error: unknown } | undefined;
  #wake: (() => void) | undefined;

  push(item: T): void {
    this.#waiting.push(item);
    this.#wake?.();
  }

  /** Ends the iteration after what is waiting. */
  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  /** Ends the iteration with an error, after what is waiting. */
  fail(error: unknown): void {
    this.#failure = { error };
    this.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      while (this.#waiting.length > 0) yield this.#waiting.shift() as T;
      if (this.#failure) throw this.#failure.error;
      if (this.#closed) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
