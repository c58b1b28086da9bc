/** A Python of our own with pinned packages, in a cache folder of the user: for tests that need some. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { Failure, probe, run, step } from './log.mjs';
import { cacheFolder } from './wheels.mjs';

/**
 * @param name of the folder and the log
 * @param requirements file of lines 'package==version'; other contents are another folder
 * @returns the path of its python
 */
export async function pythonWith(name, requirements) {
  const lines = readFileSync(requirements, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'));
  const version = await probe('python3', [
    '-c',
    'import sys; print(sys.version_info >= (3, 11), sys.version.split()[0])',
  ]);
  if (version === null) throw new Failure('Python 3: not found', 'install Python 3.11 or later, with venv and pip');
  const [fits, found] = version.split(' ');
  if (fits !== 'True') throw new Failure(`Python: expected 3.11 or later, got ${found}`, 'install a newer one');
  const folder = cacheFolder(name, [...lines, found]);
  const python = (environment) => path.join(environment, 'bin', 'python');
  if (existsSync(folder)) return python(folder);
  const remedy = 'install Python 3 with pip and venv (Debian and Ubuntu: `apt install python3-venv`)';
  mkdirSync(path.dirname(folder), { recursive: true });
  const work = mkdtempSync(`${folder}.part-`);
  try {
    await step(`fetching ${lines.map((line) => line.split('==')[0]).join(', ')} from pip`, async () => {
      const made = path.join(work, 'venv');
      await run('python3', ['-m', 'venv', made], { name, remedy });
      const pip = ['-m', 'pip', 'install', '--disable-pip-version-check', '--only-binary', ':all:', '-r', requirements];
      await run(python(made), pip, { name, append: true, remedy: 'check that pip can reach its package index' });
      try {
        // Its programs name the folder that they were installed in, but the interpreter finds its packages anywhere.
        renameSync(made, folder);
      } catch (error) {
        if (!existsSync(folder)) throw error; // another process was faster
      }
    });
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return python(folder);
}
