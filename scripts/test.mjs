#!/usr/bin/env node
/**
 * `npm test`: the native tests, then the tests in TypeScript. Arguments name test files:
 *   npm test -- test/api/cli.test.ts      only these, without the native tests
 */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { root } from './setup/files.mjs';
import { nativeProgram } from './setup/native.mjs';

const files = process.argv.slice(2);

function run(title, command, args) {
  process.stderr.write(`\n── ${title}\n`);
  const { status, signal, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  if (error) process.stderr.write(`${error.message}\n`);
  if (status === 0) return true;
  process.stderr.write(`${title}: failed (${signal ?? `exit code ${status}`})\n`);
  return false;
}

let passed = true;
if (files.length === 0) passed = run('native tests', nativeProgram('paella_tests') ?? 'paella_tests', []);
// Every assertion on a terminal, a summary with all failures elsewhere.
const reporter = process.stdout.isTTY ? 'base' : 'terse';
const tap = path.join(root, 'node_modules/tap/dist/esm/run.mjs');
passed =
  run('public interface, command line, life cycle', process.execPath, [
    tap,
    'run',
    `--reporter=${reporter}`,
    ...files,
  ]) && passed;
process.exitCode = passed ? 0 : 1;
