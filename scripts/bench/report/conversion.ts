/** The table of `npm run bench:convert`, whose document is of another kind: no images are made. */
import { z } from 'zod';
import { join, percent, shell, table } from './markdown.js';

export const conversionSchema = z.object({
  benchmark: z.literal('convert'),
  date: z.string(),
  runs: z.int(),
  complete: z.boolean().optional(),
  machine: z.object({ cpu: z.string(), cores: z.int(), node: z.string(), platform: z.string() }),
  rows: z.array(
    z.object({
      what: z.string(),
      bytes: z.int(),
      seconds: z.array(z.number()).min(1),
      peakMiB: z.number().optional(),
      shareOfCopy: z.number().optional(),
    }),
  ),
});

/** Of the run that other work on the machine disturbed least, as in the shares. */
const least = (seconds: readonly number[]) => Math.min(...seconds);

export function conversion(
  documents: readonly { file: string; document: z.output<typeof conversionSchema> }[],
): string {
  return join(
    ...documents.map(({ file, document: { date, runs, machine, rows, complete } }) =>
      join(
        '## Conversion of checkpoints',
        `Checkpoints of the published sizes, with random values, on ${machine.cpu}, ${machine.cores} cores, ${date.slice(0, 10)}; ` +
          'what it means is in [checkpoints.md](../checkpoints.md).' +
          (complete === false ? ' The run was interrupted; these are the rows until then.' : ''),
        table(rows, [
          { head: 'what', cell: ({ what }) => what },
          { head: 'GB', cell: ({ bytes }) => (bytes / 1e9).toFixed(1), right: true },
          { head: 'runs', cell: ({ seconds }) => String(seconds.length), right: true },
          { head: 'shortest, s', cell: ({ seconds }) => least(seconds).toFixed(1), right: true },
          { head: 'MB/s', cell: ({ bytes, seconds }) => (bytes / 1e6 / least(seconds)).toFixed(0), right: true },
          { head: 'peak, MiB', cell: ({ peakMiB }) => peakMiB?.toFixed(0) ?? '', right: true },
          {
            head: 'of the rate of `cp`',
            cell: ({ shareOfCopy }) => (shareOfCopy === undefined ? '' : percent(shareOfCopy)),
            right: true,
          },
        ]),
        shell([`npm run bench:convert -- --runs ${runs} --output docs/benchmarks/${file}`]),
      ),
    ),
  );
}
