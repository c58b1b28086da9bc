/** Tables of what `npm run bench:prompts`, `bench:load` and `bench -- --only operations` measure. */
import type { BenchRow } from '../../../lib/cli/bench/schema.js';
import { columns, commandsOf, imagesPerSecond } from './columns.js';
import { type MachineRow, medianMs } from './machines.js';
import { type Column, duration, figures, join, mebibytes, table } from './markdown.js';

/** A number of the details, which are free. */
const detail =
  (name: string) =>
  ({ details }: BenchRow): string =>
    typeof details?.[name] === 'number' ? String(details[name]) : '';

/** Many calls at once: lists of prompts, and clients that ask again when they have their answer. */
export function loads(rows: readonly MachineRow[]): string {
  const told = rows.filter(({ scenario }) => scenario === 'prompts' || scenario === 'load');
  if (told.length === 0) return '';
  return join(
    '### Many calls at once',
    table(told, [
      ...columns('scenario', 'model', 'px', 'steps', 'precision', 'batch'),
      { head: 'clients', cell: detail('clients'), right: true },
      { head: 'engines in workers', cell: detail('workers'), right: true },
      { head: 'prompts at a time', cell: detail('inFlight'), right: true },
      { head: 'runs', cell: ({ ms }) => String(ms.runs), right: true },
      { head: 'median', cell: (row) => duration(medianMs(row)), right: true },
      { head: 'p95', cell: ({ ms }) => duration(ms.p95), right: true },
      { head: 'images in a batch', cell: detail('meanBatch'), right: true },
      imagesPerSecond,
      { head: 'resident', cell: ({ rssBytes }) => (rssBytes === null ? '' : mebibytes(rssBytes)), right: true },
    ]),
    '*prompts*: a list of prompts to files, each time with its wait in the queue and the encoding of the file. ' +
      '*load*: clients that ask again when they have their answer.',
    commandsOf(told),
  );
}

export function operations(rows: readonly MachineRow[]): string {
  const told = rows.filter(({ operation }) => operation !== undefined);
  if (told.length === 0) return '';
  const parts: Column<BenchRow>[] = [
    { head: 'operation', cell: ({ operation }) => operation ?? '' },
    ...columns('model', 'precision'),
    { head: 'median ms', cell: (row) => figures(medianMs(row)), right: true },
    { head: 'GFLOP/s', cell: rate, right: true },
  ];
  return join('### Operations of a step, one by one', table(told, parts), commandsOf(told));
}

/** Nothing where an operation is not counted in products. */
function rate({ details }: BenchRow): string {
  const gflops = details?.gflops;
  return typeof gflops === 'number' && gflops > 0 ? figures(gflops) : '';
}
