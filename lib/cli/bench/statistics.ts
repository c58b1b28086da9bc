/** Figures of a series of measurements. */

export interface Summary {
  runs: number;
  min: number;
  mean: number;
  stddev: number;
  p50: number;
  p90: number;
  p95: number;
  /** Only from 100 measurements on. */
  p99?: number;
}

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
    p50: round(percentile(sorted, 50)),
    p90: round(percentile(sorted, 90)),
    p95: round(percentile(sorted, 95)),
    ...(sorted.length >= 100 ? { p99: round(percentile(sorted, 99)) } : {}),
  };
}

export function round(value: number, digits = 3): number {
  return Number(value.toFixed(digits));
}
