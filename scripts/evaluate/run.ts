/** `npm run evaluate`: draws the held-out captions with a model, judges the pictures, and writes the results. */

import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { type GenerateOptions, Paella } from '../../lib/index.js';
import { type Expectation, readExpectations } from './expectation.js';
import { assess } from './judge.js';
import type { Picture } from './raster.js';
import { json, markdown, type Result, type Settings } from './report.js';
import { contactSheet } from './sheet.js';
import { summarise, table } from './summary.js';

const USAGE = `usage: npm run evaluate -- [--model tiny] [--captions scripts/train/heldout.json] [--count N] [--steps N]
  [--guidance first,last] [--temperature first,last] [--width N] [--height N] [--seed 1] [--backend NAME]
  [--precision NAME] [--output docs/models]`;

/** Pictures on the contact sheet. */
const SHOWN = 48;
/** Calls under way at a time: enough for the engine to merge them into full batches. */
const CONCURRENT = 32;

/** `count` entries, evenly spread over the list, so that every number of objects is met. */
function spread<T>(list: readonly T[], count: number): T[] {
  const kept = Math.min(count, list.length);
  return Array.from({ length: kept }, (_, i) => list[Math.floor((i * list.length) / kept)] as T);
}

function whole(value: string | undefined, name: string): number | undefined {
  if (value === undefined) return undefined;
  if (!/^\d+$/.test(value)) throw new Error(`--${name}: expected a whole number, got ${value}\n${USAGE}`);
  return Number(value);
}

function ramp(value: string | undefined, name: string): [number, number] | undefined {
  if (value === undefined) return undefined;
  const [first = Number.NaN, last = first] = value.split(',').map(Number);
  if (Number.isNaN(first) || Number.isNaN(last))
    throw new Error(`--${name}: expected first,last, got ${value}\n${USAGE}`);
  return [first, last];
}

/** Runs `work` on every item, at most `limit` at a time; results in the order of the items. */
async function pool<T, R>(
  items: readonly T[],
  limit: number,
  work: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      results[index] = await work(items[index] as T, index);
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
  return results;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string', default: 'tiny' },
      captions: { type: 'string', default: 'scripts/train/heldout.json' },
      count: { type: 'string' },
      steps: { type: 'string' },
      guidance: { type: 'string' },
      temperature: { type: 'string' },
      width: { type: 'string' },
      height: { type: 'string' },
      seed: { type: 'string', default: '1' },
      backend: { type: 'string', default: 'auto' },
      precision: { type: 'string', default: 'auto' },
      output: { type: 'string', default: 'docs/models' },
    },
  });
  const seed = whole(values.seed, 'seed') ?? 1;
  const all = await readExpectations(values.captions);
  const expectations = spread(all, whole(values.count, 'count') ?? all.length);
  const options: GenerateOptions = {
    steps: whole(values.steps, 'steps'),
    width: whole(values.width, 'width'),
    height: whole(values.height, 'height'),
    guidanceScale: ramp(values.guidance, 'guidance'),
    temperature: ramp(values.temperature, 'temperature'),
  };

  const paella = await Paella.load({
    model: values.model,
    backend: values.backend as 'auto',
    precision: values.precision as 'auto',
  });
  try {
    let done = 0;
    const drawn = await pool(expectations, CONCURRENT, async (expectation: Expectation, index) => {
      const [image] = await paella.generate({ ...options, prompt: expectation.caption, seed: seed + index });
      if (!image) throw new Error(`no image for "${expectation.caption}"`);
      done += 1;
      if (process.stderr.isTTY) process.stderr.write(`\r${done} of ${expectations.length}`);
      const picture: Picture = { width: image.width, height: image.height, data: image.data };
      return { picture, seed: image.seed, judged: assess(expectation, picture), parameters: image.parameters };
    });
    if (process.stderr.isTTY) process.stderr.write('\n');

    const [first] = drawn;
    if (!first) throw new Error(`${values.captions} has no captions`);
    const both = (value: number | [number, number] | undefined): [number, number] =>
      Array.isArray(value) ? value : [value ?? Number.NaN, value ?? Number.NaN];
    const settings: Settings = {
      model: paella.model.name,
      backend: paella.backend,
      precision: paella.precision,
      captions: values.captions,
      width: first.picture.width,
      height: first.picture.height,
      steps: first.parameters.steps ?? Number.NaN,
      guidanceScale: both(first.parameters.guidanceScale),
      temperature: both(first.parameters.temperature),
      seed,
    };
    const results: Result[] = drawn;
    const given = process.argv.slice(2).join(' ');
    const command = `npm run evaluate${given ? ` -- ${given}` : ''}`;
    await mkdir(values.output, { recursive: true });
    const file = (ending: string): string => path.join(values.output, `${settings.model}-${ending}`);
    await writeFile(file('evaluation.json'), json(settings, results));
    await writeFile(file('evaluation.md'), markdown(settings, results, command));
    await writeFile(file('sheet.png'), await contactSheet(spread(drawn, SHOWN)));
    process.stdout.write(
      `${table(summarise(drawn.map(({ judged }) => judged)))}\n\nwritten: ${file('evaluation.{json,md}')}, ${file('sheet.png')}\n`,
    );
  } finally {
    await paella.dispose();
  }
}

await main();
