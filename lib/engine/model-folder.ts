/** From the `model` option to what the native loader takes. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { PaellaError } from '../errors.js';
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

/** An absolute path or 'random:…'. Throws `ERR_MODEL_NOT_FOUND`, `ERR_MODEL_FORMAT`. */
export function resolveModel(model: string): string {
  if (model.startsWith(RANDOM)) return checkRandom(model);
  // A bare name is a bundled model, wherever the process runs; a folder of that name is './name'.
  if (!/[\\/]/.test(model)) {
    const folder = path.join(packageRoot, 'models', model);
    if (existsSync(path.join(folder, INDEX))) return folder;
  }
  const folder = path.resolve(model);
  if (existsSync(folder)) return checkFolder(folder);
  throw notFound(model, folder);
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
  if (/^[\w.-]+\/[\w.-]+$/.test(model) && !model.startsWith('.')) {
    return new PaellaError('ERR_MODEL_NOT_FOUND', `model: ${model} is neither a folder here nor a downloaded model`, {
      remedy: 'this version cannot fetch models from a hub yet: download and convert it by hand, then name its folder',
    });
  }
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
