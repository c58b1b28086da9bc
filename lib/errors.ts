/** The one error class of the package, and the one place that turns native errors into it. */

/**
 * Stable codes:
 * - `ERR_INVALID_OPTION` an option that is unknown, of the wrong type, or out of range
 * - `ERR_MODEL_NOT_FOUND` no model of that name or at that path, or a file of it is not there
 * - `ERR_MODEL_FORMAT` a model whose files are damaged, do not fit together, or are of another layout
 * - `ERR_BACKEND_UNAVAILABLE` the named backend (or device) cannot be used here
 * - `ERR_OUT_OF_MEMORY` not enough memory for the model or the request
 * - `ERR_QUEUE_FULL` as many jobs are waiting as `maxQueue` allows
 * - `ERR_DEADLINE` a job had not started when its `deadlineMs` was over
 * - `ERR_DISPOSED` the engine was disposed of
 * - `ERR_NUMERIC` weights, or values that a network gave, are not finite
 * - `ERR_IO` a file could not be read or written
 * - `ERR_NETWORK` a hub could not be reached, did not answer as it should, or refused access
 * - `ERR_ADDON` the native addon could not be loaded, or failed in a way it should not
 */
export type PaellaErrorCode =
  | 'ERR_INVALID_OPTION'
  | 'ERR_MODEL_NOT_FOUND'
  | 'ERR_MODEL_FORMAT'
  | 'ERR_BACKEND_UNAVAILABLE'
  | 'ERR_OUT_OF_MEMORY'
  | 'ERR_QUEUE_FULL'
  | 'ERR_DEADLINE'
  | 'ERR_DISPOSED'
  | 'ERR_NUMERIC'
  | 'ERR_IO'
  | 'ERR_NETWORK'
  | 'ERR_ADDON';

const codes: ReadonlySet<string> = new Set<PaellaErrorCode>([
  'ERR_INVALID_OPTION',
  'ERR_MODEL_NOT_FOUND',
  'ERR_MODEL_FORMAT',
  'ERR_BACKEND_UNAVAILABLE',
  'ERR_OUT_OF_MEMORY',
  'ERR_QUEUE_FULL',
  'ERR_DEADLINE',
  'ERR_DISPOSED',
  'ERR_NUMERIC',
  'ERR_IO',
  'ERR_NETWORK',
  'ERR_ADDON',
]);

export interface PaellaErrorDetails {
  /** What the user can do about it. */
  remedy?: string | undefined;
  cause?: unknown;
}

/**
 * Every error that this package raises itself. Aborted calls are the exception: they reject with `signal.reason`.
 * Compare `code`, not `message`.
 */
export class PaellaError extends Error {
  override readonly name = 'PaellaError';
  readonly code: PaellaErrorCode;
  /** What to do about it, where that is known. */
  readonly remedy?: string;

  constructor(code: PaellaErrorCode, message: string, details: PaellaErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    if (details.remedy !== undefined) this.remedy = details.remedy;
  }
}

/**
 * Native code rejects with a plain Error that carries `code` and perhaps `remedy`. Made anew here, inside the async
 * function that the user called, so that the stack shows the user's call.
 */
export function fromNative(error: unknown, signal?: AbortSignal): unknown {
  if (!(error instanceof Error))
    return new PaellaError('ERR_ADDON', `native addon: ${String(error)}`, { cause: error });
  const { code, remedy } = error as { code?: unknown; remedy?: unknown };
  if (code === 'ERR_ABORTED') {
    if (signal?.aborted) return signal.reason;
    return new PaellaError('ERR_DISPOSED', 'the engine was disposed of before this call had ended', { cause: error });
  }
  const known = typeof code === 'string' && codes.has(code);
  return new PaellaError(known ? (code as PaellaErrorCode) : 'ERR_ADDON', error.message, {
    remedy: typeof remedy === 'string' ? remedy : undefined,
    cause: error,
  });
}

/** `text` for a system error, in words where the code is a common one. */
export function ioError(what: string, path: string, error: unknown): PaellaError {
  const code = (error as NodeJS.ErrnoException).code;
  const words: Record<string, [string, string]> = {
    ENOENT: ['no such file or folder', 'check the path; folders are not created'],
    EACCES: ['permission denied', 'choose a folder that you may write to, or change its permissions'],
    EPERM: ['not permitted', 'choose another folder'],
    EROFS: ['the file system is read-only', 'choose another folder'],
    ENOSPC: ['no space left on the device', 'free some space'],
    EISDIR: ['it is a folder', 'name a file'],
    ENOTDIR: ['a part of the path is not a folder', 'check the path'],
    ENAMETOOLONG: ['the name is too long', 'choose a shorter name'],
    EEXIST: ['the file exists already', 'choose another name'],
  };
  const [reason, remedy] = words[code ?? ''] ?? [(error as Error).message, undefined];
  return new PaellaError('ERR_IO', `${path}: cannot be ${what}: ${reason}`, { remedy, cause: error });
}
