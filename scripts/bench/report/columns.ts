/** What tables of several sections have in common: the columns that say what a row is, and the commands under a table. */
import type { BenchRow } from '../../../lib/cli/bench/schema.js';
import { size, subjectOf, way } from './machines.js';
import { type Column, figures, shell } from './markdown.js';

export function nameOf({ model: name, weights }: BenchRow): string {
  return weights === 'random' ? name.replace(/^random:/, '') : name;
}

const about = {
  scenario: { head: 'scenario', cell: ({ scenario }) => scenario },
  program: { head: 'program', cell: subjectOf },
  model: { head: 'model', cell: nameOf },
  weights: { head: 'weights', cell: ({ weights }) => weights },
  px: { head: 'px', cell: size, right: true },
  steps: { head: 'steps', cell: ({ steps }) => String(steps), right: true },
  guidance: {
    head: 'guidance',
    cell: ({ guidance }) => (guidance === null ? 'none' : [guidance].flat().join(' to ')),
    right: true,
  },
  scheduler: { head: 'scheduler', cell: ({ scheduler }) => scheduler ?? '' },
  way: { head: 'way', cell: way },
  precision: { head: 'precision', cell: ({ precision }) => precision },
  batch: { head: 'batch', cell: ({ batch }) => String(batch), right: true },
} as const satisfies Record<string, Column<BenchRow>>;

/** In this order. */
export function columns(...names: (keyof typeof about)[]): Column<BenchRow>[] {
  return names.map((name) => about[name]);
}

/** All that tells rows of several programs apart. */
export const everything = columns(
  ...(['program', 'model', 'weights', 'px', 'steps', 'guidance', 'scheduler', 'way', 'precision', 'batch'] as const),
);

export const imagesPerSecond: Column<BenchRow> = {
  head: 'images/s',
  cell: (row) => (row.imagesPerSecond === null ? '' : figures(row.imagesPerSecond)),
  right: true,
};

export function commandsOf(rows: readonly BenchRow[]): string {
  return shell(rows.map(({ command }) => command));
}
