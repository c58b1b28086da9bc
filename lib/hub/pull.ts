/** Repositories of a hub → the shared cache. */
import { mkdir } from 'node:fs/promises';
import { z } from 'zod';
import { checkSpace } from '../disk-space.js';
import { ioError, PaellaError } from '../errors.js';
import { callback, signal } from '../options/fields.js';
import { validate } from '../options/validate.js';
import { CachedRepository } from './cache.js';
import { bytesHere, fetchBlob, type RemoteFile } from './download.js';
import { describeFile, type Listing, listRepository } from './listing.js';
import { type Repository, repositoryOf } from './repository.js';
import { selectFiles } from './selection.js';
import { type HubSettings, hubSettings } from './settings.js';

export interface PullProgress {
  /** The file that is being fetched. */
  file: string;
  /** Bytes of all files. */
  loaded: number;
  /** Bytes of all files. */
  total: number;
}

export interface PullOptions {
  /**
   * Names or patterns ('*.json', 'unet/**') of the files to fetch. Default: weights in safetensors or of PyTorch, and what
   * describes them; where a repository has the same weights in both, safetensors.
   */
  files?: string | readonly string[] | undefined;
  /** Branch, tag or commit; 'owner/name@revision' says the same. Default 'main'. */
  revision?: string | undefined;
  /** Stops; the same call goes on where it stopped. */
  signal?: AbortSignal | undefined;
  /** What it throws ends the call and rejects it. */
  onProgress?: ((progress: PullProgress) => void) | undefined;
}

export interface PullReport {
  /** 'owner/name' */
  repository: string;
  revision: string;
  /** The commit that the revision is. */
  commit: string;
  /** `snapshots/<commit>` in the cache. */
  folder: string;
  files: { path: string; bytes: number }[];
  /** Of all files. */
  bytes: number;
  /** Bytes that came over the network. */
  fetched: number;
}

const names = z.string().min(1);
const schema = z.strictObject({
  files: z
    .union([names, z.array(names).readonly()])
    .optional()
    .describe('names or patterns of files'),
  revision: z.string().min(1).optional().describe('a branch, a tag or a commit'),
  signal,
  onProgress: callback<(progress: PullProgress) => void>(),
});

/**
 * Fetches a repository of the Hugging Face hub into the cache that its tools share. What is there already is not fetched
 * again, what was interrupted is gone on with, and every file is checked against its hash.
 *
 * The environment decides as it does for huggingface_hub: HF_ENDPOINT (a mirror), HF_HOME, HF_HUB_CACHE, HF_TOKEN (sent to
 * that endpoint alone), HF_HUB_OFFLINE.
 *
 * @param repository 'owner/name' or 'owner/name@revision'
 * Rejects with `ERR_INVALID_OPTION`, `ERR_MODEL_NOT_FOUND`, `ERR_MODEL_FORMAT` (contents that do not have their hash),
 * `ERR_NETWORK`, `ERR_IO`, or `signal.reason`.
 */
export async function pull(repository: string, options: PullOptions = {}): Promise<PullReport> {
  const given = validate(schema, options, 'options of pull');
  const named = given.revision === undefined ? repository : `${repository}@${given.revision}`;
  const settings = hubSettings();
  given.signal?.throwIfAborted();
  const wanted = repositoryOf(named);
  if (settings.offline) throw offline(wanted.id);
  const listing = await listRepository(wanted, settings, given.signal);
  const patterns = given.files === undefined ? [] : [given.files].flat();
  return pullListed(wanted, listing, patterns, settings, given);
}

function offline(id: string): PaellaError {
  return new PaellaError('ERR_NETWORK', `${id}: not fetched, because HF_HUB_OFFLINE is set`, {
    remedy: 'unset HF_HUB_OFFLINE',
  });
}

/** The same for a repository whose list is known. */
export async function pullListed(
  repository: Repository,
  listing: Listing,
  patterns: readonly string[],
  settings: HubSettings,
  { signal: stop, onProgress }: Pick<PullOptions, 'signal' | 'onProgress'>,
): Promise<PullReport> {
  const { commit } = listing;
  const cached = new CachedRepository(settings, repository);
  const selected = selectFiles(listing.files, patterns);
  if (selected.length === 0) {
    throw new PaellaError(
      'ERR_MODEL_NOT_FOUND',
      `${repository.id}: no weights of PyTorch or safetensors in this repository`,
    );
  }
  const files: RemoteFile[] = [];
  for (const file of selected) files.push(await describeFile(repository, commit, file, settings, stop));
  const total = files.reduce((sum, { size }) => sum + size, 0);
  await makeFolder(cached.folder);
  await checkSpace(cached.folder, total - (await sum(files.map((file) => bytesHere(file, cached)))));
  const own = new AbortController();
  const both = stop ? AbortSignal.any([stop, own.signal]) : own.signal;
  let done = 0;
  let fetched = 0;
  for (const file of files) {
    const show = (bytes: number) => {
      try {
        onProgress?.({ file: file.path, loaded: done + bytes, total });
      } catch (error) {
        own.abort(error); // or it would be taken for a broken connection, and tried again
        throw error;
      }
    };
    fetched += await fetchBlob(file, cached, settings, both, show);
    await cached.link(commit, file.path, file.etag);
    done += file.size;
  }
  await cached.setRef(repository.revision, commit);
  return {
    repository: repository.id,
    revision: repository.revision,
    commit,
    folder: cached.snapshot(commit),
    files: files.map(({ path, size }) => ({ path, bytes: size })),
    bytes: total,
    fetched,
  };
}

async function sum(numbers: readonly Promise<number>[]): Promise<number> {
  return (await Promise.all(numbers)).reduce((total, each) => total + each, 0);
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw ioError('written', folder, error);
  });
}
