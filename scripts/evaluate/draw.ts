/** Draws captions through the public interface, many calls at a time, and judges the pictures. */

import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import sharp from 'sharp';
import type { GeneratedImage, GenerateOptions, Paella } from '../../lib/index.js';
import type { Expectation } from './expectation.js';
import { assess, type Judged } from './judge.js';
import type { Picture } from './look/raster.js';

/** Calls under way at a time: enough for the engine to merge them into full batches. */
const CONCURRENT = 32;

export interface Drawn {
  picture: Picture;
  seed: number;
  judged: Judged;
}

/** Runs `work` on every item, at most `limit` at a time; results in the order of the items. */
export async function pool<T, R>(
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

export async function pngOf({ width, height, data }: Picture): Promise<Buffer> {
  return sharp(data, { raw: { width, height, channels: 3 } })
    .png()
    .toBuffer();
}

export type Progress = (done: number, of: number) => void;

/** A model, and where its pictures go. */
export interface Painter {
  paella: Paella;
  /** For all pictures; single sections add their own. */
  options: GenerateOptions;
  /** Picture i of a section uses seed + i. */
  seed: number;
  /** Folder for every picture as PNG. */
  pictures?: string | undefined;
  progress: (section: string) => Progress;
}

/** One picture of each caption. `section` names the pictures' folder. */
export async function drawAll(
  { paella, options, seed, pictures, progress }: Painter,
  section: string,
  expectations: readonly Expectation[],
  own: GenerateOptions = {},
): Promise<Drawn[]> {
  const folder = pictures && path.join(pictures, section);
  if (folder) await mkdir(folder, { recursive: true });
  const report = progress(section);
  let done = 0;
  return pool(expectations, CONCURRENT, async (expectation, index) => {
    const request = { ...options, ...own, prompt: expectation.caption, seed: seed + index };
    const [image] = await paella.generate(request);
    if (!image) throw new Error(`no image for "${expectation.caption}"`);
    const picture = pictureOf(image);
    if (folder) await writeFile(path.join(folder, `${String(index).padStart(4, '0')}.png`), await pngOf(picture));
    const drawn = { picture, seed: image.seed, judged: assess(expectation, picture) };
    done += 1;
    report(done, expectations.length);
    return drawn;
  });
}

export function pictureOf({ width, height, data }: GeneratedImage): Picture {
  return { width, height, data };
}
