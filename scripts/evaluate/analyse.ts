/** Analyses pictures that any program has made: see README.md for the call. */

import { readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { parseArgs } from 'node:util';
import sharp from 'sharp';
import { type Expectation, readExpectations, readExpectationsOfFiles } from './expectation.js';
import { assess, type Judged } from './judge.js';
import type { Picture } from './look/raster.js';
import { summarise, table } from './summary.js';

async function readPicture(file: string): Promise<Picture> {
  const { data, info } = await sharp(file)
    .removeAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { width: info.width, height: info.height, data: new Uint8Array(data) };
}

interface Job {
  file: string;
  expectation: Expectation;
}

/** A folder of pictures, paired with the captions in the order of their names (0000.png belongs to the first caption). */
async function jobsOfFolder(folder: string, captions: string): Promise<Job[]> {
  const expectations = await readExpectations(captions);
  const files = (await readdir(folder)).filter((name) => /^\d+\.(png|webp)$/.test(name)).sort();
  return files.map((name) => {
    const expectation = expectations[Number.parseInt(name, 10)];
    if (!expectation) throw new Error(`${captions} has no caption number ${name}`);
    return { file: path.join(folder, name), expectation };
  });
}

/** The captions of a JSON file, each of which names its picture, relative to that file. */
async function jobsOfFile(list: string): Promise<Job[]> {
  const entries = await readExpectationsOfFiles(list);
  return entries.map(({ file, ...expectation }) => ({ file: path.resolve(path.dirname(list), file), expectation }));
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      raw: { type: 'string' },
      captions: { type: 'string', default: 'scripts/train/heldout.json' },
      output: { type: 'string' },
    },
  });
  if (!values.raw)
    throw new Error('usage: analyse.ts --raw <folder or file.json> [--captions <file.json>] [--output <file.json>]');
  const jobs = values.raw.endsWith('.json')
    ? await jobsOfFile(values.raw)
    : await jobsOfFolder(values.raw, values.captions);
  if (jobs.length === 0) throw new Error(`${values.raw}: expected pictures 0.png, 1.png …, found none`);
  const judged: Array<Judged & { file: string }> = [];
  for (const { file, expectation } of jobs) {
    judged.push({ file: path.basename(file), ...assess(expectation, await readPicture(file)) });
  }
  const summary = summarise(judged);
  process.stderr.write(`${table(summary)}\n`);
  const json = `${JSON.stringify({ summary, pictures: judged }, null, 1)}\n`;
  if (values.output) await writeFile(values.output, json);
  else process.stdout.write(json);
}

await main();
