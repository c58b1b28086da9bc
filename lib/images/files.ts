/** Writing files so that a reader sees the whole file or none. */
import { randomBytes } from 'node:crypto';
import { rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ioError } from '../errors.js';

/** Writes a hidden temporary file beside the target and renames it. Throws `ERR_IO`; leaves nothing behind. */
export async function writeAtomically(file: string, data: Uint8Array | string): Promise<void> {
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
