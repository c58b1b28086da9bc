/** How far a ratio of two series can be trusted: bootstrap intervals. */
import { uniform } from './random.js';
import { mean, median, percentile } from './statistics.js';

export interface Interval {
  value: number;
  /** Of 95 %; absent where there are too few samples to resample. */
  low?: number;
  high?: number;
}

/** Fewer samples, or blocks of them, have no interval: resampling two or three says nothing about those that were not seen. */
export const leastSamplesOfInterval = 5;
const resamples = 2000;
const bootstrapSeed = 20231;

export interface Resampling {
  /** Sample i of A belongs to sample i of B. */
  paired?: boolean;
  /** Of a series; the median unless told. */
  statistic?: (values: readonly number[]) => number;
  /** How many samples that follow each other are drawn together, of A and of B; 1: they have nothing to do with each other. */
  blocks?: readonly [number, number];
}

/**
 * How much longer B takes than A: median of B over median of A, with a 95 % percentile bootstrap interval (Efron and
 * Tibshirani 1993, chapter 13), the same at every call. Paired samples are resampled in pairs, and the ratio is the median
 * of the ratios in the pairs: a machine that slows down while both run shifts neither. Samples that depend on those before
 * them are resampled in blocks that may begin anywhere (the moving block bootstrap of Künsch 1989): drawn one by one, a few
 * hundred latencies of one queue would look like a few hundred independent ones, and every difference certain.
 */
export function ratioOf(
  a: readonly number[],
  b: readonly number[],
  { paired = false, statistic = median, blocks: [blockA, blockB] = [1, 1] }: Resampling = {},
): Interval {
  const ratios = paired ? a.map((value, i) => (b[i] ?? Number.NaN) / value) : [];
  const value = paired ? median(ratios) : statistic(b) / statistic(a);
  if (Math.min(a.length / blockA, b.length / blockB) < leastSamplesOfInterval) return { value };
  const random = uniform(bootstrapSeed);
  const again = () =>
    paired
      ? median(resampled(ratios, 1, random))
      : statistic(resampled(b, blockB, random)) / statistic(resampled(a, blockA, random));
  const drawn = Array.from({ length: resamples }, again).sort((x, y) => x - y);
  return { value, low: percentile(drawn, 2.5), high: percentile(drawn, 97.5) };
}

/** As many as there are, in blocks of `length` that follow each other. */
function resampled(from: readonly number[], length: number, random: () => number): number[] {
  const drawn: number[] = [];
  while (drawn.length < from.length) {
    const start = Math.floor(random() * (from.length - length + 1));
    for (let i = start; i < start + length && drawn.length < from.length; i++) drawn.push(from[i] ?? Number.NaN);
  }
  return drawn;
}

/**
 * Samples in a block of latencies that queue up behind each other: at least the square root of their number (longer than the
 * n^(1/3) to n^(1/5) that Lahiri 2003, chapter 7, finds best, which hold for weaker dependence), and twice as many as it takes
 * until they have little to do with each other (the integrated autocorrelation time of Sokal 1997). Of a queue that
 * only grows this is nearly the whole run, which therefore has no interval.
 */
export function blockLengthOf(samples: readonly number[]): number {
  const length = Math.max(Math.sqrt(samples.length), 2 * autocorrelationTime(samples));
  return Math.min(samples.length, Math.ceil(length));
}

/** In samples; 1: independent. Summed up to the first correlation that cannot be told from none. */
function autocorrelationTime(samples: readonly number[]): number {
  const middle = mean(samples);
  const off = samples.map((value) => value - middle);
  const variance = off.reduce((sum, value) => sum + value ** 2, 0);
  let time = 1;
  for (let lag = 1; lag < samples.length && variance > 0; lag++) {
    let shared = 0;
    for (let i = lag; i < off.length; i++) shared += (off[i] ?? 0) * (off[i - lag] ?? 0);
    if (shared / variance <= 0.05) break;
    time += (2 * shared) / variance;
  }
  return time;
}
