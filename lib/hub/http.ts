/** Requests to the hub: redirects without carrying the token elsewhere, retries, and errors in words. */
import { setTimeout as sleep } from 'node:timers/promises';
import { PaellaError } from '../errors.js';
import { packageVersion } from '../package-root.cjs';
import type { HubSettings } from './settings.js';

const MAX_REDIRECTS = 10;
const MAX_TRIES = 5;
const MAX_WAIT_MS = 300_000;

export interface RequestOptions {
  method?: 'GET' | 'HEAD';
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  /** Whether to follow redirects to other hosts. Default true; the answer is the redirect itself otherwise. */
  leave?: boolean;
}

/** What may be better in a moment: a broken connection, a busy server. */
export class TemporaryError extends PaellaError {
  /** The server named how long to wait. */
  readonly waitMs: number | undefined;

  constructor(message: string, cause?: unknown, waitMs?: number) {
    super('ERR_NETWORK', message, { cause, remedy: 'try again later; what was fetched is kept' });
    this.waitMs = waitMs;
  }
}

/** One try. @returns an answer of 2xx, or of 3xx to another host if `leave` is false. Throws `PaellaError`. */
export async function request(url: string, settings: HubSettings, options: RequestOptions = {}): Promise<Response> {
  const home = new URL(settings.endpoint).origin;
  let current = new URL(url);
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
    const response = await once(current, current.origin === home ? settings.token : undefined, options);
    const location = response.headers.get('location');
    if (response.status < 300 || response.status >= 400 || location === null) {
      if (response.ok) return response;
      throw await refusal(response, url, settings);
    }
    const next = redirectTarget(location, current, url);
    if (options.leave === false && next.origin !== current.origin) return response;
    await response.body?.cancel().catch(() => undefined);
    current = next;
  }
  throw new PaellaError('ERR_NETWORK', `${url}: more than ${MAX_REDIRECTS} redirects`);
}

async function once(url: URL, token: string | undefined, options: RequestOptions): Promise<Response> {
  const headers: Record<string, string> = {
    'user-agent': `paella-native/${packageVersion}`,
    // A compressed answer would have another length than the file, and ranges of it are of no use.
    'accept-encoding': 'identity',
    ...options.headers,
  };
  if (token !== undefined) headers.authorization = `Bearer ${token}`;
  try {
    return await fetch(url, {
      method: options.method ?? 'GET',
      headers,
      redirect: 'manual',
      signal: options.signal ?? null,
    });
  } catch (error) {
    if (options.signal?.aborted) throw options.signal.reason;
    const { code } = ((error as Error).cause ?? {}) as NodeJS.ErrnoException;
    const message = `${url.origin}: cannot be reached: ${reasonOf(error)}`;
    // A host whose name leads nowhere, on a machine without a network above all: waiting would not help.
    if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
      throw new PaellaError('ERR_NETWORK', message, {
        remedy: 'check the connection; HF_ENDPOINT names a mirror, HF_HUB_OFFLINE=1 uses what is there',
        cause: error,
      });
    }
    throw new TemporaryError(message, error);
  }
}

function redirectTarget(location: string, from: URL, url: string): URL {
  const next = URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  const safe = next && (next.protocol === 'https:' || (next.protocol === 'http:' && from.protocol === 'http:'));
  if (!safe)
    throw new PaellaError(
      'ERR_NETWORK',
      `${url}: redirected to an address that is not followed: ${location.slice(0, 200)}`,
    );
  return next;
}

/** `fetch failed` says nothing; its cause does. */
export function reasonOf(error: unknown): string {
  const { cause, message } = error as Error;
  const inner = cause as NodeJS.ErrnoException | undefined;
  return inner?.code ? `${inner.code}${inner.message ? ` (${inner.message})` : ''}` : (inner?.message ?? message);
}

async function refusal(response: Response, url: string, settings: HubSettings): Promise<PaellaError> {
  await response.body?.cancel().catch(() => undefined);
  const { status, headers } = response;
  const detail = headers.get('x-error-message')?.slice(0, 300) ?? '';
  const words = `${url}: the server answers ${status}${detail ? `: ${detail}` : ''}`;
  const code = headers.get('x-error-code');
  if (code === 'GatedRepo' || (status === 403 && /gated|restricted/i.test(detail))) {
    return new PaellaError('ERR_NETWORK', `${words} (access to this repository has to be asked for)`, {
      remedy: settings.token
        ? 'open the repository in a browser with the account of HF_TOKEN, and accept its conditions'
        : 'accept its conditions in a browser, then set HF_TOKEN to a token of that account',
    });
  }
  if (status === 401 && code !== 'RepoNotFound') {
    return new PaellaError('ERR_NETWORK', words, {
      remedy: settings.token ? 'HF_TOKEN is not valid here' : 'set HF_TOKEN to a token that may read it',
    });
  }
  // The hub says 401 for repositories that are not there, to those who might not be allowed to know.
  if (status === 404 || code === 'RepoNotFound') {
    return new PaellaError('ERR_MODEL_NOT_FOUND', words, {
      remedy: `check the name${settings.token ? '' : '; for a private repository set HF_TOKEN'}`,
    });
  }
  if (status === 429 || status >= 500 || status === 408) {
    return new TemporaryError(words, undefined, retryAfter(headers.get('retry-after')));
  }
  return new PaellaError('ERR_NETWORK', words, status === 403 ? { remedy: 'the token may not read it' } : {});
}

/** Seconds or a date. */
function retryAfter(value: string | null): number | undefined {
  if (value === null) return undefined;
  const seconds = /^\d+$/.test(value.trim()) ? Number(value) * 1000 : Date.parse(value) - Date.now();
  return Number.isFinite(seconds) ? Math.max(0, seconds) : undefined;
}

/**
 * Calls `attempt` again after a `TemporaryError`, up to five times in a row without progress.
 * @param progress something that differs after an attempt that was not in vain
 */
export async function withRetries<T>(
  settings: HubSettings,
  signal: AbortSignal | undefined,
  attempt: () => Promise<T>,
  progress: () => number = () => 0,
): Promise<T> {
  for (let failures = 1, before = progress(); ; failures++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof TemporaryError)) throw error;
      if (progress() !== before) failures = 1;
      before = progress();
      if (failures >= MAX_TRIES) throw error;
      const wait = error.waitMs ?? settings.retryMs * 2 ** (failures - 1) * (0.75 + Math.random() / 2);
      if (wait > MAX_WAIT_MS) throw error;
      await sleep(wait, undefined, signal ? { signal } : {}).catch(() => signal?.throwIfAborted());
    }
  }
}
