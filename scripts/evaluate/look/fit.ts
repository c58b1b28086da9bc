/**
 * Names a region by analysis through synthesis: the figures whose outlines fit are drawn with each texture, moved and
 * scaled until the drawing is as much like the picture as can be, and the one that leaves least unexplained wins.
 */

import { type Rgb, TEXTURES, type Texture } from '../vocabulary.js';
import { MedianColour } from './colour.js';
import type { Template } from './figures.js';
import { type Box, boxWidth, type Canvas, grow, type Picture } from './raster.js';
import { cover, drawn, MIXED, type Placement } from './render.js';
import type { Outline } from './silhouette.js';

export interface Fit {
  template: Template;
  texture: Texture;
  place: Placement;
  /** Measured. */
  main: Rgb;
  /** What the drawing leaves unexplained of what sets the region off from its ground: squared differences, 0 is perfect. */
  residual: number;
}

/** The part of a picture in which a region is explained. */
export interface Scope {
  picture: Picture;
  canvas: Canvas;
  box: Box;
  /** 1 where a pixel belongs to something else, one number for each pixel of the box. */
  foreign: Uint8Array;
}

/** Samples along each side of a pixel: to choose, to place, and to compare in the end. */
const ROUGH = 2;
const MIDDLE = 3;
export const FINE = 4;
/** px, one after the other. */
const STEPS = [0.5, 0.25, 0.125];
/** Directions of x, y and half. A figure that does not fill its box evenly moves when it grows. */
const MOVES = [
  [1, 0, 0],
  [0, 1, 0],
  [0, 0, 1],
  [0, 1, 1],
  [0, -1, 1],
] as const;
/** Besides the best, this many fits are made better, if they leave no more than so many times what the best leaves. */
const RIVALS = 3;
const NEAR = 4;
/** Fewer fully covered pixels than this do not show a colour; then it is taken from the pixels that are most covered. */
const ENOUGH = 8;

/** How much of every pixel of the box the object's own colour covers, 0 … 1. */
function mainShares(
  scope: Scope,
  template: Template,
  texture: Texture,
  place: Placement,
  samples: number,
): Float32Array {
  const { box, foreign } = scope;
  const isMain = [0, ...template.fills.map((fill) => Number(fill === 'main')), 0];
  const { parts, samples: all } = cover(template, template.map, texture, place, box, samples);
  const each = samples * samples;
  const shares = new Float32Array(foreign.length);
  for (let pixel = 0; pixel < foreign.length; pixel++) {
    if (foreign[pixel]) continue;
    const part = parts[pixel] as number;
    if (part !== MIXED) {
      shares[pixel] = isMain[part] as number;
      continue;
    }
    let covered = 0;
    for (let s = pixel * each; s < (pixel + 1) * each; s++) covered += isMain[all[s] as number] as number;
    shares[pixel] = covered / each;
  }
  return shares;
}

/** The object's own colour: of pixels away from every edge, or else of those that it covers, or else most of. */
function mainColour(scope: Scope, template: Template, texture: Texture, place: Placement, samples: number): Rgb {
  const { picture, box } = scope;
  const shares = mainShares(scope, template, texture, place, samples);
  const width = boxWidth(box);
  const at = (pixel: number): number =>
    3 * ((box.top + Math.floor(pixel / width)) * picture.width + box.left + (pixel % width));
  const add = (median: MedianColour, pixel: number): void => {
    const i = at(pixel);
    median.add(picture.data[i] as number, picture.data[i + 1] as number, picture.data[i + 2] as number);
  };
  const whole = new MedianColour();
  const deep = new MedianColour();
  const partly: number[] = [];
  for (let pixel = 0; pixel < shares.length; pixel++) {
    const share = shares[pixel] as number;
    if (share < 0.5) continue;
    if (share < 1) {
      partly.push(pixel);
      continue;
    }
    add(whole, pixel);
    const around = [-width - 1, -width, 1 - width, -1, 1, width - 1, width, width + 1];
    if (around.every((step) => shares[pixel + step] === 1)) add(deep, pixel);
  }
  if (deep.count >= ENOUGH) return deep.value();
  if (whole.count >= ENOUGH) return whole.value();
  partly.sort((a, b) => (shares[b] as number) - (shares[a] as number));
  for (const pixel of partly.slice(0, ENOUGH - whole.count)) add(whole, pixel);
  return whole.value();
}

/** Squared differences between the picture and `data`, or the canvas, over the box. */
function squares({ picture, canvas, box, foreign }: Scope, data?: Float32Array): number {
  const width = boxWidth(box);
  const values = picture.data;
  let sum = 0;
  for (let pixel = 0, i = 0, j = 0; pixel < foreign.length; pixel++) {
    if (!foreign[pixel]) {
      const at = 3 * ((box.top + j) * picture.width + box.left + i);
      const from = data ?? canvas.data;
      const k = data ? 3 * pixel : at;
      const red = (values[at] as number) - (from[k] as number);
      const green = (values[at + 1] as number) - (from[k + 1] as number);
      const blue = (values[at + 2] as number) - (from[k + 2] as number);
      sum += red * red + green * green + blue * blue;
    }
    if (++i === width) {
      i = 0;
      j++;
    }
  }
  return sum;
}

/** Hundreds of drawings a picture: they share one piece of memory. */
let scratch: Float32Array = new Float32Array(0);

function residualOf(scope: Scope, fit: Omit<Fit, 'residual'>, energy: number, samples: number): number {
  const { template, texture, main, place } = fit;
  scratch = drawn(template, template.map, texture, main, place, scope.canvas, scope.box, samples, scratch);
  return squares(scope, scratch) / energy;
}

function fitted(
  scope: Scope,
  template: Template,
  texture: Texture,
  place: Placement,
  energy: number,
  samples: number,
): Fit {
  const main = mainColour(scope, template, texture, place, samples);
  const fit = { template, texture, place, main };
  return { ...fit, residual: residualOf(scope, fit, energy, samples) };
}

/** Moves and scales the drawing until it fits best. */
function refined(scope: Scope, start: Fit, energy: number): Fit {
  let best = fitted(scope, start.template, start.texture, start.place, energy, MIDDLE);
  const attempt = (dx: number, dy: number, grown: number): boolean => {
    const { x, y, half } = best.place;
    const place = { x: x + dx, y: y + dy, half: half + grown };
    const residual = residualOf(scope, { ...best, place }, energy, MIDDLE);
    if (residual >= best.residual - 1e-5) return false;
    best = { ...best, place, residual };
    return true;
  };
  for (const step of STEPS) {
    for (let round = 0; round < 4; round++) {
      const moved = MOVES.filter(([dx, dy, grown]) => {
        const by = (sign: number) => attempt(sign * step * dx, sign * step * dy, sign * step * grown);
        return by(1) || by(-1);
      });
      if (moved.length === 0) break;
    }
  }
  const { template, texture, place } = best;
  return fitted(scope, template, texture, place, energy, MIDDLE);
}

/** The box in which a figure at these places is drawn in full. */
export function boxOf(places: readonly Placement[], canvas: Canvas, margin: number): Box {
  const box = {
    left: Math.floor(Math.min(...places.map(({ x, half }) => x - half))),
    top: Math.floor(Math.min(...places.map(({ y, half }) => y - half))),
    right: Math.ceil(Math.max(...places.map(({ x, half }) => x + half))) - 1,
    bottom: Math.ceil(Math.max(...places.map(({ y, half }) => y + half))) - 1,
  };
  return grow(box, margin, canvas);
}

/** The best fit of every figure that comes into question, best first. */
export function fits(scope: Scope, candidates: readonly Outline[], textures: readonly Texture[] = TEXTURES): Fit[] {
  const energy = squares(scope);
  const all = candidates.flatMap(({ template, place }) =>
    (template.textured ? textures : (['plain'] as const)).map((texture) =>
      fitted(scope, template, texture, place, energy, ROUGH),
    ),
  );
  all.sort((a, b) => a.residual - b.residual);
  const [first] = all;
  if (!first) return [];
  const best = refined(scope, first, energy);
  // Only what could still come near the best is worth the time.
  const rivals = all
    .slice(1)
    .filter(({ residual }) => residual < NEAR * best.residual + 0.01)
    .slice(0, RIVALS)
    .map((fit) => refined(scope, fit, energy));
  const others = all.slice(1 + rivals.length);
  return [best, ...rivals, ...others].sort((a, b) => a.residual - b.residual);
}

/** Which parts of a box belong to a region or to nothing: 1 where another region is, or is closer than 2 px. */
export function foreignPixels(labels: Int32Array, width: number, box: Box, own: number): Uint8Array {
  const height = labels.length / width;
  const columns = boxWidth(box);
  const foreign = new Uint8Array(columns * (box.bottom - box.top + 1));
  const reach = 1;
  for (let y = Math.max(0, box.top - reach); y <= Math.min(height - 1, box.bottom + reach); y++) {
    for (let x = Math.max(0, box.left - reach); x <= Math.min(width - 1, box.right + reach); x++) {
      const label = labels[y * width + x] as number;
      if (label === 0 || label === own) continue;
      for (let v = Math.max(box.top, y - reach); v <= Math.min(box.bottom, y + reach); v++) {
        for (let u = Math.max(box.left, x - reach); u <= Math.min(box.right, x + reach); u++) {
          if (labels[v * width + u] !== own) foreign[(v - box.top) * columns + u - box.left] = 1;
        }
      }
    }
  }
  return foreign;
}
