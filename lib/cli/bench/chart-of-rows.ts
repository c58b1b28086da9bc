/** Which chart shows the rows of a document. */
import { writeAtomically } from '../../images/files.js';
import { invalidOption } from '../../options/validate.js';
import { type Curve, chartOf, type Panel } from './chart.js';
import { labelsOf } from './compare.js';
import type { BenchDocument, BenchRow } from './schema.js';
import { statisticOf, typicalMs } from './typical.js';

/** Throws `ERR_INVALID_OPTION`. */
export function checkChart(file: unknown): string | undefined {
  if (file === undefined) return undefined;
  if (typeof file !== 'string' || !/\.(svg|png)$/i.test(file))
    throw invalidOption('chart', 'one file name that ends in .svg or .png', file);
  return file;
}

/** Throws `ERR_IO`. */
export async function writeChart(file: string, document: BenchDocument): Promise<void> {
  const svg = chartOfDocument(document);
  if (/\.svg$/i.test(file)) return writeAtomically(file, svg);
  const { default: sharp } = await import('sharp');
  await writeAtomically(file, await sharp(Buffer.from(svg), { density: 144 }).png().toBuffer());
}

export function chartOfDocument({ environment, rows }: BenchDocument): string {
  const scenarios = [...new Set(rows.map(({ scenario }) => scenario))];
  const panels = scenarios.flatMap((scenario) => panelsOf(rows.filter((row) => row.scenario === scenario)));
  const subjects = [...new Set(rows.map(({ subject, version }) => `${subject} ${version}`))];
  return chartOf(`${subjects.join(', ')} on ${environment.cpu}, ${environment.cores} cores`, panels);
}

function panelsOf(rows: readonly BenchRow[]): Panel[] {
  const scenario = rows[0]?.scenario;
  if (scenario === 'scaling') return scalingPanels(rows);
  if (scenario === 'server') return serverPanels(rows);
  if (scenario === 'soak') return soakPanels(rows);
  const label = labelsOf(rows);
  const name = (row: BenchRow) => (rows.length === 1 ? row.model : label(row));
  const totals: Panel = {
    title: `${scenario}: ${rows[0] ? statisticOf(rows[0]) : 'median'} ms of a ${rows[0]?.sampleOf ?? 'call'}`,
    unit: 'ms',
    bars: rows.map((row) => ({ label: name(row), parts: partsOf(row) })),
  };
  const steps = rows.filter((row) => row.perStep !== undefined);
  if (steps.length === 0) return [totals];
  const curves = steps.flatMap((row): Curve[] => {
    const points = (row.perStep ?? []).map((ms, i) => ({ x: i + 1, y: ms }));
    const { floor } = row;
    const flat = floor && { name: `floor, ${name(row)}`, points: points.map(({ x }) => ({ x, y: floor.ms })) };
    return [{ name: name(row), points }, ...(flat ? [flat] : [])];
  });
  return [totals, { title: 'Median ms by step', unit: 'ms', xTitle: 'step', curves }];
}

/** The stages that can be seen, and the rest of the median. */
function partsOf(row: BenchRow): { name: string; value: number }[] {
  const whole = typicalMs(row);
  // Its calls wait for each other and share batches: the stages of one are no parts of the time between two ends.
  const stages = row.scenario === 'offline' ? {} : row.stages;
  const parts = Object.entries(stages)
    .filter(([stage, value]) => stage !== 'total' && value > whole / 200)
    .map(([name, value]) => ({ name, value }));
  const rest = whole - parts.reduce((sum, { value }) => sum + value, 0);
  return rest > 0 ? [...parts, { name: parts.length > 0 ? 'other' : 'ms', value: rest }] : parts;
}

const axisValue = { pixels: ({ width }: BenchRow) => width, steps: ({ steps }: BenchRow) => steps } as const;

function scalingPanels(rows: readonly BenchRow[]): Panel[] {
  const named = [...new Set(rows.map(({ axis }) => axis))];
  return named.flatMap((axis): Panel[] => {
    if (axis === undefined) return [];
    const own = rows.filter((row) => row.axis === axis);
    const x = (row: BenchRow) =>
      axis === 'batch' ? row.batch : axis === 'threads' ? (row.threads ?? 1) : axisValue[axis](row);
    const curve = (name: string, y: (row: BenchRow) => number): Curve => ({
      name,
      points: own.map((row) => ({ x: x(row), y: y(row) })).toSorted((a, b) => a.x - b.x),
    });
    const perImage = curve('ms per image', ({ ms, batch }) => ms.p50 / batch);
    const xTitle = axis === 'pixels' ? 'pixels of a side' : axis;
    return [{ title: `Median ms of an image against ${axis}`, unit: 'ms', xTitle, curves: [perImage] }];
  });
}

/** 'batches of 8, 5 ms' */
const batching = ({ maxBatch = 1, maxDelayMs = 0 }: BenchRow) =>
  `batches of ${maxBatch}${maxDelayMs > 0 ? `, ${maxDelayMs} ms` : ''}`;

function serverPanels(rows: readonly BenchRow[]): Panel[] {
  const found = rows.filter(({ server }) => server?.found);
  const kinds = new Map<string, BenchRow[]>();
  for (const row of rows) {
    const name = batching(row);
    kinds.set(name, [...(kinds.get(name) ?? []), row]);
  }
  const curves = [...kinds].flatMap(([name, own]) =>
    (['p50', 'p95', 'p99'] as const).flatMap((percentile): Curve[] => {
      const points = own.flatMap(({ ms, server }) => {
        const y = ms[percentile];
        return y === undefined || !server ? [] : [{ x: server.rate, y }];
      });
      return points.length === 0
        ? []
        : [{ name: `${percentile}, ${name}`, points: points.toSorted((a, b) => a.x - b.x) }];
    }),
  );
  const searches = found.map((row): Curve => {
    const tried = row.server?.found?.tried ?? [];
    const points = tried.map(({ rate, ms }) => ({ x: rate, y: ms })).toSorted((a, b) => a.x - b.x);
    return {
      name: `${row.server?.found?.percentile}, ${batching(row)}`,
      points,
    };
  });
  const shown = found.length > 0 ? searches : curves;
  return [{ title: 'Latency against arrivals', unit: 'ms', xTitle: 'requests per second', curves: shown }];
}

function soakPanels(rows: readonly BenchRow[]): Panel[] {
  const label = labelsOf(rows);
  const curves = (y: (window: { p50: number; rssBytes: number }) => number) =>
    rows.map((row): Curve => {
      let generations = 0;
      const points = (row.soak?.windows ?? []).map((window) => {
        generations += window.generations;
        return { x: generations, y: y(window) };
      });
      return { name: label(row), points };
    });
  return [
    { title: 'Median ms of a generation', unit: 'ms', xTitle: 'generations', curves: curves(({ p50 }) => p50) },
    {
      title: 'Resident memory',
      unit: 'MiB',
      xTitle: 'generations',
      curves: curves(({ rssBytes }) => rssBytes / 2 ** 20),
    },
  ];
}
