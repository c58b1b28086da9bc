/** Quality against options of the sampler as a picture. */

import sharp from 'sharp';
import { chartOf, type Panel } from '../../lib/cli/bench/chart.js';
import type { Share } from './summary.js';

/** The share of wholly right pictures by the value of an option. */
export type Sweep = Array<{ value: number; share: Share }>;

/** By how the files' names end. */
export async function sweepChart(sweeps: Record<string, Sweep>): Promise<Record<string, string | Buffer>> {
  const panels = Object.entries(sweeps).map(
    ([name, sweep]): Panel => ({
      title: name,
      unit: '% wholly right',
      xTitle: name,
      curves: [
        { name: 'wholly right', points: sweep.map(({ value, share }) => ({ x: value, y: 100 * share.share })) },
        { name: '95 %, from', points: sweep.map(({ value, share }) => ({ x: value, y: 100 * share.interval[0] })) },
        { name: '95 %, to', points: sweep.map(({ value, share }) => ({ x: value, y: 100 * share.interval[1] })) },
      ],
    }),
  );
  const svg = chartOf('Wholly right pictures', panels);
  return { 'steps.svg': svg, 'steps.png': await sharp(Buffer.from(svg)).png().toBuffer() };
}
