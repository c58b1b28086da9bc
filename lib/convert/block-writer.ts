/** Writes a file from front to back in large blocks; the next block is filled while one is being written. */
import type { FileHandle } from 'node:fs/promises';
import { ioError } from '../errors.js';

/** Small enough to stay in the processor's cache between being read and being written: 4 MiB cost twice the time. */
const BLOCK = 1 << 20;

export class BlockWriter {
  readonly #handle: FileHandle;
  readonly #path: string;
  #blocks: [Buffer, Buffer] = [Buffer.alloc(BLOCK), Buffer.alloc(BLOCK)];
  #filled = 0;
  #position: number;
  #safe: number;
  #writing: Promise<unknown> = Promise.resolve();

  /** @param position where the next bytes go */
  constructor(handle: FileHandle, path: string, position: number) {
    this.#handle = handle;
    this.#path = path;
    this.#position = position;
    this.#safe = position;
  }

  /** Everything before this is in the file. */
  get safe(): number {
    return this.#safe;
  }

  /** Where the next byte goes. */
  get position(): number {
    return this.#position + this.#filled;
  }

  /**
   * Room for at least one and at most `most` elements of `unit` bytes, which `commit()` counts as written. It begins at a
   * multiple of `unit` within its buffer.
   */
  async room(most: number, unit: number): Promise<Buffer> {
    if (this.#filled % unit !== 0 || BLOCK - this.#filled < unit) await this.#next();
    const count = Math.min(most, Math.floor((BLOCK - this.#filled) / unit));
    return this.#blocks[0].subarray(this.#filled, this.#filled + count * unit);
  }

  commit(bytes: number): void {
    this.#filled += bytes;
  }

  async #next(): Promise<void> {
    const [full, free] = this.#blocks;
    const [length, position] = [this.#filled, this.#position];
    await this.#writing;
    this.#writing = this.#write(full, length, position);
    // Whoever waits next gets the error; until then nobody does.
    this.#writing.catch(() => undefined);
    this.#blocks = [free, full];
    this.#position += length;
    this.#filled = 0;
  }

  async #write(block: Buffer, length: number, position: number): Promise<void> {
    for (let done = 0; done < length; ) {
      try {
        done += (await this.#handle.write(block, done, length - done, position + done)).bytesWritten;
      } catch (error) {
        throw ioError('written', this.#path, error);
      }
    }
    this.#safe = position + length;
  }

  /** Waits for what is on its way to the file, whether it arrives or not. */
  async settle(): Promise<void> {
    await this.#writing.catch(() => undefined);
  }

  /** Everything committed is in the file. Throws `ERR_IO`. */
  async flush(): Promise<void> {
    await this.#next();
    await this.#writing;
  }
}
