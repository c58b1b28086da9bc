/** Figures of a series of measurements. */
import { leastSamplesOfP99, type Summary } from './schema.js';

/** Nearest-rank percentile of sorted values. */
export function percentile(sorted: readonly number[], percent: number): number {
  return sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? Number.NaN;
}

export function summarize(values: readonly number[]): Summary {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = mean(sorted);
  const variance = sorted.reduce((sum, value) => sum + (value - middle) ** 2, 0) / Math.max(1, sorted.length - 1);
  return {
    runs: sorted.length,
    min: round(sorted[0] ?? Number.NaN),
    mean: round(middle),
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

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

export function round(value: number, digits = 3): number {
  return Number(value.toFixed(digits));
}
