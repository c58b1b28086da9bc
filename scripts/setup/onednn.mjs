/**
 * oneDNN 3, the matrix products of the CPU backend. In this order: the folder that PAELLA_ONEDNN_ROOT names, what
 * CMake finds on the system, the pinned pip wheels (Linux x64; 39 MB; headers and library only) in a cache folder.
 */
import { cpSync, existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Failure, probe, say } from './log.mjs';
import { cacheFolder, fetchWheels } from './wheels.mjs';

const wheels = [
  'onednn-cpu-gomp==2023.2.0 --hash=sha256:2f22a54d6a890ed14bfa185d42a4be65d8b5b1df85dc1f0f3a9abe31620416fb',
  'onednn-devel-cpu-gomp==2023.2.0 --hash=sha256:9763c69e8c907e119056bd52ad918ca84ac9ba939d130a99dfa95ccca3e5e284',
];
const library = 'libdnnl.so.3.2';
const systemPackages =
  'install oneDNN 3 (for example `brew install onednn`), or build it and set PAELLA_ONEDNN_ROOT to the folder that holds its include/ and lib/';

/** The folder to pass as PAELLA_ONEDNN_ROOT, or '' when CMake finds oneDNN by itself. */
export async function findOneDnn() {
  const named = process.env.PAELLA_ONEDNN_ROOT;
  if (named) {
    if (!existsSync(path.join(named, 'include', 'oneapi', 'dnnl', 'dnnl.hpp'))) {
      throw new Failure(
        `PAELLA_ONEDNN_ROOT: expected a folder with include/oneapi/dnnl/dnnl.hpp, got ${named}`,
        'name the folder that oneDNN was installed into, or unset the variable',
      );
    }
    return path.resolve(named);
  }
  const cached = cacheFolder('onednn', wheels);
  if (isComplete(cached)) return cached;
  if (await cmakeFindsOneDnn()) {
    say('oneDNN: using the one on this system');
    return '';
  }
  return download(cached);
}

function isComplete(folder) {
  return [
    'include/oneapi/dnnl/dnnl.hpp',
    'include/dnnl.hpp',
    'lib/libdnnl.so',
    'lib/libdnnl.so.3',
    `lib/${library}`,
    'lib/cmake/dnnl/dnnl-config.cmake',
  ].every((name) => existsSync(path.join(folder, name)));
}

/** Asks CMake itself, with a project of three lines, because only CMake knows where it looks. */
async function cmakeFindsOneDnn() {
  const folder = mkdtempSync(path.join(tmpdir(), 'paella-onednn-'));
  try {
    writeFileSync(
      path.join(folder, 'CMakeLists.txt'),
      'cmake_minimum_required(VERSION 3.20)\nproject(probe CXX)\nfind_package(dnnl 3 CONFIG REQUIRED)\n',
    );
    return (await probe('cmake', ['-S', folder, '-B', path.join(folder, 'build')])) !== null;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function download(target) {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Failure(
      `oneDNN 3 was not found, and there is no wheel of it for ${process.platform}-${process.arch}`,
      systemPackages,
    );
  }
  const title = 'oneDNN 3.2 from pip (39 MB)';
  return fetchWheels({ name: 'onednn', title, wheels, target, place, isComplete, otherwise: systemPackages });
}

/** <wheel>.data/data/{include,lib} → root/{include,lib}; a wheel cannot hold links, so the library is there three times. */
function place(unpacked, into) {
  for (const folder of readdirSync(unpacked).filter((name) => name.endsWith('.data'))) {
    for (const part of ['include', 'lib', 'share']) {
      const from = path.join(unpacked, folder, 'data', part);
      if (existsSync(from)) cpSync(from, path.join(into, part), { recursive: true });
    }
  }
  for (const [link, to] of [
    ['libdnnl.so.3', library],
    ['libdnnl.so', 'libdnnl.so.3'],
  ]) {
    rmSync(path.join(into, 'lib', link), { force: true });
    symlinkSync(to, path.join(into, 'lib', link));
  }
}
