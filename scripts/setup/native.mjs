/**
 * build/Release/paella.node, with tests build/…/paella_tests, with CUDA and TensorRT their plug-ins beside the addon:
 * libpaella_cuda.so, libpaella_tensorrt_<kind>.so; by cmake-js.
 */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { availableParallelism, freemem } from 'node:os';
import path from 'node:path';
import { nvccRecord } from './cuda.mjs';
import { readStamp, root, stampOf, writeStamp } from './files.mjs';
import { Failure, probe, run, step } from './log.mjs';
import { headersRecord } from './tensorrt.mjs';

const sources = ['native', 'CMakeLists.txt', 'cmake', 'package-lock.json'];
const testSources = ['test/native', 'test/simt', 'test/onnx', 'test/nvinfer'];
const addonStamp = 'build/.stamp-addon';
const testsStamp = 'build/.stamp-tests';
const cudaStamp = 'build/.stamp-cuda';
const tensorRtStamp = 'build/.stamp-tensorrt';

/** Where the plug-in lies once it is built. */
export const cudaPlugin = path.join(root, 'build/Release/libpaella_cuda.so');

/** The TensorRT plug-ins that are built, by file name. */
export function tensorRtPlugins() {
  const folder = path.join(root, 'build/Release');
  if (!existsSync(folder)) return [];
  return readdirSync(folder).filter((name) => /^libpaella_tensorrt_.*\.so$/.test(name));
}

/** Where cmake-js and CMake may have put a program. */
export function nativeProgram(name) {
  return ['build/Release', 'build', 'build/test', 'build/bin', 'build/test/native']
    .map((folder) => path.join(root, folder, name))
    .find((file) => existsSync(file));
}

const stamps = ({ nvcc, headers }) => ({
  addon: stampOf(sources),
  tests: stampOf([...sources, ...testSources]),
  cuda: nvcc && stampOf([...sources, 'scripts/cuda'], nvcc),
  tensorRt: headers.length > 0 && stampOf(sources, ...headers),
});

/**
 * @param nvcc '' when the CUDA plug-in is not wanted
 * @param headers folders with TensorRT's headers; [] when its plug-ins are not wanted
 */
export function nativeIsCurrent({ tests, nvcc, headers }) {
  const now = stamps({ nvcc, headers });
  const addon = readStamp(addonStamp) === now.addon && existsSync(path.join(root, 'build/Release/paella.node'));
  const cuda = nvcc === '' || (readStamp(cudaStamp) === now.cuda && existsSync(cudaPlugin));
  const tensorRt = headers.length === 0 || (readStamp(tensorRtStamp) === now.tensorRt && tensorRtPlugins().length > 0);
  const test = !tests || (readStamp(testsStamp) === now.tests && nativeProgram('paella_tests') !== undefined);
  return addon && cuda && tensorRt && test;
}

export async function buildNative({ tests, onednn, nvcc, headers }) {
  await checkTools();
  const now = stamps({ nvcc, headers });
  const cmakeJs = path.join(root, 'node_modules', 'cmake-js', 'bin', 'cmake-js');
  const common = [`--config`, 'Release'];
  const defines = [
    `--CDPAELLA_ONEDNN_ROOT=${onednn}`,
    `--CDPAELLA_TESTS=${tests ? 'ON' : 'OFF'}`,
    `--CDPAELLA_CUDA=${nvcc ? 'ON' : 'OFF'}`,
    ...(nvcc ? [`--CDCMAKE_CUDA_COMPILER=${nvcc}`] : []),
    `--CDPAELLA_TENSORRT=${headers.length > 0 ? 'ON' : 'OFF'}`,
    ...(headers.length > 0 ? [`--CDPAELLA_TENSORRT_INCLUDE=${headers.join(';')}`] : []),
  ];
  // CMake forgets every option when the compiler of a configured folder changes.
  if (nvcc && ![nvcc, ''].includes(readStamp(nvccRecord)))
    rmSync(path.join(root, 'build/CMakeCache.txt'), { force: true });
  // One that is not built with the rest would belong to other sources.
  if (!nvcc) rmSync(cudaPlugin, { force: true });
  if (headers.length === 0)
    for (const name of tensorRtPlugins()) rmSync(path.join(root, 'build/Release', name), { force: true });
  const remedy =
    'if a compiler error stands above, it is a defect: please report it with the log; after an update of the compiler or of CMake, delete build/ and run the command again';
  const parts = [
    'the native addon',
    ...(nvcc ? ['the CUDA plug-in'] : []),
    ...(headers.length > 0 ? ['the TensorRT plug-ins'] : []),
    ...(tests ? ['the native tests'] : []),
  ];
  const time = nvcc ? 'up to a quarter of an hour the first time' : 'some minutes the first time';
  await step(`building ${parts.join(', ')} (${time})`, async () => {
    await run(process.execPath, [cmakeJs, 'configure', ...common, ...defines], { name: 'native', remedy });
    await run(process.execPath, [cmakeJs, 'build', ...common, '--parallel', String(jobs())], {
      name: 'native',
      remedy,
      append: true,
    });
  });
  for (const file of ['build/Release/paella.node', ...(nvcc ? [path.relative(root, cudaPlugin)] : [])]) {
    if (existsSync(path.join(root, file))) continue;
    throw new Failure(`the native build ended without ${file}`, remedy, path.join(root, 'build/logs/native.log'));
  }
  if (headers.length > 0 && tensorRtPlugins().length === 0) {
    throw new Failure(
      'the native build ended without a TensorRT plug-in',
      remedy,
      path.join(root, 'build/logs/native.log'),
    );
  }
  writeStamp(addonStamp, now.addon);
  if (tests) writeStamp(testsStamp, now.tests);
  if (nvcc) {
    writeStamp(cudaStamp, now.cuda);
    writeStamp(nvccRecord, nvcc);
  }
  if (headers.length > 0) {
    writeStamp(tensorRtStamp, now.tensorRt);
    writeStamp(headersRecord, headers.join('\n'));
  }
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
