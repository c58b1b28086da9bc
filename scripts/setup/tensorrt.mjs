/**
 * TensorRT's headers, for `--tensorrt`. In this order: the folder that TENSORRT_ROOT names, the system's, and where there
 * are none, those in the crate trtx-sys (Apache-2.0; of TensorRT 11 and of each TensorRT-RTX), which cargo fetches into a
 * cache folder. Nothing of TensorRT is needed to build, and no GPU; its libraries are opened at run time.
 */
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { readStamp, root } from './files.mjs';
import { Failure, probe, run, step } from './log.mjs';
import { cacheFolder } from './wheels.mjs';

/** `package` is the checksum of the registry; `headers` that of what is taken out of it. */
const crate = {
  name: 'trtx-sys',
  version: '0.9.1+rtx1.7',
  package: '5480ee056292951daa1bc74532162d6cb75190f091e45d7d97c0c356916ae171',
  headers: '49fc8a019d1000167931638cd121b946938757973429326c1323c6daf202d80d',
};
const kinds = ['TRT-Enterprise-11.4', 'TRT-RTX-1.3', 'TRT-RTX-1.4', 'TRT-RTX-1.5', 'TRT-RTX-1.6', 'TRT-RTX-1.7'];
const otherwise =
  "set TENSORRT_ROOT to an installed TensorRT with its headers (see docs/tensorrt.md), or install Rust's cargo, which fetches headers";

/** Written by a build with the plug-ins: later builds keep them up to date with the same headers. */
export const headersRecord = 'build/.tensorrt';

/** The folders that an earlier `--tensorrt` used, or []: then nothing of TensorRT is built, and nothing is fetched. */
export function rememberedHeaders() {
  const folders = readStamp(headersRecord).split('\n').filter(Boolean);
  if (folders.every(holdsHeaders)) return folders;
  rmSync(path.join(root, headersRecord), { force: true });
  return [];
}

const holdsHeaders = (folder) =>
  ['NvInfer.h', 'NvInferVersion.h', 'NvOnnxParser.h'].every((name) => existsSync(path.join(folder, name)));

/** Folders with headers; a plug-in is built for each kind of TensorRT among them. */
export async function findTensorRtHeaders() {
  if (process.platform !== 'linux') {
    throw new Failure(`--tensorrt: expected Linux, got ${process.platform}`, 'leave --tensorrt out');
  }
  const named = process.env.TENSORRT_ROOT;
  if (named && !existsSync(named)) {
    throw new Failure(`TENSORRT_ROOT: expected a folder, got ${named}`, 'correct the variable or unset it');
  }
  const candidates = [
    ...(named ? [path.join(named, 'include'), named] : []),
    '/usr/include/x86_64-linux-gnu',
    '/usr/include/aarch64-linux-gnu',
    '/usr/include',
    '/usr/local/include',
  ];
  const found = candidates.find(holdsHeaders);
  if (found) return [found];
  // Libraries alone, as pip brings them, are what most people have.
  return cratesHeaders();
}

async function cratesHeaders() {
  const target = cacheFolder('tensorrt-headers', [crate.package, crate.headers]);
  const folders = kinds.map((kind) => path.join(target, kind));
  if (folders.every(holdsHeaders)) return folders;
  if ((await probe('cargo', ['--version'])) === null)
    throw new Failure("TensorRT's headers: none were found", otherwise);
  mkdirSync(path.dirname(target), { recursive: true });
  const work = mkdtempSync(`${target}.part-`);
  try {
    await step("fetching TensorRT's headers (crate trtx-sys, 1 MB)", () => fetchCrate(work));
    const made = path.join(work, 'headers');
    const from = path.join(work, 'vendor', crate.name);
    const { package: checksum } = JSON.parse(readFileSync(path.join(from, '.cargo-checksum.json'), 'utf8'));
    if (checksum !== crate.package) {
      throw new Failure(`${crate.name}: expected the package ${crate.package}, got ${checksum}`, otherwise);
    }
    mkdirSync(made);
    for (const kind of kinds)
      cpSync(path.join(from, 'TensorRT-Headers', kind), path.join(made, kind), { recursive: true });
    const contents = hashOf(made);
    if (contents !== crate.headers) {
      throw new Failure(`${crate.name}: expected headers ${crate.headers}, got ${contents}`, otherwise);
    }
    try {
      renameSync(made, target);
    } catch (error) {
      if (!folders.every(holdsHeaders)) throw error; // another process was faster
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return folders;
}

/** cargo fetches packages for a package: one that wants this one alone. */
async function fetchCrate(work) {
  mkdirSync(path.join(work, 'src'));
  writeFileSync(path.join(work, 'src', 'lib.rs'), '');
  writeFileSync(
    path.join(work, 'Cargo.toml'),
    `[package]\nname = "headers"\nversion = "0.0.0"\nedition = "2021"\n[dependencies]\n${crate.name} = "=${crate.version.replace(/\+.*/, '')}"\n[workspace]\n`,
  );
  await run('cargo', ['vendor', '--quiet', 'vendor'], {
    name: 'tensorrt-headers',
    cwd: work,
    remedy: `check that cargo can reach its registry, then run the command again; or ${otherwise}`,
  });
}

/** Over names and contents. */
function hashOf(folder) {
  const hash = createHash('sha256');
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name))
    .sort();
  for (const file of files)
    hash
      .update(`${path.relative(folder, file)}\0`)
      .update(readFileSync(file))
      .update('\0');
  return hash.digest('hex');
}
