/** Rows and documents of benchmarks, as tests need them. */
import { type BenchDocument, type BenchRow, schemaName } from '../../../lib/cli/bench/schema.js';
import { summarize } from '../../../lib/cli/bench/statistics.js';

export function rowOf(samples: number[], own: Partial<BenchRow> = {}): BenchRow {
  return {
    scenario: 'single',
    subject: 'paella-native',
    version: '0.1.0',
    commit: null,
    time: '2026-01-02T03:04:05.678Z',
    command: 'paella bench',
    evidence: 'measured',
    model: 'tiny',
    weights: 'trained',
    device: 'a processor',
    backend: 'cpu',
    precision: 'fp32',
    threads: 2,
    width: 64,
    height: 64,
    steps: 8,
    batch: 1,
    guidance: [1.6, 1],
    scheduler: null,
    compile: null,
    counted: { textEncoding: true, decode: true },
    sampleOf: 'call',
    warmup: 2,
    firstMs: null,
    loadMs: null,
    ms: summarize(samples),
    samples,
    imagesPerSecond: null,
    stages: {},
    peakBytes: null,
    rssBytes: null,
    ...own,
  };
}

export function documentOf(rows: BenchRow[], own: Partial<BenchDocument> = {}): BenchDocument {
  return {
    schema: schemaName,
    environment: {
      time: '2026-01-02T03:04:05.678Z',
      cpu: 'a processor',
      cores: 2,
      memoryGiB: 8,
      os: 'Linux',
      runtimes: { node: '20.19.0' },
    },
    rows,
    ...own,
  };
}

/** n samples around a value, as a machine gives them: not all the same, and in no order. */
export const around = (value: number, n: number): number[] =>
  Array.from({ length: n }, (_, i) => value * (1 + 0.02 * Math.sin(i * 12.9898)));
