/**
 * Draws scenes for the tests of the picture analysis, by its own means: neither the trained model's drawing code nor
 * the templates of the analysis are used, only the geometry in domain.json.
 */

import sharp, { type Sharp } from 'sharp';
import type { Picture } from '../../scripts/evaluate/look/raster.js';
import {
  ACCENT_VALUES,
  BACKGROUND_VALUES,
  COLOUR_VALUES,
  FIGURE_SHAPES,
  known,
  type Layer,
  type Rgb,
  type Texture,
} from '../../scripts/evaluate/vocabulary.js';

/** Whether a point, px from the picture's top left corner, is inside. */
export type Area = (x: number, y: number) => boolean;

export interface Drawn {
  area: Area;
  colour: Rgb;
  /** Nothing is further than `reach` from (x, y) along either axis, px: it need not be looked for there. */
  around?: { x: number; y: number; reach: number };
}

/** Samples along each side of a pixel. */
const SAMPLES = 4;
/** Directions in which the edge is looked for. */
const DIRECTIONS = 16;

export const disc =
  (cx: number, cy: number, rx: number, ry = rx): Area =>
  (x, y) =>
    ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1;

export const rectangle =
  (left: number, top: number, right: number, bottom: number): Area =>
  (x, y) =>
    x >= left && x < right && y >= top && y < bottom;

/** Left of as many edges as right of them: winding by angles would be slower. */
export function polygon(points: ReadonlyArray<readonly [number, number]>): Area {
  return (x, y) => {
    let inside = false;
    points.forEach(([ax, ay], i) => {
      const [bx, by] = points[(i + 1) % points.length] as readonly [number, number];
      if (ay > y !== by > y && x < ax + ((bx - ax) * (y - ay)) / (by - ay)) inside = !inside;
    });
    return inside;
  };
}

export const without =
  (area: Area, hole: Area): Area =>
  (x, y) =>
    area(x, y) && !hole(x, y);

/** What is further than `px` from the edge. */
function deep(area: Area, px: number): Area {
  const steps = Array.from({ length: DIRECTIONS }, (_, i) => {
    const angle = (2 * Math.PI * i) / DIRECTIONS;
    return [px * Math.cos(angle), px * Math.sin(angle)] as const;
  });
  return (x, y) => area(x, y) && steps.every(([dx, dy]) => area(x + dx, y + dy));
}

function areaOf({ polygon: points, circle, ellipse, minus }: Layer): Area {
  const whole = points ? polygon(points) : ellipse ? disc(...ellipse) : circle ? disc(...circle) : () => false;
  return minus ? without(whole, disc(...minus)) : whole;
}

export interface Placed {
  x: number;
  y: number;
  half: number;
  variant?: number;
  mirrored?: boolean;
}

/** One area for each run of layers that have the same fill: neighbours of one colour have no seam. */
export function partsOf(figure: string, { x, y, half, variant = 0, mirrored = false }: Placed) {
  const layers = known(FIGURE_SHAPES, figure).variants[variant] ?? [];
  const runs: Array<{ fill: string; areas: Area[] }> = [];
  for (const layer of layers) {
    const unit = areaOf(layer);
    const area: Area = (px, py) => unit((mirrored ? x - px : px - x) / half, (py - y) / half);
    const last = runs.at(-1);
    if (last?.fill === layer.fill) last.areas.push(area);
    else runs.push({ fill: layer.fill, areas: [area] });
  }
  return runs.map(({ fill, areas }) => ({ fill, area: (px: number, py: number) => areas.some((a) => a(px, py)) }));
}

const modulo = (value: number, by: number): number => value - by * Math.floor(value / by);

/** A figure with its parts, from back to front. */
export function figureOf(figure: string, main: Rgb, texture: Texture, place: Placed): Drawn[] {
  const around = { x: place.x, y: place.y, reach: 1.1 * place.half };
  return partsInColour(figure, main, texture, place).map((part) => ({ ...part, around }));
}

function partsInColour(figure: string, main: Rgb, texture: Texture, place: Placed): Drawn[] {
  const parts = partsOf(figure, place);
  const [first] = parts;
  if (texture === 'plain' || !first) {
    return parts.map(({ fill, area }) => ({ area, colour: fill === 'main' ? main : known(ACCENT_VALUES, fill) }));
  }
  const whole = first.area;
  if (texture === 'outlined') return [{ area: without(whole, deep(whole, 4)), colour: main }];
  const inner = deep(whole, texture === 'striped' ? 4 : 2.5);
  const pattern: Area =
    texture === 'striped'
      ? (_, y) => modulo(y - place.y, 8) < 4
      : (x, y) => Math.hypot(modulo(x - place.x, 8) - 4, modulo(y - place.y, 8) - 4) <= 2.8;
  return [
    { area: whole, colour: main },
    { area: (x, y) => pattern(x, y) && inner(x, y), colour: [255, 255, 255] },
  ];
}

/** RGB of every row. */
export function groundOf(name: string, height: number): Rgb[] {
  const { top, below, bottom } = known(BACKGROUND_VALUES, name);
  const horizon = 8 * Math.round((0.625 * height) / 8);
  return Array.from({ length: height }, (_, y) => {
    const share = (y + 0.5) / height;
    if (bottom) return top.map((v, c) => v + share * ((bottom[c] as number) - v)) as unknown as Rgb;
    return below && y >= horizon ? below : top;
  });
}

function coverage(area: Area, x: number, y: number): number {
  let hits = 0;
  for (let s = 0; s < SAMPLES * SAMPLES; s++) {
    if (area(x + ((s % SAMPLES) + 0.5) / SAMPLES, y + (Math.floor(s / SAMPLES) + 0.5) / SAMPLES)) hits++;
  }
  return hits / (SAMPLES * SAMPLES);
}

/** Paints the objects one over the other. */
export function render(width: number, height: number, ground: readonly Rgb[], objects: readonly Drawn[]): Picture {
  const data = new Uint8Array(3 * width * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const value = [...(ground[y] as Rgb)];
      for (const { area, colour, around } of objects) {
        if (around && Math.max(Math.abs(x + 0.5 - around.x), Math.abs(y + 0.5 - around.y)) > around.reach + 1) continue;
        const share = coverage(area, x, y);
        if (share > 0)
          for (let c = 0; c < 3; c++) value[c] = (value[c] ?? 0) + share * ((colour[c] ?? 0) - (value[c] ?? 0));
      }
      data.set(value.map(Math.round), 3 * (y * width + x));
    }
  }
  return { width, height, data };
}

/** Numbers in [0, 1) that are the same in every run (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

export function noisy(picture: Picture, amplitude: number, random: () => number): Picture {
  const data = picture.data.map((value) =>
    Math.max(0, Math.min(255, Math.round(value + amplitude * (2 * random() - 1)))),
  );
  return { ...picture, data };
}

async function through(picture: Picture, change: (image: Sharp) => Sharp): Promise<Picture> {
  const { width, height } = picture;
  const image = sharp(picture.data, { raw: { width, height, channels: 3 } });
  const encoded = await change(image).toBuffer();
  const { data } = await sharp(encoded).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  return { width, height, data: new Uint8Array(data) };
}

export function blurred(picture: Picture, sigma: number): Promise<Picture> {
  return through(picture, (image) => image.blur(sigma).png());
}

export function compressed(picture: Picture, quality: number): Promise<Picture> {
  return through(picture, (image) => image.jpeg({ quality, chromaSubsampling: '4:4:4' }));
}

export const colourOf = (name: string): Rgb => known(COLOUR_VALUES, name);
