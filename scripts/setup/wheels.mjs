/** Pinned pip wheels, unpacked into a cache folder of the user: for what npm does not have. */
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { Failure, probe, run, step } from './log.mjs';

/** The folder depends on the list: another version is another folder. */
export function cacheFolder(name, wheels) {
  const base = process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache');
  const key = createHash('sha256').update(wheels.join('\n')).digest('hex').slice(0, 12);
  return path.join(base, 'paella-native', `${name}-${key}`);
}

/**
 * @param name of the log, and for messages
 * @param wheels lines 'package==version --hash=sha256:…'
 * @param target made by one rename, so that a folder of that name is always whole
 * @param place moves what is wanted from the unpacked wheels into the new folder
 * @param isComplete of a folder
 * @param otherwise what to do where pip cannot help
 */
export async function fetchWheels({ name, title, wheels, target, place, isComplete, otherwise }) {
  const python = await findPip(title, otherwise);
  mkdirSync(path.dirname(target), { recursive: true });
  const work = mkdtempSync(`${target}.part-`);
  const unpacked = path.join(work, 'unpacked');
  const made = path.join(work, 'root');
  try {
    const requirements = path.join(work, 'requirements.txt');
    writeFileSync(requirements, `${wheels.join('\n')}\n`);
    await step(`fetching ${title}`, async () => {
      const args = ['-m', 'pip', 'download', '--no-deps', '--require-hashes', '--only-binary', ':all:'];
      await run(python, [...args, '--disable-pip-version-check', '-r', requirements, '-d', work], {
        name,
        remedy: `check that pip can reach its package index, then run the command again; or ${otherwise}`,
      });
      for (const file of readdirSync(work).filter((entry) => entry.endsWith('.whl'))) {
        await run(python, ['-m', 'zipfile', '-e', path.join(work, file), unpacked], {
          name,
          append: true,
          remedy: 'delete the cache folder and run the command again',
        });
      }
      place(unpacked, made);
    });
    if (!isComplete(made)) throw new Failure(`${name}: the wheels do not hold the expected files`, otherwise);
    try {
      renameSync(made, target);
    } catch (error) {
      if (!isComplete(target)) throw error; // another process was faster
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return target;
}

async function findPip(title, otherwise) {
  for (const python of ['python3', 'python']) {
    if ((await probe(python, ['-m', 'pip', '--version'])) !== null) return python;
  }
  throw new Failure(
    `Python 3 with pip: not found (it fetches ${title})`,
    `install it (Debian and Ubuntu: \`apt install python3-pip\`; Fedora: \`dnf install python3-pip\`), or ${otherwise}`,
  );
}
