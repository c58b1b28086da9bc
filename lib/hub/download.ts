/** One file of a repository → its blob, gone on with where it was interrupted, and checked against its hash. */
import { createHash, type Hash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { ioError, PaellaError } from '../errors.js';
import { withLock } from '../file-lock.js';
import type { CachedRepository } from './cache.js';
import { reasonOf, request, TemporaryError, withRetries } from './http.js';
import type { HubSettings } from './settings.js';

export interface RemoteFile {
  /** Inside the repository, with slashes. */
  readonly path: string;
  readonly url: string;
  /** Bytes. */
  readonly size: number;
  /** Names the blob: the SHA-256 of a large file, the SHA-1 of Git of a small one. */
  readonly etag: string;
}

const REHASH_CHUNK = 4 << 20;

/** Of the file, complete or not. */
export async function bytesHere(file: RemoteFile, repository: CachedRepository): Promise<number> {
  const blob = repository.blob(file.etag);
  if (await isThere(blob, file.size)) return file.size;
  const partial = await stat(`${blob}.incomplete`).catch(() => undefined);
  return Math.min(partial?.size ?? 0, file.size);
}

const isThere = (blob: string, size: number): Promise<boolean> =>
  stat(blob).then(
    (status) => status.isFile() && status.size === size,
    () => false,
  );

/**
 * @param onBytes how many bytes of the file are here
 * @returns how many came over the network
 * Throws `ERR_NETWORK`, `ERR_MODEL_NOT_FOUND`, `ERR_MODEL_FORMAT` (the contents are not those of the hash), `ERR_IO`.
 */
export async function fetchBlob(
  file: RemoteFile,
  repository: CachedRepository,
  settings: HubSettings,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
): Promise<number> {
  const blob = repository.blob(file.etag);
  const here = () => {
    onBytes(file.size);
    return 0;
  };
  if (await isThere(blob, file.size)) return here();
  return withLock(path.join(repository.locks, `${file.etag}.paella.lock`), signal, async () => {
    if (await isThere(blob, file.size)) return here(); // another process was faster
    const partial = `${blob}.incomplete`;
    await mkdir(path.dirname(blob), { recursive: true }).catch((error: unknown) => {
      throw ioError('written', blob, error);
    });
    const fetch = () => fetchInto(partial, file, settings, signal, onBytes);
    let { right, received } = await fetch();
    if (!right) {
      // What was there before may have been of another file of that name: once more, from the start.
      const again = await fetch();
      right = again.right;
      received += again.received;
    }
    if (!right) {
      throw new PaellaError(
        'ERR_MODEL_FORMAT',
        `${file.url}: expected contents with the hash ${file.etag}, got others`,
        {
          remedy: 'the hub or mirror is at fault, or something between: try again, or another HF_ENDPOINT',
        },
      );
    }
    await rename(partial, blob).catch((error: unknown) => {
      throw ioError('written', blob, error);
    });
    return received;
  });
}

/** Contents without the right hash are removed. */
async function fetchInto(
  partial: string,
  file: RemoteFile,
  settings: HubSettings,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
): Promise<{ right: boolean; received: number }> {
  let handle: FileHandle;
  try {
    // Not truncated: what an earlier try fetched is gone on with.
    handle = await open(partial, constants.O_RDWR | constants.O_CREAT);
  } catch (error) {
    throw ioError('written', partial, error);
  }
  const target = new PartialFile(handle, partial, file);
  let right = false;
  try {
    await target.begin();
    onBytes(target.length);
    const attempt = () => receive(target, file, settings, signal, onBytes);
    await withRetries(settings, signal, attempt, () => target.received);
    right = target.isRight();
  } finally {
    await handle.close();
  }
  if (!right) await rm(partial, { force: true });
  return { right, received: target.received };
}

/** The unfinished file, and the hash of what is in it. */
class PartialFile {
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #file: RemoteFile;
  #hash: Hash | undefined;
  length = 0;
  /** Bytes that came over the network. */
  received = 0;

  constructor(handle: FileHandle, name: string, file: RemoteFile) {
    this.#handle = handle;
    this.#path = name;
    this.#file = file;
  }

  /** Hashes what is there already. */
  async begin(): Promise<void> {
    try {
      const { size } = await this.#handle.stat();
      if (size > this.#file.size) return await this.restart();
      this.#hash = this.#newHash();
      const buffer = Buffer.allocUnsafe(Math.min(REHASH_CHUNK, size));
      for (this.length = 0; this.length < size; ) {
        const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, this.length);
        if (bytesRead === 0) break;
        this.#hash?.update(buffer.subarray(0, bytesRead));
        this.length += bytesRead;
      }
    } catch (error) {
      throw ioError('read', this.#path, error);
    }
  }

  async restart(): Promise<void> {
    await this.#handle.truncate(0).catch((error: unknown) => {
      throw ioError('written', this.#path, error);
    });
    this.#hash = this.#newHash();
    this.length = 0;
  }

  async append(bytes: Uint8Array): Promise<void> {
    if (this.length + bytes.length > this.#file.size) {
      throw new PaellaError('ERR_NETWORK', `${this.#file.url}: expected ${this.#file.size} bytes, got more`);
    }
    try {
      for (let done = 0; done < bytes.length; ) {
        done += (await this.#handle.write(bytes, done, bytes.length - done, this.length + done)).bytesWritten;
      }
    } catch (error) {
      throw ioError('written', this.#path, error);
    }
    this.#hash?.update(bytes);
    this.length += bytes.length;
    this.received += bytes.length;
  }

  /** Size and hash; an etag that is neither a SHA-256 nor a SHA-1 of Git tells nothing but the size. */
  isRight(): boolean {
    if (this.length !== this.#file.size) return false;
    return this.#hash === undefined || this.#hash.digest('hex') === this.#file.etag;
  }

  #newHash(): Hash | undefined {
    if (/^[0-9a-f]{64}$/.test(this.#file.etag)) return createHash('sha256');
    if (/^[0-9a-f]{40}$/.test(this.#file.etag)) return createHash('sha1').update(`blob ${this.#file.size}\0`);
    return undefined;
  }
}

async function receive(
  target: PartialFile,
  file: RemoteFile,
  settings: HubSettings,
  signal: AbortSignal | undefined,
  onBytes: (bytes: number) => void,
): Promise<void> {
  if (target.length === file.size) return;
  const idle = new AbortController();
  const timer = setTimeout(() => idle.abort(new Error('no bytes came')), settings.idleMs);
  const both = signal ? AbortSignal.any([signal, idle.signal]) : idle.signal;
  try {
    const headers: Record<string, string> = target.length > 0 ? { range: `bytes=${target.length}-` } : {};
    const response = await request(file.url, settings, { headers, signal: both });
    await startAt(response, target, file);
    for await (const chunk of response.body ?? []) {
      timer.refresh();
      await target.append(chunk);
      onBytes(target.length);
    }
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof PaellaError) throw error;
    throw new TemporaryError(
      `${file.url}: the connection broke after ${target.length} of ${file.size} bytes: ${reasonOf(error)}`,
      error,
    );
  } finally {
    clearTimeout(timer);
  }
  if (target.length < file.size) {
    throw new TemporaryError(`${file.url}: the answer ended after ${target.length} of ${file.size} bytes`);
  }
}

/** A server may send the whole file instead of the rest. */
async function startAt(response: Response, target: PartialFile, file: RemoteFile): Promise<void> {
  if (response.status !== 206) return target.length > 0 ? target.restart() : undefined;
  const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get('content-range') ?? '') ?? [];
  if (Number(from) !== target.length || (total !== '*' && Number(total) !== file.size)) {
    await response.body?.cancel().catch(() => undefined);
    throw new PaellaError(
      'ERR_NETWORK',
      `${file.url}: expected the bytes from ${target.length} of ${file.size}, got ${response.headers.get('content-range')}`,
    );
  }
}
