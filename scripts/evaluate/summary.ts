/** Counts verdicts per category and per number of objects. */

import type { Judged, Verdict } from './judge.js';

export const CATEGORIES = [
  ['right', 'wholly right'],
  ['count', 'right count'],
  ['colours', 'right colours'],
  ['shapes', 'right shapes'],
  ['relations', 'right relations'],
  ['sizes', 'right sizes'],
  ['background', 'right background'],
] as const satisfies ReadonlyArray<readonly [keyof Verdict, string]>;

export type Category = (typeof CATEGORIES)[number][0];

export interface Tally {
  pictures: number;
  /** Pictures that are right in the category. Relations and sizes count pictures whose caption states none as right. */
  right: Record<Category, number>;
  /** Pictures whose captions state a relation, and a size; and how many of those are right. */
  stated: { relations: number; relationsRight: number; sizes: number; sizesRight: number };
}

export type Group = 'all' | 'one object' | 'two objects' | 'three objects';

function tally(judged: readonly Judged[]): Tally {
  const count = (test: (one: Judged) => boolean): number => judged.filter(test).length;
  const withRelation = judged.filter(({ expectation }) => expectation.relations.length > 0);
  const withSize = judged.filter(({ expectation }) => expectation.objects.some(({ size }) => size !== undefined));
  return {
    pictures: judged.length,
    right: Object.fromEntries(CATEGORIES.map(([key]) => [key, count(({ verdict }) => verdict[key])])) as Tally['right'],
    stated: {
      relations: withRelation.length,
      relationsRight: withRelation.filter(({ verdict }) => verdict.relations).length,
      sizes: withSize.length,
      sizesRight: withSize.filter(({ verdict }) => verdict.sizes).length,
    },
  };
}

export function summarise(judged: readonly Judged[]): Record<Group, Tally> {
  const ofCount = (objects: number) => judged.filter(({ expectation }) => expectation.objects.length === objects);
  return {
    all: tally(judged),
    'one object': tally(ofCount(1)),
    'two objects': tally(ofCount(2)),
    'three objects': tally(ofCount(3)),
  };
}

export function percent(part: number, whole: number): string {
  return whole === 0 ? '–' : `${((100 * part) / whole).toFixed(1)} %`;
}

/** A Markdown table that reads well on a terminal, too. */
export function table(summary: Record<Group, Tally>): string {
  const groups = Object.entries(summary).filter(([, { pictures }]) => pictures > 0);
  const rows = [
    ['', ...groups.map(([name]) => name)],
    ['pictures', ...groups.map(([, { pictures }]) => String(pictures))],
    ...CATEGORIES.map(([key, title]) => [title, ...groups.map(([, t]) => percent(t.right[key], t.pictures))]),
    ['… where relations are stated', ...groups.map(([, { stated: s }]) => percent(s.relationsRight, s.relations))],
    ['… where sizes are stated', ...groups.map(([, { stated: s }]) => percent(s.sizesRight, s.sizes))],
  ];
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: string[]): string =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(rows[0] ?? []), rule, ...rows.slice(1).map(line)].join('\n');
}
