/** Paths and content stamps: a step is current when the hash of what it reads is the one it left behind. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export const root = path.resolve(import.meta.dirname, '..', '..');

function walk(name, out) {
  const full = path.join(root, name);
  if (!existsSync(full)) return;
  if (statSync(full).isDirectory()) {
    for (const entry of readdirSync(full).sort()) walk(path.join(name, entry), out);
  } else {
    out.push(name);
  }
}

/** Hash over names and contents of files and folders (relative to the root) plus free text. */
export function stampOf(names, ...text) {
  const files = [];
  for (const name of names) walk(name, files);
  const hash = createHash('sha256');
  for (const name of files)
    hash
      .update(`${name}\0`)
      .update(readFileSync(path.join(root, name)))
      .update('\0');
  for (const item of text) hash.update(`${item}\0`);
  return hash.digest('hex').slice(0, 32);
}

export function readStamp(file) {
  try {
    return readFileSync(path.join(root, file), 'utf8').trim();
  } catch {
    return '';
  }
}

export function writeStamp(file, stamp) {
  mkdirSync(path.dirname(path.join(root, file)), { recursive: true });
  writeFileSync(path.join(root, file), `${stamp}\n`);
}
