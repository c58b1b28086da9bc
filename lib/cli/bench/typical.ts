/** The one figure that stands for a row, in charts, tables and comparisons. */
import type { BenchRow } from './schema.js';
import { mean, median } from './statistics.js';

export type Statistic = 'median' | 'mean';

/**
 * The median, which one disturbed run does not move; of `offline` the mean, which the rate follows from: how far apart two
 * ends are says nothing where calls end together.
 */
export function statisticOf({ scenario }: Pick<BenchRow, 'scenario'>): Statistic {
  return scenario === 'offline' ? 'mean' : 'median';
}

export const statistics = { median, mean } as const satisfies Record<Statistic, (values: readonly number[]) => number>;

/** Milliseconds, of the samples. */
export function typicalMs(row: Pick<BenchRow, 'scenario' | 'samples'>): number {
  return statistics[statisticOf(row)](row.samples);
}
