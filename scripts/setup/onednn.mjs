/**
 * oneDNN 3, the matrix products of the CPU backend. In this order: the folder that PAELLA_ONEDNN_ROOT names, what
 * CMake finds on the system, the pinned pip wheels (Linux x64; 39 MB; headers and library only) in a cache folder.
 */
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import path from 'node:path';
import { Failure, probe, run, say, step } from './log.mjs';

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
  const cached = cacheFolder();
  if (isComplete(cached)) return cached;
  if (await cmakeFindsOneDnn()) {
    say('oneDNN: using the one on this system');
    return '';
  }
  return download(cached);
}

function cacheFolder() {
  const base = process.env.XDG_CACHE_HOME || path.join(homedir(), '.cache');
  const key = createHash('sha256').update(wheels.join('\n')).digest('hex').slice(0, 12);
  return path.join(base, 'paella-native', `onednn-${key}`);
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
  const python = await findPip();
  mkdirSync(path.dirname(target), { recursive: true });
  // Beside the target, so that the last step is one rename: a folder of that name is always whole.
  const work = mkdtempSync(`${target}.part-`);
  try {
    const requirements = path.join(work, 'requirements.txt');
    writeFileSync(requirements, `${wheels.join('\n')}\n`);
    await step('fetching oneDNN 3.2 from pip (39 MB)', async () => {
      const args = [
        '-m',
        'pip',
        'download',
        '--no-deps',
        '--require-hashes',
        '--only-binary',
        ':all:',
        '--disable-pip-version-check',
      ];
      await run(python, [...args, '-r', requirements, '-d', work], {
        name: 'onednn',
        remedy: `check that pip can reach its package index, then run the command again; or ${systemPackages}`,
      });
      for (const file of readdirSync(work).filter((name) => name.endsWith('.whl'))) {
        await run(python, ['-m', 'zipfile', '-e', path.join(work, file), path.join(work, 'unpacked')], {
          name: 'onednn',
          append: true,
          remedy: 'delete the cache folder and run the command again',
        });
      }
      place(work);
    });
    if (!isComplete(path.join(work, 'root'))) {
      throw new Failure('oneDNN: the wheels do not hold the expected headers and library', systemPackages);
    }
    try {
      renameSync(path.join(work, 'root'), target);
    } catch (error) {
      if (!isComplete(target)) throw error; // another process was faster
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return target;
}

/** <wheel>.data/data/{include,lib} → root/{include,lib}; a wheel cannot hold links, so the library is there three times. */
function place(work) {
  const unpacked = path.join(work, 'unpacked');
  const into = path.join(work, 'root');
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

async function findPip() {
  for (const python of ['python3', 'python']) {
    if ((await probe(python, ['-m', 'pip', '--version'])) !== null) return python;
  }
  throw new Failure(
    'Python 3 with pip: not found (it fetches oneDNN)',
    `install it (Debian and Ubuntu: \`apt install python3-pip\`; Fedora: \`dnf install python3-pip\`), or ${systemPackages}`,
  );
}
