/** What `paella_bench` prints, as rows of a benchmark. */
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { subject } from '../../lib/cli/bench/environment.js';
import type { BenchRow } from '../../lib/cli/bench/schema.js';
import { median, round, summarize } from '../../lib/cli/bench/statistics.js';
import { nativeProgram } from '../setup/native.mjs';

/** One line of `paella_bench step`. */
export interface NativeStep {
  bench: 'step';
  model: string;
  device: string;
  precision: string;
  threads: number;
  /** height x width */
  tokens: string;
  pixels_per_token: number;
  batch: number;
  condition: number;
  load_seconds: number;
  product_gflop: number;
  unet_ms: number;
  guide_ms: number;
  sample_ms: number;
  renoise_ms: number;
  decode_seconds: number;
  weight_bytes: number;
  peak_bytes: number;
  /** Seconds of a step, one for each round. */
  step_samples: number[];
  /** In the same round: seconds of the products by oneDNN alone over those of the step. */
  share_samples: number[];
}

/** One line of `paella_bench operations`. */
export interface NativeOperation {
  bench: 'operations';
  what: string;
  device: string;
  precision: string;
  /** Median. */
  seconds: number;
  gflops: number;
  cpu_seconds: number;
}

/** The program that was named, or the one that `npm test` builds. Throws where there is none. */
export function benchProgram(named?: string): string {
  const program = named ?? nativeProgram('paella_bench');
  if (!program) throw new Error('native: expected build/test/native/paella_bench, which `npm test` builds; found none');
  return path.resolve(program);
}

const root = path.resolve(import.meta.dirname, '..', '..');

/** The lines of JSON that the program prints. It runs in the repository's folder, so that commands say `models/tiny`. */
export function runNative<T>(program: string, args: readonly string[]): T[] {
  const { status, signal, stdout, stderr, error } = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (status !== 0)
    throw error ?? new Error(`${program} ${args.join(' ')}: ended with ${signal ?? status}\n${stderr.trim()}`);
  const lines = stdout.split('\n').filter((line) => line.startsWith('{'));
  return lines.map((line) => JSON.parse(line) as T);
}

/** Seconds that the products of a step take by oneDNN alone, one for each round. */
export function productSamples({ step_samples, share_samples }: NativeStep): number[] {
  return step_samples.map((seconds, i) => seconds * (share_samples[i] ?? Number.NaN));
}

const common = () =>
  ({
    ...subject(),
    scenario: 'native',
    time: new Date().toISOString(),
    evidence: 'measured',
    backend: 'cpu',
    steps: 1,
    scheduler: null,
    compile: null,
    counted: { textEncoding: false, decode: false },
    imagesPerSecond: null,
    firstMs: null,
  }) as const;

export function stepRow(step: NativeStep, args: readonly string[]): BenchRow {
  const [height = 1, width = 1] = step.tokens.split('x').map((tokens) => Number(tokens) * step.pixels_per_token);
  const samples = step.step_samples.map((seconds) => round(seconds * 1000));
  const products = median(productSamples(step));
  return {
    ...common(),
    command: `paella_bench ${args.join(' ')}`,
    model: step.model,
    weights: step.model.startsWith('random:') ? 'random' : 'trained',
    device: step.device,
    precision: step.precision,
    threads: step.threads,
    ...{ width, height, batch: step.batch },
    guidance: 8,
    sampleOf: 'step',
    warmup: 1,
    loadMs: round(step.load_seconds * 1000),
    ms: summarize(samples),
    samples,
    stages: { unet: step.unet_ms, guide: step.guide_ms, sample: step.sample_ms, renoise: step.renoise_ms },
    peakBytes: null,
    rssBytes: Math.round(step.peak_bytes),
    floor: {
      ms: round(products * 1000),
      gflop: step.product_gflop,
      gflops: round(step.product_gflop / products),
      share: round(median(step.share_samples)),
      source: 'paella_bench step (oneDNN, in turns with the steps)',
    },
    details: {
      conditionTokens: step.condition,
      decodeMs: round(step.decode_seconds * 1000),
      weightBytes: step.weight_bytes,
      shares: step.share_samples.map((share) => round(share)),
    },
  };
}

/** Shapes are those of the large model; `operation` has them. */
export function operationRow(operation: NativeOperation, args: readonly string[]): BenchRow {
  const samples = [round(operation.seconds * 1000, 6)];
  return {
    ...common(),
    command: `paella_bench ${args.join(' ')}`,
    explanation: 'the one sample is the median of at least five repetitions',
    model: 'random:paella-v3-256',
    weights: 'random',
    ...{ width: 256, height: 256, batch: 1, guidance: 8 },
    device: operation.device,
    precision: operation.precision,
    threads: availableParallelism(),
    sampleOf: 'operation',
    operation: operation.what,
    warmup: 2,
    loadMs: null,
    ms: summarize(samples),
    samples,
    stages: {},
    peakBytes: null,
    rssBytes: null,
    details: { gflops: operation.gflops, cpuSeconds: operation.cpu_seconds },
  };
}
