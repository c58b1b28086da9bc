// The rules that keep the code a ladder (docs in CONTRIBUTING.md): which folder may include which.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';

const root = path.resolve(import.meta.dirname, '..');

function filesIn(folder: string, extensions: RegExp): string[] {
  const full = path.join(root, folder);
  if (!existsSync(full)) return [];
  return readdirSync(full, { recursive: true, encoding: 'utf8' })
    .filter((name) => extensions.test(name))
    .map((name) => path.join(folder, name));
}

const read = (file: string) => readFileSync(path.join(root, file), 'utf8');
const cpp = /\.(h|hpp|cpp|cc|cu|cuh)$/;

/** What a C++ file includes, without the system's headers where `ours` is wanted. */
function includes(file: string): { ours: string[]; others: string[] } {
  const ours: string[] = [];
  const others: string[] = [];
  for (const match of read(file).matchAll(/^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)/gm)) {
    if (match[1] !== undefined) ours.push(match[1]);
    else others.push(match[2] ?? '');
  }
  return { ours, others };
}

/** The same kernels run on the CPU in tests: this one file chooses between CUDA and test/simt/. */
const deviceVocabulary = 'native/cuda/device.cuh';

/** Folder → the folders of native/ that it may include. */
const ladder: Record<string, string[]> = {
  core: ['core'],
  models: ['models', 'core'],
  pipeline: ['pipeline', 'models', 'core'],
  cpu: ['cpu', 'core'],
  cuda: ['cuda', 'core'],
  tensorrt: ['tensorrt', 'onnx', 'cuda', 'core'],
  onnx: ['onnx', 'core'],
  engines: ['engines', 'tensorrt', 'onnx', 'cuda', 'pipeline', 'models', 'core'],
  export: ['export', 'onnx', 'pipeline', 'models', 'core'],
  // The top: the one place that knows which backends there are.
  addon: ['addon', 'engines', 'export', 'pipeline', 'models', 'core', 'cpu', 'cuda', 'tensorrt', 'onnx'],
};

t.test('native folders include downwards only', async (t) => {
  const folders = readdirSync(path.join(root, 'native'), { withFileTypes: true }).filter((entry) =>
    entry.isDirectory(),
  );
  for (const { name } of folders) {
    const allowed = ladder[name];
    t.ok(allowed, `native/${name} has a rung`);
    for (const file of filesIn(`native/${name}`, cpp)) {
      const wrong = includes(file).ours.filter(
        (included) =>
          !allowed?.includes(included.split('/')[0] ?? '') &&
          !(file === deviceVocabulary && included === 'simt/simt.h'),
      );
      t.same(wrong, [], `${file} includes only ${allowed?.join(', ')}, by their path from native/`);
    }
  }
});

t.test('foreign headers stay where they belong', async (t) => {
  const rules: [header: RegExp, folders: string[]][] = [
    [/^(napi|node_api|js_native_api|uv|v8|node)\b.*\.h$/, ['addon']],
    [/^(dnnl|oneapi\/)/, ['cpu']],
    [/^(cuda|cub|cutlass|cute|thrust|nv)/i, ['cuda', 'tensorrt']],
    [/^NvInfer/, ['tensorrt']],
  ];
  // Within the GPU engines, what everybody may include is ordinary C++: the addon and the tests compile it.
  const plain = /^native\/cuda\/[^/]+\.(h|cpp)$/;
  for (const file of filesIn('native', cpp)) {
    const folder = file.split(path.sep)[1] ?? '';
    const { ours, others } = includes(file);
    for (const [header, folders] of rules) {
      if (folders.includes(folder) && !(header.source.includes('cuda') && plain.test(file))) continue;
      const foreign = [...ours.filter((name) => !existsSync(path.join(root, 'native', name))), ...others];
      t.same(
        foreign.filter((name) => header.test(name)),
        [],
        `${file} does not include ${header.source}`,
      );
    }
  }
});

t.test('which GPU engine is there is asked of the table, at run time', async (t) => {
  const guard = /^\s*#\s*(?:el)?if.*\b(?:PAELLA_(?:CUDA|TENSORRT)\w*|__CUDA\w*)/gm;
  // Functions that both sides compile say so to nvcc.
  const allowed = new Set(['native/core/portable.h', 'native/core/gumbel.h']);
  for (const file of filesIn('native', cpp)) {
    if (/^native\/(cuda|tensorrt)\//.test(file) || allowed.has(file)) continue;
    t.same(read(file).match(guard) ?? [], [], `${file} is the same with and without CUDA`);
  }
  // One addon for all builds, so no target but the plug-in's own may depend on the option.
  for (const file of filesIn('native/addon', /CMakeLists\.txt$/))
    t.notMatch(read(file), /PAELLA_(?:CUDA|TENSORRT)\b/, file);
});

t.test('every header guards itself', async (t) => {
  for (const file of filesIn('native', /\.(h|hpp|cuh)$/)) t.match(read(file), /^#pragma once$/m, file);
});

t.test('lib knows nothing of tests and scripts, and one file knows the addon', async (t) => {
  for (const file of filesIn('lib', /\.(ts|cts)$/)) {
    const imports = [...read(file).matchAll(/(?:from|import|require)\s*\(?\s*'([^']+)'/g)].map(
      ([, name]) => name ?? '',
    );
    t.same(
      imports.filter((name) => /\/(test|scripts|native\/addon|build)\//.test(name)),
      [],
      file,
    );
    if (file !== path.join('lib', 'native', 'loader.ts'))
      t.notOk(imports.includes('node-gyp-build'), `${file} does not load the addon`);
    // The command line is above the library, and ESM only.
    if (!file.startsWith(path.join('lib', 'cli'))) {
      t.same(
        imports.filter((name) => name.includes('/cli/') || name === 'yargs'),
        [],
        `${file} does not use the command line`,
      );
    }
  }
});

/** Folder of lib/ → the other folders that it may import from; files at the top are for all. */
const libLadder: Record<string, string[]> = {
  checkpoints: [],
  text: [],
  hub: ['options'],
  convert: ['checkpoints', 'hub', 'options', 'text'],
};

t.test('readers, hub and conversion stand below the engine', async (t) => {
  for (const [folder, allowed] of Object.entries(libLadder)) {
    for (const file of filesIn(`lib/${folder}`, /\.ts$/)) {
      const used = [...read(file).matchAll(/from '(\.[^']+)'/g)]
        .map(([, name]) => path.relative(path.join(root, 'lib'), path.resolve(root, path.dirname(file), name ?? '')))
        .filter((name) => name.includes(path.sep))
        .map((name) => name.split(path.sep)[0] ?? '');
      t.same(
        used.filter((name) => name !== folder && !allowed.includes(name)),
        [],
        `${file} imports only from ${[folder, ...allowed].join(', ')}`,
      );
    }
  }
});

t.test('files have one subject', async (t) => {
  const files = [
    ...filesIn('lib', /\.c?ts$/),
    ...filesIn('test', /\.ts$/),
    ...filesIn('native', cpp),
    ...filesIn('scripts', /\.(m?[jt]s|py)$/),
  ];
  for (const file of files) t.ok(read(file).split('\n').length <= 600, `${file} has at most 600 lines`);
});
