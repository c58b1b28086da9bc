/** Which of the backgrounds a picture has: the one that explains most of its pixels. */

import { BACKGROUND_VALUES, HORIZON, known, type Rgb } from '../vocabulary.js';
import { differenceAt, perceived } from './colour.js';
import type { Canvas, Picture } from './raster.js';

/** A pixel is explained within this distance (OKLab). */
const TOLERANCE = 0.045;
/** Median distance of the explained pixels of the upper or the lower half above which the ground is another colour. */
const OFFSET = 0.03;
/** Share of the height by which the horizon may lie higher or lower than in drawn pictures. */
const HORIZON_PLAY = 0.06;
/** Rows on each side of the horizon that may show a mixture. */
const BLUR = 2;
/** Width of the ring along the border that counts as much as all other pixels, px: objects hardly reach into it. */
const RING = 3;

export interface Background {
  name: string;
  /** The picture without its objects. */
  canvas: Canvas;
  /** Distance of every pixel to the canvas. */
  distances: Float32Array;
  /** The colours are right, not only the nearest. */
  clear: boolean;
}

const mixed = (a: Rgb, b: Rgb, share: number): Rgb => [
  a[0] + share * (b[0] - a[0]),
  a[1] + share * (b[1] - a[1]),
  a[2] + share * (b[2] - a[2]),
];

/** The colour of every row, RGB. */
export function rowsOf(name: string, height: number, horizon = Math.round((HORIZON * height) / 8) * 8): Rgb[] {
  const { top, below, bottom } = known(BACKGROUND_VALUES, name);
  return Array.from({ length: height }, (_, y) => {
    if (below && y >= horizon) return below;
    return bottom ? mixed(top, bottom, (y + 0.5) / height) : top;
  });
}

export function canvasOf(rows: readonly Rgb[], width: number): Canvas {
  const data = new Float32Array(3 * width * rows.length);
  rows.forEach((row, y) => {
    for (let x = 0; x < width; x++) data.set(row, 3 * (y * width + x));
  });
  return { width, height: rows.length, data };
}

interface Candidate {
  name: string;
  rows: Rgb[];
  /** First row below the horizon, if there is one. */
  horizon?: number;
  explained: number;
}

/** How much of every row lies within the tolerance of that row's colour; the border's pixels weigh more. */
function explainedByRow(labs: Float32Array, width: number, rows: readonly Rgb[]): Float32Array {
  const wanted = perceived(rows.flat());
  const height = rows.length;
  const counts = new Float32Array(height);
  const ring = 2 * RING * (width + height - 2 * RING);
  const weight = (width * height) / ring;
  for (let y = 0; y < rows.length; y++) {
    let count = 0;
    const border = y < RING || y >= height - RING;
    for (let x = 0; x < width; x++) {
      if (differenceAt(labs, y * width + x, wanted, y) > TOLERANCE) continue;
      count += border || x < RING || x >= width - RING ? weight : 1;
    }
    counts[y] = count;
  }
  return counts;
}

const sum = (counts: Float32Array): number => counts.reduce((a, b) => a + b, 0);

/** With its horizon where that explains most. */
function candidate(name: string, labs: Float32Array, width: number, height: number): Candidate {
  const { below } = known(BACKGROUND_VALUES, name);
  const usual = Math.round((HORIZON * height) / 8) * 8;
  if (!below) {
    const rows = rowsOf(name, height);
    return { name, rows, explained: sum(explainedByRow(labs, width, rows)) };
  }
  const above = explainedByRow(labs, width, rowsOf(name, height, height));
  const under = explainedByRow(labs, width, rowsOf(name, height, 0));
  let best = { horizon: usual, explained: -1 };
  for (let play = 0; play <= HORIZON_PLAY * height; play++) {
    for (const horizon of [usual - play, usual + play]) {
      const explained = sum(above.subarray(0, horizon)) + sum(under.subarray(horizon));
      if (explained > best.explained) best = { horizon, explained };
    }
  }
  return { name, rows: rowsOf(name, height, best.horizon), ...best };
}

/** Whether the explained pixels of the part of the picture have the very colour. */
function colourIsRight(distances: Float32Array): boolean {
  let near = 0;
  let right = 0;
  for (const distance of distances) {
    if (distance > TOLERANCE) continue;
    near++;
    if (distance <= OFFSET) right++;
  }
  return 2 * right >= near;
}

/** Close to the horizon, any mixture of the colours above and below is background: it may be blurred. */
function blendHorizon(
  labs: Float32Array,
  wanted: Float32Array,
  distances: Float32Array,
  width: number,
  horizon: number,
): void {
  const above = wanted.subarray(3 * width * (horizon - 1));
  const step = [0, 1, 2].map((c) => (wanted[3 * width * horizon + c] as number) - (above[c] as number));
  const length = step.reduce((sum, s) => sum + s * s, 0);
  for (let pixel = (horizon - BLUR) * width; pixel < (horizon + BLUR) * width; pixel++) {
    const off = [0, 1, 2].map((c) => (labs[3 * pixel + c] as number) - (above[c] as number));
    const along = off.reduce((sum, o, c) => sum + o * (step[c] as number), 0) / length;
    const share = Math.max(0, Math.min(1, along));
    distances[pixel] = Math.hypot(...off.map((o, c) => o - share * (step[c] as number)));
  }
}

export function findBackground({ width, height }: Picture, labs: Float32Array): Background {
  const candidates = Object.keys(BACKGROUND_VALUES).map((name) => candidate(name, labs, width, height));
  const { name, rows, horizon } = candidates.reduce((a, b) => (b.explained > a.explained ? b : a));
  const canvas = canvasOf(rows, width);
  const wanted = perceived(canvas.data);
  const distances = new Float32Array(width * height);
  for (let i = 0; i < distances.length; i++) distances[i] = differenceAt(labs, i, wanted, i);
  if (horizon !== undefined) blendHorizon(labs, wanted, distances, width, horizon);
  const middle = width * Math.floor(height / 2);
  const clear = colourIsRight(distances.subarray(0, middle)) && colourIsRight(distances.subarray(middle));
  return { name, canvas, distances, clear };
}
