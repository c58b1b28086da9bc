/** This package as a subject of run.ts: generate(), from the prompt to pixels. */
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { subject } from '../../../lib/cli/bench/environment.js';
import { Paella } from '../../../lib/index.js';
import type { LoadOptions } from '../../../lib/options/load-options.js';
import type { Farewell, Hello, Measurement, PeerCase, RunRequest } from './protocol.js';

const usage = `node --import tsx scripts/bench/peers/paella-native-peer.ts, as a --subject of npm run bench:peers

--model tiny          as Paella.load takes it
--size 256            pixels of a side, a list
--steps 8             a list
--batch 1             images of one call, a list
--measure-steps N     run N steps, and compose a row for each of --steps
--threads --precision --backend
--no-prior            without the prior, where the model has one
`;

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    model: { type: 'string', default: 'tiny' },
    size: { type: 'string', default: '256' },
    steps: { type: 'string', default: '8' },
    batch: { type: 'string', default: '1' },
    'measure-steps': { type: 'string' },
    threads: { type: 'string', default: String(availableParallelism()) },
    precision: { type: 'string', default: 'bf16' },
    backend: { type: 'string', default: 'cpu' },
    'no-prior': { type: 'boolean', default: false },
    worker: { type: 'boolean', default: false },
  },
});
const threads = Number(values.threads);
const steps = numbers('steps', values.steps);
const measureSteps = values['measure-steps'] === undefined ? null : Number(values['measure-steps']);

try {
  if (values.help) process.stdout.write(usage);
  else await serve();
} catch (error) {
  say({ error: String(error) });
  process.exitCode = 1;
}

async function serve(): Promise<void> {
  if (!values.worker) throw new Error('expected to be a --subject of npm run bench:peers');
  const { precision, backend } = values;
  const start = performance.now();
  const maxBatch = Math.max(...numbers('batch', values.batch));
  // A batch's calls come at once; the engine waits a moment for the last of them.
  const merging = maxBatch > 1 ? { maxBatch, maxDelayMs: 10 } : {};
  const engine = await Paella.load({ model: values.model, threads, precision, backend, ...merging } as LoadOptions);
  try {
    const loadMs = performance.now() - start;
    const cases = casesOf(engine);
    say({ cases, loadMs, runtimes: { node: process.versions.node }, gpus: [] } satisfies Hello);
    for await (const line of createInterface({ input: process.stdin })) {
      const request = JSON.parse(line) as RunRequest | { end: true };
      if ('end' in request) break;
      say(await run(engine, cases[request.run] as PeerCase, request));
    }
    const { peak } = engine.stats().memory;
    say({ rssBytes: process.memoryUsage.rss(), peakBytes: peak } satisfies Farewell);
  } finally {
    await engine.dispose({ abort: true });
  }
}

function casesOf(engine: Paella): PeerCase[] {
  const guidance = engine.model.defaults.guidanceScale;
  const lists = measureSteps === null ? steps.map((count) => [count]) : [steps];
  return numbers('size', values.size).flatMap((size) =>
    numbers('batch', values.batch).flatMap((batch) =>
      lists.map((list) => ({
        ...subject(),
        model: engine.model.name,
        weights: values.model.startsWith('random:') ? ('random' as const) : ('trained' as const),
        device: engine.device,
        backend: engine.backend,
        precision: engine.precision,
        threads: engine.backend === 'cpu' ? threads : null,
        ...{ width: size, height: size, batch, steps: list, measureSteps },
        ...{ guidance: guidance[0], scheduler: null, compile: null },
        counted: { textEncoding: true, decode: true, encodeFile: false, load: false },
        details: { prior: engine.model.conditioning.prior && !values['no-prior'] },
      })),
    ),
  );
}

/** A batch is one call for each prompt, at once: the engine merges them. */
async function run(engine: Paella, { width, height, batch, steps: [count] }: PeerCase, request: RunRequest) {
  const ends: number[] = [];
  const start = performance.now();
  const jobs = request.prompts.map((prompt, i) =>
    engine.generate({
      prompt,
      width,
      height,
      steps: measureSteps ?? count,
      // All steps guided, as the peers' are.
      conditionalSteps: measureSteps ?? count,
      seed: request.seed + i,
      ...(values['no-prior'] ? { prior: false } : {}),
      ...(i === 0 ? { onStep: ({ elapsedMs }) => void ends.push(elapsedMs) } : {}),
    }),
  );
  const images = (await Promise.all(jobs)).flat();
  const ms = performance.now() - start;
  if (images.length !== batch) throw new Error(`images: expected ${batch}, got ${images.length}`);
  const { timings } = images[0] as (typeof images)[number];
  // Before its first step a job encodes its prompt, and the prior draws.
  const before = timings.encode_text + timings.prior;
  return {
    ms,
    stepMs: ends.map((end, step) => Math.max(0, end - (step === 0 ? before : (ends[step - 1] as number)))),
    stages: { encode_text: timings.encode_text, prior: timings.prior, decode: timings.decode },
  } satisfies Measurement;
}

function numbers(name: string, text: string): number[] {
  const list = text.split(',').map(Number);
  if (list.some((each) => !Number.isInteger(each) || each < 1))
    throw new Error(`--${name}: expected integers from 1 on with commas between them, got ${text}`);
  return list;
}

function say(message: object): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
