#!/usr/bin/env node
/**
 * Brings a clone to the point where `npm start` and `npm test` can run, and does only what is missing:
 * npm packages, oneDNN, the TypeScript build, the native build. Plain Node without dependencies, because it runs
 * before anything is installed.
 *
 *   node scripts/setup.mjs              what `npm start` needs
 *   node scripts/setup.mjs --tests      also the native tests and the test runner
 *   node scripts/setup.mjs --cuda       also the CUDA plug-in (Linux x64; fetches a compiler where there is none); from then
 *                                       on every set-up keeps it up to date, until build/ is deleted
 *   node scripts/setup.mjs --tensorrt   also the TensorRT plug-ins (Linux; fetches headers where there are none); likewise
 *   node scripts/setup.mjs --onednn     only oneDNN; prints its folder (empty: CMake finds one by itself)
 *
 * One line per step on stderr; nothing when there is nothing to do. stdout stays free for the program that follows.
 */
import { findNvcc, rememberedNvcc } from './setup/cuda.mjs';
import { Failure, report } from './setup/log.mjs';
import { buildNative, nativeIsCurrent } from './setup/native.mjs';
import { checkNode, installPackages, prepareTestRunner } from './setup/node-modules.mjs';
import { findOneDnn } from './setup/onednn.mjs';
import { findTensorRtHeaders, rememberedHeaders } from './setup/tensorrt.mjs';
import { buildTypeScript } from './setup/typescript.mjs';

const flags = new Set(process.argv.slice(2));
const known = ['--tests', '--cuda', '--tensorrt', '--onednn'];

try {
  for (const flag of flags) {
    if (!known.includes(flag)) throw new Failure(`setup: unknown option ${flag}`, `known: ${known.join(', ')}`);
  }
  checkNode();
  if (flags.has('--onednn')) {
    process.stdout.write(`${await findOneDnn()}\n`);
  } else {
    const tests = flags.has('--tests');
    const nvcc = flags.has('--cuda') ? await findNvcc() : rememberedNvcc();
    const headers = flags.has('--tensorrt') ? await findTensorRtHeaders() : rememberedHeaders();
    await installPackages();
    await buildTypeScript();
    const parts = { tests, nvcc, headers };
    if (!nativeIsCurrent(parts)) await buildNative({ ...parts, onednn: await findOneDnn() });
    if (tests) await prepareTestRunner();
  }
} catch (error) {
  report(error);
  process.exitCode = 1;
}
