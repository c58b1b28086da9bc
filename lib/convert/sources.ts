/** From what a person names (files, folders, repositories of the cache) to checkpoints. */
import { readdir, readFile, stat } from 'node:fs/promises';
import path from 'node:path';
import { type OpenCheckpoint, openCheckpoint } from '../checkpoints/open.js';
import { badCheckpoint, type SourceFile } from '../checkpoints/source-file.js';
import type { SourceTensor } from '../checkpoints/tensors.js';
import { ioError, PaellaError } from '../errors.js';

/** One checkpoint: a file, or the shards of one. */
export interface Checkpoint {
  /** What messages call it. */
  readonly label: string;
  readonly files: readonly SourceFile[];
  readonly tensors: ReadonlyMap<string, SourceTensor>;
  readonly format: OpenCheckpoint['format'];
  readonly wrappers: readonly string[];
  /** Whether it was named itself, or found in a folder. */
  readonly named: boolean;
  /** JSON files beside it that may be its configuration, the likeliest first. */
  readonly configs: readonly string[];
}

export interface Found {
  checkpoints: Checkpoint[];
  /** Files of folders that could not be read as a checkpoint. */
  skipped: { file: string; reason: string }[];
}

const weightFile = /\.(safetensors|bin|pt|pth|ckpt)$/i;
const indexFile = /\.(safetensors|bin|pt|pth)\.index\.json$/i;
const shardName = /^(.*)-\d{5}-of-(\d{5})(\.\w+)$/;
const MAX_DEPTH = 3;
/** All are open at once. */
const MAX_FILES = 256;
const MAX_JSON = 32 << 20;

/** @param locate where a name that is no path is to be found. Closes everything if it throws. */
export async function findCheckpoints(names: readonly string[], locate: (name: string) => string): Promise<Found> {
  const found: Found = { checkpoints: [], skipped: [] };
  try {
    for (const name of names) {
      const place = path.resolve(locate(name));
      const status = await stat(place).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw ioError('read', place, error);
        throw new PaellaError('ERR_MODEL_NOT_FOUND', `${place}: no such file or folder`, { cause: error });
      });
      if (status.isDirectory()) await fromFolder(place, found);
      else found.checkpoints.push(await fromFile(place, true));
    }
    return found;
  } catch (error) {
    await closeAll(found.checkpoints);
    throw error;
  }
}

export async function closeAll(checkpoints: readonly Checkpoint[]): Promise<void> {
  for (const { files } of checkpoints) for (const file of files) await file.close();
}

async function fromFolder(folder: string, found: Found): Promise<void> {
  const files = await filesOf(folder, MAX_DEPTH);
  if (files.length > MAX_FILES) {
    throw new PaellaError(
      'ERR_MODEL_FORMAT',
      `${folder}: expected at most ${MAX_FILES} checkpoints, found ${files.length}`,
      {
        remedy: 'name the files',
      },
    );
  }
  if (files.length === 0) {
    throw new PaellaError('ERR_MODEL_NOT_FOUND', `${folder}: no checkpoint in this folder`, {
      remedy: 'checkpoints end in .pt, .pth, .ckpt, .bin or .safetensors',
    });
  }
  const indexes = files.filter((file) => indexFile.test(file));
  const shards = new Set<string>();
  for (const index of indexes) for (const file of await shardsOf(index)) shards.add(file);
  for (const file of files) {
    if (shards.has(file)) continue;
    try {
      found.checkpoints.push(await fromFile(file, false));
    } catch (error) {
      // In a folder there may be other things; whatever is missing in the end is told with what was passed over.
      if (!(error instanceof PaellaError)) throw error;
      found.skipped.push({ file, reason: error.message });
    }
  }
}

async function filesOf(folder: string, depth: number): Promise<string[]> {
  let names: string[];
  try {
    names = (await readdir(folder)).sort();
  } catch (error) {
    throw ioError('read', folder, error);
  }
  const files: string[] = [];
  for (const name of names) {
    if (name.startsWith('.')) continue;
    const file = path.join(folder, name);
    // Snapshots of the hub's cache are links.
    const status = await stat(file).catch(() => undefined);
    if (status?.isDirectory() && depth > 1) files.push(...(await filesOf(file, depth - 1)));
    else if (status?.isFile() && (weightFile.test(name) || indexFile.test(name))) files.push(file);
  }
  return files;
}

async function fromFile(file: string, named: boolean): Promise<Checkpoint> {
  if (indexFile.test(file)) return fromShards(file, await shardsOf(file), named, await weightMap(file));
  const [, stem, count, extension] = shardName.exec(path.basename(file)) ?? [];
  if (stem !== undefined && named) {
    throw badCheckpoint(
      file,
      `this is one of ${Number(count)} parts`,
      `name ${stem}${extension}.index.json, or the folder`,
    );
  }
  const { file: source, ...rest } = await openCheckpoint(file);
  return { label: file, files: [source], named, configs: configsOf(file), ...rest };
}

/** File names by tensor. Throws `ERR_MODEL_FORMAT`. */
async function weightMap(index: string): Promise<Map<string, string>> {
  let json: unknown;
  try {
    const { size } = await stat(index);
    if (size > MAX_JSON) throw badCheckpoint(index, `expected at most ${MAX_JSON} bytes, found ${size}`);
    json = JSON.parse(await readFile(index, 'utf8'));
  } catch (error) {
    if (error instanceof PaellaError) throw error;
    if (error instanceof SyntaxError) throw badCheckpoint(index, 'expected JSON', undefined, error);
    throw ioError('read', index, error);
  }
  const map = (json as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== 'object' || map === null) throw badCheckpoint(index, 'expected an object with weight_map');
  return new Map(
    Object.entries(map).map(([tensor, name]) => {
      // The parts lie beside their index; a path could lead anywhere.
      if (typeof name !== 'string' || name !== path.basename(name) || /[\\/]|^\.\.?$/.test(name) || name === '') {
        throw badCheckpoint(index, `expected the name of a file in the same folder, found ${JSON.stringify(name)}`);
      }
      return [tensor, name];
    }),
  );
}

async function shardsOf(index: string): Promise<string[]> {
  const names = new Set((await weightMap(index)).values());
  return [...names].sort().map((name) => path.join(path.dirname(index), name));
}

async function fromShards(
  index: string,
  shards: readonly string[],
  named: boolean,
  map: ReadonlyMap<string, string>,
): Promise<Checkpoint> {
  const open: OpenCheckpoint[] = [];
  try {
    for (const shard of shards) open.push(await openCheckpoint(shard));
    const tensors = new Map<string, SourceTensor>();
    for (const { tensors: part, file } of open) {
      for (const [name, tensor] of part) {
        if (tensors.has(name)) throw badCheckpoint(file.path, `${name} is in another part too`);
        tensors.set(name, tensor);
      }
    }
    for (const [name, file] of map) {
      if (!tensors.has(name)) throw badCheckpoint(index, `${name} should be in ${file}, which does not have it`);
    }
    const [first] = open;
    if (!first) throw badCheckpoint(index, 'expected the names of parts, found none');
    const { format, wrappers } = first;
    return {
      label: index,
      files: open.map(({ file }) => file),
      tensors,
      format,
      wrappers,
      named,
      configs: configsOf(index),
    };
  } catch (error) {
    for (const { file } of open) await file.close();
    throw error;
  }
}

/** 'vqgan.pt' → 'vqgan.json', 'config.json', 'open_clip_config.json' of the same folder */
function configsOf(file: string): string[] {
  const folder = path.dirname(file);
  const stem = path.basename(file).replace(indexFile, '').replace(weightFile, '');
  return [`${stem}.json`, 'config.json', 'open_clip_config.json'].map((name) => path.join(folder, name));
}
