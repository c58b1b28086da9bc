/** Figures of a series of measurements. */
import { uniform } from './random.js';
import { leastSamplesOfP99, type Summary } from './schema.js';

/** Nearest-rank percentile of sorted values. */
export function percentile(sorted: readonly number[], percent: number): number {
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export function summarize(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const mean = sorted.reduce((sum, value) => sum + value, 0) / sorted.length;
  const variance = sorted.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, sorted.length - 1);
  return {
    runs: sorted.length,
    min: round(sorted[0] ?? Number.NaN),
    mean: round(mean),
    stddev: round(Math.sqrt(variance)),
    p50: round(median(sorted)),
    p90: round(percentile(sorted, 90)),
    p95: round(percentile(sorted, 95)),
    ...(sorted.length >= leastSamplesOfP99 ? { p99: round(percentile(sorted, 99)) } : {}),
  };
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export function round(value: number, digits = 3): number {
  return Number(value.toFixed(digits));
}

export interface Interval {
  value: number;
  /** Of 95 %; absent where there are too few samples to resample. */
  low?: number;
  high?: number;
}

/** Fewer samples have no interval: resampling two or three values says nothing about those that were not seen. */
export const leastSamplesOfInterval = 5;
const resamples = 2000;
const bootstrapSeed = 20231;

/**
 * How much longer B takes than A: median of B over median of A, with a 95 % percentile bootstrap interval (Efron and
 * Tibshirani 1993, chapter 13), the same at every call. Paired samples are resampled in pairs, and the ratio is the median
 * of the ratios in the pairs: a machine that slows down while both run shifts neither.
 */
export function ratioOf(a: readonly number[], b: readonly number[], paired = false): Interval {
  const pairs = paired ? a.map((value, i) => [value, b[i] ?? Number.NaN] as const) : [];
  const value = paired ? median(pairs.map(([x, y]) => y / x)) : median(b) / median(a);
  if (Math.min(a.length, b.length) < leastSamplesOfInterval) return { value };
  const random = uniform(bootstrapSeed);
  const pick = <T>(from: readonly T[]): T[] => from.map(() => from[Math.floor(random() * from.length)] as T);
  const ratios: number[] = [];
  for (let i = 0; i < resamples; i++)
    ratios.push(paired ? median(pick(pairs).map(([x, y]) => y / x)) : median(pick(b)) / median(pick(a)));
  ratios.sort((x, y) => x - y);
  return { value, low: percentile(ratios, 2.5), high: percentile(ratios, 97.5) };
}
