/** Documents of benchmarks as Markdown, JSON, JSON lines or CSV; comparisons as Markdown. */

import type { Comparisons } from './compare.js';
import { loadNames, parameterNames } from './compare.js';
import type { BenchDocument, BenchRow } from './schema.js';

export const reportFormats = ['md', 'json', 'jsonl', 'csv'] as const;
export type ReportFormat = (typeof reportFormats)[number];

export function report(document: BenchDocument, format: ReportFormat): string {
  const { schema, environment, rows, complete } = document;
  const whole = complete === undefined ? {} : { complete };
  if (format === 'json') return JSON.stringify(document, null, 2).replaceAll(numbersOverLines, onOneLine);
  if (format === 'jsonl')
    return rows.map((row) => JSON.stringify({ schema, environment, ...whole, ...row })).join('\n');
  return format === 'csv' ? csv(rows.map((row) => flatten({ ...row, environment }))) : markdown(document);
}

/** Samples are read by programs: hundreds of lines of one number each help nobody. */
const numbersOverLines = /^( *"\w+": )\[\n([\d.,e+\s-]+)\]/gm;
const onOneLine = (_: string, name: string, numbers: string) => `${name}[${numbers.trim().replaceAll(/\s+/g, ' ')}]`;

/** { ms: { p50: 1 } } → { 'ms.p50': 1 }; lists of samples and the like are left out. */
function flatten(row: object, prefix = '', out: Record<string, string> = {}): Record<string, string> {
  for (const [key, value] of Object.entries(row)) {
    const name = `${prefix}${key}`;
    if (name === 'guidance' && Array.isArray(value)) out[name] = value.join(' to ');
    else if (Array.isArray(value)) continue;
    else if (typeof value === 'object' && value !== null) flatten(value, `${name}.`, out);
    else out[name] = value === null || value === undefined ? '' : String(value);
  }
  return out;
}

function csv(rows: readonly Record<string, string>[]): string {
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const cell = (text: string) => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return [columns, ...rows.map((row) => columns.map((column) => row[column] ?? ''))]
    .map((row) => row.map(cell).join(','))
    .join('\n');
}

// --- Markdown ---

type Column = [head: string, cell: (row: BenchRow) => string | undefined];

const figure = (value: number | null | undefined, digits = 3): string | undefined =>
  value === null || value === undefined ? undefined : String(Number(value.toPrecision(digits + 1)));
const mebibytes = (bytes: number | null | undefined) => (bytes == null ? undefined : (bytes / 2 ** 20).toFixed(1));
const percent = (share: number | undefined) => (share === undefined ? undefined : `${(share * 100).toFixed(1)} %`);

const timing: Column[] = [
  ['runs', ({ ms }) => String(ms.runs)],
  ['p50 ms', ({ ms }) => figure(ms.p50)],
  ['p90', ({ ms }) => figure(ms.p90)],
  ['p95', ({ ms }) => figure(ms.p95)],
  ['p99', ({ ms }) => figure(ms.p99)],
  ['min', ({ ms }) => figure(ms.min)],
  ['mean', ({ ms }) => figure(ms.mean)],
  ['stddev', ({ ms }) => figure(ms.stddev)],
  ['images/s', ({ imagesPerSecond }) => figure(imagesPerSecond)],
];

const special: Column[] = [
  ['rate found', ({ server }) => (server?.found ? figure(server.rate) : undefined)],
  ['answers/s', ({ server }) => figure(server?.achievedRate)],
  ['dropped', ({ server }) => percent(server?.droppedShare)],
  ['late', ({ server }) => (server?.deadlineMs == null ? undefined : percent(server.lateShare))],
  ['images in a batch', ({ server }) => figure(server?.meanBatch)],
  ['generations', ({ soak }) => figure(soak?.generations, 9)],
  ['resident MiB first', ({ soak }) => mebibytes(soak?.rssFirstBytes)],
  ['last', ({ soak }) => mebibytes(soak?.rssLastBytes)],
  ['latency drift', ({ soak }) => figure(soak?.latencyDrift)],
  ['loop delay max ms', ({ soak }) => figure(soak?.eventLoopDelayMs.max)],
  ['floor of a step ms', ({ floor }) => figure(floor?.ms)],
  ['share of the floor', ({ floor }) => percent(floor?.share)],
];

const memory: Column[] = [
  ['first ms', ({ firstMs }) => figure(firstMs)],
  ['load ms', ({ loadMs }) => figure(loadMs)],
  ['peak MiB', ({ peakBytes }) => mebibytes(peakBytes)],
  ['resident MiB', ({ rssBytes }) => mebibytes(rssBytes)],
];

function markdown({ environment, complete, rows }: BenchDocument): string {
  const { time, cpu, cores, memoryGiB, os, runtimes, gpus = [] } = environment;
  const versions = Object.entries(runtimes).map(([name, version]) => `${name} ${version}`);
  const lines = [
    `- ${time}; ${cpu}, ${cores} cores, ${memoryGiB} GiB; ${os}`,
    ...gpus.map(({ name, memoryGiB: size }) => `- ${name}${size === undefined ? '' : `, ${size} GiB`}`),
    `- ${versions.join(', ')}`,
  ];
  if (complete === false) lines.push('- **interrupted**: what was measured by then');
  if (rows.length === 0) return lines.join('\n');
  const shared = parameterColumns.filter(([, cell]) => new Set(rows.map(cell)).size === 1 && rows[0] && cell(rows[0]));
  lines.push(...shared.map(([head, cell]) => `- ${head}: ${rows[0] ? cell(rows[0]) : ''}`));
  const differing = parameterColumns.filter(([, cell]) => new Set(rows.map(cell)).size > 1);
  lines.push('', ...tableOf([...differing, ...timing, ...special, ...memory], rows));
  const stageNames = [...new Set(rows.flatMap(({ stages }) => Object.keys(stages)))];
  const stages = stageNames.map((name): Column => [name, ({ stages: own }) => figure(own[name])]);
  if (stages.length > 0) lines.push('', 'Median ms by stage:', '', ...tableOf([...differing, ...stages], rows));
  const most = Math.max(...rows.map(({ perStep }) => perStep?.length ?? 0));
  const steps = Array.from(
    { length: most },
    (_, i): Column => [`step ${i + 1}`, ({ perStep }) => figure(perStep?.[i])],
  );
  if (most > 0) lines.push('', 'Median ms by step:', '', ...tableOf([...differing, ...steps], rows));
  lines.push(...searchesOf(rows));
  lines.push('', 'Each row again:', '', ...[...new Set(rows.map(({ command }) => `    ${command}`))]);
  return lines.join('\n');
}

const parameterColumns: Column[] = [
  ...[...new Set(['subject', 'version', 'commit', 'evidence', 'device', ...parameterNames])].map(
    (name): Column => [
      name,
      (row) => {
        const value = cellValue(row, name);
        if (value === null || value === undefined) return undefined;
        if (Array.isArray(value)) return value.join(' to ');
        if (typeof value !== 'object') return String(value);
        const said = Object.entries(value).filter(([, each]) => each === true);
        return said.map(([each]) => each).join(', ');
      },
    ],
  ),
  ['pair', ({ pair }) => pair?.side],
];

function cellValue(row: BenchRow, name: string): unknown {
  if (name === 'rate') return row.server?.found ? undefined : row.server?.rate;
  return loadNames.includes(name) ? row.details?.[name] : row[name as keyof BenchRow];
}

/** Without columns in which no row has anything. */
function tableOf(columns: readonly Column[], rows: readonly BenchRow[]): string[] {
  const filled = columns.filter(([, cell]) => rows.some((row) => cell(row) !== undefined));
  const seen = new Set<string>();
  const once = filled.filter(([head]) => !seen.has(head) && seen.add(head));
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [
    line(once.map(([head]) => head)),
    line(once.map(() => '---:')),
    ...rows.map((row) => line(once.map(([, cell]) => (cell(row) ?? '').replaceAll('|', String.raw`\|`)))),
  ];
}

/** What batching gains: the rates that searches found, beside those without batches. */
function searchesOf(rows: readonly BenchRow[]): string[] {
  const found = rows.filter(({ server }) => server?.found);
  if (found.length < 2) return [];
  const alone = found.find(({ maxBatch }) => maxBatch === 1);
  return [
    '',
    'Highest rates:',
    '',
    ...found.map(({ server, maxBatch = 1, maxDelayMs = 0, ms }) => {
      const { percentile = 'p95', limitMs = 0, tried = [] } = server?.found ?? {};
      // The trial's own value: a row of few samples has no p99.
      const reached = tried.findLast(({ rate, held }) => held && rate === server?.rate)?.ms ?? ms[percentile];
      const gain =
        alone?.server && server ? `, ${(server.rate / alone.server.rate).toFixed(2)}× those without batches` : '';
      return `- batches of ${maxBatch}, delay ${maxDelayMs} ms: ${figure(server?.rate)}/s with ${percentile} ${figure(reached) ?? '(not told)'} ms (limit ${limitMs} ms)${gain}`;
    }),
  ];
}

export function comparisonReport({ rows, onlyA, onlyB, notes }: Comparisons): string {
  const text = ({ value, low, high }: Comparisons['rows'][number]['ratio']) =>
    low === undefined || high === undefined
      ? value.toFixed(3)
      : `${value.toFixed(3)} (${low.toFixed(3)} to ${high.toFixed(3)})`;
  const means = rows.filter(({ statistic }) => statistic === 'mean').length;
  const what = means === 0 ? 'medians' : means === rows.length ? 'means' : 'medians, of `offline` means';
  const lines = [
    `Milliseconds of B over those of A, ${what}, with 95 % bootstrap intervals; below 1, B is faster.`,
    '',
  ];
  lines.push('| what | A ms | B ms | runs | B / A | |', '|---|---:|---:|---:|---:|---|');
  for (const { label, a, b, runs, statistic, ratio, paired, verdict } of rows)
    lines.push(
      `| ${label}${paired ? ' (in turns)' : ''}${statistic === 'mean' ? ' (mean)' : ''} | ${figure(a)} | ${figure(b)} | ${runs[0]} and ${runs[1]} | ${text(ratio)} | ${verdict} |`,
    );
  if (rows.length === 0) lines.push('', 'No rows match.');
  const told = (head: string, items: readonly string[]) => {
    if (items.length > 0) lines.push('', head, '', ...items.map((item) => `- ${item}`));
  };
  told('Only in A:', onlyA);
  told('Only in B:', onlyB);
  told('Different, and perhaps the reason:', notes);
  return lines.join('\n');
}
