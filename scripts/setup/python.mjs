/** A Python of our own with pinned packages, in a cache folder of the user: for tests that need some. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
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
  const ready = path.join(folder, 'ready');
  const python = path.join(folder, 'bin', 'python');
  if (existsSync(ready)) return python;
  const remedy = 'install Python 3 with pip and venv (Debian and Ubuntu: `apt install python3-venv`)';
  await step(`fetching ${lines.map((line) => line.split('==')[0]).join(', ')} from pip`, async () => {
    mkdirSync(path.dirname(folder), { recursive: true });
    // An environment cannot be moved, so that it is made in place and marked when it is whole; what an interrupted one
    // left is put aside first, so that two of us never delete each other's.
    if (existsSync(folder)) {
      const aside = mkdtempSync(`${folder}.old-`);
      renameSync(folder, path.join(aside, 'venv'));
      rmSync(aside, { recursive: true, force: true });
    }
    await run('python3', ['-m', 'venv', folder], { name, remedy });
    const pip = ['-m', 'pip', 'install', '--disable-pip-version-check', '--only-binary', ':all:', '-r', requirements];
    await run(python, pip, { name, append: true, remedy: 'check that pip can reach its package index' });
    writeFileSync(ready, '');
  });
  return python;
}
