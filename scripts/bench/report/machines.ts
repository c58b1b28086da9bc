/** The rows of all documents, by the machine that they were measured on. */
import type { BenchDocument, BenchRow, Environment } from '../../../lib/cli/bench/schema.js';
import { median } from '../../../lib/cli/bench/statistics.js';

export interface NamedDocument {
  /** Without folder. */
  file: string;
  document: BenchDocument;
}

export interface MachineRow extends BenchRow {
  file: string;
}

/** One processor or GPU that did the work. */
export interface Machine {
  name: string;
  /** For names of files. */
  slug: string;
  gpu: boolean;
  environments: Environment[];
  rows: MachineRow[];
}

export function machinesOf(documents: readonly NamedDocument[]): Machine[] {
  const machines = new Map<string, Machine>();
  for (const { file, document } of documents)
    for (const row of document.rows) {
      const gpu = gpuOf(row, document.environment);
      const { cpu, cores } = document.environment;
      const name = gpu ?? `${cpu}, ${cores} cores`;
      const machine = machines.get(name) ?? {
        name,
        slug: slugOf(name),
        gpu: gpu !== undefined,
        environments: [],
        rows: [],
      };
      machines.set(name, machine);
      if (!machine.environments.includes(document.environment)) machine.environments.push(document.environment);
      machine.rows.push({ ...row, file });
    }
  return [...machines.values()].toSorted((a, b) => a.name.localeCompare(b.name, 'en'));
}

function gpuOf({ device }: BenchRow, { gpus = [] }: Environment): string | undefined {
  return gpus.find(({ name }) => device.includes(name))?.name;
}

function slugOf(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
}

/** Of the samples, as ratios are. */
export function medianMs({ samples }: BenchRow): number {
  return median(samples);
}

/** Median milliseconds of one image. */
export function imageMs(row: BenchRow): number {
  return medianMs(row) / row.batch;
}

/** Whole images that were made one call after the other, with text encoding and decode: what can be compared. */
export function isImage({ scenario, sampleOf, counted, evidence }: BenchRow): boolean {
  return (
    (scenario === 'single' || scenario === 'scaling') &&
    sampleOf === 'call' &&
    counted.textEncoding &&
    counted.decode &&
    evidence !== 'predicted'
  );
}

export function size({ width, height }: BenchRow): string {
  return width === height ? `${width}` : `${width}×${height}`;
}

/** Rows that ran in turns with each other, by run. */
export function turnsOf(rows: readonly MachineRow[]): Map<string, MachineRow[]> {
  const groups = new Map<string, MachineRow[]>();
  for (const row of rows) {
    const turns = row.details?.turns;
    if (typeof turns === 'string') groups.set(turns, [...(groups.get(turns) ?? []), row]);
  }
  return groups;
}

/**
 * How many times as long as `own` a row takes for an image: the median over the rounds, each of which has one sample of
 * both, so that a machine that slows down shifts neither.
 */
export function ratio(row: BenchRow, own: BenchRow): number {
  return median(row.samples.map((sample, i) => sample / row.batch / ((own.samples[i] ?? Number.NaN) / own.batch)));
}

/** What a row ran on: 'eager', 'torch.compile default', or the backend. */
export function way({ compile, backend }: BenchRow): string {
  return compile ?? backend;
}

/** Paella in PyTorch, as scripts/bench/peers/pytorch_paella_peer.py runs it. */
export function isReference({ subject }: BenchRow): boolean {
  return subject === 'pytorch-paella';
}

export const referenceNetwork =
  "Paella in PyTorch is this project's own reference network (`scripts/reference/`, with PyTorch's fused attention), not the " +
  "code of Paella's authors, which nobody has measured here.";

/** 'paella-native', 'diffusers 0.42.1' …: the version of this package says nothing beside its commit. */
export function subjectOf(row: BenchRow): string {
  const { subject, version } = row;
  if (isReference(row)) return `PyTorch ${version}, this project's reference network`;
  return subject === 'paella-native' ? subject : `${subject} ${version.replace(/^stable-diffusion-cpp-python /, '')}`;
}

/** How many steps a model is used with, by the beginning of its name: what its authors publish, or the newer schedulers need. */
const usualSteps: readonly [model: string, steps: number][] = [
  ['random:paella', 8],
  ['paella', 8],
  ['stable-diffusion', 20],
  ['lcm', 4],
  ['sd-turbo', 1],
  ['sdxl-turbo', 1],
  ['amused', 12],
];

/** One row where a case was composed for several numbers of steps: that of the usual number, else a measured one. */
export function usualRows<T extends BenchRow>(rows: readonly T[]): T[] {
  const cases = new Map<string, T[]>();
  for (const row of rows) {
    const { subject, model, width, height, batch, precision, compile, scheduler, threads } = row;
    const key = JSON.stringify([subject, model, width, height, batch, precision, compile, scheduler, threads]);
    cases.set(key, [...(cases.get(key) ?? []), row]);
  }
  return [...cases.values()].flatMap((own) => {
    const usual = usualSteps.find(([model]) => own[0]?.model.startsWith(model))?.[1];
    const best =
      own.find(({ steps }) => steps === usual) ?? own.find(({ evidence }) => evidence === 'measured') ?? own[0];
    return best ? [best] : [];
  });
}
