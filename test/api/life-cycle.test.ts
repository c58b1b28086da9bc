// Engines that end at awkward moments. Each in a process of its own, so that a crash is seen: exit code and signal.
// `npm run test:life-cycle` runs this file 50 times.
import t from 'tap';
import { engineFor, longJob, rejection, rejectsWith, sleep, testModel, tokensOf } from './support/engine.js';
import { program } from './support/process.js';

const load = `const load = { model: ${JSON.stringify(testModel)}, backend: 'cpu' };`;
/** A worker's code has no place of its own to resolve the package from. */
const workers = `
  import { Worker } from 'node:worker_threads';
  const here = JSON.stringify(import.meta.resolve('paella-native'));
  const workerOf = (code) => new Worker(new URL('data:text/javascript,' + encodeURIComponent(code.replaceAll("'paella-native'", here))));
`;
const head = `import { Paella, generate } from 'paella-native'; ${load}`;

async function endsWell(t: Test, code: string, expected = { code: 0, stdout: /done/ }) {
  const outcome = await program(code);
  t.equal(outcome.signal, null, 'no crash');
  t.equal(outcome.code, expected.code, outcome.stderr.slice(-2000));
  t.match(outcome.stdout, expected.stdout);
}
type Test = typeof t;

t.test('worker terminated in mid-generation', async (t) => {
  await endsWell(
    t as Test,
    `${workers}
    const code = ${JSON.stringify(`
      import { parentPort } from 'node:worker_threads';
      ${head}
      const engine = await Paella.load(load);
      engine.generate({ prompt: 'a', steps: 1000, onStep: ({ step }) => { if (step === 2) parentPort.postMessage('running'); } });
    `)};
    for (let i = 0; i < 3; i++) {
      const worker = workerOf(code);
      worker.on('error', (error) => { console.error(error); process.exit(3); });
      await new Promise((resolve) => worker.once('message', resolve));
      await worker.terminate();
    }
    console.log('done');`,
  );
});

t.test('worker that ends by itself while a generation runs', async (t) => {
  await endsWell(
    t as Test,
    `${workers}
    const code = ${JSON.stringify(`
      ${head}
      const engine = await Paella.load(load);
      engine.generate({ prompt: 'a', steps: 1000, onStep: ({ step }) => { if (step === 2) process.exit(0); } });
    `)};
    const worker = workerOf(code);
    worker.on('error', (error) => { console.error(error); process.exit(3); });
    await new Promise((resolve) => worker.once('exit', resolve));
    console.log('done');`,
  );
});

t.test('engines in the main thread and in a worker at the same time', async (t) => {
  await endsWell(
    t as Test,
    `${workers}
    ${head}
    const code = ${JSON.stringify(`
      import { parentPort } from 'node:worker_threads';
      ${head}
      const engine = await Paella.load(load);
      const [image] = await engine.generate({ prompt: 'a', steps: 3, seed: 1 });
      await engine.dispose();
      parentPort.postMessage(Array.from(image.tokens.tokens).join());
    `)};
    const worker = workerOf(code);
    const [[image], tokens] = await Promise.all([
      generate({ prompt: 'a', steps: 3, seed: 1 }, load),
      new Promise((resolve, reject) => { worker.once('message', resolve); worker.on('error', reject); }),
    ]);
    console.log(tokens === Array.from(image.tokens.tokens).join() ? 'done' : 'different');`,
  );
});

t.test('process.exit in mid-generation', async (t) => {
  const code = `${head}
    const engine = await Paella.load(load);
    engine.generate({ prompt: 'a', steps: 1000, onStep: ({ step }) => { if (step === 2) { console.log('done'); process.exit(7); } } });`;
  await endsWell(t as Test, code, { code: 7, stdout: /done/ });
});

t.test('process.exit while loading', async (t) => {
  await endsWell(
    t as Test,
    `${head} Paella.load(load); setImmediate(() => { console.log('done'); process.exit(0); });`,
  );
});

t.test('an exception that nobody catches, in mid-generation', async (t) => {
  const code = `${head}
    const engine = await Paella.load(load);
    engine.generate({ prompt: 'a', steps: 1000 });
    setTimeout(() => { console.log('done'); throw new Error('on purpose'); }, 50);`;
  await endsWell(t as Test, code, { code: 1, stdout: /done/ });
});

t.test('an idle engine does not keep the process alive', async (t) => {
  await endsWell(t as Test, `${head} await generate({ prompt: 'a', steps: 1 }, load); console.log('done');`);
  await endsWell(
    t as Test,
    `${head} const engine = await Paella.load(load); await engine.generate({ prompt: 'a', steps: 1 }); console.log('done');`,
  );
});

t.test('a running job does', async (t) => {
  const code = `${head} const engine = await Paella.load(load); engine.generate({ prompt: 'a', steps: 20 }).then(() => console.log('done'));`;
  await endsWell(t as Test, code);
});

t.test('an engine that is forgotten is collected', async (t) => {
  const outcome = await program(
    `import v8 from 'node:v8'; import vm from 'node:vm'; ${head}
    v8.setFlagsFromString('--expose-gc'); const gc = vm.runInNewContext('gc');
    for (let i = 0; i < 5; i++) { const engine = await Paella.load(load); await engine.generate({ prompt: 'a', steps: 1 }); }
    for (let i = 0; i < 5; i++) { gc(); await new Promise((resolve) => setTimeout(resolve, 20)); }
    console.log('done');`,
  );
  t.match(outcome, { code: 0, signal: null, stdout: /done/ });
});

t.test('dispose while busy: waits', async (t) => {
  const engine = await engineFor(t);
  const calls = [1, 2, 3].map((seed) => engine.generate({ prompt: 'a', steps: 4, seed }));
  const disposed = engine.dispose();
  await rejectsWith(t, engine.generate('a'), 'ERR_DISPOSED');
  const images = (await Promise.all(calls)).flat();
  t.equal(images.length, 3);
  await disposed;
});

t.test('dispose while busy: aborts', async (t) => {
  const engine = await engineFor(t, { maxBatch: 1 });
  const running = new Promise<void>((resolve) => {
    engine.generate({ ...longJob, onStep: () => resolve() }).catch(() => {});
  });
  await running;
  const waiting = rejection(engine.generate({ prompt: 'a', steps: 1 }));
  await engine.dispose({ abort: true });
  t.equal((await waiting).code, 'ERR_DISPOSED');
});

t.test('an impatient second dispose', async (t) => {
  const engine = await engineFor(t);
  const job = rejection(engine.generate(longJob));
  const patient = engine.dispose();
  await engine.dispose({ abort: true });
  await patient;
  t.equal((await job).code, 'ERR_DISPOSED');
});

t.test('dispose waits for a picture that is still read', async (t) => {
  const engine = await engineFor(t);
  const [image] = await engine.generate({ prompt: 'a', steps: 1, seed: 1 });
  const encoding = engine.encodeImage((await image?.encode()) ?? '');
  await engine.dispose();
  t.equal((await encoding).width, image?.tokens.width);
});

t.test('after dispose', async (t) => {
  const engine = await engineFor(t);
  const [image] = await engine.generate({ prompt: 'a', steps: 1, seed: 1 });
  const pixels = image?.data.slice();
  await engine.dispose();
  await engine.dispose();
  await rejectsWith(t, engine.generate('a'), 'ERR_DISPOSED', 'this engine was disposed of');
  await rejectsWith(t, engine.encodeText('a'), 'ERR_DISPOSED');
  await rejectsWith(t, engine.decodeTokens({ tokens: new Int32Array(1), width: 1, height: 1 }), 'ERR_DISPOSED');
  await rejectsWith(t, engine.encodeImage('x.png'), 'ERR_DISPOSED');
  await rejectsWith(t, engine.predict({} as never), 'ERR_DISPOSED');
  const stream = engine.stream('a');
  await rejectsWith(t, stream.next(), 'ERR_DISPOSED');
  t.equal(Buffer.compare(image?.data ?? Buffer.of(), pixels ?? Buffer.of(1)), 0, 'images outlive their engine');
  t.equal(engine.stats().images, 1, 'and so do the counters');
});

t.test('await using', async (t) => {
  const engine = await engineFor(t);
  await engine[Symbol.asyncDispose]();
  await rejectsWith(t, engine.generate('a'), 'ERR_DISPOSED');
});

t.test('two engines at once', async (t) => {
  const [a, b] = await Promise.all([engineFor(t), engineFor(t, { threads: 1 })]);
  const options = { prompt: 'a red circle', steps: 4, seed: 1 };
  const [[x], [y]] = await Promise.all([a.generate(options), b.generate(options)]);
  t.same(tokensOf(x), tokensOf(y), 'the number of threads changes nothing');
  await a.dispose();
  const [again] = await b.generate(options);
  t.same(tokensOf(again), tokensOf(y), 'the other one lives on');
});

t.test('the event loop turns while images are made', async (t) => {
  const engine = await engineFor(t);
  await engine.generate({ prompt: 'a', steps: 2 });
  let worst = 0;
  const start = performance.now();
  let last = start;
  const timer = setInterval(() => {
    worst = Math.max(worst, performance.now() - last);
    last = performance.now();
  }, 1);
  await Promise.all([1, 2, 3].map((seed) => engine.generate({ prompt: 'a', steps: 16, seed })));
  const took = performance.now() - start;
  await sleep(5);
  clearInterval(timer);
  // The benchmark holds the figure (20 ms). Here, on a machine that may be busy, a call that blocks is told from one
  // that does not.
  t.ok(worst < took / 2, `longest pause ${worst.toFixed(1)} ms of ${took.toFixed(1)} ms`);
});
