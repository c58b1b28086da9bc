/** Result files, all or none. */

import { mkdir, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** Writes every file under another name first: what was published stays whole if writing fails. */
export async function writeTogether(folder: string, files: Record<string, string | Buffer>): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const targets = Object.entries(files).map(([name, content]) => ({
    content,
    final: path.join(folder, name),
    partial: path.join(folder, `${name}.${process.pid}.tmp`),
  }));
  for (const { partial, content } of targets) await writeFile(partial, content);
  for (const { partial, final } of targets) await rename(partial, final);
  return targets.map(({ final }) => final);
}
