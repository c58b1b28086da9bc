// The CUDA plug-in seen from JavaScript: what is said of one that is missing, does not fit or finds no GPU. Stand-ins of
// test/native/fake_plugin.cpp play the cases that this machine does not offer.
import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { backends, Paella } from '../../lib/index.js';
import { cudaPlugin, nativeProgram } from '../../scripts/setup/native.mjs';
import { rejectsWith, temporaryFolder, testModel } from './support/engine.js';
import { paella, program } from './support/process.js';

const fake = (kind: string) =>
  path.join(path.dirname(nativeProgram('paella_tests') ?? ''), `libpaella_fake_${kind}.so`);
const named = (plugin: string) => ({ env: { PAELLA_CUDA_PLUGIN: plugin } });

/** What `paella doctor` says of the backend with this plug-in. */
async function doctor(plugin: string) {
  const { code, stdout, stderr } = await paella(['doctor', '--json'], named(plugin));
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout).backends.find(({ name }: { name: string }) => name === 'cuda');
}

/** Loads in a process of its own, prints what happened. */
async function load(plugin: string, options: object) {
  const code = `import { Paella } from 'paella-native';
    const warnings = [];
    try {
      const engine = await Paella.load(${JSON.stringify({ model: testModel, ...options })});
      engine.on('warning', (warning) => warnings.push(warning));
      await new Promise(setImmediate);
      console.log(JSON.stringify({ backend: engine.backend, warnings }));
      await engine.dispose();
    } catch ({ code, message, remedy }) { console.log(JSON.stringify({ code, message, remedy })); }`;
  const { stdout, stderr } = await program(code, named(plugin));
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout);
}

t.test('this build on this machine', async (t) => {
  const cuda = (await backends()).find(({ name }) => name === 'cuda');
  if (!cuda) throw new Error('cuda is not listed');
  t.notOk('unexpected' in cuda, 'what is for us alone stays inside');
  if (cuda.available) {
    t.same(cuda.precisions, ['bf16', 'fp16', 'fp32']);
    for (const device of cuda.devices) {
      t.match(device.computeCapability, /^\d+\.\d+$/);
      t.ok(device.memoryTotal > 0 && device.memoryFree <= device.memoryTotal);
    }
    return;
  }
  t.ok(cuda.remedy, 'says what to do');
  if (existsSync(cudaPlugin)) {
    t.match(cuda.reason, /^(no CUDA device|driver too old: needs CUDA \d|CUDA: |.* has compute capability)/);
    t.match(cuda.details, { architectures: /80/, 'built with CUDA': /^\d+\.\d+$/ });
  } else {
    t.equal(cuda.reason, 'this build does not contain it');
    t.match(cuda.remedy, /npm run build -- --cuda/);
  }
  const error = await rejectsWith(
    t,
    Paella.load({ model: testModel, backend: 'cuda' }),
    'ERR_BACKEND_UNAVAILABLE',
    `backend cuda is unavailable: ${cuda.reason}`,
  );
  t.equal(error.remedy, cuda.remedy);
});

t.test('files that are no plug-in of this build', async (t) => {
  t.match(await doctor('/nowhere/libpaella_cuda.so'), {
    available: false,
    reason: 'PAELLA_CUDA_PLUGIN: expected a file, got /nowhere/libpaella_cuda.so',
  });
  const text = path.join(temporaryFolder(t), 'text.so');
  writeFileSync(text, 'no library');
  t.match(await doctor(text), { available: false, reason: /^its library cannot be opened: .*text\.so/ });
  t.match(await doctor(fake('without_entry')), { available: false, reason: /is not a library of paella-native/ });
  t.match(await doctor(fake('other_abi')), {
    available: false,
    reason: /belongs to another build: expected .*, found 0\.0\.1 another compiler/,
    remedy: /npm run build -- --cuda/,
  });
});

t.test('a GPU that cannot be used: by name an error, otherwise a warning', async (t) => {
  const reason = 'driver too old: needs CUDA 13.0, found 12.2';
  t.match(await doctor(fake('old_driver')), { available: false, reason, remedy: "Update NVIDIA's driver." });
  t.match(await load(fake('old_driver'), { backend: 'cuda' }), {
    code: 'ERR_BACKEND_UNAVAILABLE',
    message: `backend cuda is unavailable: ${reason}`,
    remedy: "Update NVIDIA's driver.",
  });
  t.match(await load(fake('old_driver'), {}), {
    backend: 'cpu',
    warnings: [
      { code: 'BACKEND_FALLBACK', message: `backend cuda is unavailable: ${reason}. Update NVIDIA's driver.` },
    ],
  });
  const outcome = await paella(['x', '--backend', 'cuda', '--model', testModel], named(fake('broken')));
  t.equal(outcome.code, 1, 'a named backend never falls back');
  t.match(outcome.stderr, /^paella: backend cuda is unavailable: no answer\n {8}Run NVIDIA's `nvidia-smi`/);
});

t.test('a plug-in that works up to a point: options, and its own errors', async (t) => {
  const plugin = fake('plugin');
  t.match(await doctor(plugin), {
    available: true,
    precisions: ['bf16', 'fp16', 'fp32'],
    devices: [{ name: 'a GPU', computeCapability: '9.0' }],
  });
  t.match((await paella(['doctor'], named(plugin))).stdout, /✓ cuda\n {4}device 0 +a GPU \(9\.0\), /);
  t.match(await load(plugin, { backend: 'cuda', precision: 'int8' }), {
    code: 'ERR_INVALID_OPTION',
    message: /^precision: expected one of auto, bf16, fp16, fp32 with backend cuda, got "int8"/,
  });
  t.match(await load(plugin, { backend: 'cuda', device: 1 }), {
    code: 'ERR_INVALID_OPTION',
    message: /^device: expected a number below 1 \(backend cuda has 1\), got 1/,
  });
  t.match(await load(plugin, { backend: 'cuda', precision: 'fp16' }), {
    code: 'ERR_NUMERIC',
    message: /out of the plug-in, precision fp16/,
    remedy: 'a remedy',
  });
});

t.test('the process and its workers may end while a driver is asked', async (t) => {
  const ends = await program(`import { backends } from 'paella-native'; backends(); process.exit(0);`);
  t.match(ends, { code: 0, stderr: '' });
  const waits = await program(
    `import { backends } from 'paella-native'; backends().then((all) => console.log(all.length));`,
  );
  t.match(waits, { code: 0, stdout: '3\n', stderr: '' }, 'and the process waits for the answer');
  const worker = await program(`import { Worker } from 'node:worker_threads';
    for (let i = 0; i < 5; i++) {
      const code = "import('paella-native').then(async ({ backends }) => { await backends(); backends(); process.exit(0); })";
      await new Promise((resolve) => new Worker(code, { eval: true }).on('exit', resolve));
    }
    console.log('done');`);
  t.match(worker, { code: 0, stdout: 'done\n', stderr: '' });
});

t.test(
  'an engine on a plug-in: what the CPU draws, the same alone and in a batch, on two engines at once',
  async (t) => {
    // The emulation as a plug-in; see test/native/CMakeLists.txt for LD_PRELOAD.
    const plugin = fake('simt');
    const code = `import { Paella } from 'paella-native';
    const options = { prompt: 'a red circle', steps: 2, seed: 5 };
    const load = (backend) => Paella.load({ model: ${JSON.stringify(testModel)}, backend, precision: 'fp32' });
    const [cuda, other, cpu] = await Promise.all([load('cuda'), load('cuda'), load('cpu')]);
    const results = await Promise.all([
      cuda.generate({ ...options, seed: 4, count: 2 }), cuda.generate(options), other.generate(options), cpu.generate(options)]);
    const [second, alone, elsewhere, wanted] = results.map((images) => images.at(-1));
    const same = (a, b) => a.tokens.tokens.filter((token, i) => token === b.tokens.tokens[i]).length / a.tokens.tokens.length;
    const aborted = await cuda.generate({ ...options, steps: 100, signal: AbortSignal.timeout(200) }).catch(({ name }) => name);
    const { transfers, memory } = cuda.stats();
    await Promise.all([cuda, other, cpu].map((engine) => engine.dispose()));
    console.log(JSON.stringify({
      backend: cuda.backend, precision: cuda.precision, device: cuda.device, aborted, transfers, memory,
      batch: same(second, alone), engines: same(elsewhere, alone), parity: same(alone, wanted),
    }));`;
    const outcome = await program(code, { env: { PAELLA_CUDA_PLUGIN: plugin, LD_PRELOAD: plugin } });
    t.equal(outcome.code, 0, outcome.stderr);
    const found = JSON.parse(outcome.stdout);
    t.match(found, {
      backend: 'cuda',
      precision: 'fp32',
      device: /SIMT/,
      aborted: 'TimeoutError',
      batch: 1,
      engines: 1,
    });
    t.ok(found.transfers.launches > 0 && found.memory.weights > 0, 'graphs ran, memory is counted');
    // The two round differently: a token may fall to its neighbour.
    t.ok(found.parity > 0.97, `${found.parity} of the tokens are the CPU's`);
  },
);
