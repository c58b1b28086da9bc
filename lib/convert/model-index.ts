/** The files of a model folder that are not weights (docs/model-format.md). */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ioError } from '../errors.js';
import type { ComponentName } from './components/component.js';
import type { FoundComponent } from './identify.js';

/** Of the official model (spec 4.1): the blog's and the README's twelve steps. */
const officialDefaults = {
  width: 256,
  height: 256,
  steps: 12,
  renoise_steps: 11,
  guidance_scale: [8, 8],
  temperature: [0.7, 0.3],
  conditional_steps: 12,
  negative_prompt: '',
  typical_mass: null,
};

export interface ModelName {
  readonly name: string;
  /** Of the files that were recognised; undefined if one was not. */
  readonly licence: string | undefined;
}

/** model_index.json is written last: with it the folder is a model. Throws `ERR_IO`. */
export async function writeIndex(
  folder: string,
  { name, licence }: ModelName,
  chosen: readonly FoundComponent[],
): Promise<void> {
  const earlier = await earlierModel(chosen);
  const listed = (list: string) =>
    chosen.filter(({ component }) => component.listedIn === list).map(({ component }) => component.name);
  const optional = listed('optional_components');
  const index = {
    format: 'paella-native',
    format_version: 1,
    family: 'v3',
    name,
    licence: licence ?? earlier?.licence ?? 'unknown',
    components: listed('components'),
    ...(optional.length > 0 ? { optional_components: optional } : {}),
    ...(earlier?.imageEmbedding === undefined || optional.some((name) => name !== 'clip_text')
      ? {}
      : { image_embedding: earlier.imageEmbedding }),
  };
  await writeJson(path.join(folder, 'generation_config.json'), earlier?.generation ?? fitted(chosen));
  if (earlier?.domain) await writeJson(path.join(folder, 'domain.json'), earlier.domain);
  await writeJson(path.join(folder, 'model_index.json'), index);
}

export async function writeJson(file: string, value: unknown): Promise<void> {
  await writeFile(file, `${JSON.stringify(value, null, 2)}\n`).catch((error: unknown) => {
    throw ioError('written', file, error);
  });
}

/** The sides are multiples of what the networks need, and 256 if that is one. */
function fitted(chosen: readonly FoundComponent[]): typeof officialDefaults {
  const config = (name: ComponentName) => chosen.find(({ component }) => component.name === name)?.config;
  const [unet, vqgan] = [config('unet'), config('vqgan')];
  if (!unet || !vqgan) return officialDefaults;
  const pixels = 2 ** Number(vqgan.levels);
  const multiple = pixels * Number(unet.patch_size) * 2 ** ((unet.c_hidden as unknown[]).length - 1);
  const side = Math.min(Math.max(1, Math.round(256 / multiple)), Math.floor((512 * pixels) / multiple)) * multiple;
  return { ...officialDefaults, width: side, height: side };
}

/** Where the U-Net comes out of a model folder, its defaults, domain, licence and kind of embedding are the new one's. */
async function earlierModel(chosen: readonly FoundComponent[]) {
  const unet = chosen.find(({ component }) => component.name === 'unet');
  if (!unet) return undefined;
  const folder = path.dirname(path.dirname(unet.checkpoint.label));
  const index = await readJson(path.join(folder, 'model_index.json'));
  if (index?.format !== 'paella-native') return undefined;
  const generation = await readJson(path.join(folder, 'generation_config.json'));
  const domain = await readJson(path.join(folder, 'domain.json'));
  const licence = typeof index.licence === 'string' ? index.licence : undefined;
  return generation && { generation, domain, licence, imageEmbedding: index.image_embedding };
}

async function readJson(file: string): Promise<Record<string, unknown> | undefined> {
  try {
    const json: unknown = JSON.parse(await readFile(file, 'utf8'));
    return typeof json === 'object' && json !== null ? (json as Record<string, unknown>) : undefined;
  } catch {
    return undefined; // not from a model folder, or from a damaged one: then defaults serve
  }
}
