/**
 * Clients that call generate() as fast as they get their answers: in one process, in several workers with an engine each,
 * on several devices.
 *
 *   npm run bench:load -- [--clients 8] [--workers 0] [--duration 10] [--warmup 2] [--count 1] [--seed 1] [--prompt …]
 *                         [--model tiny] [--backend …] [--devices all] [--precision …] [--threads …] [--max-batch 8]
 *                         [--width …] [--height …] [--steps …] [--result <file.json>]
 *
 * --clients: for each engine. --workers: threads of JavaScript with an engine each; 0: one engine in the main thread. Without
 * --threads the cores are shared out to the workers. Prints a row of the scenario `load` (lib/cli/bench/schema.json).
 */
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { benchDefaults } from '../../lib/cli/bench/defaults.js';
import { environment } from '../../lib/cli/bench/environment.js';
import { report } from '../../lib/cli/bench/report.js';
import { type BenchDocument, schemaName } from '../../lib/cli/bench/schema.js';
import { round, summarize } from '../../lib/cli/bench/statistics.js';
import { writeAtomically } from '../../lib/images/files.js';
import { type LoadOutcome, type LoadTask, runClients } from './load-worker.js';
import { commandLine, engineOptions, integer, interruption, loadOptions, sizeOptions } from './options.js';

const { values } = parseArgs({
  options: {
    ...engineOptions,
    clients: { type: 'string', default: '8' },
    workers: { type: 'string', default: '0' },
    duration: { type: 'string', default: '10' },
    warmup: { type: 'string', default: '2' },
    count: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    prompt: { type: 'string', default: benchDefaults.prompt },
    result: { type: 'string' },
  },
});

/** All workers start their clients together, when the last one is warm. */
async function inWorkers(tasks: readonly LoadTask[], signal: AbortSignal): Promise<LoadOutcome[]> {
  const file = pathToFileURL(path.join(import.meta.dirname, 'load-worker.ts')).href;
  // The loader of TypeScript that was given to this process does not reach its workers.
  const [esm, cjs] = ['tsx/esm/api', 'tsx/cjs/api'].map((name) => JSON.stringify(import.meta.resolve(name)));
  const code = `Promise.all([import(${esm}), import(${cjs})]).then((loaders) => {
    for (const { register } of loaders) register();
    return import(${JSON.stringify(file)});
  })`;
  const workers = tasks.map((task) => new Worker(code, { eval: true, workerData: task, execArgv: [] }));
  const tell = (message: 'start' | 'stop') => {
    for (const worker of workers) worker.postMessage(message);
  };
  signal.addEventListener('abort', () => tell('stop'), { once: true });
  let warm = 0;
  const outcomes = workers.map(
    (worker) =>
      new Promise<LoadOutcome>((resolve, reject) => {
        worker.on('message', (message: { ready?: true; outcome?: LoadOutcome; error?: string }) => {
          if (message.ready && ++warm === workers.length) tell('start');
          if (message.outcome) resolve(message.outcome);
          if (message.error !== undefined) reject(new Error(message.error));
        });
        worker.on('error', reject);
        worker.on('exit', () => reject(new Error('a worker ended without a result')));
      }),
  );
  try {
    return await Promise.all(outcomes);
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}

async function main(): Promise<void> {
  const signal = interruption();
  const [clients, workers] = [integer('clients', values.clients), integer('workers', values.workers, 0)];
  const [warmup, count, seed] = [
    integer('warmup', values.warmup),
    integer('count', values.count),
    integer('seed', values.seed, 0),
  ];
  const seconds = Number(values.duration);
  if (!(seconds > 0)) throw new Error(`--duration: expected seconds above 0, got ${values.duration}`);
  const given = loadOptions(values);
  const share = Math.max(1, Math.floor(availableParallelism() / Math.max(1, workers)));
  const load = { ...given, ...(workers > 1 && given.threads === undefined ? { threads: share } : {}) };
  const command = commandLine('bench:load');
  const generate = { ...sizeOptions(values), count };
  const task: LoadTask = { load, generate, prompt: values.prompt, clients, seconds, warmup, seed, command };
  const tasks = Array.from({ length: workers }, (_, i) => ({ ...task, seed: seed + i * 2 ** 32 }));
  const outcomes =
    workers === 0 ? [await runClients(task, async () => undefined, signal)] : await inWorkers(tasks, signal);
  const [first] = outcomes;
  const samples = outcomes.flatMap((outcome) => outcome.samples);
  if (!first || samples.length === 0) throw new Error('interrupted');
  const longest = Math.max(...outcomes.map((outcome) => outcome.seconds));
  const batches = outcomes.reduce((sum, outcome) => sum + outcome.batches, 0);
  const document: BenchDocument = {
    schema: schemaName,
    environment: await environment(),
    complete: !signal.aborted,
    command,
    rows: [
      {
        ...first.row,
        scenario: 'load',
        sampleOf: 'call',
        warmup,
        firstMs: round(first.firstMs),
        loadMs: round(first.loadMs),
        ms: summarize(samples),
        samples,
        imagesPerSecond: round((samples.length * count) / longest),
        stages: first.stages,
        peakBytes: outcomes.reduce((sum, outcome) => sum + outcome.peakBytes, 0),
        rssBytes: process.memoryUsage.rss(),
        details: {
          clients,
          workers,
          seconds: round(longest),
          meanBatch: round((samples.length * count) / Math.max(1, batches)),
        },
      },
    ],
  };
  process.stdout.write(`${report(document, 'md')}\n`);
  if (values.result !== undefined) await writeAtomically(values.result, `${report(document, 'json')}\n`);
  if (signal.aborted) process.exitCode = 130;
}

await main().catch((error: unknown) => {
  const { message, remedy } = error as Error & { remedy?: string };
  process.stderr.write(`load-generator: ${message}\n${remedy ? `    ${remedy}\n` : ''}`);
  process.exitCode = message === 'interrupted' ? 130 : 1;
});
