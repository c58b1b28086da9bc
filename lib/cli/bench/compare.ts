/** `--compare`: how much longer B takes than A, row by row, with intervals; and what had no counterpart. */
import { loadDefaults } from '../../options/load-options.js';
import { invalidOption } from '../../options/validate.js';
import { blockLengthOf, type Interval, leastSamplesOfInterval, ratioOf } from './bootstrap.js';
import type { BenchDocument, BenchRow } from './schema.js';
import { round } from './statistics.js';
import { type Statistic, statisticOf, statistics, typicalMs } from './typical.js';

/** Rows whose values of these are equal measure the same. What was measured on what is told, but does not part rows. */
const parameters = [
  ...[
    'scenario',
    'subject',
    'model',
    'weights',
    'backend',
    'precision',
    'threads',
    'width',
    'height',
    'steps',
    'batch',
  ],
  ...[
    'guidance',
    'scheduler',
    'compile',
    'maxBatch',
    'maxDelayMs',
    'maxQueue',
    'memory',
    'encoderWeights',
    'counted',
    'sampleOf',
    'axis',
    'operation',
  ],
] as const satisfies readonly (keyof BenchRow)[];
/** How many ask at a time, which rows have among their details: another load is another measurement. */
export const loadNames: readonly string[] = ['concurrency', 'clients', 'workers', 'inFlight'];
export const parameterNames: readonly string[] = [...parameters, 'rate', ...loadNames];

export interface Comparison {
  /** What both rows share, as far as the rows of a document differ in it. */
  label: string;
  /** Milliseconds, of the samples as the ratio is. */
  a: number;
  b: number;
  runs: [number, number];
  statistic: Statistic;
  /** Milliseconds of B over those of A, below 1: B is faster. Where they ran in turns, the median of the ratios of the pairs. */
  ratio: Interval;
  paired: boolean;
  verdict: string;
}

export interface Comparisons {
  rows: Comparison[];
  /** Labels of rows without a counterpart. */
  onlyA: string[];
  onlyB: string[];
  /** What differs between the documents as a whole, and may be why. */
  notes: string[];
}

/** @param ignored names of parameters that may differ. Throws `ERR_INVALID_OPTION`. */
export function compare(a: BenchDocument, b: BenchDocument, ignored: readonly string[] = []): Comparisons {
  const names = namesWithout(ignored);
  const label = labelsOf([...a.rows, ...b.rows], names);
  const [left, right] = [grouped(a.rows, names), grouped(b.rows, names)];
  const rows: Comparison[] = [];
  const onlyA: string[] = [];
  for (const [key, group] of left) {
    const other = right.get(key) ?? [];
    // Several of a kind: in their order.
    for (const [i, row] of group.entries()) {
      const counterpart = other[i];
      if (counterpart) rows.push(comparison(label(row), row, counterpart, false));
      else onlyA.push(label(row));
    }
  }
  const onlyB = [...right].flatMap(([key, group]) => group.slice(left.get(key)?.length ?? 0).map(label));
  return { rows, onlyA, onlyB, notes: differences(a, b) };
}

/** The pairs within one document, which ran in turns. Throws `ERR_INVALID_OPTION` where there are none. */
export function comparePairs({ rows }: BenchDocument, file: string): Comparisons {
  const pairs = new Map<string, { A?: BenchRow; B?: BenchRow }>();
  for (const row of rows) if (row.pair) pairs.set(row.pair.id, { ...pairs.get(row.pair.id), [row.pair.side]: row });
  const found = [...pairs.values()].flatMap(({ A, B }) => (A && B ? [{ A, B }] : []));
  if (found.length === 0) throw invalidOption('compare', 'two files, or one with pairs that --against made', file);
  return {
    rows: found.map(({ A, B }) => comparison(differenceOf(A, B), A, B, true)),
    onlyA: [],
    onlyB: [],
    notes: [],
  };
}

function comparison(label: string, a: BenchRow, b: BenchRow, paired: boolean): Comparison {
  const statistic = statisticOf(a);
  const ratio = ratioOf(a.samples, b.samples, {
    paired: paired && a.samples.length === b.samples.length,
    statistic: statistics[statistic],
    blocks: [blockOf(a), blockOf(b)],
  });
  const runs: [number, number] = [a.samples.length, b.samples.length];
  const rounded = { value: round(ratio.value), ...(ratio.low === undefined ? {} : limits(ratio)) };
  return {
    label,
    a: round(typicalMs(a)),
    b: round(typicalMs(b)),
    runs,
    statistic,
    ratio: rounded,
    paired,
    verdict: verdictOf(ratio, Math.min(...runs)),
  };
}

/** Requests wait for those before them, and calls that ended together have one sample between them; other runs are on their own. */
function blockOf({ scenario, samples, details }: BenchRow): number {
  if (scenario === 'server') return blockLengthOf(samples);
  return scenario === 'offline' && typeof details?.together === 'number' ? Math.max(1, details.together) : 1;
}

const limits = ({ low = Number.NaN, high = Number.NaN }: Interval) => ({ low: round(low), high: round(high) });

function verdictOf({ low, high }: Interval, runs: number): string {
  if (low !== undefined && high !== undefined)
    return high < 1 ? 'B is faster' : low > 1 ? 'B is slower' : 'no difference shown';
  if (runs < leastSamplesOfInterval) return `fewer than ${leastSamplesOfInterval} runs: no interval`;
  return `fewer than ${leastSamplesOfInterval} stretches that are independent of each other: no interval; measure longer`;
}

function namesWithout(ignored: readonly string[]): string[] {
  for (const name of ignored)
    if (!parameterNames.includes(name)) throw invalidOption('ignore', `names among ${parameterNames.join(', ')}`, name);
  return parameterNames.filter((name) => !ignored.includes(name));
}

function parameterOf(row: BenchRow, name: string): unknown {
  if (name === 'rate')
    return row.server?.found ? `${row.server.found.percentile} ≤ ${row.server.found.limitMs} ms` : row.server?.rate;
  if (loadNames.includes(name)) return row.details?.[name];
  // An option that was given as what it is anyway measures the same.
  return row[name as keyof BenchRow] ?? (loadDefaults as Record<string, unknown>)[name];
}

function grouped(rows: readonly BenchRow[], names: readonly string[]): Map<string, BenchRow[]> {
  const groups = new Map<string, BenchRow[]>();
  for (const row of rows) {
    const key = JSON.stringify(names.map((name) => parameterOf(row, name) ?? null));
    groups.set(key, [...(groups.get(key) ?? []), row]);
  }
  return groups;
}

/** Names a row by what is not the same in all of them. */
export function labelsOf(
  rows: readonly BenchRow[],
  names: readonly string[] = parameterNames,
): (row: BenchRow) => string {
  const text = (row: BenchRow, name: string) => JSON.stringify(parameterOf(row, name) ?? null).replaceAll('"', '');
  const telling = names.filter((name) => new Set(rows.map((row) => text(row, name))).size > 1);
  return (row) => {
    const parts = telling.filter((name) => parameterOf(row, name) != null).map((name) => `${name} ${text(row, name)}`);
    return parts.join(', ') || row.scenario;
  };
}

/** 'threads 2 → 1, precision bf16 → fp32' */
function differenceOf(a: BenchRow, b: BenchRow): string {
  const text = (row: BenchRow, name: string) => JSON.stringify(parameterOf(row, name) ?? null).replaceAll('"', '');
  const parts = parameterNames
    .filter((name) => text(a, name) !== text(b, name))
    .map((name) => `${name} ${text(a, name)} → ${text(b, name)}`);
  return parts.join(', ') || 'A and B alike';
}

function differences(a: BenchDocument, b: BenchDocument): string[] {
  const notes: string[] = [];
  const note = (what: string, left: unknown, right: unknown) => {
    if (JSON.stringify(left) !== JSON.stringify(right))
      notes.push(`${what}: ${JSON.stringify(left)} in A, ${JSON.stringify(right)} in B`);
  };
  for (const name of ['cpu', 'cores', 'memoryGiB', 'os', 'gpus'] as const)
    note(name, a.environment[name], b.environment[name]);
  const versions = ({ rows }: BenchDocument) => [
    ...new Set(rows.map(({ subject, version, commit }) => `${subject} ${version} ${commit ?? ''}`)),
  ];
  note('measured', versions(a), versions(b));
  const loads = ({ rows }: BenchDocument, name: string) => [
    ...new Set(rows.map((row) => parameterOf(row, name)).filter((value) => value !== undefined)),
  ];
  for (const name of ['maxQueue', ...loadNames]) {
    const [left, right] = [loads(a, name), loads(b, name)];
    if (left.length > 0 && right.length > 0) note(name, left, right);
  }
  if (a.complete === false) notes.push('A was interrupted');
  if (b.complete === false) notes.push('B was interrupted');
  return notes;
}
