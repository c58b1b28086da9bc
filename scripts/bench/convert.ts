/**
 * Measures convert() at the sizes of the published checkpoints: its speed beside `cp` on the same disk, and its memory.
 *
 *     npm run bench:convert -- [--folder <where 25 GB are free>] [--runs 3] [--output <file.json>]
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { componentOf } from '../../lib/convert/components/table.js';
import { type LargeTensor, writeLargeCheckpoint } from './large-checkpoint.js';

const { values } = parseArgs({
  options: {
    folder: { type: 'string', default: tmpdir() },
    runs: { type: 'string', default: '3' },
    output: { type: 'string' },
  },
});
const runs = Number(values.runs);
const root = path.resolve(import.meta.dirname, '..', '..');
const folder = mkdtempSync(path.join(values.folder, 'paella-convert-'));

interface Row {
  what: string;
  /** Bytes of the checkpoint. */
  bytes: number;
  seconds: number[];
  /** Of the process, MiB; of all runs the highest. */
  peakMiB?: number;
  /** Bytes of the checkpoint per second, of the median run, beside those of `cp`. */
  shareOfCopy?: number;
}

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? 0;

/** Nothing of what ran before is still on its way to the disk. */
const settle = () => execFileSync('sync');

function timed(work: () => void): number {
  settle();
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start) / 1e9;
}

/** In a process of its own, which tells its highest memory. */
function converted(source: string, precision: string): { seconds: number; peakMiB: number } {
  const output = path.join(folder, 'model');
  const code = `import { convert } from ${JSON.stringify(path.join(root, 'dist/esm/index.js'))};
    const start = performance.now();
    await convert(process.argv[1], { output: process.argv[2], precision: process.argv[3], incomplete: true });
    console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, peakMiB: process.resourceUsage().maxRSS / 1024 }));`;
  settle();
  const told = execFileSync(process.execPath, ['--input-type=module', '--eval', code, source, output, precision], {
    encoding: 'utf8',
  });
  rmSync(output, { recursive: true });
  return JSON.parse(told) as { seconds: number; peakMiB: number };
}

function copied(source: string): number {
  const target = path.join(folder, 'copy');
  const seconds = timed(() => execFileSync('cp', [source, target]));
  rmSync(target);
  return seconds;
}

/** In turns, so that a disk that is busy for a while slows all of them. */
function compare(source: string, precisions: readonly string[], withCopy: boolean): void {
  const bytes = statSync(source).size;
  const copy: Row = { what: 'cp', bytes, seconds: [] };
  const conversions = precisions.map(
    (precision): Row => ({ what: `convert, ${precision}`, bytes, seconds: [], peakMiB: 0 }),
  );
  for (let run = 0; run < runs; run++) {
    if (withCopy) copy.seconds.push(copied(source));
    for (const [i, row] of conversions.entries()) {
      const { seconds, peakMiB } = converted(source, precisions[i] ?? '');
      row.seconds.push(seconds);
      row.peakMiB = Math.max(row.peakMiB ?? 0, peakMiB);
    }
  }
  if (withCopy) add(copy);
  for (const row of conversions) {
    add(withCopy ? { ...row, shareOfCopy: median(copy.seconds) / median(row.seconds) } : row);
  }
}

function hashed(source: string): Row {
  const code = `import { createHash } from 'node:crypto'; import { createReadStream } from 'node:fs'; import { pipeline } from 'node:stream/promises';
    await pipeline(createReadStream(process.argv[1], { highWaterMark: 4 << 20 }), createHash('sha256'));`;
  const one = () => timed(() => execFileSync(process.execPath, ['--input-type=module', '--eval', code, source]));
  return { what: 'sha256 alone', bytes: statSync(source).size, seconds: [one()] };
}

function tensorsOf(component: 'unet' | 'text_encoder'): LargeTensor[] {
  const { expected, official } = componentOf(component);
  return expected(official).map(({ name, shape }) => ({ name, shape }));
}

/** ByT5-XL's file holds the decoder too: its share of the published bytes, which are passed over. */
function decoder(encoderBytes: number): LargeTensor[] {
  const rest = 14_951_437_144 - encoderBytes;
  const shape = [6720, 2560];
  return Array.from({ length: Math.floor(rest / (4 * 6720 * 2560)) }, (_, i) => ({
    name: `decoder.block.${i}.weight`,
    shape,
  }));
}

const rows: Row[] = [];
const add = (row: Row): Row => {
  rows.push(row);
  const share = row.shareOfCopy === undefined ? '' : `, ${Math.round(row.shareOfCopy * 100)} % of cp`;
  const memory = row.peakMiB === undefined ? '' : `, at most ${Math.round(row.peakMiB)} MiB`;
  const rate = row.bytes / median(row.seconds) / 1e9;
  console.log(`${row.what}: ${median(row.seconds).toFixed(2)} s (${rate.toFixed(2)} GB/s${share})${memory}`);
  return row;
};

try {
  const unet = path.join(folder, 'paella_v3.pt');
  await writeLargeCheckpoint(unet, tensorsOf('unet'), true);
  console.log(`U-Net, ${(statSync(unet).size / 1e9).toFixed(2)} GB, dense, in the file cache`);
  compare(unet, ['keep', 'bf16', 'fp16'], true);
  add(hashed(unet));
  rmSync(unet);
  const encoder = tensorsOf('text_encoder');
  const bytes = encoder.reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
  const byt5 = path.join(folder, 'pytorch_model.bin');
  await writeLargeCheckpoint(byt5, [...encoder, ...decoder(bytes)], false);
  console.log(
    `ByT5-XL, ${(statSync(byt5).size / 1e9).toFixed(2)} GB, sparse (${(statSync(byt5).blocks * 512) / 1e6} MB on disk)`,
  );
  compare(byt5, ['bf16'], false);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (values.output !== undefined) {
  const machine = {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
  };
  writeFileSync(
    values.output,
    `${JSON.stringify({ benchmark: 'convert', date: new Date().toISOString(), machine, runs, rows }, null, 2)}\n`,
  );
}
