/** 'owner/name' and 'owner/name@revision' */
import { PaellaError } from '../errors.js';

export interface Repository {
  /** 'owner/name' */
  readonly id: string;
  /** Branch, tag or commit. */
  readonly revision: string;
}

const part = /^(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[\w.-]{0,94}[\w-])?$/;
const revisionPattern = /^(?!.*\.\.)[\w][\w./-]{0,199}$/;

/** Whether this can be nothing but a repository's name. */
export function parseRepository(name: string): Repository | undefined {
  const at = name.indexOf('@');
  const id = at < 0 ? name : name.slice(0, at);
  const revision = at < 0 ? 'main' : name.slice(at + 1);
  const parts = id.split('/');
  if (parts.length !== 2 || !parts.every((each) => part.test(each)) || !revisionPattern.test(revision))
    return undefined;
  return { id, revision };
}

/** Throws `ERR_INVALID_OPTION`. */
export function repositoryOf(name: unknown): Repository {
  const repository = typeof name === 'string' ? parseRepository(name) : undefined;
  if (!repository) {
    throw new PaellaError(
      'ERR_INVALID_OPTION',
      `repository: expected owner/name or owner/name@revision, got ${JSON.stringify(name)}`,
    );
  }
  return repository;
}
