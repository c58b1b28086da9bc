/**
 * Draws scenes for the tests of the picture analysis, by its own means: neither the trained model's drawing code nor
 * the templates of the analysis are used. Shapes are polygons.
 */

import sharp, { type Sharp } from 'sharp';
import type { Picture } from '../../scripts/evaluate/raster.js';
import type { Rgb, Shape } from '../../scripts/evaluate/vocabulary.js';

export type Point = readonly [number, number];

export interface Drawn {
  polygon: Point[];
  colour: Rgb;
}

/** Lines per row of pixels; along a line, coverage is exact. */
const LINES = 8;

/** Half of a cross's arm width. */
const ARM = 1 / 3;

/** Corners of a shape in a box of half size 1 around the origin; y points down. */
const OUTLINES: Record<Shape, Point[]> = {
  circle: Array.from({ length: 64 }, (_, i) => [Math.cos((i * Math.PI) / 32), Math.sin((i * Math.PI) / 32)] as const),
  square: [
    [-1, -1],
    [1, -1],
    [1, 1],
    [-1, 1],
  ],
  triangle: [
    [0, -1],
    [1, 1],
    [-1, 1],
  ],
  cross: [
    [-ARM, -1],
    [ARM, -1],
    [ARM, -ARM],
    [1, -ARM],
    [1, ARM],
    [ARM, ARM],
    [ARM, 1],
    [-ARM, 1],
    [-ARM, ARM],
    [-1, ARM],
    [-1, -ARM],
    [-ARM, -ARM],
  ],
};

export function outline(shape: Shape, x: number, y: number, half: number, degrees = 0, stretch = 1): Point[] {
  const [sin, cos] = [Math.sin((degrees * Math.PI) / 180), Math.cos((degrees * Math.PI) / 180)];
  return OUTLINES[shape].map(([px, py]) => {
    const [sx, sy] = [px * stretch, py];
    return [x + half * (cos * sx - sin * sy), y + half * (sin * sx + cos * sy)] as const;
  });
}

/** The columns at which a horizontal line enters and leaves a polygon, ascending. */
function crossings(polygon: readonly Point[], y: number): number[] {
  return polygon
    .flatMap(([ax, ay], i) => {
      const [bx, by] = polygon[(i + 1) % polygon.length] as Point;
      return ay > y !== by > y ? [ax + ((bx - ax) * (y - ay)) / (by - ay)] : [];
    })
    .sort((a, b) => a - b);
}

/** How much of every pixel of row `y` the polygon covers. */
function coverageOfRow(polygon: readonly Point[], y: number, width: number): Float64Array {
  const covered = new Float64Array(width);
  for (let line = 0; line < LINES; line++) {
    const at = crossings(polygon, y + (line + 0.5) / LINES);
    for (let i = 0; i + 1 < at.length; i += 2) {
      const [from, to] = [Math.max(0, at[i] ?? 0), Math.min(width, at[i + 1] ?? 0)];
      for (let x = Math.floor(from); x < to; x++) {
        covered[x] = (covered[x] ?? 0) + (Math.min(to, x + 1) - Math.max(from, x)) / LINES;
      }
    }
  }
  return covered;
}

/** Paints the objects one over the other. */
export function render(width: number, height: number, ground: Rgb, objects: readonly Drawn[]): Picture {
  const data = new Uint8Array(3 * width * height);
  for (let y = 0; y < height; y++) {
    const rows = objects.map(({ polygon, colour }) => ({ colour, covered: coverageOfRow(polygon, y, width) }));
    for (let x = 0; x < width; x++) {
      for (let channel = 0; channel < 3; channel++) {
        let value = ground[channel] ?? 0;
        for (const { colour, covered } of rows) value += (covered[x] ?? 0) * ((colour[channel] ?? 0) - value);
        data[3 * (y * width + x) + channel] = Math.round(value);
      }
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

/** Half the size and back: what a lossy autoencoder does to edges. */
export async function coarse(picture: Picture): Promise<Picture> {
  const { width, height } = picture;
  const half = await sharp(picture.data, { raw: { width, height, channels: 3 } })
    .resize(width / 2, height / 2, { kernel: 'cubic' })
    .raw()
    .toBuffer();
  return through({ width: width / 2, height: height / 2, data: new Uint8Array(half) }, (image) => image.png()).then(
    async (small) => {
      const data = await sharp(small.data, { raw: { width: width / 2, height: height / 2, channels: 3 } })
        .resize(width, height, { kernel: 'cubic' })
        .raw()
        .toBuffer();
      return { width, height, data: new Uint8Array(data) };
    },
  );
}
