/**
 * The cache that Hugging Face's tools share: per repository `blobs/<etag>`, `snapshots/<commit>/<path>` (links to blobs) and
 * `refs/<revision>` (which commit that is).
 */
import { existsSync, readFileSync } from 'node:fs';
import { copyFile, lstat, mkdir, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ioError, PaellaError } from '../errors.js';
import { parseRepository, type Repository } from './repository.js';
import { type HubSettings, hubSettings } from './settings.js';

const commitPattern = /^[0-9a-f]{40}$/;

export class CachedRepository {
  /** '…/models--owner--name' */
  readonly folder: string;
  readonly locks: string;

  constructor(settings: HubSettings, { id }: Repository) {
    const name = `models--${id.replace('/', '--')}`;
    this.folder = path.join(settings.cache, name);
    this.locks = path.join(settings.cache, '.locks', name);
  }

  blob(etag: string): string {
    return path.join(this.folder, 'blobs', etag);
  }

  snapshot(commit: string): string {
    return path.join(this.folder, 'snapshots', commit);
  }

  /** The folder of a revision's files, if it was fetched. Whether all files are there is not known from it. */
  find(revision: string): string | undefined {
    let commit = revision;
    if (!commitPattern.test(revision)) {
      try {
        commit = readFileSync(path.join(this.folder, 'refs', revision), 'utf8').trim();
      } catch {
        return undefined;
      }
      if (!commitPattern.test(commit)) return undefined; // a damaged ref leads nowhere
    }
    const snapshot = this.snapshot(commit);
    return existsSync(snapshot) ? snapshot : undefined;
  }

  /** `snapshots/<commit>/<file>` becomes a link to the blob. Throws `ERR_IO`. */
  async link(commit: string, file: string, etag: string): Promise<string> {
    const pointer = path.join(this.snapshot(commit), file);
    const blob = this.blob(etag);
    try {
      await mkdir(path.dirname(pointer), { recursive: true });
      const status = await lstat(pointer).catch(() => undefined);
      if (status && (await stat(pointer).catch(() => undefined))) return pointer;
      await rm(pointer, { force: true });
      await symlink(path.relative(path.dirname(pointer), blob), pointer).catch(async (error: NodeJS.ErrnoException) => {
        if (error.code === 'EEXIST') return; // another process was faster
        // File systems and accounts without links: a copy, as the other tools do.
        const temporary = `${pointer}.${process.pid}.tmp`;
        await copyFile(blob, temporary);
        await rename(temporary, pointer);
      });
      return pointer;
    } catch (error) {
      throw ioError('written', pointer, error);
    }
  }

  /** From now on `revision` is `commit`. Throws `ERR_IO`. */
  async setRef(revision: string, commit: string): Promise<void> {
    if (revision === commit) return;
    const ref = path.join(this.folder, 'refs', revision);
    try {
      await mkdir(path.dirname(ref), { recursive: true });
      await writeFile(`${ref}.${process.pid}.tmp`, commit);
      await rename(`${ref}.${process.pid}.tmp`, ref);
    } catch (error) {
      throw ioError('written', ref, error);
    }
  }
}

/** A name that is no path here may be a repository that was fetched. Throws `ERR_MODEL_NOT_FOUND`. */
export function locateInCache(name: string): string {
  const repository = existsSync(name) ? undefined : parseRepository(name);
  if (!repository) return name;
  const settings = hubSettings();
  const snapshot = new CachedRepository(settings, repository).find(repository.revision);
  if (snapshot) return snapshot;
  throw new PaellaError(
    'ERR_MODEL_NOT_FOUND',
    `${name}: neither a file or folder here nor in the cache ${settings.cache}`,
    {
      remedy: `paella pull ${name}`,
    },
  );
}
