// Aborted calls reject with signal.reason, wherever they are.
import { readFileSync } from 'node:fs';
import t from 'tap';
import { generate, type LoadProgress, Paella } from '../../lib/index.js';
import { engineFor, longJob, rejection, sleep, testModel } from './support/engine.js';

t.test('before the call', async (t) => {
  const engine = await engineFor(t);
  const reason = new Error('no more');
  const signal = AbortSignal.abort(reason);
  t.equal(await rejection(engine.generate({ prompt: 'a', signal })), reason);
  t.equal(await rejection(Paella.load({ model: testModel, signal })), reason);
  t.equal(engine.stats().jobs.done, 0);
});

t.test('in the last moment of loading', async (t) => {
  const threads = () => Number(readFileSync('/proc/self/status', 'utf8').match(/Threads:\t(\d+)/)?.[1]);
  const late = async () => {
    const stop = new AbortController();
    const reason = new Error('too late');
    const onProgress = ({ phase, loaded, total }: LoadProgress) => {
      if (phase === 'vqgan' && loaded === total) stop.abort(reason);
    };
    t.equal(
      await rejection(Paella.load({ model: testModel, backend: 'cpu', signal: stop.signal, onProgress })),
      reason,
    );
  };
  await late();
  if (process.platform !== 'linux') return;
  const before = threads();
  for (let i = 0; i < 4; i++) await late();
  for (let i = 0; i < 100 && threads() > before; i++) await sleep(50); // threads end a little after they are joined
  t.ok(threads() <= before, `what was loaded is freed: ${threads()} threads, ${before} before`);
});

t.test('while the shared engine loads', async (t) => {
  const load = { model: testModel, backend: 'cpu' } as const;
  const reason = new Error('no more');
  t.equal(await rejection(generate({ prompt: 'a', signal: AbortSignal.abort(reason) }, load)), reason);
  const stop = new AbortController();
  const waiting = rejection(generate({ prompt: 'a', steps: 1, signal: stop.signal }, load));
  stop.abort(reason);
  t.equal(await waiting, reason);
  const late = await rejection(generate({ prompt: 'a', steps: 1, deadlineMs: 1 }, { ...load, maxBatch: 3 }));
  t.match(late, { code: 'ERR_DEADLINE', message: /^deadlineMs: expected to start within 1 ms, / });
  const [image] = await generate({ prompt: 'a', steps: 1, deadlineMs: 600_000 }, load);
  t.ok(image, 'others go on waiting for the engine');
});

t.test('between two steps', async (t) => {
  const engine = await engineFor(t);
  const stop = new AbortController();
  let last = 0;
  const reason = { any: 'value' };
  const error = await rejection(
    engine.generate({
      ...longJob,
      signal: stop.signal,
      onStep: ({ step }) => {
        last = step;
        if (step === 3) stop.abort(reason);
      },
    }),
  );
  t.equal(error, reason as never);
  t.ok(last < 100, `stopped after ${last} steps`);
  t.equal(engine.stats().jobs.aborted, 1);
  await engine.generate({ prompt: 'a', steps: 1 });
});

t.test('in the queue', async (t) => {
  const engine = await engineFor(t, { maxBatch: 1 });
  const first = new AbortController();
  const second = new AbortController();
  const started = new Promise<void>((resolve) => {
    engine.generate({ ...longJob, signal: first.signal, onStep: () => resolve() }).catch(() => {});
  });
  await started;
  let steps = 0;
  const waiting = rejection(engine.generate({ prompt: 'a', signal: second.signal, onStep: () => steps++ }));
  second.abort();
  const before = performance.now();
  t.equal((await waiting).name, 'AbortError');
  t.ok(performance.now() - before < 2000, 'at once, not behind the job that runs');
  t.equal(steps, 0);
  first.abort();
});

t.test('a timeout is a reason like any other', async (t) => {
  const engine = await engineFor(t);
  const error = await rejection(engine.generate({ ...longJob, signal: AbortSignal.timeout(50) }));
  t.equal(error.name, 'TimeoutError');
});

t.test('leaving a stream', async (t) => {
  const engine = await engineFor(t);
  let steps = 0;
  for await (const event of engine.stream(longJob)) {
    if (event.type === 'step' && ++steps === 2) break;
  }
  t.equal(engine.stats().jobs.running, 0, 'the loop ends when the job has');
  t.equal(engine.stats().jobs.aborted, 1);
  const stop = new AbortController();
  const error = await rejection(
    (async () => {
      for await (const event of engine.stream({ ...longJob, signal: stop.signal }))
        if (event.type === 'step') stop.abort();
    })(),
  );
  t.equal(error.name, 'AbortError');
});

t.test('a signal that outlives many calls keeps no listeners', async (t) => {
  const engine = await engineFor(t);
  const { signal } = new AbortController();
  const warnings: Error[] = [];
  const listener = (warning: Error) => warnings.push(warning);
  process.on('warning', listener);
  for (let i = 0; i < 30; i++) await engine.generate({ prompt: 'a', steps: 1, signal });
  await new Promise((resolve) => setImmediate(resolve));
  process.off('warning', listener);
  t.same(warnings, [], 'no MaxListenersExceededWarning');
});
