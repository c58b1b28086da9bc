// Ratios with intervals, arrivals, windows: the figures that the tool stands on.
import t from 'tap';
import { blockLengthOf, ratioOf } from '../../lib/cli/bench/bootstrap.js';
import { intervalsOf } from '../../lib/cli/bench/intervals.js';
import { poissonArrivals, uniform } from '../../lib/cli/bench/random.js';
import { windowsOf } from '../../lib/cli/bench/scenarios/soak.js';
import { mean, median, percentile, summarize } from '../../lib/cli/bench/statistics.js';
import { around } from './support/rows.js';

t.test('summaries', async (t) => {
  t.same(summarize([3]), { runs: 1, min: 3, mean: 3, stddev: 0, p50: 3, p90: 3, p95: 3 });
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  t.match(summarize(hundred), { min: 1, mean: 50.5, p50: 50.5, p90: 90, p95: 95, p99: 99 });
  t.equal(mean([1, 2, 6]), 3);
  t.same([median([1, 9, 5]), median([1, 9, 5, 7])], [5, 6]);
  t.equal(percentile([1, 2], 0), 1);
});

t.test('ratios of two series', async (t) => {
  const [a, b] = [around(10, 40), around(12, 40)];
  const ratio = ratioOf(a, b);
  t.same(ratio, ratioOf(a, b), 'the same at every call');
  t.ok(Math.abs(ratio.value - 1.2) < 0.02);
  t.ok(Number(ratio.low) > 1.15 && Number(ratio.high) < 1.25, JSON.stringify(ratio));
  const same = ratioOf(a, around(10, 30));
  t.ok(Number(same.low) <= 1 && Number(same.high) >= 1, 'no difference');
  t.same(Object.keys(ratioOf([1, 2], [2, 3])), ['value'], 'too few for an interval');
});

t.test('in turns, a machine that slows down shifts nothing', async (t) => {
  const drift = Array.from({ length: 30 }, (_, i) => 10 * (1 + i / 5));
  const b = drift.map((ms, i) => ms * (1.1 + 0.001 * Math.sin(i)));
  const paired = ratioOf(drift, b, { paired: true });
  t.ok(Number(paired.low) > 1.09 && Number(paired.high) < 1.11, JSON.stringify(paired));
  const apart = ratioOf(drift, b);
  t.ok(Number(apart.high) - Number(apart.low) > 0.2, 'which it does where they are not paired');
});

/** Latencies behind one machine that takes 1 ms for each request. */
function queue(rate: number, n: number, seed: number): number[] {
  let free = 0;
  return poissonArrivals(rate * 1000, 1e6, seed)
    .slice(0, n)
    .map((at) => {
      free = Math.max(at, free) + 1;
      return free - at;
    });
}

t.test('latencies of a queue depend on each other, and are resampled in blocks', async (t) => {
  const alone = around(10, 100).map((ms, i) => ms * uniform(i)());
  t.equal(blockLengthOf(alone), 10, 'at least the square root');
  t.equal(blockLengthOf([5, 5, 5, 5]), 2, 'all the same');
  const growing = Array.from({ length: 400 }, (_, i) => 10 + i);
  t.ok(blockLengthOf(growing) > 80, `${blockLengthOf(growing)}: nothing in it is independent`);
  const [a, b] = [queue(0.7, 400, 1), queue(0.7, 400, 2)];
  const [one, blocks] = [ratioOf(a, b), ratioOf(a, b, { blocks: [blockLengthOf(a), blockLengthOf(b)] })];
  const width = ({ low = 0, high = 0 }: typeof one) => high - low;
  t.ok(width(blocks) > 1.5 * width(one), `${JSON.stringify(one)} is too sure, ${JSON.stringify(blocks)}`);
  t.same(Object.keys(ratioOf(growing, growing, { blocks: [100, 100] })), ['value'], 'too few blocks');
});

t.test('calls that end together share the time they took', async (t) => {
  // Batches of three, four and one, which end within a tick.
  const ends = [30, 30.01, 30.02, 70.02, 70.03, 70.03, 70.04, 80.04];
  const { samples, together } = intervalsOf(0, ends);
  t.equal(samples.length, ends.length);
  t.ok(Math.abs(samples.reduce((sum, ms) => sum + ms, 0) - 80.04) < 1e-9, 'the rate is exact');
  const rounded = samples.map((ms) => Math.round(ms));
  t.same(rounded, [10, 10, 10, 10, 10, 10, 10, 10]);
  t.equal(together, 4);
  // A busy machine leaves time between the ends of a batch.
  const busy = intervalsOf(0, [300, 305, 308, 312, 620, 624, 629, 630]);
  t.same([busy.together, Math.min(...busy.samples)], [4, 78]);
  t.same(intervalsOf(5, [15, 35]), { samples: [10, 20], together: 1 });
  t.same(intervalsOf(5, []), { samples: [], together: 0 });
});

t.test('arrivals', async (t) => {
  const arrivals = poissonArrivals(50, 20_000, 7);
  t.same(arrivals, poissonArrivals(50, 20_000, 7), 'a seed repeats them');
  t.not(arrivals[0], poissonArrivals(50, 20_000, 8)[0]);
  t.ok(Math.abs(arrivals.length - 1000) < 120, `${arrivals.length} of about 1000`);
  t.ok(arrivals.every((at, i) => at >= (arrivals[i - 1] ?? 0) && at <= 20_000));
  const gaps = arrivals.slice(1).map((at, i) => at - (arrivals[i] ?? 0));
  const { mean, stddev } = summarize(gaps);
  t.ok(Math.abs(stddev / mean - 1) < 0.15, 'gaps as uneven as their mean is long: exponential');
  t.equal(poissonArrivals(0.001, 10, 1).length, 1, 'at least one');
  const numbers = Array.from({ length: 1000 }, uniform(1));
  t.ok(numbers.every((value) => value >= 0 && value < 1));
});

t.test('windows of a soak', async (t) => {
  const samples = Array.from({ length: 25 }, (_, i) => i);
  const windows = windowsOf(samples, samples);
  t.equal(windows.length, 10);
  t.equal(
    windows.reduce((sum, { generations }) => sum + generations, 0),
    25,
    'every sample is in one',
  );
  t.equal(windowsOf([1, 2], [1, 2]).length, 2);
});
