/**
 * Measures convert() at the sizes of the published checkpoints: its speed beside `cp` on the same disk, and its memory.
 *
 *     npm run bench:convert -- [--folder <where 25 GB are free>] [--runs 3] [--output <file.json>]
 *
 * The file is written after every row, and says `"complete": false` until the last one.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { cpuName } from '../../lib/cli/bench/environment.js';
import { checkWritable } from '../../lib/cli/output.js';
import { componentOf } from '../../lib/convert/components/table.js';
import { writeAtomically } from '../../lib/images/files.js';
import { type LargeTensor, writeLargeCheckpoint } from './large-checkpoint.js';
import { integer } from './options.js';

const { values } = parseArgs({
  options: {
    folder: { type: 'string', default: tmpdir() },
    runs: { type: 'string', default: '3' },
    output: { type: 'string' },
  },
});
const runs = integer('runs', values.runs);
const { output } = values;
if (output !== undefined) await checkWritable(output);
const root = path.resolve(import.meta.dirname, '..', '..');
const folder = mkdtempSync(path.join(values.folder, 'paella-convert-'));

interface Row {
  what: string;
  /** Bytes of the checkpoint. */
  bytes: number;
  /** Until it ends, for each run. */
  seconds: number[];
  /** Until what it wrote is on the disk. */
  onDiskSeconds: number[];
  /** User and system time of all threads. */
  cpuSeconds?: number[];
  /** Of the process, MiB; of all runs the highest. */
  peakMiB?: number;
  /** Speed beside that of `cp`, by the shortest of both kinds of seconds. */
  shareOfCopy?: number;
  shareOfCopyOnDisk?: number;
}

/** Of the run that other work on the machine disturbed least. */
const least = (list: readonly number[]): number => Math.min(...list);
const now = () => Number(process.hrtime.bigint()) / 1e9;

/** Nothing of what ran before is still on its way to the disk. */
const settle = () => execFileSync('sync');

interface Timing {
  seconds: number;
  onDiskSeconds: number;
}

/** @param written the file that `work` writes */
function timed(written: string, work: () => void): Timing {
  settle();
  const start = now();
  work();
  const seconds = now() - start;
  execFileSync('sync', [written]);
  return { seconds, onDiskSeconds: now() - start };
}

interface Conversion extends Timing {
  cpuSeconds: number;
  peakMiB: number;
}

/** In a process of its own, which tells its highest memory. Its start counts, as that of `cp` does. */
function converted(source: string, component: string, precision: string): Conversion {
  const target = path.join(folder, 'model');
  const code = `import { convert } from ${JSON.stringify(path.join(root, 'dist/esm/index.js'))};
    await convert(process.argv[1], { output: process.argv[2], precision: process.argv[3], incomplete: true });
    const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
    console.log(JSON.stringify({ cpuSeconds: (userCPUTime + systemCPUTime) / 1e6, peakMiB: maxRSS / 1024 }));`;
  let told = '';
  const timing = timed(path.join(target, component, 'model.safetensors'), () => {
    const args = ['--input-type=module', '--eval', code, source, target, precision];
    told = execFileSync(process.execPath, args, { encoding: 'utf8' });
  });
  rmSync(target, { recursive: true });
  return { ...timing, ...(JSON.parse(told) as { cpuSeconds: number; peakMiB: number }) };
}

function copied(source: string): Timing {
  const target = path.join(folder, 'copy');
  const timing = timed(target, () => execFileSync('cp', [source, target]));
  rmSync(target);
  return timing;
}

/** In turns, so that a disk that is busy for a while slows all of them. */
async function compare(
  source: string,
  component: string,
  precisions: readonly string[],
  withCopy: boolean,
  times: number,
): Promise<void> {
  const bytes = statSync(source).size;
  const copies: Timing[] = [];
  const conversions = precisions.map((): Conversion[] => []);
  for (let run = 0; run < times; run++) {
    if (withCopy) copies.push(copied(source));
    for (const [i, list] of conversions.entries()) list.push(converted(source, component, precisions[i] ?? ''));
  }
  const row = (what: string, list: readonly Timing[]): Row => ({
    what,
    bytes,
    seconds: list.map(({ seconds }) => seconds),
    onDiskSeconds: list.map(({ onDiskSeconds }) => onDiskSeconds),
  });
  const copy = withCopy ? await add(row('cp', copies)) : undefined;
  for (const [i, list] of conversions.entries()) {
    const plain = row(`convert, ${precisions[i]}`, list);
    await add({
      ...plain,
      cpuSeconds: list.map(({ cpuSeconds }) => cpuSeconds),
      peakMiB: Math.max(...list.map(({ peakMiB }) => peakMiB)),
      ...(copy && {
        shareOfCopy: least(copy.seconds) / least(plain.seconds),
        shareOfCopyOnDisk: least(copy.onDiskSeconds) / least(plain.onDiskSeconds),
      }),
    });
  }
}

function hashed(source: string): Row {
  const code = `import { createHash } from 'node:crypto'; import { createReadStream } from 'node:fs'; import { pipeline } from 'node:stream/promises';
    await pipeline(createReadStream(process.argv[1], { highWaterMark: 4 << 20 }), createHash('sha256'));`;
  const { seconds } = timed(source, () =>
    execFileSync(process.execPath, ['--input-type=module', '--eval', code, source]),
  );
  return { what: 'sha256 alone', bytes: statSync(source).size, seconds: [seconds], onDiskSeconds: [] };
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

const document = {
  benchmark: 'convert',
  date: new Date().toISOString(),
  machine: {
    cpu: cpuName(),
    cores: cpus().length,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
  },
  runs,
  complete: false,
  rows: [] as Row[],
};
const save = async () => {
  if (output !== undefined) await writeAtomically(output, `${JSON.stringify(document, null, 2)}\n`);
};

const add = async (row: Row): Promise<Row> => {
  document.rows.push(row);
  await save();
  const percent = (share: number | undefined) => (share === undefined ? '' : `, ${Math.round(share * 100)} % of cp`);
  const part = (list: readonly number[]) =>
    `${least(list).toFixed(2)} s, ${(row.bytes / least(list) / 1e9).toFixed(2)} GB/s`;
  const onDisk =
    row.onDiskSeconds.length > 0 ? `; on disk ${part(row.onDiskSeconds)}${percent(row.shareOfCopyOnDisk)}` : '';
  const cpu = row.cpuSeconds ? `; CPU ${least(row.cpuSeconds).toFixed(2)} s` : '';
  const memory = row.peakMiB === undefined ? '' : `; at most ${Math.round(row.peakMiB)} MiB`;
  console.log(`${row.what}: ${part(row.seconds)}${percent(row.shareOfCopy)}${onDisk}${cpu}${memory}`);
  return row;
};

try {
  const unet = path.join(folder, 'paella_v3.pt');
  await writeLargeCheckpoint(unet, tensorsOf('unet'), true);
  console.log(`U-Net, ${(statSync(unet).size / 1e9).toFixed(2)} GB, dense, in the file cache`);
  await compare(unet, 'unet', ['keep', 'bf16', 'fp16'], true, runs);
  await add(hashed(unet));
  rmSync(unet);
  const encoder = tensorsOf('text_encoder');
  const bytes = encoder.reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
  const byt5 = path.join(folder, 'pytorch_model.bin');
  await writeLargeCheckpoint(byt5, [...encoder, ...decoder(bytes)], false);
  console.log(
    `ByT5-XL, ${(statSync(byt5).size / 1e9).toFixed(2)} GB, sparse (${(statSync(byt5).blocks * 512) / 1e6} MB on disk)`,
  );
  await compare(byt5, 'text_encoder', ['bf16'], false, 1);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
document.complete = true;
await save();
