import { statfs } from 'node:fs/promises';
import { PaellaError } from './errors.js';

/** Before hours of work. Throws `ERR_IO` if the file system of `folder` has fewer than `bytes` free. */
export async function checkSpace(folder: string, bytes: number): Promise<void> {
  const status = await statfs(folder).catch(() => undefined); // a file system that cannot tell
  if (!status) return;
  const free = status.bavail * status.bsize;
  if (free >= bytes) return;
  const text = (count: number) => (count >= 1e9 ? `${(count / 1e9).toFixed(2)} GB` : `${(count / 1e6).toFixed(2)} MB`);
  throw new PaellaError('ERR_IO', `${folder}: ${text(bytes)} are needed, and ${text(free)} are free`, {
    remedy: 'free some space',
  });
}
