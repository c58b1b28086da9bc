#!/usr/bin/env node
/**
 * `npm run bench:onnx`: time and memory of exporting the U-Net of 1.008 billion parameters. Needs 8 GB of disk in the
 * folder for temporary files (TMPDIR) and 6 GB of memory. One line of JSON for each export.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { nativeProgram } from '../setup/native.mjs';

const program = nativeProgram('paella_onnx_bench') ?? 'paella_onnx_bench';
const folder = mkdtempSync(path.join(tmpdir(), 'paella-onnx-bench-'));

function run(...args) {
  const { status, error } = spawnSync(program, args, { stdio: 'inherit' });
  if (status !== 0) throw error ?? new Error(`paella_onnx_bench ${args[0]}: exit code ${status}`);
}

try {
  const model = path.join(folder, 'model');
  run('weights', model);
  for (const [source, precision] of [
    [model, 'fp32'],
    [model, 'bf16'],
    [model, 'fp16'],
    ['random:paella-v3-256', 'fp32'],
  ]) {
    const out = path.join(folder, 'out');
    mkdirSync(out);
    run('export', source, out, precision);
    rmSync(out, { recursive: true });
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
