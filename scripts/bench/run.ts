/**
 * `npm run bench`: the figures that this project promises. Each part is a row that says where and how it was measured.
 *
 *   npm run bench -- [--only latency,process,endurance,native] [--generations 1000] [--native <program>] [--rounds 5]
 *                     [--precisions fp32,bf16] [--output <file.json>]
 *
 * - latency: the bundled model, one image of 64×64 pixels, 8 guided steps, warm; per stage
 * - process: the whole command, from its start to the written PNG
 * - endurance: many generations in one process: memory, and pauses of the event loop
 * - native: guided steps of the large model beside oneDNN's own rate, and its operations one by one
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { environment } from '../../lib/cli/bench/environment.js';
import { measure } from '../../lib/cli/bench/measure.js';
import { report } from '../../lib/cli/bench/report.js';
import { summarize } from '../../lib/cli/bench/statistics.js';
import { nativeProgram } from '../setup/native.mjs';

const root = path.resolve(import.meta.dirname, '..', '..');
const prompt = 'a red circle above a blue square';
const parts = ['latency', 'process', 'endurance', 'native'] as const;

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: parts.join(',') },
    model: { type: 'string', default: 'tiny' },
    generations: { type: 'string', default: '1000' },
    native: { type: 'string' },
    rounds: { type: 'string' },
    precisions: { type: 'string', default: 'fp32,bf16' },
    output: { type: 'string' },
  },
});

async function latency(): Promise<object> {
  const load = { model: values.model, backend: 'cpu' } as const;
  const row = await measure(load, { prompt, width: 64, height: 64, steps: 8 }, { repeat: 50, warmup: 5 });
  return { part: 'latency', ...row };
}

function wholeProcess(): object {
  const folder = mkdtempSync(path.join(tmpdir(), 'paella-bench-'));
  try {
    const calls: number[] = [];
    const command = [path.join(root, 'dist/esm/cli/main.js'), prompt, '--model', values.model, '--seed', '1'];
    for (let i = 0; i < 12; i++) {
      const start = performance.now();
      const { status, stderr } = spawnSync(process.execPath, [...command, '-o', path.join(folder, `${i}.png`)], {
        encoding: 'utf8',
      });
      if (status !== 0) throw new Error(stderr);
      calls.push(performance.now() - start);
    }
    const first = calls.slice(0, 2);
    return {
      part: 'process',
      ...environment(),
      model: values.model,
      firstMs: first[0],
      warmup: 2,
      ms: summarize(calls.slice(2)),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** In a process of its own: what was measured before must not count. */
function endurance(): object {
  const program = path.join(root, 'scripts/bench/endurance.ts');
  const args = ['--import=tsx', program, values.model, values.generations];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  return { part: 'endurance', ...environment(), ...JSON.parse(stdout) };
}

/**
 * The large model. Its rows are taken as they are: one JSON document a line. Every measurement is a process of its own,
 * so that the peak of its memory is its own too.
 */
function native(): object[] {
  const program = values.native ?? nativeProgram('paella_bench');
  if (!program) throw new Error('native: expected build/test/native/paella_bench, which npm test builds; found none');
  const run = (...options: string[]): object[] => {
    const { status, stdout, stderr } = spawnSync(program, options, { cwd: root, encoding: 'utf8', maxBuffer: 2 ** 26 });
    if (status !== 0) throw new Error(`${program} ${options.join(' ')}: ${stderr}`);
    const rows = stdout.split('\n').filter((line) => line.startsWith('{'));
    return rows.map((line) => ({ part: 'native', ...environment(), ...JSON.parse(line) }));
  };
  const rounds = values.rounds ? ['--rounds', values.rounds] : [];
  return values.precisions
    .split(',')
    .flatMap((precision) => [
      ...run('step', '--precision', precision, ...rounds),
      ...run('operations', '--precision', precision),
    ]);
}

const wanted = values.only.split(',');
const unknown = wanted.filter((name) => !(parts as readonly string[]).includes(name));
if (unknown.length > 0) throw new Error(`--only: expected some of ${parts.join(', ')}, got ${unknown.join(', ')}`);

const rows: object[] = [];
for (const part of parts.filter((name) => wanted.includes(name))) {
  process.stderr.write(`${part} …\n`);
  const made = { latency, process: wholeProcess, endurance, native }[part];
  const measured = [await made()].flat();
  rows.push(...measured);
  for (const row of measured) process.stdout.write(`\n### ${part}\n\n${report([row], 'md')}\n`);
}
if (values.output) {
  mkdirSync(path.dirname(path.resolve(values.output)), { recursive: true });
  writeFileSync(values.output, `${report(rows, 'json')}\n`);
  process.stderr.write(`written: ${values.output}\n`);
}
