/** Node itself, the npm packages, and the plug-ins of the test runner. */
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { readStamp, root, stampOf, writeStamp } from './files.mjs';
import { Failure, run, step } from './log.mjs';

export function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const fine = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major > 22;
  if (!fine) {
    throw new Failure(
      `Node.js: expected 20.19 or later, or 22.12 or later, got ${process.versions.node}`,
      'install a current long-term release of Node.js and run the command again',
    );
  }
}

const packagesStamp = 'node_modules/.paella-packages';

export async function installPackages() {
  const stamp = stampOf(['package-lock.json']);
  if (readStamp(packagesStamp) === stamp) return;
  // Somebody ran `npm install` or `npm ci` by hand after the last change of the lock file: that will do.
  const installed = path.join(root, 'node_modules', '.package-lock.json');
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(path.join(root, 'package-lock.json')).mtimeMs) {
    writeStamp(packagesStamp, stamp);
    return;
  }
  // Under `npm start` and `npm test` this is the npm that is running; otherwise the one on the PATH.
  const cli = process.env.npm_execpath;
  const viaNode = cli !== undefined && /\.c?js$/.test(cli);
  // No package of ours needs its install script, and none should run on a clone's first command.
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  await step('installing npm packages', () =>
    run(viaNode ? process.execPath : 'npm', viaNode ? [cli, ...args] : args, {
      name: 'npm',
      remedy: 'check that the npm registry can be reached (`npm ping`), then run the command again',
    }),
  );
  writeStamp(packagesStamp, stamp);
}

const tapStamp = 'node_modules/.paella-tap';

/** tap compiles its class for the plug-ins named in .taprc; npm ci removes the result. */
export async function prepareTestRunner() {
  const stamp = stampOf(['.taprc', 'package-lock.json']);
  if (readStamp(tapStamp) === stamp) return;
  await step('preparing the test runner', () =>
    run(process.execPath, [path.join(root, 'node_modules/tap/dist/esm/run.mjs'), 'build'], {
      name: 'tap',
      remedy: 'delete node_modules and run the command again',
    }),
  );
  writeStamp(tapStamp, stamp);
}
