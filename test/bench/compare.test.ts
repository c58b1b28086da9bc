// --compare: rows find their counterparts by their parameters; charts of what is compared.

import sharp from 'sharp';
import t from 'tap';
import { chartOfDocument } from '../../lib/cli/bench/chart-of-rows.js';
import { compare, comparePairs } from '../../lib/cli/bench/compare.js';
import { comparisonReport, report } from '../../lib/cli/bench/report.js';
import type { BenchRow } from '../../lib/cli/bench/schema.js';
import { around, documentOf, rowOf } from './support/rows.js';

t.test('rows of equal parameters', async (t) => {
  const a = documentOf([rowOf(around(10, 20), { steps: 4 }), rowOf(around(20, 20)), rowOf([1], { steps: 2 })]);
  const b = documentOf([rowOf(around(30, 20)), rowOf(around(10, 20), { steps: 4 }), rowOf([1], { threads: 1 })]);
  const { rows, onlyA, onlyB, notes } = compare(a, b);
  t.same(
    rows.map(({ label, verdict }) => [label, verdict]),
    [
      ['threads 2, steps 4', 'no difference shown'],
      ['threads 2, steps 8', 'B is slower'],
    ],
  );
  t.same([onlyA, onlyB, notes], [['threads 2, steps 2'], ['threads 1, steps 8'], []]);
  const text = comparisonReport({ rows, onlyA, onlyB, notes });
  t.match(text, /\| threads 2, steps 8 \| .* \| 1\.5\d* \(1\.4\d+ to 1\.5\d+\) \| B is slower \|/);
  t.match(text, /Only in A:\n\n- threads 2, steps 2/);
});

t.test('parameters that may differ', async (t) => {
  const a = documentOf([rowOf(around(10, 20), { precision: 'fp32' })]);
  const b = documentOf([rowOf(around(5, 20), { precision: 'bf16', device: 'another' })], {
    environment: { ...a.environment, cpu: 'another', cores: 4 },
    complete: false,
  });
  t.equal(compare(a, b).rows.length, 0);
  const { rows, notes } = compare(a, b, ['precision']);
  t.match(rows, [{ ratio: { value: 0.5 }, verdict: 'B is faster' }]);
  t.same(notes, ['cpu: "a processor" in A, "another" in B', 'cores: 2 in A, 4 in B', 'B was interrupted']);
  t.throws(() => compare(a, b, ['colour']), { code: 'ERR_INVALID_OPTION' });
});

const server = {
  ...{ rate: 10, achievedRate: 10, durationSeconds: 1, seed: 1, arrivals: 5, completed: 5, dropped: 0 },
  ...{ droppedShare: 0, deadlineMs: null, lateShare: 0, meanBatch: 1, dispatchLagMs: 0 },
};

t.test('searches and rates', async (t) => {
  const row = (rate: number, found?: { percentile: 'p95'; limitMs: number; tried: [] }) =>
    rowOf(around(10, 5), { scenario: 'server', server: { ...server, rate, ...(found ? { found } : {}) } });
  const searched = { percentile: 'p95', limitMs: 100, tried: [] } as { percentile: 'p95'; limitMs: number; tried: [] };
  t.equal(compare(documentOf([row(10)]), documentOf([row(20)])).rows.length, 0, 'other rates are other measurements');
  t.equal(
    compare(documentOf([row(10, searched)]), documentOf([row(20, searched)])).rows.length,
    1,
    'but not their search',
  );
});

t.test('throughput is compared by the mean, which the rate follows from', async (t) => {
  // As older versions wrote them: of four calls that ended together three took nothing.
  const old = Array.from({ length: 40 }, (_, i) => (i % 4 === 0 ? 40 : 0.01));
  const details = { concurrency: 4 };
  const a = documentOf([rowOf(old, { scenario: 'offline', details })]);
  const b = documentOf([rowOf(around(20, 40), { scenario: 'offline', details: { ...details, together: 4 } })]);
  const { rows } = compare(a, b);
  t.match(rows, [{ statistic: 'mean', b: Number, verdict: 'B is slower' }]);
  t.ok(Math.abs(Number(rows[0]?.a) - 10.0075) < 0.001);
  t.ok(Math.abs(Number(rows[0]?.ratio.value) - 2) < 0.02);
  t.match(comparisonReport(compare(a, b)), /, means, with .*\n[\s\S]*\| offline \(mean\) \| 10\.01 \|/);
});

t.test('a queue that only grows gives no interval', async (t) => {
  const growing = (by: number) =>
    rowOf(
      Array.from({ length: 200 }, (_, i) => 10 + i * by),
      { scenario: 'server', server },
    );
  const { rows } = compare(documentOf([growing(1)]), documentOf([growing(1.5)]));
  t.match(rows, [{ verdict: /^fewer than 5 stretches that are independent of each other: no interval/ }]);
  t.notOk('low' in (rows[0]?.ratio ?? {}));
});

t.test('another load is another measurement, and a note says so', async (t) => {
  const cases: [name: string, own: (value: number) => Partial<BenchRow>][] = [
    ['concurrency', (concurrency) => ({ scenario: 'offline', details: { concurrency } })],
    ['clients', (clients) => ({ scenario: 'load', details: { clients, workers: 0 } })],
    ['workers', (workers) => ({ scenario: 'load', details: { clients: 8, workers } })],
    ['inFlight', (inFlight) => ({ scenario: 'prompts', details: { inFlight } })],
    ['maxQueue', (maxQueue) => ({ scenario: 'server', server, maxQueue })],
  ];
  for (const [name, own] of cases) {
    const [a, b] = [documentOf([rowOf(around(9, 8), own(2))]), documentOf([rowOf(around(9, 8), own(4))])];
    const { rows, onlyA, onlyB, notes } = compare(a, b);
    t.same([rows, onlyA, onlyB], [[], [`${name} 2`], [`${name} 4`]]);
    t.same(notes, [`${name}: [2] in A, [4] in B`]);
    t.equal(compare(a, b, [name]).rows.length, 1, 'unless it may differ');
    t.equal(compare(a, a).rows.length, 1);
    t.match(report(documentOf([...a.rows, ...b.rows]), 'md'), new RegExp(`^\\| ${name} \\|`, 'm'), 'a column');
  }
  const told = documentOf([rowOf(around(9, 8), { scenario: 'server', server, maxQueue: 256 })]);
  const old = documentOf([rowOf(around(9, 8), { scenario: 'server', server })]);
  t.equal(compare(old, told).rows.length, 1, 'documents that do not tell their queue have the usual one');
});

t.test('what is shown is what the ratio is of', async (t) => {
  // As older versions wrote it: of an even number of samples the shorter of the middle two.
  const row = rowOf([1, 2, 4, 9]);
  const a = documentOf([{ ...row, ms: { ...row.ms, p50: 2 } }]);
  t.match(compare(a, documentOf([rowOf([3, 3, 3, 3])])).rows, [{ a: 3, b: 3, ratio: { value: 1 } }]);
});

t.test('a search tells what it tried where a row has no such percentile', async (t) => {
  const row = (maxBatch: number) => {
    const tried = [
      { rate: 10, ms: 71, held: true },
      { rate: 20, ms: 99, held: false },
    ];
    const found = { percentile: 'p99' as const, limitMs: 80, tried };
    return rowOf(around(50, 20), { scenario: 'server', maxBatch, server: { ...server, rate: 10, found } });
  };
  const text = report(documentOf([row(1), row(8)]), 'md');
  t.match(text, /batches of 8, delay 0 ms: 10\/s with p99 71 ms \(limit 80 ms\), 1\.00×/);
  t.notMatch(text, 'undefined');
});

t.test('pairs', async (t) => {
  const pair = (side: 'A' | 'B', ms: number, own: Partial<BenchRow>) =>
    rowOf(around(ms, 12), { pair: { id: 'x', side }, ...own });
  const { rows } = comparePairs(documentOf([pair('A', 10, {}), pair('B', 20, { threads: 1 })]), 'a.json');
  t.match(rows, [{ label: 'threads 2 → 1', paired: true, ratio: { value: 2, low: 2, high: 2 } }]);
  t.throws(() => comparePairs(documentOf([rowOf([1])]), 'a.json'), {
    code: 'ERR_INVALID_OPTION',
    message: 'compare: expected two files, or one with pairs that --against made, got "a.json"',
  });
});

t.test('calls that wait for each other have no stages in the time between two ends', async (t) => {
  const stages = { queue: 400, unet: 100, total: 500 };
  const svg = chartOfDocument(documentOf([rowOf([10, 30], { scenario: 'offline', stages })]));
  t.match(svg, /offline: mean ms of a call/);
  t.notMatch(svg, /queue|unet/);
  t.match(svg, />20</, 'the mean');
  t.match(chartOfDocument(documentOf([rowOf([500], { stages })])), /: queue 400</, 'a call alone has');
});

t.test('charts are images', async (t) => {
  const windows = [1, 2, 3].map((n) => ({ generations: 10, p50: n, rssBytes: n * 2 ** 20 }));
  const soak = {
    ...{ generations: 30, seconds: 1, rssFirstBytes: 1, rssLastBytes: 2, rssGrowthBytes: 1, latencyDrift: 1 },
    ...{ engineCurrentBytes: 1, enginePeakBytes: 1, eventLoopDelayMs: { mean: 0, p99: 0, max: 0 }, windows },
  };
  const rows = [
    rowOf([10], { model: 'a <b> & "c"', stages: { unet: 6, decode: 1, total: 7 } }),
    rowOf([20], { threads: 1 }),
    rowOf([20], { scenario: 'scaling', axis: 'steps', steps: 1 }),
    rowOf([40], { scenario: 'scaling', axis: 'steps', steps: 16 }),
    rowOf([20], { scenario: 'soak', soak }),
    rowOf([20], { scenario: 'stages', perStep: [1, 0] }),
  ];
  const svg = chartOfDocument(documentOf(rows));
  t.notMatch(svg, /NaN|Infinity|undefined/);
  t.notOk(svg.includes('a <b>'), 'names are escaped');
  const { width, format } = await sharp(Buffer.from(svg)).metadata();
  t.same([format, width], ['svg', 760]);
});
