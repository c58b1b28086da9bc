#!/usr/bin/env node
/**
 * `npm run test:tensorrt`: engines of the bundled model and of a small v3 network, built by TensorRT-RTX itself on a machine
 * that needs no GPU, through our recorder, our builder and the command line. Builds the plug-ins, and fetches
 * TensorRT-RTX's libraries (86 MB) from pip the first time.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { root } from './setup/files.mjs';
import { Failure, report } from './setup/log.mjs';
import { nativeProgram, tensorRtPlugins } from './setup/native.mjs';
import { cacheFolder, fetchWheels } from './setup/wheels.mjs';

const wheels = [
  'tensorrt-rtx-cu13-libs==1.4.0.76 --hash=sha256:736d89b60514f997fc23c729534f2721c01b4791d8b88ae75a4c1f8e9fa4eda6',
];
const libraries = ['libtensorrt_rtx.so.1', 'libtensorrt_onnxparser_rtx.so.1'];

/** A folder to name in TENSORRT_ROOT. */
async function fetchLibraries() {
  const target = cacheFolder('tensorrt-rtx', wheels);
  const isComplete = (folder) => libraries.every((name) => existsSync(path.join(folder, 'lib', name)));
  const place = (unpacked, into) => {
    mkdirSync(into, { recursive: true });
    cpSync(path.join(unpacked, 'tensorrt_rtx_libs'), path.join(into, 'lib'), { recursive: true });
  };
  if (isComplete(target)) return target;
  const title = "TensorRT-RTX 1.4's libraries from pip (86 MB)";
  const otherwise = 'leave this test out: everything else is tested without them';
  return fetchWheels({ name: 'tensorrt-rtx', title, wheels, target, place, isComplete, otherwise });
}

/** Whether it ended with 0. A skip would hide that nothing was built. */
function run(program, args, env) {
  const { status, signal, error, stdout } = spawnSync(program, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: ['inherit', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  process.stdout.write(stdout ?? '');
  if (status !== 0)
    throw new Failure(`${path.basename(program)}: ${error?.message ?? signal ?? `exit code ${status}`}`);
  if (/, [1-9]\d* skipped/.test(stdout)) throw new Failure(`${path.basename(program)}: a test was skipped`);
}

try {
  if (!tensorRtPlugins().includes('libpaella_tensorrt_rtx1.4.so'))
    throw new Failure(
      'libpaella_tensorrt_rtx1.4.so: not built',
      'unset TENSORRT_ROOT, delete build/.tensorrt and run the command again',
    );
  const tests = nativeProgram('paella_tests') ?? 'paella_tests';
  run(tests, ['TensorRT library'], { TENSORRT_ROOT: path.join(path.dirname(tests), 'stand-in') });
  const env = { TENSORRT_ROOT: await fetchLibraries() };
  run(tests, ['TensorRT-RTX'], env);
  run(process.execPath, ['scripts/test.mjs', 'test/api/engines.test.ts'], { ...env, PAELLA_TEST_TENSORRT: '1' });
} catch (error) {
  report(error);
  process.exitCode = 1;
}
