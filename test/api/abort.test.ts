// Aborted calls reject with signal.reason, wherever they are.
import t from 'tap';
import { Paella } from '../../lib/index.js';
import { engineFor, longJob, rejection, testModel } from './support/engine.js';

t.test('before the call', async (t) => {
  const engine = await engineFor(t);
  const reason = new Error('no more');
  const signal = AbortSignal.abort(reason);
  t.equal(await rejection(engine.generate({ prompt: 'a', signal })), reason);
  t.equal(await rejection(Paella.load({ model: testModel, signal })), reason);
  t.equal(engine.stats().jobs.done, 0);
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
