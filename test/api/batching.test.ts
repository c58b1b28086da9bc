// One seed gives one image, whatever else runs; the queue is bounded, fair and ordered by priority.
import t from 'tap';
import { engineFor, longJob, rejection, rejectsWith, tokensOf } from './support/engine.js';

t.test('a seed alone, in a batch of 7, and merged from 5 concurrent calls', async (t) => {
  const engine = await engineFor(t, { maxBatch: 8 });
  const options = { prompt: 'a red circle above a blue square', steps: 4 };
  const alone = new Map<number, number[]>();
  for (let seed = 100; seed < 107; seed++) alone.set(seed, tokensOf((await engine.generate({ ...options, seed }))[0]));

  const together = await engine.generate({ ...options, seed: 100, count: 7 });
  for (const image of together) t.same(tokensOf(image), alone.get(image.seed), `seed ${image.seed} in a batch of 7`);

  // The first call runs alone at once; the others find each other waiting behind it.
  const running = engine.generate({ ...options, steps: 8, seed: 1 });
  const merged = await Promise.all([100, 101, 102, 103, 104].map((seed) => engine.generate({ ...options, seed })));
  for (const [image] of merged)
    t.same(tokensOf(image), alone.get(image?.seed ?? -1), `seed ${image?.seed} in a merged batch`);
  await running;
  t.ok(engine.stats().batchSizes[5] === 1, `they were merged: ${JSON.stringify(engine.stats().batchSizes)}`);
});

t.test('other prompts, guidance and temperatures in the same batch change nothing', async (t) => {
  const engine = await engineFor(t, { maxBatch: 8, maxDelayMs: 50 });
  const calls = [
    { prompt: 'a red circle', seed: 1, steps: 3 },
    {
      prompt: 'a much longer prompt about a green triangle on a white background',
      seed: 2,
      steps: 3,
      guidanceScale: 2,
    },
    { prompt: '', seed: 3, steps: 3, temperature: 0.7, negativePrompt: 'blue' },
  ];
  const together = await Promise.all(calls.map((call) => engine.generate(call)));
  for (const [i, call] of calls.entries()) {
    const [alone] = await engine.generate(call);
    t.same(tokensOf(together[i]?.[0]), tokensOf(alone), call.prompt);
  }
});

t.test('more images than fit into a batch', async (t) => {
  const engine = await engineFor(t, { maxBatch: 2 });
  const options = { prompt: 'a', steps: 2, seed: 10 };
  const images = await engine.generate({ ...options, count: 5 });
  t.same(
    images.map(({ seed }) => seed),
    [10, 11, 12, 13, 14],
  );
  const [last] = await engine.generate({ ...options, seed: 14 });
  t.same(tokensOf(images[4]), tokensOf(last));
  t.ok(
    Object.keys(engine.stats().batchSizes).every((size) => Number(size) <= 2),
    JSON.stringify(engine.stats().batchSizes),
  );
});

t.test('a full queue', async (t) => {
  const engine = await engineFor(t, { maxQueue: 2, maxBatch: 1 });
  const stop = new AbortController();
  const started = new Promise<void>((resolve) => {
    engine.generate({ ...longJob, signal: stop.signal, onStep: () => resolve() }).catch(() => {});
  });
  await started;
  const waiting = [1, 2].map((seed) => engine.generate({ prompt: 'a', steps: 1, seed }));
  const error = await rejectsWith(t, engine.generate({ prompt: 'a', steps: 1 }), 'ERR_QUEUE_FULL', /2/);
  t.ok(error.remedy, 'says what to do');
  stop.abort();
  await Promise.all(waiting);
  await engine.generate({ prompt: 'a', steps: 1 });
});

t.test('a deadline', async (t) => {
  const engine = await engineFor(t, { maxBatch: 1 });
  const stop = new AbortController();
  const started = new Promise<void>((resolve) => {
    engine.generate({ ...longJob, signal: stop.signal, onStep: () => resolve() }).catch(() => {});
  });
  await started;
  const before = performance.now();
  const late = rejectsWith(t, engine.generate({ prompt: 'a', steps: 1, deadlineMs: 50 }), 'ERR_DEADLINE');
  setTimeout(() => stop.abort(), 200);
  await late;
  t.ok(performance.now() - before < 5000);
  await engine.generate({ prompt: 'a', steps: 1, deadlineMs: 60_000 });
});

t.test('higher priorities go first, equal ones in order', async (t) => {
  const engine = await engineFor(t, { maxBatch: 1 });
  const stop = new AbortController();
  const started = new Promise<void>((resolve) => {
    engine.generate({ ...longJob, signal: stop.signal, onStep: () => resolve() }).catch(() => {});
  });
  await started;
  const order: string[] = [];
  const call = (name: string, priority: number) =>
    engine.generate({ prompt: 'a', steps: 1, priority, onStep: () => order.push(name) });
  const calls = [call('a0', 0), call('b0', 0), call('c5', 5), call('d-1', -1), call('e5', 5)];
  stop.abort();
  await Promise.all(calls);
  t.same(order, ['c5', 'e5', 'a0', 'b0', 'd-1']);
});

t.test('different shapes take turns', async (t) => {
  const engine = await engineFor(t);
  const { sizeMultiple: m } = engine.model;
  const sizes = [m, 2 * m, 3 * m];
  const images = await Promise.all(
    [...sizes, ...sizes].map((width) => engine.generate({ prompt: 'a', width, height: m, steps: 2, seed: 1 })),
  );
  t.same(
    images.map(([image]) => image?.width),
    [...sizes, ...sizes],
  );
  t.same(tokensOf(images[0]?.[0]), tokensOf(images[3]?.[0]));
});

t.test('a job that fails does not touch its neighbours', async (t) => {
  const engine = await engineFor(t, { maxBatch: 4, maxDelayMs: 50 });
  const stop = new AbortController();
  const options = { prompt: 'a', steps: 6 };
  const [wanted] = await engine.generate({ ...options, seed: 1 });
  const aborted = rejection(engine.generate({ ...options, seed: 2, signal: stop.signal, onStep: () => stop.abort() }));
  const [image] = await engine.generate({ ...options, seed: 1 });
  await aborted;
  t.same(tokensOf(image), tokensOf(wanted));
});
