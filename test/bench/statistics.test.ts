// Ratios with intervals, arrivals, windows: the figures that the tool stands on.
import t from 'tap';
import { poissonArrivals, uniform } from '../../lib/cli/bench/random.js';
import { windowsOf } from '../../lib/cli/bench/scenarios/soak.js';
import { median, percentile, ratioOf, summarize } from '../../lib/cli/bench/statistics.js';
import { around } from './support/rows.js';

t.test('summaries', async (t) => {
  t.same(summarize([3]), { runs: 1, min: 3, mean: 3, stddev: 0, p50: 3, p90: 3, p95: 3 });
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  t.match(summarize(hundred), { min: 1, mean: 50.5, p50: 50.5, p90: 90, p95: 95, p99: 99 });
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
  const paired = ratioOf(drift, b, true);
  t.ok(Number(paired.low) > 1.09 && Number(paired.high) < 1.11, JSON.stringify(paired));
  const apart = ratioOf(drift, b);
  t.ok(Number(apart.high) - Number(apart.low) > 0.2, 'which it does where they are not paired');
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
