/**
 * nvcc, the CUDA compiler, for `--cuda`. In this order: what CUDACXX names, the one of the last build, the toolkits of
 * CUDA_PATH and CUDA_HOME, /usr/local/cuda, the PATH; and where none of them fits, the pinned pip wheels (102 MB; compiler,
 * headers, static runtime) in a cache folder. No GPU and no driver is needed to build.
 */
import { chmodSync, cpSync, existsSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readStamp, root } from './files.mjs';
import { Failure, probe, say } from './log.mjs';
import { cacheFolder, fetchWheels } from './wheels.mjs';

const wheels = [
  'nvidia-cuda-nvcc==13.0.88 --hash=sha256:56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03',
  'nvidia-nvvm==13.0.88 --hash=sha256:c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0',
  'nvidia-cuda-crt==13.0.88 --hash=sha256:2c8043c7c9e02492716426e9919fc78d2c5b3b2a7a768a88e952676b08aa55a4',
  'nvidia-cuda-runtime==13.0.96 --hash=sha256:7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548',
  'nvidia-cuda-cccl==13.0.85 --hash=sha256:e0da7ad981f3a8aff08241b5bfc1af868742a63e2762f53a5171c492ef242649',
];
const oldest = [12, 4];
const toolkit =
  "install NVIDIA's CUDA toolkit, 12.4 or later, and set CUDACXX to its nvcc (see https://developer.nvidia.com/cuda-downloads)";

/** Written by a build with the plug-in: later builds keep it up to date with the same compiler. */
export const nvccRecord = 'build/.nvcc';

/** The nvcc that an earlier `--cuda` used, or '': then nothing of CUDA is built, and nothing is fetched. */
export function rememberedNvcc() {
  const nvcc = readStamp(nvccRecord);
  if (nvcc === '' || existsSync(nvcc)) return nvcc;
  say(`CUDA: ${nvcc} is gone; the plug-in is no longer built (\`npm run build -- --cuda\` builds it again)`);
  rmSync(path.join(root, nvccRecord), { force: true });
  return '';
}

/** The path of an nvcc that works. */
export async function findNvcc() {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Failure(
      `--cuda: expected Linux on x64, got ${process.platform} on ${process.arch}`,
      'leave --cuda out: the CPU backend works here',
    );
  }
  const named = process.env.CUDACXX;
  if (named) {
    const why = await unfit(named);
    if (why) throw new Failure(`CUDACXX: expected an nvcc, got ${named}: ${why}`, 'correct the variable or unset it');
    return path.resolve(named);
  }
  const remembered = rememberedNvcc();
  if (remembered) return remembered;
  const folders = [process.env.CUDA_PATH, process.env.CUDA_HOME, '/usr/local/cuda'].filter(Boolean);
  const candidates = [
    ...folders.map((folder) => path.join(folder, 'bin', 'nvcc')),
    ...(process.env.PATH ?? '').split(path.delimiter).map((folder) => path.join(folder, 'nvcc')),
  ];
  for (const nvcc of new Set(candidates)) {
    if (!existsSync(nvcc)) continue;
    const why = await unfit(nvcc);
    if (!why) return nvcc;
    say(`CUDA: not using ${nvcc}: ${why}`);
  }
  const target = cacheFolder('cuda', wheels);
  const nvcc = path.join(target, 'bin', 'nvcc');
  if (!isComplete(target)) {
    const title = 'the CUDA compiler 13.0 from pip (102 MB)';
    await fetchWheels({ name: 'cuda', title, wheels, target, place, isComplete, otherwise: toolkit });
  }
  const why = await unfit(nvcc);
  if (why) throw new Failure(`${nvcc}: ${why}`, `use another C++ compiler (CXX), or ${toolkit}`);
  return nvcc;
}

/** Why this nvcc cannot build the plug-in with this C++ compiler; '' if it can. */
async function unfit(nvcc) {
  const text = await probe(nvcc, ['--version'], { all: true });
  const [, major, minor] = text?.match(/release (\d+)\.(\d+)/) ?? [];
  if (major === undefined) return 'it does not run, or is no nvcc';
  const version = [Number(major), Number(minor)];
  if (version[0] < oldest[0] || (version[0] === oldest[0] && version[1] < oldest[1])) {
    return `expected version ${oldest.join('.')} or later, got ${version.join('.')}`;
  }
  const folder = mkdtempSync(path.join(tmpdir(), 'paella-nvcc-'));
  try {
    const source = path.join(folder, 'probe.cu');
    writeFileSync(source, '#include <cuda_runtime.h>\n#include <string>\n__global__ void kernel() {}\n');
    const host = process.env.CXX ? ['-ccbin', process.env.CXX] : [];
    const fine = await probe(nvcc, ['-std=c++20', ...host, '-c', source, '-o', path.join(folder, 'probe.o')]);
    return fine === null ? `version ${version.join('.')} does not work with this C++ compiler` : '';
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function isComplete(folder) {
  return [
    'bin/nvcc',
    'bin/ptxas',
    'nvvm/bin/cicc',
    'nvvm/libdevice/libdevice.10.bc',
    'include/cuda_runtime.h',
    'include/crt/host_config.h',
    'include/cccl/cuda/std/version',
    'lib64/libcudart_static.a',
  ].every((name) => existsSync(path.join(folder, name)));
}

/** nvidia/cu13 → root. Python's unzip drops the execute bits, and nvcc looks for libraries in lib64. */
function place(unpacked, into) {
  cpSync(path.join(unpacked, 'nvidia', 'cu13'), into, { recursive: true });
  for (const folder of ['bin', 'nvvm/bin']) {
    for (const entry of readdirSync(path.join(into, folder), { withFileTypes: true })) {
      if (entry.isFile()) chmodSync(path.join(into, folder, entry.name), 0o755);
    }
  }
  symlinkSync('lib', path.join(into, 'lib64'));
}
