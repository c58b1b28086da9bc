/** build/Release/paella.node, and with tests build/…/paella_tests, by cmake-js. */
import { existsSync } from 'node:fs';
import { availableParallelism, freemem } from 'node:os';
import path from 'node:path';
import { readStamp, root, stampOf, writeStamp } from './files.mjs';
import { Failure, probe, run, step } from './log.mjs';

const sources = ['native', 'CMakeLists.txt', 'cmake', 'package-lock.json'];
const addonStamp = 'build/.stamp-addon';
const testsStamp = 'build/.stamp-tests';

/** Where cmake-js and CMake may have put a program. */
export function nativeProgram(name) {
  return ['build/Release', 'build', 'build/test', 'build/bin', 'build/test/native']
    .map((folder) => path.join(root, folder, name))
    .find((file) => existsSync(file));
}

const stamps = () => ({ addon: stampOf(sources), tests: stampOf([...sources, 'test/native']) });

export function nativeIsCurrent({ tests }) {
  const now = stamps();
  const addon = readStamp(addonStamp) === now.addon && existsSync(path.join(root, 'build/Release/paella.node'));
  return addon && (!tests || (readStamp(testsStamp) === now.tests && nativeProgram('paella_tests') !== undefined));
}

export async function buildNative({ tests, onednn }) {
  await checkTools();
  const now = stamps();
  const cmakeJs = path.join(root, 'node_modules', 'cmake-js', 'bin', 'cmake-js');
  const common = [`--config`, 'Release'];
  const defines = [`--CDPAELLA_ONEDNN_ROOT=${onednn}`, `--CDPAELLA_TESTS=${tests ? 'ON' : 'OFF'}`];
  const remedy =
    'if a compiler error stands above, it is a defect: please report it with the log; after an update of the compiler or of CMake, delete build/ and run the command again';
  const what = tests ? 'the native addon and its tests' : 'the native addon';
  await step(`building ${what} (some minutes the first time)`, async () => {
    await run(process.execPath, [cmakeJs, 'configure', ...common, ...defines], { name: 'native', remedy });
    await run(process.execPath, [cmakeJs, 'build', ...common, '--parallel', String(jobs())], {
      name: 'native',
      remedy,
      append: true,
    });
  });
  if (!existsSync(path.join(root, 'build/Release/paella.node'))) {
    throw new Failure(
      'the native build ended without build/Release/paella.node',
      remedy,
      path.join(root, 'build/logs/native.log'),
    );
  }
  writeStamp(addonStamp, now.addon);
  if (tests) writeStamp(testsStamp, now.tests);
}

/** One compiler per core, but no more than fit into memory at 1 GB each. */
function jobs() {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(freemem() / 2 ** 30)));
}

async function checkTools() {
  const cmake = await probe('cmake', ['--version']);
  const version = cmake?.match(/(\d+)\.(\d+)/);
  if (!version) throw new Failure('CMake: not found', toolRemedy('cmake'));
  if (Number(version[1]) === 3 && Number(version[2]) < 22) {
    throw new Failure(
      `CMake: expected 3.22 or later, got ${version[0]}`,
      `${toolRemedy('cmake')}, or \`pip install cmake\``,
    );
  }
  const compilers = process.env.CXX ? [process.env.CXX] : ['c++', 'g++', 'clang++'];
  const found = await Promise.all(compilers.map((name) => probe(name, ['--version'])));
  if (found.every((text) => text === null)) {
    throw new Failure(`C++ compiler: none of ${compilers.join(', ')} was found`, toolRemedy('g++'));
  }
  const makers = await Promise.all(['ninja', 'make'].map((name) => probe(name, ['--version'])));
  if (makers.every((text) => text === null)) throw new Failure('neither ninja nor make was found', toolRemedy('make'));
}

function toolRemedy(tool) {
  const fedora = { 'g++': 'gcc-c++' }[tool] ?? tool;
  const mac = { cmake: 'brew install cmake' }[tool] ?? 'xcode-select --install';
  return `install it (Debian and Ubuntu: \`apt install ${tool}\`; Fedora: \`dnf install ${fedora}\`; macOS: \`${mac}\`)`;
}
