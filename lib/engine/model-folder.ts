/** From the `model` option to what the native loader takes. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { PaellaError } from '../errors.js';
import { hubModelFolder } from '../hub/model.js';
import { parseRepository } from '../hub/repository.js';
import { loadNative } from '../native/loader.js';
import { nearest } from '../options/nearest.js';
import { packageRoot } from '../package-root.cjs';

const RANDOM = 'random:';
const INDEX = 'model_index.json';

/** Names of the models in the package. */
export function bundledModels(): string[] {
  const folder = path.join(packageRoot, 'models');
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => existsSync(path.join(folder, name, INDEX)));
}

export interface ResolveOptions {
  signal?: AbortSignal | undefined;
  /** While a model is fetched from a hub: bytes. */
  onProgress?: ((progress: { phase: string; loaded: number; total: number }) => void) | undefined;
}

/**
 * An absolute path or 'random:…'. A model of a hub is fetched if it is not in the cache.
 * Throws `ERR_MODEL_NOT_FOUND`, `ERR_MODEL_FORMAT`, `ERR_NETWORK`, `ERR_IO`.
 */
export async function resolveModel(model: string, { signal, onProgress }: ResolveOptions = {}): Promise<string> {
  if (model.startsWith(RANDOM)) return checkRandom(model);
  // A bare name is a bundled model, wherever the process runs; a folder of that name is './name'.
  if (!/[\\/]/.test(model)) {
    const folder = path.join(packageRoot, 'models', model);
    if (existsSync(path.join(folder, INDEX))) return folder;
  }
  const folder = path.resolve(model);
  if (existsSync(folder)) return checkFolder(folder);
  const repository = parseRepository(model);
  if (!repository) throw notFound(model, folder);
  return hubModelFolder(repository, {
    signal,
    onProgress: onProgress && (({ loaded, total }) => onProgress({ phase: 'download', loaded, total })),
  }).catch((error: unknown) => {
    // A mistyped path looks like a repository.
    const isOfHub = error instanceof PaellaError && !error.message.startsWith('model: ');
    if (!isOfHub || (error.code !== 'ERR_NETWORK' && error.code !== 'ERR_MODEL_NOT_FOUND')) throw error;
    const message = `model: there is no folder ${folder}, and as a repository: ${error.message}`;
    throw new PaellaError(error.code, message, { remedy: error.remedy, cause: error });
  });
}

function checkRandom(model: string): string {
  const known = loadNative().randomConfigurations();
  const name = model.slice(RANDOM.length);
  if (known.includes(name)) return model;
  const suggestion = nearest(name, known);
  throw new PaellaError(
    'ERR_MODEL_NOT_FOUND',
    `model: no configuration is called ${JSON.stringify(name)}${suggestion ? `, did you mean ${suggestion}?` : ''}`,
    {
      remedy: `known configurations: ${known.join(', ')}`,
    },
  );
}

function checkFolder(folder: string): string {
  if (!statSync(folder).isDirectory()) {
    throw new PaellaError('ERR_MODEL_FORMAT', `model: expected a folder with ${INDEX}, got the file ${folder}`, {
      remedy: 'name the folder of the model',
    });
  }
  if (!existsSync(path.join(folder, INDEX))) {
    throw new PaellaError('ERR_MODEL_NOT_FOUND', `model: expected ${INDEX} in ${folder}, got a folder without it`, {
      remedy: 'name the folder that holds model_index.json',
    });
  }
  return folder;
}

function notFound(model: string, folder: string): PaellaError {
  const bundled = bundledModels();
  const suggestion = nearest(model, bundled);
  return new PaellaError(
    'ERR_MODEL_NOT_FOUND',
    `model: no bundled model is called ${JSON.stringify(model)}, and there is no folder ${folder}`,
    {
      remedy: suggestion ? `did you mean ${suggestion}?` : `bundled models: ${bundled.join(', ') || 'none'}`,
    },
  );
}
