// exportOnnx() and `paella export`: the folder, and that it is there as a whole or not at all. What the graphs compute is
// checked by `npm run test:onnx`.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { type ExportProgress, exportOnnx } from '../../lib/index.js';
import { packageVersion } from '../../lib/package-root.cjs';
import { rejection, rejectsWith, root, temporaryFolder } from './support/engine.js';
import { paella, program, run } from './support/process.js';

const all = [
  'text-encoder',
  'unet',
  'unet-condition',
  'unet-condition-image',
  'unet-modulation',
  'unet-head',
  'vqgan-decoder',
  'vqgan-encoder',
];

t.test('a folder with every network, their weights, and a description', async (t) => {
  const folder = temporaryFolder(t);
  const output = path.join(folder, 'onnx');
  const events: ExportProgress[] = [];
  const result = await exportOnnx({ output, onProgress: (event) => events.push(event) });
  t.same(JSON.parse(readFileSync(path.join(output, 'export.json'), 'utf8')), result, 'export.json is what is returned');
  t.same(readdirSync(folder), ['onnx'], 'nothing else');
  t.same(
    readdirSync(output).sort(),
    [
      ...all.map((name) => `${name}.onnx`),
      'text-encoder.onnx.data',
      'unet.onnx.data',
      'vqgan.onnx.data',
      'export.json',
    ].sort(),
  );
  t.same(result.producer, { name: 'paella-native', version: packageVersion });
  t.match(result, { format: 'paella-native-onnx', formatVersion: 1, model: 'tiny', precision: 'fp32', opset: 20 });
  t.same(
    result.networks.map(({ name }) => name),
    all,
  );
  const sha256 = (file: string) => createHash('sha256').update(readFileSync(file)).digest('hex');
  for (const network of result.networks) {
    const file = path.join(output, network.file);
    t.equal(sha256(file), network.sha256, network.file);
    t.equal(statSync(file).size, network.bytes);
    t.ok(result.data.some((data) => data.file === network.dataFile));
  }
  for (const data of result.data) t.equal(statSync(path.join(output, data.file)).size, data.bytes, data.file);
  for (const source of result.sources) {
    const file = path.join(root, 'models/tiny', String(source.file));
    t.same(source, { ...source, bytes: statSync(file).size, sha256: sha256(file) });
  }
  const { buckets, heads, bias } = result.positions ?? { buckets: 0, heads: 0, bias: [] };
  t.ok(
    buckets > 0 && bias.length === buckets * heads && bias.every(Number.isFinite),
    'position biases of the text encoder',
  );
  const unet = result.networks.find(({ name }) => name === 'unet');
  t.same(unet?.inputs.slice(0, 5), [
    { name: 'tokens', type: 'i32', shape: ['batch', 'height', 'width'] },
    { name: 'modulation', type: 'f32', shape: ['steps', unet?.inputs[1]?.shape[1]] },
    { name: 'step', type: 'i32', shape: [1] },
    { name: 'condition_lengths', type: 'i32', shape: ['conditions'] },
    { name: 'condition_index', type: 'i32', shape: ['rows'] },
  ]);
  t.same(unet?.inputs[5], { name: 'condition_kv.0', type: 'f32', shape: ['conditions', 'condition_length', 384] });
  t.same(unet?.outputs, [{ name: 'features', type: 'f32', shape: ['rows', 'height', 'width', 64] }]);
  t.same(unet?.symbols.rows, { multipleOf: 'batch' });
  t.same(unet?.symbols.height, { multipleOf: 4 });
  t.same(
    [...new Set(events.map(({ phase }) => phase))].filter((phase) => phase.startsWith('writing')),
    ['writing text_encoder', 'writing unet', 'writing vqgan'],
  );
  for (const { done, total } of events) t.ok(done >= 0 && done <= total, `${done} of ${total}`);
});

t.test('some networks, another precision, a newer opset', async (t) => {
  const output = path.join(temporaryFolder(t), 'onnx');
  const result = await exportOnnx({
    model: 'random:paella-v3-small',
    output,
    precision: 'bf16',
    opset: 22,
    networks: ['vqgan-decoder', 'unet-condition-clip'],
  });
  t.same(
    readdirSync(output).sort(),
    ['export.json', 'unet-condition-clip.onnx', 'unet.onnx.data', 'vqgan-decoder.onnx', 'vqgan.onnx.data'].sort(),
  );
  t.same(result.sources, [{ component: 'unet' }, { component: 'vqgan' }], 'random weights have no file');
  t.equal(result.networks[0]?.outputs[0]?.type, 'bf16');
});

t.test('an earlier export is replaced only if asked, anything else never', async (t) => {
  const folder = temporaryFolder(t);
  const output = path.join(folder, 'onnx');
  const options = { output, networks: ['vqgan-decoder'] };
  mkdirSync(output);
  await exportOnnx(options);
  t.equal(readdirSync(output).length, 3, 'an empty folder is filled');
  await rejectsWith(
    t,
    exportOnnx(options),
    'ERR_INVALID_OPTION',
    /^output: expected a new or empty folder, got ".*onnx"$/,
  );
  await exportOnnx({ ...options, networks: ['unet-head'], force: true });
  t.same(
    readdirSync(output).sort(),
    ['export.json', 'unet-head.onnx', 'unet.onnx.data'],
    'nothing of the old one is left',
  );

  writeFileSync(path.join(output, 'notes.txt'), 'mine');
  const before = readdirSync(output);
  await rejectsWith(
    t,
    exportOnnx({ ...options, force: true }),
    'ERR_INVALID_OPTION',
    /^output: expected a new or empty folder, or an earlier export, got ".*onnx, which holds notes\.txt"$/,
  );
  t.same(readdirSync(output), before);
  t.same(readdirSync(folder), ['onnx']);
});

t.test('what fails leaves nothing', async (t) => {
  const folder = temporaryFolder(t);
  const output = path.join(folder, 'onnx');
  const nothing = (why: string) => t.same(readdirSync(folder), [], why);
  await rejectsWith(
    t,
    exportOnnx({ output, networks: ['prior'] }),
    'ERR_INVALID_OPTION',
    /^networks: expected some of text-/,
  );
  await rejectsWith(t, exportOnnx({ output, networks: ['unet-condition-clip'] }), 'ERR_INVALID_OPTION', /^networks: /);
  await rejectsWith(
    t,
    exportOnnx({ output, opset: 19 }),
    'ERR_INVALID_OPTION',
    /^opset: expected an integer between 20/,
  );
  await rejectsWith(t, exportOnnx({ output, precision: 'int8' as 'fp32' }), 'ERR_INVALID_OPTION', /^precision: /);
  await rejectsWith(t, exportOnnx({ output: '' }), 'ERR_INVALID_OPTION', /^output: expected a folder/);
  await rejectsWith(
    t,
    exportOnnx({ output, overwrite: true } as never),
    'ERR_INVALID_OPTION',
    /^overwrite: unknown option/,
  );
  await rejectsWith(t, exportOnnx({ output, model: 'none' }), 'ERR_MODEL_NOT_FOUND');
  nothing('wrong options');

  const controller = new AbortController();
  const reason = new Error('changed my mind');
  const aborted = exportOnnx({
    output,
    signal: controller.signal,
    onProgress: ({ phase }) => {
      if (phase.startsWith('writing')) controller.abort(reason);
    },
  });
  t.equal(await rejection(aborted), reason);
  nothing('aborted');
  t.equal(await rejection(exportOnnx({ output, signal: AbortSignal.abort(reason) })), reason);
  const thrown = exportOnnx({
    output,
    onProgress: () => {
      throw reason;
    },
  });
  t.equal(await rejection(thrown), reason, 'what a listener throws');
  nothing('a listener that throws');

  const missing = path.join(folder, 'none', 'onnx');
  await rejectsWith(
    t,
    exportOnnx({ output: missing }),
    'ERR_IO',
    `${missing}: cannot be written: no such file or folder`,
  );
  const file = path.join(folder, 'file');
  writeFileSync(file, 'mine');
  await rejectsWith(t, exportOnnx({ output: file, force: true }), 'ERR_INVALID_OPTION', /^output: expected a folder/);
  await rejectsWith(
    t,
    exportOnnx({ output: path.join(file, 'onnx') }),
    'ERR_INVALID_OPTION',
    /^output: expected a folder/,
  );
  t.equal(readFileSync(file, 'utf8'), 'mine');
});

t.test('damaged weights', async (t) => {
  const folder = temporaryFolder(t);
  const model = path.join(folder, 'model');
  for (const name of ['', 'unet', 'vqgan', 'text_encoder']) mkdirSync(path.join(model, name), { recursive: true });
  const copy = (name: string, change = (bytes: Buffer) => bytes) =>
    writeFileSync(path.join(model, name), change(readFileSync(path.join(root, 'models/tiny', name))));
  for (const name of ['model_index.json', 'generation_config.json']) copy(name);
  for (const name of ['unet', 'vqgan', 'text_encoder']) copy(`${name}/config.json`);
  copy('vqgan/model.safetensors', (bytes) => bytes.subarray(0, bytes.length - 4));
  const options = { model, output: path.join(folder, 'onnx'), networks: ['vqgan-decoder'] };
  await rejectsWith(t, exportOnnx(options), 'ERR_MODEL_FORMAT', /vqgan\/model\.safetensors: .*truncated/);
  copy('vqgan/model.safetensors', (bytes) => {
    bytes.writeFloatLE(Number.NaN, bytes.length - 4);
    return bytes;
  });
  await rejectsWith(t, exportOnnx(options), 'ERR_NUMERIC', /vqgan\/model\.safetensors: .*finite/);
  t.notOk(existsSync(options.output));
});

t.test('paella export', async (t) => {
  const cwd = temporaryFolder(t);
  const first = await paella(['export', 'tiny', '-o', 'onnx', '--networks', 'unet,vqgan-decoder'], { cwd });
  t.equal(first.code, 0, first.stderr);
  t.match(first.stdout, /^onnx: tiny in fp32, opset 20\nunet\.onnx +\S+ KiB +\d+ nodes\n/);
  const again = await paella(['export', '--output', 'onnx', '--json'], { cwd });
  t.equal(again.code, 2);
  t.match(again.stderr, /^paella: --output: expected a new or empty folder, got "onnx"\n {8}.*force\n/);
  t.equal(JSON.parse(again.stdout).error.code, 'ERR_INVALID_OPTION');
  const forced = await paella(['export', '--model', 'tiny', '-o', 'onnx', '--force', '--json', '--precision', 'fp16'], {
    cwd,
  });
  t.equal(forced.code, 0, forced.stderr);
  t.match(JSON.parse(forced.stdout), { folder: 'onnx', precision: 'fp16', model: 'tiny' });
  const wrong: [args: string[], message: RegExp][] = [
    [['export'], /^paella: --output: expected a folder, got undefined\n/],
    [['export', 'tiny', '--model', 'tiny', '-o', 'x'], /^paella: --model: expected nothing beside/],
    [['export', '-o', 'x', '--opset', 'new'], /^paella: --opset: expected an integer between 20 and 22, got "new"\n/],
    [['export', '-o', 'x', '--networks', 'unet,'], /^paella: --networks: expected a list of names of networks/],
  ];
  for (const [args, message] of wrong) {
    const outcome = await paella(args, { cwd });
    t.equal(outcome.code, 2, args.join(' '));
    t.match(outcome.stderr, message);
  }
  t.same(readdirSync(cwd), ['onnx']);
});

t.test('Ctrl-C leaves nothing', async (t) => {
  const cwd = temporaryFolder(t);
  // Takes a quarter of a minute at least.
  const { code, stderr } = await paella(['export', 'random:paella-v3-256', '--networks', 'unet', '-o', 'onnx'], {
    cwd,
    kill: { signal: 'SIGINT', afterMs: 2500 },
  });
  t.equal(code, 130, stderr);
  t.match(stderr, /paella: interrupted\n$/);
  t.same(readdirSync(cwd), []);
});

t.test('a process may end while it exports', async (t) => {
  const output = path.join(temporaryFolder(t), 'onnx');
  const { code, signal, stderr } = await program(
    `import { exportOnnx } from 'paella-native';
     exportOnnx({ model: 'random:paella-v3-256', networks: ['unet'], output: ${JSON.stringify(output)} }).catch(() => {});
     setTimeout(() => process.exit(3), 500);`,
  );
  t.equal(code, 3, stderr);
  t.equal(signal, null);
  t.equal(stderr, '');
  t.notOk(existsSync(output));
});

// A file system of a megabyte, in a name space of the process, where that is allowed; the smallest weights have 2.7 MiB.
const onSmallDisk = (command: string, cwd: string) =>
  run('unshare', ['-rm', 'bash', '-c', `mount -t tmpfs -o size=1m paella-test . && cd "$PWD" && ${command}`], { cwd });
const trial = await onSmallDisk('true', temporaryFolder(t)).catch((error: Error) => ({
  code: 1,
  stderr: error.message,
}));
const why = trial.code === 0 ? false : `no file system of our own here: ${trial.stderr.trim()}`;

t.test('a disk that is full', { skip: why }, async (t) => {
  const main = path.join(root, 'dist/esm/cli/main.js');
  const { code, stderr, stdout } = await onSmallDisk(
    `{ ${process.execPath} ${main} export tiny --networks text-encoder -o onnx; echo "exit code $?"; ls -A; }`,
    temporaryFolder(t),
  );
  t.equal(code, 0, stderr);
  t.equal(stdout, 'exit code 1\n', 'no file is left');
  t.match(
    stderr,
    /^paella: onnx\/text-encoder\.onnx\.data: cannot be written: No space left on device\n {8}free some space\n$/,
  );
});
