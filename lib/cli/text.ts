/** Figures for people. */
import type { StageTimings } from '../engine/types.js';

export function roundTimings(timings: StageTimings): Record<string, number> {
  return Object.fromEntries(
    Object.entries(timings).map(([stage, ms]) => [stage, Math.round(Number(ms) * 1000) / 1000]),
  );
}

/** 'load 80 ms · encode_text 5 ms · unet 120 ms · … · total 152 ms' */
export function describeTimings(timings: StageTimings | undefined, loadMs: number): string {
  const parts = [`load ${milliseconds(loadMs)}`];
  for (const [stage, ms] of Object.entries(timings ?? {}))
    if (Number(ms) >= 0.05) parts.push(`${stage} ${milliseconds(Number(ms))}`);
  return parts.join(' · ');
}

function milliseconds(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : ms < 10_000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let scaled = count;
  let unit = 0;
  while (scaled >= 1024 && unit < units.length - 1) {
    scaled /= 1024;
    unit++;
  }
  return `${unit === 0 ? scaled : scaled.toFixed(1)} ${units[unit]}`;
}

export function millions(count: number): string {
  return count >= 1e9 ? `${(count / 1e9).toFixed(3)} billion` : `${(count / 1e6).toFixed(2)} million`;
}

/** Columns as wide as their widest cell. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  return rows
    .map((row) => row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join('  '))
    .join('\n');
}
