/** Many generations, one after another, as a server would have them. Prints one JSON document. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { round, summarize } from '../../lib/cli/bench/statistics.js';
import { Paella } from '../../lib/index.js';

const [model = 'tiny', generations = '1000'] = process.argv.slice(2);
const count = Number(generations);
const warmup = 300;
const span = Math.min(100, Math.floor(count / 2));

const engine = await Paella.load({ model, backend: 'cpu' });
const resident: number[] = [];
const calls: number[] = [];
// Opens sharp's library too, which blocks once, fills the cache of prompts, which is bounded, and lets V8 settle.
for (let i = 0; i < warmup; i++) await (await engine.generate({ prompt: `warm-up ${i}`, seed: i }))[0]?.encode('png');

const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
for (let i = 0; i < count; i++) {
  const start = performance.now();
  const [image] = await engine.generate({ prompt: `a red circle and ${i} blue squares`, seed: i });
  // What a server does with it; sharp works on its own threads.
  await image?.encode('png');
  calls.push(performance.now() - start);
  resident.push(process.memoryUsage.rss());
}
delay.disable();
const mebibytes = (values: readonly number[]) => round(summarize(values).p50 / 2 ** 20, 2);
const first = mebibytes(resident.slice(0, span));
const last = mebibytes(resident.slice(-span));
const stats = engine.stats();
await engine.dispose();

process.stdout.write(
  `${JSON.stringify({
    model,
    warmup,
    generations: count,
    /** A call of generate() and the encoding as PNG. */
    ms: summarize(calls),
    rssFirstMiB: first,
    rssLastMiB: last,
    rssGrowthMiB: round(last - first, 2),
    engineCurrentMiB: round(stats.memory.current / 2 ** 20, 2),
    enginePeakMiB: round(stats.memory.peak / 2 ** 20, 2),
    // Nanoseconds; the timer's own resolution of 1 ms is in it.
    eventLoopDelayMs: {
      mean: round(delay.mean / 1e6),
      p99: round(delay.percentile(99) / 1e6),
      max: round(delay.max / 1e6),
    },
  })}\n`,
);
