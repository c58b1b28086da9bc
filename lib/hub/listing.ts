/** What is in a repository. */
import { PaellaError } from '../errors.js';
import type { RemoteFile } from './download.js';
import { reasonOf, request, TemporaryError, withRetries } from './http.js';
import type { Repository } from './repository.js';
import type { HubSettings } from './settings.js';

export interface Listing {
  /** 40 hexadecimal digits. */
  readonly commit: string;
  readonly files: readonly ListedFile[];
}

export interface ListedFile {
  readonly path: string;
  /** Undefined where a mirror does not say. */
  readonly size: number | undefined;
  readonly etag: string | undefined;
}

const MAX_ANSWER = 16 << 20;
const MAX_FILES = 10_000;

/** Throws `ERR_NETWORK`, `ERR_MODEL_NOT_FOUND`. */
export async function listRepository(
  { id, revision }: Repository,
  settings: HubSettings,
  signal: AbortSignal | undefined,
): Promise<Listing> {
  const url = `${settings.endpoint}/api/models/${id}/revision/${encodeURIComponent(revision)}?blobs=true`;
  const json = await withRetries(settings, signal, () => getJson(url, settings, signal));
  const { sha, siblings } = json as { sha?: unknown; siblings?: unknown };
  if (typeof sha !== 'string' || !/^[0-9a-f]{40}$/.test(sha) || !Array.isArray(siblings)) {
    throw new PaellaError('ERR_NETWORK', `${url}: expected the commit and files of a repository, got something else`, {
      remedy: 'HF_ENDPOINT may not be the address of a hub',
    });
  }
  if (siblings.length > MAX_FILES) {
    throw new PaellaError('ERR_NETWORK', `${url}: expected at most ${MAX_FILES} files, got ${siblings.length}`);
  }
  return { commit: sha, files: siblings.map((each) => listedFile(each, url)) };
}

async function getJson(url: string, settings: HubSettings, signal: AbortSignal | undefined): Promise<object> {
  const text = await inTime(url, settings, signal, async (both) =>
    textOf(await request(url, settings, { signal: both })),
  );
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json === 'object' && json !== null) return json;
  } catch {
    // A page of a proxy, for example.
  }
  throw new PaellaError('ERR_NETWORK', `${url}: expected JSON, got something else`, {
    remedy: 'HF_ENDPOINT may not be the address of a hub',
  });
}

/** A server that does not answer is one that may answer later. */
async function inTime<T>(
  url: string,
  { idleMs }: HubSettings,
  signal: AbortSignal | undefined,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = AbortSignal.timeout(idleMs);
  try {
    return await work(signal ? AbortSignal.any([signal, limit]) : limit);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof PaellaError) throw error;
    const reason = limit.aborted ? `no answer within ${idleMs / 1000} s` : `the connection broke: ${reasonOf(error)}`;
    throw new TemporaryError(`${url}: ${reason}`, error);
  }
}

async function textOf(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of response.body ?? []) {
    length += part.length;
    if (length > MAX_ANSWER)
      throw new PaellaError('ERR_NETWORK', `${response.url}: an answer of more than ${MAX_ANSWER} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

interface Sibling {
  rfilename?: unknown;
  size?: unknown;
  blobId?: unknown;
  lfs?: { sha256?: unknown; oid?: unknown; size?: unknown } | null;
}

function listedFile(value: unknown, url: string): ListedFile {
  const { rfilename, size, blobId, lfs } = (value ?? {}) as Sibling;
  if (typeof rfilename !== 'string' || !isSafe(rfilename)) {
    // It becomes a path in the cache: a hub that sends such a name is not to be trusted with any file.
    throw new PaellaError('ERR_NETWORK', `${url}: refused the file name ${JSON.stringify(rfilename)?.slice(0, 200)}`);
  }
  return {
    path: rfilename,
    size: sizeOf(lfs?.size ?? size),
    etag: lfs ? hash(lfs.sha256 ?? lfs.oid, 64) : hash(blobId, 40),
  };
}

const sizeOf = (value: unknown): number | undefined =>
  Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : undefined;

const hash = (value: unknown, digits: number): string | undefined =>
  typeof value === 'string' && /^[0-9a-f]+$/.test(value) && value.length === digits ? value : undefined;

/** A relative path without tricks, on any system. */
export function isSafe(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (name.length === 0 || name.length > 500 || /[\\:\x00-\x1f]/.test(name)) return false;
  return name.split('/').every((part) => part !== '' && part !== '.' && part !== '..');
}

/** Size and hash of a file, from the list or else by asking for it. Throws `ERR_NETWORK`, `ERR_MODEL_NOT_FOUND`. */
export async function describeFile(
  { id }: Repository,
  commit: string,
  { path: name, size, etag }: ListedFile,
  settings: HubSettings,
  signal: AbortSignal | undefined,
): Promise<RemoteFile> {
  const url = `${settings.endpoint}/${id}/resolve/${commit}/${name.split('/').map(encodeURIComponent).join('/')}`;
  if (size !== undefined && etag !== undefined) return { path: name, url, size, etag };
  const { headers } = await withRetries(settings, signal, () =>
    // The hub itself says size and hash; the host that it redirects to does not know them.
    inTime(url, settings, signal, (both) => request(url, settings, { method: 'HEAD', leave: false, signal: both })),
  );
  const told = (headers.get('x-linked-etag') ?? headers.get('etag') ?? '').replace(/^W\//, '').replaceAll('"', '');
  const length = sizeOf(Number(headers.get('x-linked-size') ?? headers.get('content-length') ?? Number.NaN));
  if (!/^[\w.-]{1,128}$/.test(told) || /^\.+$/.test(told) || length === undefined) {
    throw new PaellaError('ERR_NETWORK', `${url}: expected size and hash in the answer, got none`, {
      remedy: 'HF_ENDPOINT may not be the address of a hub',
    });
  }
  return { path: name, url, size: length, etag: told };
}
