/** The section of one machine: its tables, each with the commands that reproduce it, and its charts. */
import type { BenchRow } from '../../../lib/cli/bench/schema.js';
import { median } from '../../../lib/cli/bench/statistics.js';
import { typicalMs } from '../../../lib/cli/bench/typical.js';
import { columns, commandsOf, everything, imagesPerSecond, nameOf } from './columns.js';
import { loads, operations } from './loads.js';
import {
  imageMs,
  isImage,
  isReference,
  type Machine,
  type MachineRow,
  medianMs,
  ratio,
  referenceNetwork,
  size,
  subjectOf,
  turnsOf,
  usualRows,
} from './machines.js';
import { type Column, duration, figures, join, mebibytes, percent, table } from './markdown.js';

export interface Picture {
  file: string;
  alt: string;
}

export function machineSection(machine: Machine, pictures: readonly Picture[]): string {
  return join(
    `## ${machine.name}`,
    describe(machine),
    ...pictures.map(({ file, alt }) => `![${alt}](${file})`),
    ...[...turnsOf(machine.rows).values()].map(beside),
    scaling(machine.rows),
    stages(machine.rows),
    floors(machine.rows),
    operations(machine.rows),
    own(machine.rows),
    server(machine.rows),
    loads(machine.rows),
    soak(machine.rows),
  );
}

function describe({ environments }: Machine): string {
  const [first] = environments;
  if (!first) return '';
  const versions = new Map(environments.flatMap(({ runtimes }) => Object.entries(runtimes)));
  versions.delete('cpu.cores'); // is told as it is
  const days = [...new Set(environments.map(({ time }) => time.slice(0, 10)))].toSorted();
  const gpus = (first.gpus ?? []).map(({ name, driver }) => (driver ? `${name}, driver ${driver}` : name));
  return [
    `${[`${first.cores} cores`, `${first.memoryGiB} GiB`, first.os, ...gpus].join(', ')}. Measured on ${days.join(', ')}. `,
    `${[...versions].map(([name, version]) => `${name} ${version}`).join(', ')}.`,
  ].join('');
}

/** One run of bench:peers. */
function beside(rows: readonly MachineRow[]): string {
  const ours = rows.filter(({ subject }) => subject === 'paella-native');
  const theirs = rows.filter(({ subject }) => subject !== 'paella-native');
  /** Of the same pixels and batch; of 8 steps, where there is such a row. */
  const yardstick = (row: BenchRow) => {
    const fits = ours.filter(
      ({ width, height, batch }) => width === row.width && height === row.height && batch === row.batch,
    );
    return fits.find(({ steps }) => steps === 8) ?? fits[0];
  };
  const against = (row: BenchRow) => {
    const other = yardstick(row);
    return other === undefined || row.subject === 'paella-native' ? '' : `${ratio(row, other).toFixed(2)} ×`;
  };
  const passes = ({ perStep = [] }: BenchRow) => (perStep.length === 0 ? '' : figures(median(perStep) / 1000));
  const steps = [...new Set(rows.map(yardstick).flatMap((row) => (row ? [row.steps] : [])))];
  const sizes = [...new Set(rows.map(size))];
  const shown: Column<BenchRow>[] = [
    ...everything,
    { head: 'a step, s', cell: passes, right: true },
    { head: 'an image, s', cell: (row) => figures(imageMs(row) / 1000), right: true },
    {
      head: 'least to most',
      cell: ({ ms, batch, samples }) =>
        `${figures(ms.min / batch / 1000)}–${figures(Math.max(...samples) / batch / 1000)}`,
      right: true,
    },
    { head: 'against ours', cell: against, right: true },
    {
      head: 'resident, GiB',
      cell: ({ rssBytes }) => (rssBytes === null ? '' : (rssBytes / 2 ** 30).toFixed(1)),
      right: true,
    },
    { head: 'evidence', cell: ({ evidence }) => evidence },
  ];
  const runs = Math.min(...rows.map(({ ms }) => ms.runs));
  const others = rows.flatMap(({ details }) => (typeof details?.others === 'number' ? [details.others] : []));
  return join(
    `### Beside others, ${sizes.join(' and ')} px: ${[...new Set((theirs.length > 0 ? theirs : rows).map(nameOf))].join(', ')}`,
    `In turns, ${runs} rounds after ${rows[0]?.warmup ?? 0} to warm up.` +
      (ours.length > 0 && rows.length > ours.length
        ? ` *Against ours*: the time of an image over that of paella-native at ${steps.join(' or ')} steps, the median over the rounds.`
        : ''),
    table(rows, shown),
    others.length === 0
      ? 'What else ran on the machine meanwhile was not recorded.'
      : `Other processes had at most ${percent(Math.max(...others))} of the cores in the middle one of a row's runs.`,
    ...notes(rows),
    commandsOf(rows),
  );
}

function notes(rows: readonly BenchRow[]): string[] {
  const composed = rows.filter(({ evidence }) => evidence === 'composed');
  const counts = composed.map((row) => `${subjectOf(row)}: ${row.perStep?.length ?? 0}`);
  const said =
    composed.length === 0
      ? []
      : [
          'Composed rows are as many times the median of the measured steps as they have steps, and what the same run took ' +
            `beyond its steps. Steps of a run: ${[...new Set(counts)].join('; ')}.`,
        ];
  if (rows.some(isReference)) said.push(referenceNetwork);
  const small = rows.some((row) => row.model === 'random:paella-v3-256');
  if (small)
    said.push(
      '`paella-v3-256` is the official model with two layers of its text encoder instead of 36, and without CLIP and the prior' +
        (rows.some(isReference)
          ? ': on both sides.'
          : '. The other programs run all of their models, so this is no comparison of whole pipelines; `paella-v3` in another table is.'),
    );
  return said;
}

const byAxis = {
  pixels: size,
  steps: ({ steps }: BenchRow) => String(steps),
  batch: ({ batch }: BenchRow) => String(batch),
  threads: ({ threads }: BenchRow) => String(threads),
};

function scaling(rows: readonly MachineRow[]): string {
  const curves = rows.filter(({ axis }) => axis !== undefined);
  if (curves.length === 0) return '';
  return join(
    '### Against pixels, steps, batch and threads',
    table(curves, [
      { head: 'model', cell: (row) => row.model },
      { head: 'what changes', cell: ({ axis }) => axis ?? '' },
      { head: 'to', cell: (row) => (row.axis ? byAxis[row.axis](row) : ''), right: true },
      { head: 'px', cell: size, right: true },
      { head: 'steps', cell: ({ steps }) => String(steps), right: true },
      { head: 'batch', cell: ({ batch }) => String(batch), right: true },
      { head: 'precision', cell: ({ precision }) => precision },
      { head: 'ms an image', cell: (row) => figures(imageMs(row)), right: true },
      imagesPerSecond,
    ]),
    commandsOf(curves),
  );
}

/** Stages by these names come first; whatever else a program tells, after them. */
const stageOrder = [
  'tokenize',
  'queue',
  'encode_text',
  'prior',
  'denoise',
  'unet',
  'guide',
  'sample',
  'renoise',
  'decode',
];

function stages(rows: readonly MachineRow[]): string {
  const whole = (row: BenchRow) => row.scenario === 'stages' || (row.scenario === 'single' && isImage(row));
  const told = [...new Set(rows.map(({ file }) => file))]
    .flatMap((file) => usualRows(rows.filter((row) => row.file === file && whole(row))))
    .filter((row) => Object.keys(row.stages).length > 0);
  if (told.length === 0) return '';
  const names = [...new Set(told.flatMap((row) => Object.keys(row.stages)))]
    .filter((name) => name !== 'total')
    .toSorted((a, b) => order(a) - order(b));
  return join(
    '### Where the time goes',
    'Median milliseconds of a call, by stage. *denoise* is all steps together, where a program tells no more.',
    table(told, [
      ...columns('program', 'scenario', 'model', 'px', 'steps', 'guidance', 'way', 'precision', 'batch'),
      ...names.map(
        (name): Column<BenchRow> => ({
          head: name.replace('_', ' '),
          cell: ({ stages: own }) => (own[name] ? figures(own[name]) : ''),
          right: true,
        }),
      ),
      { head: 'call', cell: (row) => figures(medianMs(row)), right: true },
    ]),
    'The same commands as of the other tables of these rows.',
  );
}

function order(stage: string): number {
  const place = stageOrder.indexOf(stage);
  return place < 0 ? stageOrder.length : place;
}

function floors(rows: readonly MachineRow[]): string {
  const told = rows.filter(({ floor }) => floor !== undefined);
  if (told.length === 0) return '';
  const of = (cell: (floor: NonNullable<BenchRow['floor']>) => string) => (row: BenchRow) =>
    row.floor ? cell(row.floor) : '';
  return join(
    '### Distance to the floor',
    'The floor of a step is what its matrix products alone take at the rate that the plain product library reaches on the same ' +
      'shapes in the same run.',
    table(told, [
      { head: 'model', cell: (row) => row.model },
      ...columns('px', 'guidance', 'batch', 'precision'),
      {
        head: 'a step, ms',
        cell: (row) =>
          figures(row.sampleOf === 'step' ? medianMs(row) : (row.floor?.ms ?? 0) / (row.floor?.share ?? 1)),
        right: true,
      },
      { head: 'floor, ms', cell: of(({ ms }) => figures(ms)), right: true },
      { head: 'products, GFLOP', cell: of(({ gflop }) => figures(gflop)), right: true },
      { head: 'plain rate, GFLOP/s', cell: of(({ gflops }) => figures(gflops)), right: true },
      { head: 'share', cell: of(({ share }) => percent(share)), right: true },
      { head: 'rate from', cell: of(({ source }) => source) },
    ]),
    commandsOf(told),
  );
}

/** This package alone: calls, whole processes. */
function own(rows: readonly MachineRow[]): string {
  const single = rows.filter(
    ({ scenario, details }) =>
      (scenario === 'single' || scenario === 'offline' || scenario === 'cold') && details?.turns === undefined,
  );
  if (single.length === 0) return '';
  return join(
    '### This package alone',
    table(single, [
      ...columns('scenario', 'model', 'px', 'steps', 'precision', 'batch'),
      { head: 'one sample is a', cell: ({ sampleOf }) => sampleOf },
      { head: 'runs', cell: ({ ms }) => String(ms.runs), right: true },
      {
        head: single.some(({ scenario }) => scenario === 'offline') ? 'median, offline: mean' : 'median',
        cell: (row) => duration(typicalMs(row)),
        right: true,
      },
      { head: 'p95', cell: ({ ms }) => duration(ms.p95), right: true },
      { head: 'first', cell: ({ firstMs }) => (firstMs === null ? '' : duration(firstMs)), right: true },
      imagesPerSecond,
      { head: 'resident', cell: ({ rssBytes }) => (rssBytes === null ? '' : mebibytes(rssBytes)), right: true },
    ]),
    '*single*: one call after the other. *offline*: as many as the machine takes. *cold*: a process, from its start to its first image.',
    commandsOf(single),
  );
}

function server(rows: readonly MachineRow[]): string {
  const told = rows.filter((row) => row.server !== undefined);
  if (told.length === 0) return '';
  const of = (cell: (server: NonNullable<BenchRow['server']>) => string) => (row: BenchRow) =>
    row.server ? cell(row.server) : '';
  return join(
    '### As a server',
    'Poisson arrivals; latency from the planned arrival to the image.',
    table(told, [
      ...columns('model', 'px', 'steps', 'precision'),
      { head: 'most images in a batch', cell: ({ maxBatch }) => String(maxBatch ?? 1), right: true },
      { head: 'wait for others, ms', cell: ({ maxDelayMs }) => String(maxDelayMs ?? 0), right: true },
      { head: 'arrivals/s', cell: of(({ rate }) => figures(rate)), right: true },
      { head: 'answers/s', cell: of(({ achievedRate }) => figures(achievedRate)), right: true },
      { head: 'p50, ms', cell: (row) => figures(medianMs(row)), right: true },
      { head: 'p95, ms', cell: ({ ms }) => figures(ms.p95), right: true },
      { head: 'p99, ms', cell: ({ ms }) => (ms.p99 === undefined ? '' : figures(ms.p99)), right: true },
      { head: 'dropped', cell: of(({ droppedShare }) => percent(droppedShare)), right: true },
      { head: 'images in a batch', cell: of(({ meanBatch }) => figures(meanBatch)), right: true },
      {
        head: 'the highest rate with',
        cell: of(({ found }) => (found ? `${found.percentile} up to ${found.limitMs} ms` : '')),
      },
    ]),
    commandsOf(told),
  );
}

function soak(rows: readonly MachineRow[]): string {
  const told = rows.filter((row) => row.soak !== undefined);
  if (told.length === 0) return '';
  const of = (cell: (soak: NonNullable<BenchRow['soak']>) => string) => (row: BenchRow) =>
    row.soak ? cell(row.soak) : '';
  return join(
    '### Hour after hour',
    table(told, [
      { head: 'model', cell: (row) => row.model },
      { head: 'generations', cell: of(({ generations }) => String(generations)), right: true },
      { head: 'median ms', cell: (row) => figures(medianMs(row)), right: true },
      { head: 'last window over the first', cell: of(({ latencyDrift }) => latencyDrift.toFixed(2)), right: true },
      {
        head: 'resident, first → last window',
        cell: of(({ rssFirstBytes, rssLastBytes }) => `${mebibytes(rssFirstBytes)} → ${mebibytes(rssLastBytes)}`),
        right: true,
      },
      { head: 'held by the engine', cell: of(({ engineCurrentBytes }) => mebibytes(engineCurrentBytes)), right: true },
      {
        head: 'longest pause of the event loop',
        cell: of(({ eventLoopDelayMs }) => `${figures(eventLoopDelayMs.max)} ms`),
        right: true,
      },
    ]),
    commandsOf(told),
  );
}
