/** Where the images of a list of prompts go, so that a run that was killed goes on without holes and doubles. */
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { resolveModel } from '../../lib/engine/model-folder.js';
import { writeAtomically } from '../../lib/images/files.js';
import { TarWriter } from './tar.js';

const manifestName = 'manifest.json';

/** What the images depend on: those of another list, model or size must not be mixed with them. */
export type Manifest = Record<string, unknown> & { prompts: string };

export interface ImageStore {
  /** Numbers of the images that are there. */
  readonly done: ReadonlySet<number>;
  /** Calls may overlap; images may come in any order. */
  put(number: number, contents: Uint8Array): Promise<void>;
  /** All images are there. */
  finish(): Promise<void>;
  close(): Promise<void>;
}

export const hashOf = (prompts: readonly string[]) =>
  createHash('sha256').update(JSON.stringify(prompts)).digest('hex');

/** Of a model's files by their names, sizes and what they begin with; of random weights none are needed. */
export async function fingerprint(model: string): Promise<string> {
  if (model.startsWith('random:')) return 'random';
  const folder = await resolveModel(model);
  const hash = createHash('sha256');
  const names = await readdir(folder, { recursive: true });
  for (const name of names.filter((each) => /\.(json|safetensors)$/.test(each)).toSorted()) {
    await using handle = await open(path.join(folder, name));
    const start = Buffer.alloc(1 << 20);
    const { bytesRead } = await handle.read(start, 0, start.length, 0);
    hash.update(`${name} ${(await handle.stat()).size} `).update(start.subarray(0, bytesRead));
  }
  return hash.digest('hex').slice(0, 16);
}

/** Starts from 1 and keeps the order of the list in every listing. */
const nameOf = (number: number, extension: string) => `${String(number + 1).padStart(8, '0')}.${extension}`;
const numberOf = (name: string) => Number(name.match(/^(\d{8})\.\w+$/)?.[1] ?? Number.NaN) - 1;

/** Throws where the output holds something else, or another process writes into it. */
export async function openStore(output: string, manifest: Manifest, extension: string): Promise<ImageStore> {
  const release = await lock(`${output.replace(/[\\/]+$/, '')}.lock`);
  try {
    const open = output.endsWith('.tar') ? openTar : openFolder;
    const store = await open(output, manifest, extension);
    return {
      ...store,
      close: async () => {
        await store.close();
        await release();
      },
    };
  } catch (error) {
    await release();
    throw error;
  }
}

/** The file holds the id of the process that writes; one of a process that is no more does not count. */
async function lock(file: string): Promise<() => Promise<void>> {
  const own = String(process.pid);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, own, { flag: 'wx' }).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
    const other = Number(await readFile(file, 'utf8'));
    if (other !== process.pid && isAlive(other))
      throw new Error(`${file}: process ${other} writes there already; wait for it, or choose another output`);
    await writeFile(file, own);
  });
  return () => rm(file, { force: true });
}

function isAlive(id: number): boolean {
  try {
    return id > 0 && process.kill(id, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function manifestOf(text: string, where: string): Manifest {
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null) return parsed as Manifest;
  } catch {
    // Told below.
  }
  throw new Error(`${where}: expected ${manifestName} of an earlier run, found something else; choose another output`);
}

function checkManifest(found: string, wanted: Manifest, where: string): void {
  const parsed = manifestOf(found, where);
  const differing = [...new Set([...Object.keys(parsed), ...Object.keys(wanted)])].filter(
    (name) => JSON.stringify(parsed[name]) !== JSON.stringify(wanted[name]),
  );
  if (differing.length > 0)
    throw new Error(
      `${where}: expected images of the same run, found others: ${differing.map((name) => `${name} ${JSON.stringify(parsed[name])} instead of ${JSON.stringify(wanted[name])}`).join(', ')}; choose another output`,
    );
}

async function openFolder(folder: string, manifest: Manifest, extension: string): Promise<ImageStore> {
  await mkdir(folder, { recursive: true });
  const all = await readdir(folder);
  // Files appear as a whole, under another name before: what a killed run left of those goes.
  const left = all.filter((name) => /^\.paella-.*\.tmp$/.test(name));
  const names = all.filter((name) => !left.includes(name));
  const file = path.join(folder, manifestName);
  if (names.includes(manifestName)) checkManifest(await readFile(file, 'utf8'), manifest, folder);
  else if (names.length > 0) throw new Error(`${folder}: expected an empty folder, or one of an earlier run`);
  else await writeAtomically(file, `${JSON.stringify(manifest, null, 2)}\n`);
  for (const name of left) await rm(path.join(folder, name), { force: true });
  const done = new Set(names.map(numberOf).filter((number) => !Number.isNaN(number)));
  return {
    done,
    put: async (number, contents) => {
      await writeAtomically(path.join(folder, nameOf(number, extension)), contents);
      done.add(number);
    },
    finish: async () => undefined,
    close: async () => undefined,
  };
}

async function openTar(file: string, manifest: Manifest, extension: string): Promise<ImageStore> {
  const tar = await TarWriter.open(file, manifestName);
  try {
    if (tar.entries.length === 0) await tar.add(manifestName, Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`));
    else checkManifest((await tar.read(manifestName))?.toString() ?? '{}', manifest, file);
  } catch (error) {
    await tar.close();
    throw error;
  }
  const done = new Set(tar.entries.map(numberOf).filter((number) => !Number.isNaN(number)));
  // One after another: entries must not mix.
  let last: Promise<void> = Promise.resolve();
  return {
    done,
    put: (number, contents) => {
      last = last.then(async () => {
        await tar.add(nameOf(number, extension), contents);
        done.add(number);
      });
      return last;
    },
    finish: () => tar.finish(),
    close: () => tar.close(),
  };
}
