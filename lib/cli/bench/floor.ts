/** What the matrix products of a step need by themselves: measured by `paella_bench`, which builds with the tests. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { resolveModel } from '../../engine/model-folder.js';
import { packageRoot } from '../../package-root.cjs';
import type { Floor } from './schema.js';
import type { Session } from './session.js';
import { median, round } from './statistics.js';

const program = path.join(packageRoot, 'build/test/native/paella_bench');

export interface PlainRate {
  gflop: number;
  seconds: number;
}

/** Why there will be no floor, or undefined. */
export function noFloorBecause({ engine }: Session): string | undefined {
  if (engine.backend !== 'cpu') return `floors are measured on the CPU only; the backend is ${engine.backend}`;
  if (!['fp32', 'bf16'].includes(engine.precision)) return `no plain products in ${engine.precision}`;
  if (!existsSync(program)) return 'build/test/native/paella_bench is not there; `npm test` in a clone builds it';
  return undefined;
}

/** Of a step of the session's own shape. The engine must be idle. */
export async function plainRate(session: Session, guided: boolean, signal: AbortSignal): Promise<PlainRate> {
  const { engine, configuration, parameters } = session;
  const { model = 'tiny', threads } = configuration.load;
  const { pixelsPerToken } = engine.model;
  const tokens = [parameters.height, parameters.width].map((side) => Number(side) / pixelsPerToken).join('x');
  const args = [
    ...['rate', '--model', await resolveModel(model), '--tokens', tokens, '--batch', String(session.batch)],
    ...['--precision', engine.precision, '--guided', String(guided), '--rounds', '3', '--seconds', '0.3'],
    ...(threads === undefined ? [] : ['--threads', String(threads)]),
  ];
  const { stdout } = await promisify(execFile)(program, args, { signal });
  return JSON.parse(stdout) as PlainRate;
}

/** @param rates from before the steps and, unless that was interrupted, from after them */
export function floorOf(rates: readonly PlainRate[], stepMs: number): Floor {
  const seconds = median(rates.map((rate) => rate.seconds));
  const gflop = rates[0]?.gflop ?? 0;
  return {
    ms: round(seconds * 1000),
    gflop: round(gflop),
    gflops: round(gflop / seconds),
    share: round((seconds * 1000) / stepMs),
    source: `paella_bench rate (oneDNN, before${rates.length > 1 ? ' and after' : ''} the steps)`,
  };
}
