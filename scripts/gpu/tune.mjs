#!/usr/bin/env node
/**
 * From timings to entries of native/cuda/product_table.h.
 *
 *   build/test/native/paella_bench tune > timings.jsonl        on the GPU
 *   node scripts/gpu/tune.mjs timings.jsonl [--write]          anywhere; without --write the entries are printed
 *
 * The number of parts that K is split into changes the bits of a result, so one is chosen for all numbers of rows: the
 * one with the least geometric mean of times, in which the rows of a single image count twice. The tile is chosen for
 * each number of rows. With --write the entries of this GPU replace those of its compute capability in the table.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const table = path.resolve(import.meta.dirname, '..', '..', 'native', 'cuda', 'product_table.h');
const singleImageRows = 2048;

/** @template T, K @param {Iterable<T>} values @param {(value: T) => K} key @returns {Map<K, T[]>} */
function groupBy(values, key) {
  const groups = new Map();
  for (const value of values) groups.set(key(value), [...(groups.get(key(value)) ?? []), value]);
  return groups;
}

/** @param {{sm: number, rows: number, columns: number, inner: number, tile: number, splits: number, us: number}[]} timings */
export function entriesOf(timings) {
  const entries = [];
  const shapes = groupBy(timings, ({ sm, columns, inner }) => `${sm} ${columns} ${inner}`);
  for (const shape of shapes.values()) {
    const { sm, columns, inner } = shape[0];
    const splits = bestSplits(shape);
    const byRows = groupBy(
      shape.filter((timing) => timing.splits === splits),
      ({ rows }) => rows,
    );
    const steps = [...byRows.keys()]
      .sort((a, b) => a - b)
      .map((rows) => ({ rows, tile: fastest(byRows.get(rows)).tile }));
    steps.forEach(({ rows, tile }, i) => {
      const last = i + 1 === steps.length;
      // Neighbours with one tile are one entry.
      if (last || steps[i + 1].tile !== tile)
        entries.push({ sm, columns, inner, maxRows: last ? 0 : rows, tile, splits });
    });
  }
  return entries;
}

function fastest(timings) {
  return timings.reduce((best, timing) => (timing.us < best.us ? timing : best));
}

function bestSplits(shape) {
  const costs = [...groupBy(shape, ({ splits }) => splits)].map(([splits, timings]) => {
    let sum = 0;
    let weight = 0;
    for (const [rows, each] of groupBy(timings, (timing) => timing.rows)) {
      const w = rows <= singleImageRows ? 2 : 1;
      sum += w * Math.log(fastest(each).us);
      weight += w;
    }
    return { splits, cost: sum / weight };
  });
  return costs.reduce((best, each) => (each.cost < best.cost ? each : best)).splits;
}

const text = ({ sm, columns, inner, maxRows, tile, splits }) =>
  `    {${[sm, columns, inner, maxRows, tile, splits].join(', ')}},`;

/** The source of the table with the entries of their compute capabilities replaced. */
export function replaceEntries(source, entries) {
  const begin = source.indexOf('inline constexpr ProductEntry product_table[] = {');
  const end = source.indexOf('};', begin);
  if (begin < 0 || end < 0) throw new Error(`${table}: expected the array product_table, found none`);
  const head = source.indexOf('\n', begin) + 1;
  const measured = new Set(entries.map(({ sm }) => sm));
  const kept = source
    .slice(head, end)
    .split('\n')
    .filter((line) => line.trim() && !measured.has(Number(line.match(/\{(\d+),/)?.[1])));
  return source.slice(0, head) + [...kept, ...entries.map(text), ''].join('\n') + source.slice(end);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [file] = process.argv.slice(2).filter((argument) => !argument.startsWith('--'));
  if (!file) {
    process.stderr.write('usage: node scripts/gpu/tune.mjs <timings.jsonl> [--write]\n');
    process.exit(2);
  }
  const timings = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .filter(({ bench }) => bench === 'tune');
  if (timings.length === 0) throw new Error(`${file}: expected lines of "paella_bench tune", found none`);
  const entries = entriesOf(timings);
  if (process.argv.includes('--write')) writeFileSync(table, replaceEntries(readFileSync(table, 'utf8'), entries));
  else process.stdout.write(`${entries.map(text).join('\n')}\n`);
}
