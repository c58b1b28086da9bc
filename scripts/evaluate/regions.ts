/**
 * Cuts a picture into regions of one colour.
 *
 * Every pixel gets the nearest of the measured background, the object colours and the other backgrounds. Blurred and
 * anti-aliased edges mix two colours, and the mixture can be nearest to a third (the rim of red on white is pink, close
 * to orange). Such rims are thin: a region only counts if it has a core, pixels whose whole neighbourhood carries the
 * same label. Whatever has no core is given to the region it touches, or counted as specks.
 */

import { BACKGROUND_LABS, type FoundBackground } from './background.js';
import { difference, type Lab, nearest, pixel, toLab } from './colour.js';
import { type Box, NEIGHBOURS_4, NEIGHBOURS_8, type Picture, Plane } from './raster.js';
import { COLOUR_VALUES, COLOURS, type Colour } from './vocabulary.js';

export const COLOUR_LABS = COLOURS.map((name) => [name, toLab(COLOUR_VALUES[name])] as const);

/** A region smaller than this many px, or with a smaller core, is a speck. The smallest object has about 45 px. */
const MINIMAL_AREA = 14;
const MINIMAL_CORE = 4;
/** Pixels without a region join one at most this many px away. */
const REACH = 2;
/** A background other than the measured one counts as such only if it is nearer than this (OKLab). */
const FOREIGN = 0.07;

const GROUND = -1;
/** Labels 0 … are indices into COLOURS, then backgrounds that do not belong here. */
export type Label = Colour | 'foreign';

export interface Region {
  label: Label;
  pixels: Array<readonly [number, number]>;
  box: Box;
}

export interface Segmentation {
  regions: Region[];
  /** Index into `regions`, or -1. */
  owner: Plane;
  labels: Plane;
  /** Pixels that are neither background nor part of a region. */
  specks: number;
}

function labelPixels(picture: Picture, ground: FoundBackground): Plane {
  const labels = new Plane(picture.width, picture.height, GROUND);
  const foreign = BACKGROUND_LABS.filter(([name]) => name !== ground.name).map(([, lab]) => lab);
  const references: Array<readonly [number, Lab]> = [
    [GROUND, ground.lab],
    ...COLOUR_LABS.map(([, lab], index) => [index, lab] as const),
  ];
  for (let y = 0; y < picture.height; y++) {
    for (let x = 0; x < picture.width; x++) {
      const lab = toLab(pixel(picture, x, y));
      const found = nearest(lab, references);
      const alien = foreign.some((other) => {
        const distance = difference(lab, other);
        return distance < FOREIGN && distance < found.distance;
      });
      labels.set(x, y, alien ? COLOURS.length : found.name);
    }
  }
  return labels;
}

function flood(labels: Plane, seen: Plane, x: number, y: number): Array<readonly [number, number]> {
  const label = labels.at(x, y);
  const pixels: Array<readonly [number, number]> = [[x, y]];
  seen.set(x, y, 1);
  for (let next = 0; next < pixels.length; next++) {
    const [px, py] = pixels[next] ?? [0, 0];
    for (const [dx, dy] of NEIGHBOURS_8) {
      const [nx, ny] = [px + dx, py + dy];
      if (seen.at(nx, ny) === 0 && labels.at(nx, ny) === label) {
        seen.set(nx, ny, 1);
        pixels.push([nx, ny]);
      }
    }
  }
  return pixels;
}

function boxOf(pixels: ReadonlyArray<readonly [number, number]>): Box {
  const box = { left: Infinity, top: Infinity, right: -Infinity, bottom: -Infinity };
  for (const [x, y] of pixels) {
    box.left = Math.min(box.left, x);
    box.right = Math.max(box.right, x);
    box.top = Math.min(box.top, y);
    box.bottom = Math.max(box.bottom, y);
  }
  return box;
}

function coreOf(pixels: ReadonlyArray<readonly [number, number]>, labels: Plane): number {
  return pixels.filter(([x, y]) => NEIGHBOURS_4.every(([dx, dy]) => labels.at(x + dx, y + dy) === labels.at(x, y)))
    .length;
}

/** Gives pixels without an owner to the nearest region within REACH. Returns how many are left. */
function adopt(orphans: Array<readonly [number, number]>, owner: Plane, regions: Region[]): number {
  let left = orphans;
  for (let round = 0; round < REACH; round++) {
    const adopted: Array<readonly [number, number, number]> = [];
    const still: typeof left = [];
    for (const [x, y] of left) {
      const neighbour = NEIGHBOURS_8.map(([dx, dy]) => owner.at(x + dx, y + dy)).find((index) => index >= 0);
      if (neighbour === undefined) still.push([x, y]);
      else adopted.push([x, y, neighbour]);
    }
    for (const [x, y, index] of adopted) {
      owner.set(x, y, index);
      regions[index]?.pixels.push([x, y]);
    }
    left = still;
  }
  return left.length;
}

/** A narrow break in one object (its pieces at most 2 px apart, in one colour) does not make two of it. */
function mergeFragments(regions: Region[]): Region[] {
  const merged: Region[] = [];
  for (const region of [...regions].sort((a, b) => b.pixels.length - a.pixels.length)) {
    const whole = merged.find(
      (other) =>
        other.label === region.label &&
        region.pixels.length < 0.35 * other.pixels.length &&
        region.pixels.some(([x, y]) => other.pixels.some(([ox, oy]) => Math.abs(x - ox) <= 2 && Math.abs(y - oy) <= 2)),
    );
    if (whole) {
      whole.pixels.push(...region.pixels);
      whole.box = boxOf(whole.pixels);
    } else {
      merged.push(region);
    }
  }
  return merged;
}

export function segment(picture: Picture, ground: FoundBackground): Segmentation {
  const { width, height } = picture;
  const labels = labelPixels(picture, ground);
  const seen = new Plane(width, height, 1);
  const found: Region[] = [];
  const orphans: Array<readonly [number, number]> = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const label = labels.at(x, y);
      if (label === GROUND || seen.at(x, y) !== 0) continue;
      const pixels = flood(labels, seen, x, y);
      if (pixels.length >= MINIMAL_AREA && coreOf(pixels, labels) >= MINIMAL_CORE) {
        found.push({ label: COLOURS[label] ?? 'foreign', pixels, box: boxOf(pixels) });
      } else {
        orphans.push(...pixels);
      }
    }
  }
  const regions = mergeFragments(found);
  const owner = new Plane(width, height, -1);
  owner.data.fill(-1);
  regions.forEach((region, index) => {
    for (const [x, y] of region.pixels) owner.set(x, y, index);
  });
  const specks = adopt(orphans, owner, regions);
  for (const region of regions) region.box = boxOf(region.pixels);
  return { regions, owner, labels, specks };
}
