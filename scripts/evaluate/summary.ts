/** Counts verdicts: all, by number of objects, and by how the objects are arranged. */

import type { Expectation } from './expectation.js';
import type { Judged, Verdict } from './judge.js';

export const CATEGORIES = [
  ['right', 'wholly right'],
  ['count', 'right count'],
  ['objects', 'right figures'],
  ['colours', 'right colours'],
  ['textures', 'right textures'],
  ['relations', 'right relations'],
  ['sizes', 'right sizes'],
  ['background', 'right background'],
] as const satisfies ReadonlyArray<readonly [keyof Verdict, string]>;

export type Category = (typeof CATEGORIES)[number][0];

export interface Tally {
  pictures: number;
  /** Pictures that are right in the category. Relations and sizes count pictures whose caption states none as right. */
  right: Record<Category, number>;
  /** Pictures whose captions state a relation, a size or a texture; and how many of those are right. */
  stated: Record<'relations' | 'sizes' | 'textures', { pictures: number; right: number }>;
}

/** Share of the wholly right and the interval that holds the model's true share with 95 % (Wilson's). */
export interface Share {
  pictures: number;
  right: number;
  share: number;
  interval: [low: number, high: number];
}

export function shareOf(judged: readonly Judged[]): Share {
  const right = judged.filter(({ verdict }) => verdict.right).length;
  const n = judged.length;
  if (n === 0) return { pictures: 0, right: 0, share: 0, interval: [0, 1] };
  const z = 1.96;
  const p = right / n;
  const middle = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  return { pictures: n, right, share: p, interval: [Math.max(0, middle - half), Math.min(1, middle + half)] };
}

export function tally(judged: readonly Judged[]): Tally {
  const stating = (test: (expectation: Expectation) => boolean, key: Category) => {
    const some = judged.filter(({ expectation }) => test(expectation));
    return { pictures: some.length, right: some.filter(({ verdict }) => verdict[key]).length };
  };
  return {
    pictures: judged.length,
    right: Object.fromEntries(
      CATEGORIES.map(([key]) => [key, judged.filter(({ verdict }) => verdict[key]).length]),
    ) as Tally['right'],
    stated: {
      relations: stating(({ relations }) => relations.length > 0, 'relations'),
      sizes: stating(({ objects }) => objects.some(({ size }) => size !== undefined), 'sizes'),
      textures: stating(({ objects }) => objects.some(({ texture }) => texture !== 'plain'), 'textures'),
    },
  };
}

const NUMBERS = ['no object', 'one object', 'two objects', 'three objects', 'four objects'];

/** How the caption arranges its objects. */
export function arrangement({ objects, relations }: Expectation): string {
  const kinds = new Set(relations.map(({ kind }) => kind));
  if (kinds.has('corner')) return 'in a corner';
  if (kinds.has('inside')) return 'one inside the other';
  if (kinds.has('between')) return 'one between two';
  if (objects.length === 1) return 'alone';
  const looks = new Set(objects.map(({ figure, colour, texture }) => `${colour} ${texture} ${figure}`));
  if (looks.size === 1) return 'a group';
  if (looks.size < objects.length) return 'a group and one';
  if (objects.length === 4) return 'two by two';
  if (kinds.has('left')) return 'side by side';
  return kinds.has('above') ? 'one above the other' : 'listed';
}

export function groupedBy<T>(items: readonly T[], key: (item: T) => string): Record<string, T[]> {
  const groups: Record<string, T[]> = {};
  for (const item of items) {
    const name = key(item);
    groups[name] ??= [];
    groups[name].push(item);
  }
  return groups;
}

/** All pictures, and by number of objects. */
export function summarise(judged: readonly Judged[]): Record<string, Tally> {
  const summary: Record<string, Tally> = { all: tally(judged) };
  NUMBERS.forEach((name, count) => {
    const some = judged.filter(({ expectation }) => expectation.objects.length === count);
    if (some.length > 0) summary[name] = tally(some);
  });
  return summary;
}

/** The wholly right ones for every arrangement, the commonest first. */
export function byArrangement(judged: readonly Judged[]): Array<[name: string, share: Share]> {
  return Object.entries(groupedBy(judged, ({ expectation }) => arrangement(expectation)))
    .map(([name, some]): [string, Share] => [name, shareOf(some)])
    .sort((a, b) => b[1].pictures - a[1].pictures);
}

export function percent(part: number, whole: number): string {
  return whole === 0 ? '–' : `${((100 * part) / whole).toFixed(1)} %`;
}

/** A Markdown table whose columns are aligned, so that it reads well on a terminal, too. */
export function markdownTable(rows: readonly string[][]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: string[]): string =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' | ')} |`;
  const rule = `|${widths.map((width, i) => (i === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`;
  return [line(rows[0] ?? []), rule, ...rows.slice(1).map(line)].join('\n');
}

export function table(summary: Record<string, Tally>): string {
  const groups = Object.entries(summary).filter(([, { pictures }]) => pictures > 0);
  const ofStated = (key: keyof Tally['stated']) =>
    groups.map(([, { stated }]) => percent(stated[key].right, stated[key].pictures));
  return markdownTable([
    ['', ...groups.map(([name]) => name)],
    ['pictures', ...groups.map(([, { pictures }]) => String(pictures))],
    ...CATEGORIES.map(([key, title]) => [title, ...groups.map(([, t]) => percent(t.right[key], t.pictures))]),
    ['… where relations are stated', ...ofStated('relations')],
    ['… where sizes are stated', ...ofStated('sizes')],
    ['… where textures are stated', ...ofStated('textures')],
  ]);
}

/** The kinds of fault, without the objects that have them, by how many pictures show them. */
export function commonFaults(judged: readonly Judged[]): Array<[kind: string, pictures: number]> {
  const counts = new Map<string, number>();
  for (const { verdict } of judged) {
    for (const kind of new Set(verdict.faults.map(kindOfFault))) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  }
  return [...counts].sort((a, b) => b[1] - a[1]);
}

function kindOfFault(fault: string): string {
  return fault
    .replace(/^no .*/, 'an object is missing')
    .replace(/^.*: figure unclear.*$/, 'a figure is unclear: misshapen, incomplete or spotted')
    .replace(/^.*: (colour|texture) unclear$/, 'a $1 is unclear')
    .replace(/^.*: (colour|texture|figure) .+$/, 'a $1 is another')
    .replace(/^.*: (small|medium|large), not .*$/, 'a size is another')
    .replace(/^\d+ objects instead of .*/, 'too many or too few objects')
    .replace(/^background .*/, 'the background is another or unclear')
    .replace(/^stray pixels.*/, 'stray pixels')
    .replace(/^.+ not (above|left of|inside|between|in the) .+$/, 'a relation does not hold');
}
