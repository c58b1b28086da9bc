// --compare: rows find their counterparts by their parameters; charts of what is compared.

import sharp from 'sharp';
import t from 'tap';
import { chartOfDocument } from '../../lib/cli/bench/chart-of-rows.js';
import { compare, comparePairs } from '../../lib/cli/bench/compare.js';
import { comparisonReport } from '../../lib/cli/bench/report.js';
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

t.test('searches and rates', async (t) => {
  const server = {
    ...{ rate: 10, achievedRate: 10, durationSeconds: 1, seed: 1, arrivals: 5, completed: 5, dropped: 0 },
    ...{ droppedShare: 0, deadlineMs: null, lateShare: 0, meanBatch: 1, dispatchLagMs: 0 },
  };
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
