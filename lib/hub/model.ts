/** A model on a hub → its folder in the cache. */
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { PaellaError } from '../errors.js';
import { CachedRepository } from './cache.js';
import { listRepository } from './listing.js';
import { type PullOptions, pullListed } from './pull.js';
import type { Repository } from './repository.js';
import { hubSettings } from './settings.js';

const INDEX = 'model_index.json';

/**
 * What is in the cache is used as it is, without asking the hub whether there is something newer: `pull()` does that.
 * Throws as `pull()` does, and `ERR_MODEL_FORMAT` if the repository holds checkpoints that have to be converted.
 */
export async function hubModelFolder(
  repository: Repository,
  options: Pick<PullOptions, 'signal' | 'onProgress'>,
): Promise<string> {
  const settings = hubSettings();
  const cached = new CachedRepository(settings, repository).find(repository.revision);
  if (cached && isComplete(cached, ['merges.txt'])) return cached;
  if (settings.offline) {
    if (cached) throw notAModel(repository);
    throw new PaellaError(
      'ERR_MODEL_NOT_FOUND',
      `model: ${repository.id} is neither a folder here nor in the cache ${settings.cache}, and HF_HUB_OFFLINE is set`,
      { remedy: 'unset HF_HUB_OFFLINE to fetch it' },
    );
  }
  const listing = await listRepository(repository, settings, options.signal);
  // Before gigabytes are fetched that cannot be loaded.
  if (!listing.files.some((file) => file.path === INDEX)) throw notAModel(repository);
  const { folder } = await pullListed(repository, listing, [], settings, options);
  if (!isComplete(folder, [])) throw notAModel(repository);
  return folder;
}

function notAModel({ id }: Repository): PaellaError {
  return new PaellaError('ERR_MODEL_FORMAT', `model: ${id} holds no model folder of paella-native`, {
    remedy: `if it holds checkpoints: paella pull ${id}, then paella convert ${id} … -o <folder>`,
  });
}

/**
 * A model index of ours, and the files of the components that it names. `ofClip`: what else CLIP's text encoder has; where
 * the repository itself lacks it, loading says what is missing.
 */
function isComplete(folder: string, ofClip: readonly string[]): boolean {
  try {
    const index = JSON.parse(readFileSync(path.join(folder, INDEX), 'utf8')) as {
      format?: unknown;
      components?: unknown;
      optional_components?: unknown;
    };
    const { components, optional_components: optional = [] } = index;
    if (index.format !== 'paella-native' || !Array.isArray(components) || !Array.isArray(optional)) return false;
    return [...components, ...optional].map(String).every((name) => {
      const files = ['config.json', 'model.safetensors', ...(name === 'clip_text' ? ofClip : [])];
      return files.every((file) => existsSync(path.join(folder, name, file)));
    });
  } catch {
    return false;
  }
}
