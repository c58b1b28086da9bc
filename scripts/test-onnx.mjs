#!/usr/bin/env node
/**
 * `npm run test:onnx`: every network as an ONNX graph, through ONNX's checker and ONNX Runtime, against the CPU executor.
 * Needs Python 3.11 or later; fetches onnx and onnxruntime from pip the first time (about 100 MB).
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { root } from './setup/files.mjs';
import { report } from './setup/log.mjs';
import { nativeProgram } from './setup/native.mjs';
import { pythonWith } from './setup/python.mjs';

function run(program, args) {
  const { status, signal, error } = spawnSync(program, args, { cwd: root, stdio: 'inherit' });
  if (status === 0) return true;
  process.stdout.write(`${path.basename(program)}: ${error?.message ?? signal ?? `exit code ${status}`}\n`);
  return false;
}

const folder = mkdtempSync(path.join(tmpdir(), 'paella-onnx-'));
try {
  const python = await pythonWith('onnx-test', path.join(root, 'test/onnx/requirements.txt'));
  const cases = nativeProgram('paella_onnx_cases') ?? 'paella_onnx_cases';
  const passed = run(cases, [folder]) && run(python, [path.join(root, 'test/onnx/check.py'), folder]);
  process.exitCode = passed ? 0 : 1;
} catch (error) {
  report(error);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
