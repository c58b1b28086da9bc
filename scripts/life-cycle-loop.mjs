#!/usr/bin/env node
/** Runs the life-cycle tests many times in a row: node scripts/life-cycle-loop.mjs [50]. Stops at the first failure. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const runs = Number(process.argv[2] ?? 50);
const started = Date.now();
for (let i = 1; i <= runs; i++) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--import=tsx', 'test/api/life-cycle.test.ts'], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, TAP_TIMEOUT: '600' },
  });
  if (status !== 0) {
    process.stderr.write(`${stdout}${stderr}\nrun ${i} of ${runs} failed with ${status}\n`);
    process.exit(1);
  }
  process.stderr.write(`run ${i} of ${runs} passed (${Math.round((Date.now() - started) / 1000)} s)\n`);
}
