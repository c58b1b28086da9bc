/** From what peers answered to rows of a document. */
import type { BenchRow } from '../../../lib/cli/bench/schema.js';
import { median, round, summarize } from '../../../lib/cli/bench/statistics.js';
import type { Farewell, Measurement, PeerCase } from './protocol.js';

/** A case of a peer and what was measured of it. */
export interface Series {
  case: PeerCase;
  loadMs: number;
  warmup: number;
  first: Measurement | undefined;
  runs: Measurement[];
  /** For each of `runs`: which share of the machine's cores went to processes that are no subjects, 0..1. */
  others: number[];
  /** When the first of `runs` began, ISO 8601. */
  time: string;
  farewell: Farewell | undefined;
}

/** @param turns names the run: rows of equal `turns` were measured in turns, sample i of one after sample i of another */
export function rowsOf(series: Series, command: string, turns: string): BenchRow[] {
  return series.case.steps.map((steps) => rowOf(series, steps, command, turns));
}

function rowOf(series: Series, steps: number, command: string, turns: string): BenchRow {
  const { steps: _, measureSteps, details, commit, ...fields } = series.case;
  const totals = series.runs.map((run) => whole(run, series.case, steps));
  const samples = totals.map(({ ms }) => round(ms));
  const ms = summarize(samples);
  const composed = measureSteps !== null && measureSteps !== steps;
  return {
    scenario: 'single',
    ...fields,
    commit: commit ?? null,
    time: series.time,
    command,
    evidence: composed ? 'composed' : 'measured',
    ...(composed ? { explanation: explain(steps, measureSteps) } : {}),
    steps,
    sampleOf: 'call',
    warmup: series.warmup,
    firstMs: series.first ? round(whole(series.first, series.case, steps).ms) : null,
    loadMs: round(series.loadMs),
    ms,
    samples,
    imagesPerSecond: round((fields.batch * 1000) / ms.mean, 5),
    stages: stagesOf(series.runs, totals),
    peakBytes: series.farewell?.peakBytes ?? null,
    rssBytes: series.farewell?.rssBytes ?? null,
    perStep: perStepOf(series.runs),
    details: { ...details, turns, ...(series.others.length > 0 ? { others: round(median(series.others)) } : {}) },
  };
}

interface Total {
  ms: number;
  denoiseMs: number;
}

/** The whole call as it was, or composed of the steps that were run. */
function whole({ ms, stepMs }: Measurement, { subject, measureSteps, batch }: PeerCase, steps: number): Total {
  const denoiseMs = sum(stepMs);
  if (measureSteps === null || measureSteps === steps) return { ms, denoiseMs };
  // Who has no batches makes its images one after another, each with its own steps.
  const turns = stepMs.length === measureSteps ? 1 : batch;
  if (stepMs.length !== measureSteps * turns)
    throw new Error(`${subject}: expected the times of ${measureSteps * turns} steps, got ${stepMs.length}`);
  const composedMs = turns * steps * median(stepMs);
  return { ms: ms - denoiseMs + composedMs, denoiseMs: composedMs };
}

function explain(steps: number, measured: number): string {
  const times = measured === 1 ? 'one measured step' : `the median of ${measured} measured steps`;
  return `${steps} times ${times}, and what the same run took beyond its steps: text encoding, decode and the rest`;
}

function stagesOf(runs: readonly Measurement[], totals: readonly Total[]): Record<string, number> {
  const names = Object.keys(runs[0]?.stages ?? {});
  const parts = names.map((name) => [name, round(median(runs.map((run) => run.stages[name] ?? 0)))] as const);
  return { ...Object.fromEntries(parts), denoise: round(median(totals.map(({ denoiseMs }) => denoiseMs))) };
}

function perStepOf(runs: readonly Measurement[]): number[] {
  const count = Math.min(...runs.map((run) => run.stepMs.length));
  return Array.from({ length: count }, (_, i) => round(median(runs.map((run) => run.stepMs[i] ?? 0))));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
