/**
 * A file of prompts, one a line, to images in a folder or a tar archive, in full batches. A run that was killed goes on
 * where it was: nothing is missing and nothing is there twice in the end, and the images are those of one run.
 *
 *   npm run bench:prompts -- prompts.txt --output <folder or file.tar> [--count 1] [--seed 1] [--format png]
 *                            [--model tiny] [--backend …] [--devices all] [--precision …] [--threads …] [--max-batch 8]
 *                            [--width …] [--height …] [--steps …] [--in-flight 2] [--result <file.json>]
 *
 * --count: images of each prompt. --in-flight: batches that wait or run at a time. --result: a row of the scenario
 * `prompts` (lib/cli/bench/schema.json). Image n, counted over the whole list, has the seed `seed` + n.
 */
import { readFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { environment } from '../../lib/cli/bench/environment.js';
import { report } from '../../lib/cli/bench/report.js';
import { schemaName } from '../../lib/cli/bench/schema.js';
import { describe, stageMedians } from '../../lib/cli/bench/session.js';
import { round, summarize } from '../../lib/cli/bench/statistics.js';
import { writeAtomically } from '../../lib/images/files.js';
import { imageFormats } from '../../lib/images/generated-image.js';
import { Paella, type StageTimings } from '../../lib/index.js';
import { loadDefaults } from '../../lib/options/load-options.js';
import { packageVersion } from '../../lib/package-root.cjs';
import { fingerprint, hashOf, openStore } from './image-store.js';
import { commandLine, engineOptions, integer, interruption, loadOptions, sizeOptions, Ticker } from './options.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    ...engineOptions,
    output: { type: 'string', short: 'o' },
    count: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    format: { type: 'string', default: 'png' },
    'in-flight': { type: 'string', default: '2' },
    result: { type: 'string' },
  },
});

async function readPrompts(file: string | undefined): Promise<string[]> {
  if (file === undefined || positionals.length > 1) throw new Error('expected one file of prompts');
  const lines = (await readFile(file, 'utf8')).split(/\r?\n/).map((line) => line.trim());
  const prompts = lines.filter((line) => line !== '');
  if (prompts.length === 0) throw new Error(`${file}: expected prompts, one a line, found none`);
  return prompts;
}

async function main(): Promise<void> {
  const signal = interruption();
  const prompts = await readPrompts(positionals[0]);
  const { output, result } = values;
  if (output === undefined) throw new Error('--output: expected a folder or a file that ends in .tar, got nothing');
  const format = imageFormats.find((name) => name === values.format);
  if (!format) throw new Error(`--format: expected one of ${imageFormats.join(', ')}, got ${values.format}`);
  const [count, seed] = [integer('count', values.count), integer('seed', values.seed, 0)];
  const load = loadOptions(values);
  const size = sizeOptions(values);
  const inFlight = integer('in-flight', values['in-flight']) * (load.maxBatch ?? 8);
  const total = prompts.length * count;

  await using engine = await Paella.load({ ...load, maxQueue: Math.max(loadDefaults.maxQueue, inFlight), signal });
  const { model, backend, device, precision } = engine;
  if (!Number.isSafeInteger(seed + total - 1))
    throw new Error(`--seed: expected at most ${Number.MAX_SAFE_INTEGER - total + 1} for ${total} images, got ${seed}`);
  const { weights, version } = { weights: await fingerprint(values.model), version: packageVersion };
  const made = {
    model: model.name,
    weights,
    version,
    backend,
    precision,
    ...model.defaults,
    ...size,
    count,
    seed,
    format,
  };
  const store = await openStore(output, { prompts: hashOf(prompts), ...made }, format === 'jpeg' ? 'jpg' : format);
  const before = store.done.size;
  const todo = Array.from({ length: total }, (_, i) => i).filter((number) => !store.done.has(number));
  if (before > 0) process.stderr.write(`${before} of ${total} images are there; ${todo.length} to go\n`);

  const ticker = new Ticker();
  const samples: number[] = [];
  const timings: StageTimings[] = [];
  let parameters = {};
  let firstMs: number | undefined;
  let drawn = 0;
  let failure: unknown;
  let next = 0;
  const start = performance.now();
  const perSecond = () => drawn / ((performance.now() - start) / 1000);
  const one = async (number: number) => {
    const begun = performance.now();
    const prompt = prompts[Math.floor(number / count)] ?? '';
    const [image] = await engine.generate({ ...size, prompt, seed: seed + number, signal });
    if (!image) throw new Error('generate() gave no image');
    await store.put(number, await image.encode(format));
    const ms = performance.now() - begun;
    drawn++;
    // It found nothing made, and is no sample.
    if (firstMs === undefined) firstMs = ms;
    else {
      samples.push(ms);
      timings.push(image.timings);
    }
    parameters = image.parameters;
    ticker.show(`${store.done.size}/${total} images, ${perSecond().toFixed(1)} images/s`);
  };
  const worker = async () => {
    while (next < todo.length && failure === undefined && !signal.aborted) await one(todo[next++] ?? 0);
  };
  const workers = Array.from({ length: Math.min(inFlight, todo.length) }, () =>
    worker().catch((error: unknown) => {
      failure ??= error;
    }),
  );
  await Promise.all(workers);
  ticker.end();
  const seconds = (performance.now() - start) / 1000;
  const complete = store.done.size === total;
  if (complete) await store.finish();
  await store.close();
  process.stdout.write(
    `${store.done.size} of ${total} images in ${output}; ${drawn} of them now, in ${seconds.toFixed(1)} s${drawn > 0 ? `, ${(drawn / seconds).toFixed(2)} images/s` : ''}\n`,
  );
  if (result !== undefined && samples.length === 0)
    process.stderr.write(`${result}: not written: expected two images of this run or more, got ${drawn}\n`);
  if (result !== undefined && firstMs !== undefined && samples.length > 0) {
    const command = commandLine('bench:prompts');
    const configuration = { load, generate: size, prompt: '', fresh: true, seed, command };
    const row = {
      ...describe({ model: model.name, backend, device, precision }, configuration, parameters),
      scenario: 'prompts',
      counted: { textEncoding: true, decode: true, encodeFile: true },
      sampleOf: 'request',
      warmup: 1,
      firstMs: round(firstMs),
      loadMs: null,
      ms: summarize(samples),
      samples: samples.map((ms) => round(ms)),
      imagesPerSecond: round(drawn / seconds),
      stages: stageMedians(timings),
      peakBytes: engine.stats().memory.peak,
      rssBytes: process.memoryUsage.rss(),
      details: {
        images: drawn,
        seconds: round(seconds),
        inFlight,
        meanBatch: round(drawn / engine.stats().batches),
      },
    } as const;
    const document = {
      schema: schemaName,
      environment: await environment(),
      complete,
      command,
      rows: [row],
    } as const;
    await writeAtomically(result, `${report({ ...document, rows: [...document.rows] }, 'json')}\n`);
  }
  if (signal.aborted) {
    process.stderr.write('interrupted; the same command goes on\n');
    process.exitCode = 130;
  } else if (failure !== undefined) throw failure;
}

await main().catch((error: unknown) => {
  const { message, remedy } = error as Error & { remedy?: string };
  process.stderr.write(`prompts-to-images: ${message}\n${remedy ? `    ${remedy}\n` : ''}`);
  process.exitCode = message === 'interrupted' ? 130 : 1;
});
