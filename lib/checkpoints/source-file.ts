/** A checkpoint file, read at any place. */
import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { ioError, PaellaError } from '../errors.js';

const HASH_CHUNK = 4 << 20;

/** What is wrong with the contents of `file`. */
export function badCheckpoint(file: string, reason: string, remedy?: string, cause?: unknown): PaellaError {
  return new PaellaError('ERR_MODEL_FORMAT', `${file}: ${reason}`, { remedy, cause });
}

export class SourceFile implements AsyncDisposable {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds, with a fraction. Tells, with the size, whether a file is still the one it was. */
  readonly modified: number;
  readonly #handle: FileHandle;
  #hash: { state: Hash; at: number; signal: AbortSignal | undefined } | undefined;

  private constructor(path: string, handle: FileHandle, size: number, modified: number) {
    this.path = path;
    this.#handle = handle;
    this.size = size;
    this.modified = modified;
  }

  /** Throws `ERR_MODEL_NOT_FOUND`, `ERR_MODEL_FORMAT` (a pipe, a device, a folder), `ERR_IO`. */
  static async open(path: string): Promise<SourceFile> {
    let handle: FileHandle | undefined;
    try {
      // Opening a pipe would wait for somebody who writes to it; O_NONBLOCK does not, and files take no notice.
      handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
      const status = await handle.stat();
      if (!status.isFile()) throw badCheckpoint(path, 'expected a file, found something else');
      return new SourceFile(path, handle, status.size, status.mtimeMs);
    } catch (error) {
      await handle?.close();
      if (error instanceof PaellaError) throw error;
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
        throw new PaellaError('ERR_MODEL_NOT_FOUND', `${path}: no such file`, { cause: error });
      }
      throw ioError('read', path, error);
    }
  }

  /** From now on every byte goes through SHA-256 when it is first read; what is passed over is read for it. */
  startHash(signal?: AbortSignal): void {
    this.#hash = { state: createHash('sha256'), at: 0, signal };
  }

  /** Fills `target` from `offset` on. Throws `ERR_MODEL_FORMAT` if the file ends before, `ERR_IO`. */
  async read(target: Uint8Array, offset: number): Promise<void> {
    if (this.#hash && offset > this.#hash.at) await this.#hashUpTo(offset);
    await this.#fill(target, offset);
    const hash = this.#hash;
    if (hash && offset <= hash.at && hash.at < offset + target.length) {
      hash.state.update(target.subarray(hash.at - offset));
      hash.at = offset + target.length;
    }
  }

  async bytes(offset: number, length: number): Promise<Buffer> {
    const target = Buffer.allocUnsafe(length);
    await this.read(target, offset);
    return target;
  }

  /** The SHA-256 of the whole file in hexadecimal, after `startHash()`. */
  async finishHash(): Promise<string> {
    if (!this.#hash) throw new Error('startHash() was not called');
    await this.#hashUpTo(this.size);
    const digest = this.#hash.state.digest('hex');
    this.#hash = undefined;
    return digest;
  }

  async #hashUpTo(offset: number): Promise<void> {
    const hash = this.#hash;
    if (!hash) return;
    const buffer = Buffer.allocUnsafe(Math.min(HASH_CHUNK, Math.max(0, offset - hash.at)));
    while (hash.at < offset) {
      hash.signal?.throwIfAborted();
      const part = buffer.subarray(0, Math.min(buffer.length, offset - hash.at));
      await this.#fill(part, hash.at);
      hash.state.update(part);
      hash.at += part.length;
    }
  }

  async #fill(target: Uint8Array, offset: number): Promise<void> {
    let done = 0;
    while (done < target.length) {
      let count: number;
      try {
        count = (await this.#handle.read(target, done, target.length - done, offset + done)).bytesRead;
      } catch (error) {
        throw ioError('read', this.path, error);
      }
      if (count === 0) {
        throw badCheckpoint(
          this.path,
          `expected ${target.length} bytes at offset ${offset}, found the end of the file at ${offset + done}`,
          'the file is cut short: download it again',
        );
      }
      done += count;
    }
  }

  async close(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}
