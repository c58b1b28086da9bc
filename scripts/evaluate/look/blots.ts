/** Where a picture is not what a drawing of the found objects says: blots, broken edges, specks. */

import { differenceAt, perceived } from './colour.js';
import type { Box, Canvas, Picture } from './raster.js';
import { labelled } from './regions.js';

/** OKLab, away from edges. */
const TOLERANCE = 0.06;
/** A pixel that differs by this much or more counts fully, a paler one in proportion. */
const STARK = 0.2;
/** RGB steps that neighbours on the drawing differ by where there is an edge. */
const EDGE = 12;
/**
 * RGB steps by which a pixel at an edge may leave the range of its neighbours' colours, and more in proportion to that
 * range: what is thinner than a pixel is mixed with its neighbours on the drawing, too.
 */
const OVERSHOOT = 16;
const SHARE = 0.3;
/** Likewise the distance in RGB from the nearest mixture of two of these colours, and its share of their distance. */
const ASIDE = 24;
const ASIDE_SHARE = 0.12;

export interface Blot {
  box: Box;
  /** px, pale ones counted in part. */
  weight: number;
}

/**
 * Regions of pixels that the canvas does not explain. `ground` is the canvas without objects. At edges, any mixture of the colours within one pixel is right:
 * pictures of an autoencoder are slightly blurred.
 */
export function blots(picture: Picture, labs: Float32Array, canvas: Canvas, ground: Canvas): Blot[] {
  const { width, height } = picture;
  const wanted = perceived(canvas.data);
  const mask = new Uint8Array(width * height);
  const distances = new Float32Array(width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const pixel = y * width + x;
      const distance = differenceAt(labs, pixel, wanted, pixel);
      distances[pixel] = distance;
      if (distance <= TOLERANCE) continue;
      if (!isBlurredEdge(picture, canvas, ground, x, y)) mask[pixel] = 1;
    }
  }
  const { data, regions } = labelled(mask, width, height);
  const result = regions.map(({ box }): Blot => ({ box, weight: 0 }));
  data.forEach((label, pixel) => {
    const blot = result[label - 1];
    if (blot) blot.weight += Math.min(1, (distances[pixel] as number) / STARK);
  });
  return result;
}

/** Whether a pixel may show some of what lies behind: it is at the rim of an object. */
function isAtRim(canvas: Canvas, ground: Canvas, at: number): boolean {
  return [0, 1, 2].every((c) => Math.abs((canvas.data[at + c] as number) - (ground.data[at + c] as number)) < 1);
}

/** Whether a colour is about a mixture of two of the others, or would be if one of them went a little further. */
function isMixture(colour: readonly number[], others: readonly (readonly number[])[]): boolean {
  return others.some((a, i) =>
    others.some((b, j) => {
      if (j <= i) return false;
      const along = a.map((value, c) => (b[c] as number) - value);
      const length2 = along.reduce((sum, d) => sum + d * d, 0);
      const dot = along.reduce((sum, d, c) => sum + d * ((colour[c] as number) - (a[c] as number)), 0);
      const share = length2 === 0 ? 0 : Math.min(1 + SHARE, Math.max(-SHARE, dot / length2));
      const off2 = along.reduce((sum, d, c) => sum + ((colour[c] as number) - (a[c] as number) - share * d) ** 2, 0);
      return Math.sqrt(off2) <= ASIDE + ASIDE_SHARE * Math.sqrt(length2);
    }),
  );
}

function isBlurredEdge(picture: Picture, canvas: Canvas, ground: Canvas, x: number, y: number): boolean {
  const { width, height } = picture;
  const at = 3 * (y * width + x);
  let edge = false;
  let anyRim = false;
  for (let c = 0; c < 3; c++) {
    let low = 255;
    let high = 0;
    let rim = false;
    for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
      for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
        const value = canvas.data[3 * (v * width + u) + c] as number;
        if (value < low) low = value;
        if (value > high) high = value;
        if (isAtRim(canvas, ground, 3 * (v * width + u))) rim = true;
      }
    }
    if (rim) {
      anyRim = true;
      // Behind an object, the ground may be another colour than beside it: the horizon.
      low = Math.min(low, ground.data[at + c] as number);
      high = Math.max(high, ground.data[at + c] as number);
    }
    if (high - low > EDGE) edge = true;
    const value = picture.data[at + c] as number;
    const beyond = OVERSHOOT + SHARE * (high - low);
    if (value < low - beyond || value > high + beyond) return false;
  }
  if (!edge) return false;
  const colours: number[][] = [];
  const add = ({ data }: Canvas, i: number) =>
    colours.push([data[i] as number, data[i + 1] as number, data[i + 2] as number]);
  for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++)
    for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) add(canvas, 3 * (v * width + u));
  if (anyRim) add(ground, at);
  return isMixture(
    [0, 1, 2].map((c) => picture.data[at + c] as number),
    colours,
  );
}
