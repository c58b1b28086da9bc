/** dist/: the library as ES modules and as CommonJS, and the command line. */
import { chmodSync, existsSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { readStamp, root, stampOf, writeStamp } from './files.mjs';
import { run, step } from './log.mjs';

const distStamp = 'dist/.stamp';

export async function buildTypeScript() {
  const stamp = stampOf(['lib', 'tsconfig.base.json', 'tsconfig.esm.json', 'tsconfig.cjs.json', 'package-lock.json']);
  const dist = path.join(root, 'dist');
  if (readStamp(distStamp) === stamp && existsSync(path.join(dist, 'esm', 'cli', 'main.js'))) return;
  await step('compiling TypeScript', async () => {
    rmSync(dist, { recursive: true, force: true }); // no output of deleted sources
    const tsc = path.join(root, 'node_modules', 'typescript', 'bin', 'tsc');
    for (const kind of ['esm', 'cjs']) {
      await run(process.execPath, [tsc, '-p', `tsconfig.${kind}.json`], {
        name: 'typescript',
        append: kind === 'cjs',
        remedy: 'correct the errors above (`npm run typecheck` shows them all)',
      });
    }
    // The package says "type": "module"; this folder's .js files are the other kind.
    writeFileSync(path.join(dist, 'cjs', 'package.json'), '{ "type": "commonjs" }\n');
    chmodSync(path.join(dist, 'esm', 'cli', 'main.js'), 0o755);
  });
  writeStamp(distStamp, stamp);
}
