/** One row of `paella bench`: calls of generate(), one after another, with equal options. */
import { Paella } from '../../engine/paella.js';
import type { StageTimings } from '../../engine/types.js';
import type { GenerateOptions } from '../../options/generate-options.js';
import type { LoadOptions } from '../../options/load-options.js';
import { type Environment, environment } from './environment.js';
import { round, type Summary, summarize } from './statistics.js';

export interface BenchRow extends Environment {
  model: string;
  backend: string;
  device: string;
  precision: string;
  threads: number | 'auto';
  width: number;
  height: number;
  steps: number;
  count: number;
  guidanceScale: number | [number, number];
  loadMs: number;
  /** The very first call, cold caches included; not part of `ms`. */
  firstMs: number;
  warmup: number;
  /** Milliseconds of a call of generate(), from JavaScript. */
  ms: Summary;
  imagesPerSecond: number;
  /** Median milliseconds per stage. */
  stages: Record<string, number>;
  /** The engine's own account. */
  peakBytes: number;
  /** Resident size of the process at the end. */
  rssBytes: number;
}

export interface BenchSettings {
  repeat: number;
  /** Calls before the measured ones, the first included. */
  warmup: number;
  onRun?: (done: number, total: number) => void;
  signal?: AbortSignal;
}

export async function measure(load: LoadOptions, options: GenerateOptions, settings: BenchSettings): Promise<BenchRow> {
  const { repeat, warmup, onRun, signal } = settings;
  const loading = performance.now();
  const engine = await Paella.load({ ...load, signal });
  const loadMs = performance.now() - loading;
  try {
    const calls: number[] = [];
    const timings: StageTimings[] = [];
    const seed = options.seed ?? 1;
    let parameters: GenerateOptions = {};
    const before = Math.max(1, warmup);
    for (let i = 0; i < before + repeat; i++) {
      const start = performance.now();
      const images = await engine.generate({ ...options, seed: seed + i, signal });
      calls.push(performance.now() - start);
      if (images[0]) {
        timings.push(images[0].timings);
        parameters = images[0].parameters;
      }
      onRun?.(i + 1, before + repeat);
    }
    const ms = summarize(calls.slice(before));
    const count = options.count ?? 1;
    return {
      ...environment(),
      model: engine.model.name,
      backend: engine.backend,
      device: engine.device,
      precision: engine.precision,
      threads: load.threads ?? 'auto',
      width: parameters.width ?? 0,
      height: parameters.height ?? 0,
      steps: parameters.steps ?? 0,
      count,
      guidanceScale: parameters.guidanceScale ?? 0,
      loadMs: round(loadMs),
      firstMs: round(calls[0] ?? Number.NaN),
      warmup: before,
      ms,
      imagesPerSecond: round((count * 1000) / ms.mean),
      stages: medians(timings.slice(before)),
      peakBytes: engine.stats().memory.peak,
      rssBytes: process.memoryUsage.rss(),
    };
  } finally {
    await engine.dispose({ abort: true });
  }
}

function medians(timings: readonly StageTimings[]): Record<string, number> {
  const stages = Object.keys(timings[0] ?? {}) as (keyof StageTimings)[];
  return Object.fromEntries(stages.map((stage) => [stage, summarize(timings.map((timing) => timing[stage])).p50]));
}
