/**
 * `npm run bench`: the figures that this project promises, as one document (lib/cli/bench/schema.json).
 *
 *   npm run bench -- [--only single,cold,soak,native] [--generations 1000] [--native <program>] [--rounds 5]
 *                     [--precisions fp32,bf16] [--output <file.json>]
 *
 * - single: the bundled model, one image of 64×64 pixels, 8 guided steps, warm; per stage
 * - cold: a process from its start to the first image and its end
 * - soak: many generations in one process: memory, and pauses of the event loop
 * - native: guided steps of the large model beside oneDNN's own rate, and its operations one by one
 *
 * The first three are `paella bench`, each in a process of its own: what was measured before must not count.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { readDocument } from '../../lib/cli/bench/documents.js';
import { environment } from '../../lib/cli/bench/environment.js';
import { report } from '../../lib/cli/bench/report.js';
import { type BenchDocument, type BenchRow, schemaName } from '../../lib/cli/bench/schema.js';
import { writeAtomically } from '../../lib/images/files.js';
import {
  benchProgram,
  type NativeOperation,
  type NativeStep,
  operationRow,
  runNative,
  stepRow,
} from './native-rows.js';

const root = path.resolve(import.meta.dirname, '..', '..');
const parts = ['single', 'cold', 'soak', 'native'] as const;

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

/** Rows of `paella bench`. */
async function bench(...options: string[]): Promise<BenchRow[]> {
  const folder = mkdtempSync(path.join(tmpdir(), 'paella-bench-'));
  try {
    const file = path.join(folder, 'rows.json');
    const command = [path.join(root, 'dist/esm/cli/main.js'), 'bench', '--model', values.model, '--backend', 'cpu'];
    const { status } = spawnSync(process.execPath, [...command, ...options, '--output', file], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    if (status !== 0) throw new Error(`paella bench ${options.join(' ')}: exit code ${status}`);
    return (await readDocument(file)).rows;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Every measurement is a process of its own, so that the peak of its memory is its own too. */
function native(): BenchRow[] {
  const program = benchProgram(values.native);
  const rounds = values.rounds ? ['--rounds', values.rounds] : [];
  return values.precisions.split(',').flatMap((precision) => {
    const [stepArgs, operationArgs] = [
      ['step', '--precision', precision, ...rounds],
      ['operations', '--precision', precision],
    ];
    const steps = runNative<NativeStep>(program, stepArgs).map((step) => stepRow(step, stepArgs));
    const [step] = steps;
    if (!step) throw new Error(`${program} ${stepArgs.join(' ')}: expected a row, found none`);
    const operations = runNative<NativeOperation>(program, operationArgs);
    return [...steps, ...operations.map((operation) => operationRow(operation, step, operationArgs))];
  });
}

const size = ['--width', '64', '--height', '64', '--steps', '8'];
const makers: Record<(typeof parts)[number], () => Promise<BenchRow[]> | BenchRow[]> = {
  single: () => bench(...size, '--repeat', '50', '--warmup', '5'),
  cold: () => bench('--scenario', 'cold', '--repeat', '10'),
  soak: () => bench('--scenario', 'soak', '--generations', values.generations),
  native,
};

const wanted = values.only.split(',');
const unknown = wanted.filter((name) => !(parts as readonly string[]).includes(name));
if (unknown.length > 0) throw new Error(`--only: expected some of ${parts.join(', ')}, got ${unknown.join(', ')}`);

const document: BenchDocument = { schema: schemaName, environment: await environment(), rows: [] };
for (const part of parts.filter((name) => wanted.includes(name))) {
  process.stderr.write(`${part} …\n`);
  const rows = await makers[part]();
  document.rows.push(...rows);
  process.stdout.write(`\n### ${part}\n\n${report({ ...document, rows }, 'md')}\n`);
  // After each part: what is measured is kept if the next one fails.
  if (values.output) await writeAtomically(values.output, `${report(document, 'json')}\n`);
}
if (values.output) process.stderr.write(`written: ${values.output}\n`);
