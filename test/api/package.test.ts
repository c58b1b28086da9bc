// The package from outside: both module kinds, their types, and an addon that cannot be loaded.
import { createRequire } from 'node:module';
import path from 'node:path';
import t from 'tap';
import * as source from '../../lib/index.js';
import { root, temporaryFolder, testModel } from './support/engine.js';
import { program, run } from './support/process.js';

t.test('import and require give the same names', async (t) => {
  const required = createRequire(path.join(root, 'package.json'))('paella-native') as object;
  const imported = (await import(path.join(root, 'dist/esm/index.js'))) as object;
  const names = Object.keys(source).sort();
  t.same(names, [
    'GeneratedImage',
    'Paella',
    'PaellaError',
    'backends',
    'buildEngines',
    'cleanEngines',
    'convert',
    'exportOnnx',
    'generate',
    'inspectEngine',
    'inspectModel',
    'listEngines',
    'presets',
    'pull',
    'readMetadata',
  ]);
  t.same(
    Object.keys(required)
      .filter((name) => name !== '__esModule')
      .sort(),
    names,
  );
  t.same(Object.keys(imported).sort(), names);
});

t.test('require works', async (t) => {
  const code = `const { generate } = require('paella-native');
    generate({ prompt: 'a', steps: 1, seed: 5 }, { model: ${JSON.stringify(testModel)} }).then(([image]) => image.encode()).then((png) => console.log(png.length > 100 ? 'done' : 'short'));`;
  const outcome = await run(process.execPath, ['--input-type=commonjs', '--eval', code]);
  t.match(outcome, { code: 0, stdout: 'done\n', stderr: '' });
});

t.test('types, strictly, for both module kinds', async (t) => {
  const tsc = path.join(root, 'node_modules/typescript/bin/tsc');
  // Through a shell that clears NODE_OPTIONS: the hooks that tap puts there cannot load the compiler.
  const command = 'NODE_OPTIONS= exec "$0" "$1" -p test/types/tsconfig.json';
  const outcome = await run('/bin/sh', ['-c', command, process.execPath, tsc]);
  t.equal(outcome.code, 0, outcome.stdout + outcome.stderr);
});

t.test('an addon that cannot be loaded says what was tried and what to do', async (t) => {
  const folder = temporaryFolder(t);
  const code = `import { backends } from 'paella-native';
    await backends().catch(({ code, message, remedy, cause }) => console.log(JSON.stringify({ code, message, remedy, cause: cause?.constructor.name })));`;
  const outcome = await program(code, { env: { PAELLA_NATIVE_PREBUILD: folder } });
  t.equal(outcome.code, 0, outcome.stderr);
  const error = JSON.parse(outcome.stdout);
  t.equal(error.code, 'ERR_ADDON');
  t.match(error.message, /could not be loaded on .*Tried, in .*build\/Release.*prebuilds\/.*Cause: /s);
  t.match(error.remedy, /npm run build/);
  t.equal(error.cause, 'Error');
});

t.test('backends', async (t) => {
  const all = await source.backends();
  t.same(
    all.map(({ name }) => name),
    ['cpu', 'cuda', 'tensorrt'],
  );
  const cpu = all.find(({ name }) => name === 'cpu');
  t.equal(cpu?.available, true);
  t.ok(cpu?.precisions.includes('fp32'));
  t.ok((cpu?.devices[0]?.memoryTotal ?? 0) > 0);
  for (const other of all) if (!other.available) t.ok(other.reason, `${other.name} says why not`);
});
