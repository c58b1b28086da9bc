/** A contact sheet: pictures with their captions, wrong ones in a red frame with what is wrong. */

import sharp, { type OverlayOptions } from 'sharp';
import type { Judged } from './judge.js';
import type { Picture } from './look/raster.js';

const COLUMNS = 8;
const PICTURE = 128;
const GAP = 10;
const LINE = 12;
const LINES = 7;
const CELL = { width: PICTURE + GAP, height: PICTURE + GAP + LINES * LINE };
/** Characters of an 11 px sans-serif that fit below a picture. */
const CHARACTERS = 22;
const RED = '#c8102e';

export interface Shown {
  picture: Picture;
  judged: Judged;
}

function wrap(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= CHARACTERS) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

function escaped(text: string): string {
  return text.replace(/[&<>]/g, (sign) => `&#${sign.charCodeAt(0)};`);
}

function caption({ expectation, verdict }: Judged, x: number, y: number): string {
  const lines = [
    ...wrap(expectation.caption).map((line) => ({ line, colour: '#222' })),
    ...wrap(verdict.faults.join(', ')).map((line) => ({ line, colour: RED })),
  ].slice(0, LINES);
  const texts = lines.map(
    ({ line, colour }, i) => `<text x="${x}" y="${y + (i + 1) * LINE}" fill="${colour}">${escaped(line)}</text>`,
  );
  const frame = verdict.right
    ? `<rect x="${x - 0.5}" y="${y - PICTURE - 0.5}" width="${PICTURE + 1}" height="${PICTURE + 1}" fill="none" stroke="#999"/>`
    : `<rect x="${x - 2}" y="${y - PICTURE - 2}" width="${PICTURE + 4}" height="${PICTURE + 4}" fill="none" stroke="${RED}" stroke-width="4"/>`;
  return frame + texts.join('');
}

/** PNG of all pictures, eight in a row; oblong ones are scaled to fit and centred. */
export async function contactSheet(shown: readonly Shown[]): Promise<Buffer> {
  const width = COLUMNS * CELL.width + GAP;
  const height = Math.ceil(shown.length / COLUMNS) * CELL.height + GAP;
  const places = shown.map((_, i) => ({
    left: GAP + (i % COLUMNS) * CELL.width,
    top: GAP + Math.floor(i / COLUMNS) * CELL.height,
  }));
  const pictures: OverlayOptions[] = await Promise.all(
    shown.map(async ({ picture }, i) => ({
      input: await sharp(picture.data, { raw: { width: picture.width, height: picture.height, channels: 3 } })
        .resize(PICTURE, PICTURE, { kernel: 'nearest', fit: 'contain', background: '#ddd' })
        .png()
        .toBuffer(),
      left: places[i]?.left ?? 0,
      top: places[i]?.top ?? 0,
    })),
  );
  const captions = shown.map(({ judged }, i) => caption(judged, places[i]?.left ?? 0, (places[i]?.top ?? 0) + PICTURE));
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="11">${captions.join('')}</svg>`;
  return sharp({ create: { width, height, channels: 3, background: '#fff' } })
    .composite([...pictures, { input: Buffer.from(svg), left: 0, top: 0 }])
    .png({ palette: true, compressionLevel: 9 })
    .toBuffer();
}
