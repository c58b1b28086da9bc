// TensorRT engines from JavaScript: options and profiles, the cache as it is listed and cleaned, and what is said where
// nothing can be built. With PAELLA_TEST_TENSORRT (npm run test:tensorrt) engines are built by TensorRT-RTX itself.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import {
  type BuildEnginesOptions,
  backends,
  buildEngines,
  cleanEngines,
  type EngineProfile,
  inspectEngine,
  listEngines,
  Paella,
} from '../../lib/index.js';
import { resolveProfile, resolveProfileFile } from '../../lib/options/engine-options.js';
import { nativeProgram } from '../../scripts/setup/native.mjs';
import { rejectsWith, temporaryFolder, testModel } from './support/engine.js';
import { paella } from './support/process.js';

const real = process.env.PAELLA_TEST_TENSORRT === '1';
const profile: EngineProfile = { name: 'test', batch: 1, width: [32, 64, 64], height: 64, condition: 32, steps: 8 };

/** An empty cache for this test. */
function cache(t: Test): string {
  const folder = temporaryFolder(t);
  const before = process.env.PAELLA_CACHE;
  process.env.PAELLA_CACHE = folder;
  t.teardown(() => {
    if (before === undefined) delete process.env.PAELLA_CACHE;
    else process.env.PAELLA_CACHE = before;
  });
  return path.join(folder, 'engines');
}

function plant(folder: string, name: string, plan = 'a plan', change: object = {}): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(path.join(folder, `${name}.plan`), plan);
  const description = {
    format: 1,
    key: 'k',
    network: 'unet',
    gpu: 'NVIDIA H200',
    computeCapability: '9.0',
    flavour: 'enterprise',
    version: '11.2.1.9',
    precision: 'bf16',
    profile: 'batch=1:1:1',
    bytes: plan.length,
    sha256: createHash('sha256').update(plan).digest('hex'),
    builtAt: '2026-01-01T00:00:00Z',
    tensors: [{ name: 'tokens', input: true, type: 'i32', shape: [-1, -1, -1] }],
    ...change,
  };
  writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(description));
}

t.test('wrong options are named', async (t) => {
  cache(t);
  const cases: [BuildEnginesOptions, RegExp][] = [
    [{ precision: 'fp8' as 'fp16' }, /^precision: expected one of fp32, bf16, fp16, got "fp8"/],
    [{ computeCapability: '89' }, /^computeCapability: expected a compute capability like '8.9', got "89"/],
    [{ flavour: 'lite' as 'rtx' }, /^flavour: expected one of enterprise, rtx/],
    [{ networks: ['prior' as 'unet'] }, /^networks: expected some of unet, vqgan-decoder/],
    [{ profiles: ['huge'] }, /^profiles: expected some of small, 256, up-to-512, got "huge"/],
    [{ profiles: [] }, /^profiles: expected a list/],
    [{ profiles: [{ ...profile, width: [64, 32, 64] }] }, /^width: expected pixels: a whole number/],
    [{ profiles: [{ ...profile, size: 3 } as EngineProfile] }, /^size: unknown option/],
    [{ speed: 1 } as BuildEnginesOptions, /^speed: unknown option/],
  ];
  for (const [options, message] of cases) {
    const error = await rejectsWith(t, buildEngines(options), 'ERR_INVALID_OPTION');
    t.match(error.message, message);
  }
  await rejectsWith(t, buildEngines({ model: './nowhere' }), 'ERR_MODEL_NOT_FOUND');
  // A folder of ONNX files, edited or not, is not what engines are built from.
  const onnx = temporaryFolder(t);
  writeFileSync(path.join(onnx, 'export.json'), '{}');
  const error = await rejectsWith(t, buildEngines({ model: onnx }), 'ERR_MODEL_NOT_FOUND');
  t.match(error.message, /expected model_index\.json/);
  const stopped = new AbortController();
  stopped.abort(new Error('not today'));
  await t.rejects(buildEngines({ signal: stopped.signal }), { message: 'not today' });
});

t.test('profiles', async (t) => {
  const file = path.resolve(import.meta.dirname, '../../engines/profiles.json');
  const profiles = resolveProfileFile(JSON.parse(readFileSync(file, 'utf8')), file);
  t.same(
    profiles.map(({ name }) => name),
    ['small', '256', 'up-to-512'],
  );
  t.same(profiles[1]?.width, [256, 256, 256]);
  t.throws(() => resolveProfileFile({ profiles: [profile, profile] }, 'p.json'), /profiles with different names/);
  t.throws(() => resolveProfileFile([profile], 'p.json'), /p\.json: expected an object with a list "profiles"/);
  t.throws(() => resolveProfile('x', 'profile 1'), /profile 1: expected an object/);
});

t.test('plans are listed, looked at and cleaned', async (t) => {
  const folder = cache(t);
  t.same(await listEngines(), []);
  t.same(await cleanEngines(), []);
  plant(folder, 'unet-good');
  plant(folder, 'unet-cut', 'a plan');
  truncateSync(path.join(folder, 'unet-cut.plan'), 2);
  plant(folder, 'unet-changed');
  writeFileSync(path.join(folder, 'unet-changed.plan'), 'A plan');
  plant(folder, 'unet-format', 'a plan', { format: 9 });
  writeFileSync(path.join(folder, 'unet-alone.plan'), 'x');
  writeFileSync(path.join(folder, 'unet-bad.json'), '{"format"');
  writeFileSync(path.join(folder, 'unet-good.layers.json'), '{"Layers":["a"]}');
  writeFileSync(path.join(folder, 'unet-new.plan.abc123'), 'half');
  writeFileSync(path.join(folder, 'unet-old.plan.abc123'), 'half');
  utimesSync(path.join(folder, 'unet-old.plan.abc123'), 1, 1);

  const problems = new Map((await listEngines()).map(({ name, problem }) => [name, problem]));
  t.equal(problems.size, 6);
  t.equal(problems.get('unet-good'), undefined);
  t.equal(
    problems.get('unet-changed'),
    undefined,
    'sizes are compared; checksums only when a plan is inspected or used',
  );
  t.equal(problems.get('unet-cut'), 'expected 6 bytes, found 2');
  t.equal(problems.get('unet-format'), 'its description is not of this version');
  t.equal(problems.get('unet-alone'), 'it has no description');
  t.equal(problems.get('unet-bad'), 'its description is damaged');
  t.match(await inspectEngine('unet-changed'), { problem: 'its checksum is not the one that was stored' });
  t.match(await inspectEngine('unet-good'), { gpu: 'NVIDIA H200', layers: { Layers: ['a'] }, problem: undefined });
  t.equal(await inspectEngine('unet-none'), undefined);

  const { stdout, code } = await paella(['engine', 'list', '--json'], { env: { PAELLA_CACHE: path.dirname(folder) } });
  t.equal(code, 0);
  t.equal(JSON.parse(stdout).engines.length, 6);
  const removed = await cleanEngines();
  t.equal(removed.length, 2 + 2 + 1 + 1 + 1, 'what would not be used, and what was given up');
  t.ok(existsSync(path.join(folder, 'unet-new.plan.abc123')), 'somebody may still write to it');
  t.same(
    (await listEngines()).map(({ name }) => name),
    ['unet-changed', 'unet-good'],
  );
  await cleanEngines({ names: ['unet-changed'] });
  t.equal((await listEngines()).length, 1);
  await cleanEngines({ all: true });
  t.same(readdirSync(folder), ['unet-new.plan.abc123']);
});

t.test('the command line says what is wrong', async (t) => {
  const env = { PAELLA_CACHE: temporaryFolder(t) };
  const run = (...args: string[]) => paella(['engine', ...args], { env });
  t.match(await run('burn'), { code: 2, stderr: /action: expected one of build, list, inspect, clean, got "burn"/ });
  t.match(await run('inspect', 'nothing'), { code: 1, stderr: /nothing: no engine of that name in .*engines/ });
  t.match(await run('clean', 'nothing'), { code: 1, stderr: /no engine of that name/ });
  t.match(await run('clean', '--all'), { code: 0, stdout: /nothing to remove/ });
  t.match(await run('list'), { code: 0, stdout: /no engines in / });
  t.match(await run('build', '--profiles', '/nowhere.json'), { code: 1, stderr: /nowhere\.json: cannot be read/ });
  t.match(await run('build', '--width', '64', '--profile', 'small'), {
    code: 2,
    stderr: /--width: expected nothing beside/,
  });
  t.match(await run('build', '--batch', '2'), { code: 2, stderr: /--width: expected pixels/ });
  t.match(await run('build', '--compute-capability', 'x'), {
    code: 2,
    stderr: /--compute-capability: expected a compute/,
  });
});

t.test('the backend is listed, and says why it cannot be used', async (t) => {
  const tensorrt = (await backends()).find(({ name }) => name === 'tensorrt');
  if (!tensorrt) throw new Error('tensorrt is not listed');
  if (tensorrt.available) return;
  t.ok(tensorrt.reason && tensorrt.remedy);
  const loading = Paella.load({ model: testModel, backend: 'tensorrt' });
  const error = await rejectsWith(t, loading, 'ERR_BACKEND_UNAVAILABLE');
  t.equal(error.message, `backend tensorrt is unavailable: ${tensorrt.reason}`);
});

t.test('libraries that do not fit', { skip: real ? false : 'npm run test:tensorrt builds the plug-ins' }, async (t) => {
  /** What `paella doctor` says of the plug-in for TensorRT 11, with these files in TENSORRT_ROOT. */
  const say = async (files: Record<string, Uint8Array | string>) => {
    const root = temporaryFolder(t);
    for (const [name, contents] of Object.entries(files)) writeFileSync(path.join(root, name), contents);
    const { stdout } = await paella(['doctor', '--json'], { env: { TENSORRT_ROOT: root } });
    const { backends: all } = JSON.parse(stdout) as { backends: { name: string; details: Record<string, string> }[] };
    const details = Object.entries(all.find(({ name }) => name === 'tensorrt')?.details ?? {});
    return details.find(([name]) => name.startsWith('plug-in enterprise 11'))?.[1] ?? '';
  };
  t.match(await say({}), /^libnvinfer\.so\.11 was not found in TENSORRT_ROOT=/);
  t.match(
    await say({ 'libnvinfer.so.8': '' }),
    /^expected libnvinfer\.so\.11 \(TensorRT 11\), found .*libnvinfer\.so\.8/,
  );
  t.match(await say({ 'libnvinfer.so.11': 'text' }), /libnvinfer\.so\.11 cannot be opened: /);
  // Another library under its name.
  const release = path.resolve(import.meta.dirname, '../../build/Release');
  const other = readFileSync(path.join(release, 'libpaella_tensorrt_rtx1.4.so'));
  t.match(await say({ 'libnvinfer.so.11': other }), /is not a library of TensorRT: it does not tell its version/);
  other.writeUInt16LE(183, 18); // e_machine: AArch64
  t.match(await say({ 'libnvinfer.so.11': other }), /libnvinfer\.so\.11 cannot be opened: /);
  const root = path.join(path.dirname(nativeProgram('paella_tests') ?? ''), 'stand-in');
  const alone = readFileSync(path.join(root, 'lib', 'libnvinfer.so.11'));
  t.match(await say({ 'libnvinfer.so.11': alone }), /its ONNX parser cannot be opened: /);
});

t.test('engines of the bundled model', { skip: real ? false : 'npm run test:tensorrt builds engines' }, async (t) => {
  const folder = cache(t);
  const options = { computeCapability: '8.9', profiles: [profile] } satisfies BuildEnginesOptions;
  const phases = new Set<string>();
  const messages: string[] = [];
  const built = await buildEngines({
    ...options,
    onProgress: ({ phase }) => phases.add(phase),
    logger: { info: (message) => messages.push(message) },
  });
  t.same(
    built.map(({ network, built: fresh }) => [network, fresh]),
    [
      ['unet', true],
      ['vqgan-decoder', true],
    ],
  );
  t.ok(phases.size > 0 && messages.some((message) => /^unet: building a plan for 8\.9, bf16/.test(message)));
  t.same(
    (await buildEngines(options)).map(({ built: fresh }) => fresh),
    [false, false],
    'they are found again',
  );
  const [engine] = await listEngines();
  t.match(engine, { network: 'unet', gpu: 'any', computeCapability: '8.9', flavour: 'rtx', version: /^1\.4\.0/ });
  const inspected = await inspectEngine(engine?.name ?? '');
  t.equal(inspected?.problem, undefined);
  t.match(inspected?.description, { tensors: [{ name: 'tokens', type: 'i32' }], stripped: false });

  truncateSync(built[0]?.file ?? '', 100);
  const again = await buildEngines({ ...options, networks: ['unet'] });
  t.match(again, [{ built: true, whyRebuilt: /bytes, found 100/ }]);
  t.notOk(existsSync(path.join(folder, 'other')));

  // Two at once: one builds, the other waits and finds it.
  await cleanEngines({ all: true });
  const both = await Promise.all([1, 2].map(() => buildEngines({ ...options, networks: ['vqgan-decoder'] })));
  t.same(both.map(([each]) => each?.built).sort(), [false, true]);

  const stop = new AbortController();
  const stopped = buildEngines({
    ...options,
    precision: 'fp16',
    signal: stop.signal,
    onProgress: () => stop.abort(new Error('enough')),
  });
  await t.rejects(stopped, { message: 'enough' });
  t.equal((await listEngines()).length, 1, 'nothing is left of it');
  await t.rejects(
    buildEngines({
      ...options,
      precision: 'fp16',
      onProgress: () => {
        throw new Error('a listener');
      },
    }),
    { message: 'a listener' },
  );

  await rejectsWith(t, buildEngines({ ...options, computeCapability: '9.0' }), 'ERR_BACKEND_UNAVAILABLE');
  const odd = buildEngines({ ...options, profiles: [{ ...profile, width: 100 }] });
  t.match(
    (await rejectsWith(t, odd, 'ERR_INVALID_OPTION')).message,
    /profile test: width: expected multiples of 16 pixels/,
  );
  writeFileSync(path.join(path.dirname(folder), 'file'), '');
  process.env.PAELLA_CACHE = path.join(path.dirname(folder), 'file');
  const nowhere = await rejectsWith(t, buildEngines(options), 'ERR_IO');
  t.match(nowhere.remedy, /PAELLA_CACHE/);
});
