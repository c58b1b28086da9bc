/**
 * TensorRT's plans on disk (docs/tensorrt.md). native/tensorrt/plan_cache.cpp writes them and decides which may be used;
 * here they are listed, looked at and removed.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { z } from 'zod';
import { ioError } from '../errors.js';
import { validate } from '../options/validate.js';

/** What is told of a plan: the JSON file beside it. */
export interface CachedEngine {
  /** File name without its ending. */
  name: string;
  /** Of the plan. */
  file: string;
  network: string;
  gpu: string;
  computeCapability: string;
  flavour: string;
  version: string;
  precision: string;
  profile: string;
  bytes: number;
  builtAt: string;
  /** Why it will not be used; absent if nothing is wrong with it. */
  problem?: string;
}

export interface InspectedEngine extends CachedEngine {
  /** Everything of the JSON file. */
  description: Record<string, unknown>;
  /** TensorRT's own account of the engine's layers, where it was written down. */
  layers?: unknown;
}

/** `$PAELLA_CACHE/engines`, else `paella-native/engines` in the user's cache folder. */
export function engineFolder(): string {
  const named = process.env.PAELLA_CACHE;
  if (named) return path.resolve(named, 'engines');
  return path.join(process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache'), 'paella-native', 'engines');
}

const sidecar = z.looseObject({
  format: z.literal(1),
  key: z.string(),
  network: z.string(),
  gpu: z.string(),
  computeCapability: z.string(),
  flavour: z.string(),
  version: z.string(),
  precision: z.string(),
  profile: z.string(),
  bytes: z.number(),
  sha256: z.string(),
  builtAt: z.string(),
});

const suffixes = { plan: '.plan', description: '.json', layers: '.layers.json', lock: '.lock' } as const;

/** Names of files that a builder that was killed leaves behind. */
const unfinished = /\.(?:plan|json)\.\w{6}$/;
/** After this time nobody still writes to one, in milliseconds. */
const abandonedAfter = 3_600_000;

async function filesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw ioError('read', folder, error);
  }
}

/** All plans of the cache, in the order of their names. Rejects with `ERR_IO`. */
export async function listEngines(): Promise<CachedEngine[]> {
  const folder = engineFolder();
  const files = await filesOf(folder);
  const names = new Set<string>();
  for (const file of files) {
    if (file.endsWith(suffixes.layers)) continue;
    for (const suffix of [suffixes.plan, suffixes.description])
      if (file.endsWith(suffix)) names.add(file.slice(0, -suffix.length));
  }
  return Promise.all([...names].sort().map(async (name) => (await describeEngine(folder, name)).engine));
}

async function describeEngine(folder: string, name: string) {
  const file = path.join(folder, name + suffixes.plan);
  const engine: CachedEngine = {
    name,
    file,
    network: '',
    gpu: '',
    computeCapability: '',
    flavour: '',
    version: '',
    precision: '',
    profile: '',
    bytes: 0,
    builtAt: '',
  };
  const size = await stat(file).then(
    (found) => found.size,
    () => undefined,
  );
  if (size !== undefined) engine.bytes = size;
  let description: z.output<typeof sidecar> | undefined;
  try {
    const parsed = sidecar.safeParse(
      JSON.parse(await readFile(path.join(folder, name + suffixes.description), 'utf8')),
    );
    if (parsed.success) description = parsed.data;
    else engine.problem = 'its description is not of this version';
  } catch (error) {
    const missing = (error as NodeJS.ErrnoException).code === 'ENOENT';
    engine.problem = missing ? 'it has no description' : 'its description is damaged';
  }
  if (description) {
    const { network, gpu, computeCapability, flavour, version, precision, profile, builtAt } = description;
    Object.assign(engine, { network, gpu, computeCapability, flavour, version, precision, profile, builtAt });
    if (size === undefined) engine.problem = 'the plan is missing';
    else if (size !== description.bytes) engine.problem = `expected ${description.bytes} bytes, found ${size}`;
  }
  return { engine, description };
}

/** Everything about one plan, its checksum verified. Undefined if there is none of that name. Rejects with `ERR_IO`. */
export async function inspectEngine(name: string): Promise<InspectedEngine | undefined> {
  const folder = engineFolder();
  const files = await filesOf(folder);
  if (![suffixes.plan, suffixes.description].some((suffix) => files.includes(name + suffix))) return undefined;
  const { engine, description } = await describeEngine(folder, name);
  if (description && !engine.problem && (await sha256(engine.file)) !== description.sha256)
    engine.problem = 'its checksum is not the one that was stored';
  const inspected: InspectedEngine = { ...engine, description: description ?? {} };
  if (files.includes(name + suffixes.layers)) {
    try {
      inspected.layers = JSON.parse(await readFile(path.join(folder, name + suffixes.layers), 'utf8'));
    } catch {
      // For people only: what cannot be read is as if it were not there.
    }
  }
  return inspected;
}

async function sha256(file: string): Promise<string> {
  const hash = createHash('sha256');
  try {
    for await (const part of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(part);
  } catch (error) {
    throw ioError('read', file, error);
  }
  return hash.digest('hex');
}

const cleanSchema = z.strictObject({
  all: z.boolean().optional().describe('true or false'),
  names: z.array(z.string()).readonly().optional().describe('names of engines'),
});

/**
 * Removes plans: those that are named, or all, or else those that would not be used anyway, and what killed builders left
 * behind. Safe beside builders and engines that run. Resolves with the removed files; rejects with `ERR_INVALID_OPTION`,
 * `ERR_IO`.
 */
export async function cleanEngines(
  options: { all?: boolean | undefined; names?: readonly string[] | undefined } = {},
): Promise<string[]> {
  const { all, names } = validate(cleanSchema, options, 'options of cleanEngines');
  const folder = engineFolder();
  const files = await filesOf(folder);
  const engines = await listEngines();
  const doomed = engines.filter(({ name, problem }) => all || (names ? names.includes(name) : problem !== undefined));
  const removed: string[] = [];
  const remove = async (name: string) => {
    if (!files.includes(name)) return;
    const file = path.join(folder, name);
    await rm(file, { force: true }).catch((error: unknown) => {
      throw ioError('removed', file, error);
    });
    removed.push(file);
  };
  // The description first: a plan without one is not used.
  for (const { name } of doomed) {
    for (const suffix of [suffixes.description, suffixes.layers, suffixes.plan, suffixes.lock])
      await remove(name + suffix);
  }
  for (const file of files.filter((name) => unfinished.test(name))) {
    const { mtimeMs } = await stat(path.join(folder, file)).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
    if (Date.now() - mtimeMs > abandonedAfter) await remove(file);
  }
  return removed;
}
