/** Writing files so that a reader sees the whole file or none. */
import { randomBytes } from 'node:crypto';
import { rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ioError } from '../errors.js';

/**
 * Writes a hidden temporary file beside the target and renames it. A device or a pipe is written to as it is, because a
 * rename would put a file in its place. Throws `ERR_IO`; leaves nothing behind.
 */
export async function writeAtomically(file: string, data: Uint8Array | string): Promise<void> {
  const isStream = await stat(file).then(
    (found) => !found.isFile() && !found.isDirectory(),
    () => false,
  );
  if (isStream) {
    await writeFile(file, data).catch((error: unknown) => {
      throw ioError('written', file, error);
    });
    return;
  }
  // Not made of the file's own name, which may be as long as names can be.
  const temporary = path.join(path.dirname(file), `.paella-${process.pid}-${randomBytes(4).toString('hex')}.tmp`);
  try {
    await writeFile(temporary, data, { flag: 'wx' });
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw ioError('written', file, error);
  }
}
