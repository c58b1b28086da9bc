#!/usr/bin/env node
/**
 * `npm test`: the native tests, then the tests in TypeScript. Arguments name test files:
 *   npm test -- test/api/cli.test.ts      only these, without the native tests
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { root } from './setup/files.mjs';
import { cudaPlugin, nativeProgram } from './setup/native.mjs';

/** The program's way of saying that none of its tests can run here. */
const SKIPPED = 77;

function nativeTests(where, env = {}) {
  process.stdout.write(`\n── native tests${where}\n`);
  const { status, signal, error } = spawnSync(nativeProgram('paella_tests') ?? 'paella_tests', [], {
    cwd: root,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  });
  if (status === SKIPPED) return true;
  if (status !== 0)
    process.stdout.write(`native tests: failed (${error?.message ?? signal ?? `exit code ${status}`})\n`);
  return status === 0;
}

/** Runs tap and prints a line for each file, what failed in full, and a closing line. */
async function tapTests(files) {
  process.stdout.write('\n── public interface, command line, life cycle\n');
  const tap = path.join(root, 'node_modules/tap/dist/esm/run.mjs');
  const child = spawn(process.execPath, [tap, 'run', '--reporter=tap', ...files], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = new Promise((resolve) => child.on('close', resolve));
  const count = { passed: 0, failed: 0 };
  let showing = false; // inside the description of a failure
  for await (const line of createInterface({ input: child.stdout })) {
    const [, indent, not, text] = line.match(/^( *)(not )?ok \d+(.*)$/) ?? [];
    if (text !== undefined) {
      showing = not !== undefined;
      // The innermost lines are the assertions; subtests and files end with how long they took.
      if (!/ # time=/.test(text)) count[not ? 'failed' : 'passed']++;
      if (indent === '') process.stdout.write(`${not ? '✗' : '✓'}${text}\n`);
      else if (not) process.stdout.write(`${line}\n`);
    } else if (showing && /^ +(# Subtest|\d+\.\.\d+)/.test(line)) showing = false;
    else if (showing || /^Bail out!/.test(line)) process.stdout.write(`${line}\n`);
  }
  const code = await closed;
  process.stdout.write(`\n${count.passed} passed, ${count.failed} failed\n`);
  return code === 0 && count.passed > 0;
}

const files = process.argv.slice(2);
const native =
  files.length > 0 ||
  (nativeTests('') && (!existsSync(cudaPlugin) || nativeTests(' on the GPU', { PAELLA_TEST_GPU: '1' })));
const tap = await tapTests(files);
process.exitCode = native && tap ? 0 : 1;
