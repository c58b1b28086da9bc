/**
 * `npm run bench`: the figures that this project promises, as one document (lib/cli/bench/schema.json).
 *
 *   npm run bench -- [--only single,cold,soak,steps,operations] [--model tiny] [--generations 1000] [--native <program>]
 *                     [--rounds 5] [--precisions fp32,bf16] [--batch 1] [--output <file.json>]
 *
 * - single: the bundled model, one image of 128×128 pixels with the model's settings, warm; per stage
 * - cold: a process from its start to the first image and its end
 * - soak: many generations in one process: memory, and pauses of the event loop
 * - steps: guided steps of the large and of the bundled model beside oneDNN's own rate; --batch takes a list (8 images of
 *   the large one are a minute each round)
 * - operations: those of the large model one by one
 *
 * The first three are `paella bench` of --model, each in a process of its own: what was measured before must not count.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { readDocument } from '../../lib/cli/bench/documents.js';
import { environment } from '../../lib/cli/bench/environment.js';
import { report } from '../../lib/cli/bench/report.js';
import { type BenchDocument, type BenchRow, schemaName } from '../../lib/cli/bench/schema.js';
import { checkWritable } from '../../lib/cli/output.js';
import { writeAtomically } from '../../lib/images/files.js';
import {
  benchProgram,
  type NativeOperation,
  type NativeStep,
  operationRow,
  runNative,
  stepRow,
} from './native-rows.js';
import { commandLine } from './options.js';

const root = path.resolve(import.meta.dirname, '..', '..');
const parts = ['single', 'cold', 'soak', 'steps', 'operations'] as const;
/** The large model at 256 px, the bundled one at 128. */
const guided = [
  { model: 'random:paella-v3-256', tokens: '64x64' },
  { model: 'models/tiny', tokens: '32x32' },
] as const;

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: parts.join(',') },
    model: { type: 'string', default: 'tiny' },
    generations: { type: 'string', default: '1000' },
    native: { type: 'string' },
    rounds: { type: 'string' },
    precisions: { type: 'string', default: 'fp32,bf16' },
    batch: { type: 'string', default: '1' },
    output: { type: 'string' },
  },
});

/** Rows of `paella bench`; of one that failed or was interrupted those until then, and why. */
async function bench(...options: string[]): Promise<Part> {
  const folder = mkdtempSync(path.join(tmpdir(), 'paella-bench-'));
  try {
    const file = path.join(folder, 'rows.json');
    const command = [path.join(root, 'dist/esm/cli/main.js'), 'bench', '--model', values.model, '--backend', 'cpu'];
    const { status, signal } = spawnSync(process.execPath, [...command, ...options, '--output', file], {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    const rows = existsSync(file) ? (await readDocument(file)).rows : [];
    if (status === 0) return { rows };
    return {
      rows,
      failure: new Error(`paella bench ${options.join(' ')}: ended with ${signal ?? `exit code ${status}`}`),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Part {
  rows: BenchRow[];
  failure?: Error;
}

const precisions = () => values.precisions.split(',');

/** Every measurement is a process of its own, so that the peak of its memory is its own too. */
function steps(): BenchRow[] {
  const program = benchProgram(values.native);
  const rounds = values.rounds ? ['--rounds', values.rounds] : [];
  return guided.flatMap(({ model, tokens }) =>
    values.batch.split(',').flatMap((batch) =>
      precisions().flatMap((precision) => {
        const shape = ['--model', model, '--tokens', tokens, '--batch', batch];
        const args = ['step', ...shape, '--precision', precision, ...rounds];
        return runNative<NativeStep>(program, args).map((step) => stepRow(step, args));
      }),
    ),
  );
}

function operations(): BenchRow[] {
  const program = benchProgram(values.native);
  return precisions().flatMap((precision) => {
    const args = ['operations', '--precision', precision];
    return runNative<NativeOperation>(program, args).map((operation) => operationRow(operation, args));
  });
}

const size = ['--width', '128', '--height', '128'];
const makers: Record<(typeof parts)[number], () => Promise<Part> | Part> = {
  single: () => bench(...size, '--repeat', '50', '--warmup', '5'),
  cold: () => bench('--scenario', 'cold', '--repeat', '10'),
  soak: () => bench('--scenario', 'soak', '--generations', values.generations),
  steps: () => ({ rows: steps() }),
  operations: () => ({ rows: operations() }),
};

const wanted = values.only.split(',');
const unknown = wanted.filter((name) => !(parts as readonly string[]).includes(name));
if (unknown.length > 0) throw new Error(`--only: expected some of ${parts.join(', ')}, got ${unknown.join(', ')}`);

if (values.output) await checkWritable(values.output);

const document: BenchDocument = {
  schema: schemaName,
  environment: await environment(),
  // Until the last part is done: whatever ends the run before, the file says so.
  complete: false,
  command: commandLine('bench'),
  rows: [],
};
const save = async () => {
  if (values.output) await writeAtomically(values.output, `${report(document, 'json')}\n`);
};
for (const part of parts.filter((name) => wanted.includes(name))) {
  process.stderr.write(`${part} …\n`);
  const { rows, failure } = await makers[part]();
  document.rows.push(...rows);
  process.stdout.write(`\n### ${part}\n\n${report({ ...document, complete: failure === undefined, rows }, 'md')}\n`);
  await save();
  if (failure) throw failure;
}
document.complete = true;
await save();
if (values.output) process.stderr.write(`written: ${values.output}\n`);
