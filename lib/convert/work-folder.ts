/**
 * A model folder in the making: `.<name>.partial` beside the target, with a journal of what is finished. It becomes the
 * target by being renamed, when everything is there; until then it is no model folder, because model_index.json comes last.
 */
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ioError, PaellaError } from '../errors.js';
import { componentNames } from './components/component.js';
import type { ComponentFile } from './write-component.js';

const JOURNAL = 'journal.json';
/** Values reach the disk and the journal this often; whoever copies files waits for no disk either. */
const JOURNAL_MS = 20_000;

interface Journal {
  /** Of what is converted, and to what: another conversion does not go on from here. */
  fingerprint: string;
  /** Tensors of each component that are in its file for certain. */
  done: Record<string, number>;
}

export function workFolderOf(target: string): string {
  return path.join(path.dirname(target), `.${path.basename(target)}.partial`);
}

export class WorkFolder {
  readonly path: string;
  readonly #target: string;
  readonly #journal: Journal;
  /** Whether an earlier try is gone on with. */
  readonly resumed: boolean;
  readonly #unsynced = new Set<string>();
  #saved = Date.now();
  #saving: Promise<void> = Promise.resolve();

  private constructor(folder: string, target: string, journal: Journal, resumed: boolean) {
    this.path = folder;
    this.#target = target;
    this.#journal = journal;
    this.resumed = resumed;
  }

  /** Throws `ERR_IO`. */
  static async open(target: string, fingerprint: string): Promise<WorkFolder> {
    const folder = workFolderOf(target);
    try {
      const earlier = await readJournal(folder);
      if (earlier?.fingerprint === fingerprint) return new WorkFolder(folder, target, earlier, true);
      await rm(folder, { recursive: true, force: true });
      await mkdir(folder);
      const work = new WorkFolder(folder, target, { fingerprint, done: {} }, false);
      await work.#write();
      return work;
    } catch (error) {
      throw ioError('written', folder, error);
    }
  }

  /** How many tensors of `component` need not be written again. */
  async finished(component: string, file: ComponentFile): Promise<number> {
    const done = this.#journal.done[component] ?? 0;
    if (done === 0 || done > file.tensors.length) return 0;
    const bytes = file.tensors[done - 1]?.end ?? 0;
    const status = await stat(file.path).catch(() => undefined);
    return status?.isFile() && status.size >= bytes && (await sameStart(file.path, file.header)) ? done : 0;
  }

  /** The component is complete. It reaches the disk when the system likes, or with the next save. */
  complete(component: string, count: number, file: string): void {
    this.#journal.done[component] = count;
    this.#unsynced.add(file);
  }

  /** Nothing in it is worth keeping. */
  get empty(): boolean {
    return Object.values(this.#journal.done).every((count) => count === 0);
  }

  /** The first `count()` tensors of a component are in its file: now and then that is made durable and written down. */
  note(component: string, count: () => number, file: string): void {
    if (Date.now() - this.#saved < JOURNAL_MS) return;
    this.#saved = Date.now();
    const finished = count();
    // Whether it succeeds or not, the conversion goes on: a later one would only have to do more again.
    this.#saving = this.#saving.then(() => this.save(component, finished, file)).catch(() => undefined);
  }

  /** The same, at once. Throws `ERR_IO`. */
  async save(component: string, count: number, file: string): Promise<void> {
    try {
      for (const each of this.#unsynced.add(file)) await sync(each);
      this.#unsynced.clear();
      this.#journal.done[component] = count;
      await this.#write();
    } catch (error) {
      throw ioError('written', this.path, error);
    }
  }

  async #write(): Promise<void> {
    const file = path.join(this.path, JOURNAL);
    await writeFile(`${file}.new`, JSON.stringify(this.#journal));
    await rename(`${file}.new`, file);
  }

  /** The folder gets its name. With `overwrite`, what had it goes, after the new one is there. Throws `ERR_IO`. */
  async publish(overwrite: boolean): Promise<void> {
    await this.#saving;
    const old = `${this.path}.old`;
    let moved = false;
    try {
      await rm(path.join(this.path, JOURNAL), { force: true });
      if (overwrite) moved = await moveAway(this.#target, old);
      await rename(this.path, this.#target);
    } catch (error) {
      if (moved) await rename(old, this.#target).catch(() => undefined);
      throw ioError('written', this.#target, error);
    }
    if (moved) await rm(old, { recursive: true, force: true }).catch(() => undefined);
  }

  async remove(): Promise<void> {
    await this.#saving;
    await rm(this.path, { recursive: true, force: true }).catch(() => undefined);
  }
}

async function sync(file: string): Promise<void> {
  const handle = await open(file, 'r+');
  try {
    await handle.datasync();
  } finally {
    await handle.close();
  }
}

async function moveAway(target: string, old: string): Promise<boolean> {
  await rm(old, { recursive: true, force: true });
  try {
    await rename(target, old);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}

async function readJournal(folder: string): Promise<Journal | undefined> {
  const text = await readFile(path.join(folder, JOURNAL), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  try {
    const journal = JSON.parse(text) as Partial<Journal>;
    return typeof journal.fingerprint === 'string' && typeof journal.done === 'object'
      ? (journal as Journal)
      : undefined;
  } catch {
    return undefined; // then it is as if there were none
  }
}

async function sameStart(file: string, wanted: Buffer): Promise<boolean> {
  const handle = await open(file, 'r');
  try {
    const start = Buffer.alloc(wanted.length);
    const { bytesRead } = await handle.read(start, 0, start.length, 0);
    return bytesRead === wanted.length && start.equals(wanted);
  } finally {
    await handle.close();
  }
}

/** Before anything is read or written. Throws `ERR_IO`. */
export async function checkTarget(target: string, overwrite: boolean): Promise<void> {
  const parent = path.dirname(target);
  const isFolder = await stat(parent).then(
    (status) => status.isDirectory(),
    () => false,
  );
  if (!isFolder) {
    throw new PaellaError('ERR_IO', `${target}: cannot be written: there is no folder ${parent}`, {
      remedy: 'create the folder first',
    });
  }
  const names = await readdir(target).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error.code === 'ENOTDIR' ? exists(target, 'a file') : ioError('written', target, error);
  });
  if (names === undefined || names.length === 0) return;
  if (!overwrite) throw exists(target, 'a folder that is not empty');
  // Only what this command makes is replaced by it. Pipelines of diffusers have a model_index.json, too.
  if (!(await isModelFolder(target))) throw exists(target, 'a folder that is no model folder');
  const stranger = names.find((name) => !ownNames.has(name));
  if (stranger !== undefined) throw exists(target, `a model folder with ${stranger}, which is no part of a model,`);
}

const INDEX = 'model_index.json';
const ownNames = new Set<string>([...componentNames, INDEX, 'generation_config.json', 'domain.json']);

async function isModelFolder(folder: string): Promise<boolean> {
  try {
    const index = JSON.parse(await readFile(path.join(folder, INDEX), 'utf8')) as { format?: unknown } | null;
    return index?.format === 'paella-native';
  } catch {
    return false;
  }
}

function exists(target: string, what: string): PaellaError {
  return new PaellaError('ERR_IO', `${target}: cannot be written: there is ${what} already`, {
    remedy: `choose another name${what.includes('not empty') ? ', or overwrite it (--force)' : ''}`,
  });
}

export function fingerprintOf(parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
