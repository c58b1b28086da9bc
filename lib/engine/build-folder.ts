/** Making a folder of files so that it is there as a whole or not at all. */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ioError, PaellaError } from '../errors.js';
import { invalidOption } from '../options/validate.js';

export interface BuildFolderOptions {
  /** Whether a folder that is there may be replaced … */
  force: boolean;
  /** … if it holds nothing but files of these names. */
  replaceable: (file: string) => boolean;
  signal: AbortSignal | undefined;
}

/**
 * Lets `build` fill a hidden temporary folder beside `output` and renames it. Throws `ERR_INVALID_OPTION` if the folder is
 * there and may not be replaced, `ERR_IO`, what `build` throws, and `signal.reason`; then nothing has changed.
 */
export async function buildFolder<T>(
  output: string,
  { force, replaceable, signal }: BuildFolderOptions,
  build: (folder: string, write: (file: string, text: string) => Promise<void>) => Promise<T>,
): Promise<T> {
  const target = path.resolve(output);
  const present = await filesIn(target, output);
  if (present?.length) checkReplaceable(output, present, force, replaceable);
  const beside = (kind: string) =>
    path.join(path.dirname(target), `.paella-${process.pid}-${randomBytes(4).toString('hex')}.${kind}`);
  const temporary = beside('tmp');
  await mkdir(temporary).catch((error: unknown) => {
    throw ioError('written', output, error);
  });
  const write = (file: string, text: string) =>
    writeFile(path.join(temporary, file), text, { flag: 'wx' }).catch((error: unknown) => {
      throw ioError('written', path.join(output, file), error);
    });
  try {
    const result = await build(temporary, write);
    signal?.throwIfAborted();
    await replace(target, temporary, present?.length ? beside('old') : undefined).catch((error: unknown) => {
      throw ioError('written', output, error);
    });
    return result;
  } catch (error) {
    throw inOutput(error, temporary, output);
  } finally {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Undefined: there is no such folder. */
async function filesIn(target: string, output: string): Promise<string[] | undefined> {
  try {
    return await readdir(target);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR')
      throw invalidOption('output', 'a folder', output, 'name a folder that is not there yet');
    throw ioError('written', output, error);
  }
}

function checkReplaceable(output: string, files: string[], force: boolean, replaceable: (file: string) => boolean) {
  const stranger = files.find((file) => !replaceable(file));
  if (stranger !== undefined) {
    throw invalidOption(
      'output',
      'a new or empty folder, or an earlier export',
      `${output}, which holds ${stranger}`,
      'name another folder',
    );
  }
  if (!force)
    throw invalidOption('output', 'a new or empty folder', output, 'name another one, or replace it with force');
}

/** An empty folder is replaced by the rename itself; one with files is put aside first, and put back if that fails. */
async function replace(target: string, made: string, aside: string | undefined) {
  if (aside === undefined) return rename(made, target);
  await rename(target, aside);
  try {
    await rename(made, target);
  } catch (error) {
    await rename(aside, target);
    throw error;
  }
  await rm(aside, { recursive: true, force: true });
}

/** The user named `output` and knows nothing of the temporary folder. */
function inOutput(error: unknown, temporary: string, output: string): unknown {
  if (!(error instanceof PaellaError) || !error.message.includes(temporary)) return error;
  return new PaellaError(error.code, error.message.replaceAll(temporary, output), {
    remedy: error.remedy,
    cause: error.cause,
  });
}
