/** From a region of the picture to an object with shape, colour, place and size. */

import type { FoundBackground } from './background.js';
import { difference, median, nearest, pixel, toLab } from './colour.js';
import { grow, NEIGHBOURS_8, type Picture, Plane } from './raster.js';
import { COLOUR_LABS, type Region, type Segmentation } from './regions.js';
import { type Fit, fit, type Placement } from './templates.js';
import { type Colour, type Rgb, SHAPES, type Shape, type Size } from './vocabulary.js';

export interface FoundObject {
  shape: Shape | 'unclear';
  colour: Colour | 'unclear';
  size: Size;
  /** Centre of the bounding box, px. */
  x: number;
  y: number;
  width: number;
  height: number;
  rgb: Rgb;
  /** Share of its pixels that have its colour; see `purityOf`. */
  purity: number;
  /** Agreement with every template, 0 … 1. */
  fits: Record<Shape, number>;
}

/** Lead of the best template over the next. */
const LEAD = 0.035;
/** Height over width, and its inverse, of a shape that is not distorted. Blur takes the apex of small triangles. */
const DISTORTION = 1.2;
/** Coverage below and above counts as none and all: noise of the surfaces is not a matter of shape. */
const NOISE = 0.1;
/** OKLab distance to the named colour, and how much nearer it must be than the next. Orange and yellow are 0.18 apart. */
const COLOUR_TOLERANCE = 0.1;
const COLOUR_LEAD = 0.6;
/** A pixel further than this from the object's colour has another one (OKLab). */
const SAME_COLOUR = 0.09;
const PURITY = 0.9;
/** Half of the box's side over the picture's shorter side is 0.094 for small, 0.125 unnamed, 0.1875 for large. */
const SMALL_BELOW = 0.109;
const LARGE_ABOVE = 0.156;
/** Area of a shape whose half size is 1; a cross has arms of a third of its size. */
const AREAS: Readonly<Record<Shape, number>> = { circle: Math.PI, square: 4, triangle: 2, cross: 20 / 9 };
/** Bounding box around a region that is analysed with it, px: the fading edge and what the fit may reach. */
const MARGIN = 4;

/**
 * How much of every pixel the object covers: where between background and object colour the pixel lies.
 * Other objects cover nothing here; their fading edges are cut off by the distance to this object.
 */
function coverageOf(picture: Picture, ground: Rgb, rgb: Rgb, index: number, segmentation: Segmentation): Plane {
  const region = segmentation.regions[index] as Region;
  const box = grow(region.box, MARGIN, picture.width, picture.height);
  const axis = [rgb[0] - ground[0], rgb[1] - ground[1], rgb[2] - ground[2]] as const;
  const length = axis[0] ** 2 + axis[1] ** 2 + axis[2] ** 2;
  const coverage = new Plane(box.right - box.left + 1, box.bottom - box.top + 1);
  for (let y = box.top; y <= box.bottom; y++) {
    for (let x = box.left; x <= box.right; x++) {
      const owner = segmentation.owner.at(x, y);
      const near =
        owner === index ||
        (owner < 0 && NEIGHBOURS_8.some(([dx, dy]) => segmentation.owner.at(x + dx, y + dy) === index));
      if (!near) continue;
      const p = pixel(picture, x, y);
      const along = (p[0] - ground[0]) * axis[0] + (p[1] - ground[1]) * axis[1] + (p[2] - ground[2]) * axis[2];
      coverage.set(x - box.left, y - box.top, Math.max(0, Math.min(1, (along / length - NOISE) / (1 - 2 * NOISE))));
    }
  }
  return coverage;
}

/** Pixels of the region that are surrounded by it, `depth` px deep. */
function interiorOf(region: Region, index: number, owner: Plane, depth: number): Region['pixels'] {
  return region.pixels.filter(([x, y]) => {
    for (let dy = -depth; dy <= depth; dy++) {
      for (let dx = -depth; dx <= depth; dx++) if (owner.at(x + dx, y + dy) !== index) return false;
    }
    return true;
  });
}

/** The colour where the object is least mixed with the background: the median of the interior's purer half. */
function colourOf(picture: Picture, ground: FoundBackground, region: Region, index: number, owner: Plane): Rgb {
  const interior = interiorOf(region, index, owner, 1);
  const colours = (interior.length >= 6 ? interior : region.pixels).map(([x, y]) => pixel(picture, x, y));
  const contrast = new Map(colours.map((rgb) => [rgb, difference(toLab(rgb), ground.lab)]));
  colours.sort((a, b) => (contrast.get(b) ?? 0) - (contrast.get(a) ?? 0));
  return median(colours.slice(0, Math.max(1, colours.length >> 1)));
}

/**
 * Share of the object's pixels that have its colour or, near the edge, a mixture of it with the background.
 * Anything else is another colour melted into it.
 */
function purityOf(picture: Picture, ground: Rgb, rgb: Rgb, region: Region, index: number, owner: Plane): number {
  const mixtures = Array.from({ length: 11 }, (_, step) => {
    const share = step / 10;
    return toLab([
      ground[0] + share * (rgb[0] - ground[0]),
      ground[1] + share * (rgb[1] - ground[1]),
      ground[2] + share * (rgb[2] - ground[2]),
    ]);
  });
  const deep = new Set(interiorOf(region, index, owner, 2));
  const own = region.pixels.filter((at) => {
    const lab = toLab(pixel(picture, ...at));
    return mixtures.slice(deep.has(at) ? 8 : 0).some((mixture) => difference(lab, mixture) <= SAME_COLOUR);
  });
  return own.length / region.pixels.length;
}

function nameColour(rgb: Rgb): Colour | 'unclear' {
  const found = nearest(toLab(rgb), COLOUR_LABS);
  return found.distance <= COLOUR_TOLERANCE && found.distance <= COLOUR_LEAD * found.runnerUp ? found.name : 'unclear';
}

/**
 * Least overlap with the template. An edge that is wrong by a given part of a pixel costs a small object more, and most
 * where there is much edge. A tilted square overlaps with a circle by 0.86.
 */
function leastOverlap(shape: Shape, half: number): number {
  const compact = shape === 'circle' || shape === 'square';
  return Math.min(0.92, 1 - (compact ? 0.57 : 0.95) / half);
}

/** All templates, best first. Only the best two matter to the last fraction of a pixel. */
function rank(coverage: Plane, start: Placement): Array<readonly [Shape, Fit]> {
  const better = (a: readonly [Shape, Fit], b: readonly [Shape, Fit]): number => b[1].overlap - a[1].overlap;
  const coarse = SHAPES.map((shape) => [shape, fit(shape, coverage, start, [1])] as const).sort(better);
  return coarse
    .map(([shape, found], index) => [shape, index < 2 ? fit(shape, coverage, found, [0.5, 0.25]) : found] as const)
    .sort(better);
}

function nameShape(fits: ReadonlyArray<readonly [Shape, Fit]>): Shape | 'unclear' {
  const [first, second] = fits;
  if (!first || !second) return 'unclear';
  const [shape, { overlap, halfWidth, halfHeight }] = first;
  const distortion = Math.max(halfWidth / halfHeight, halfHeight / halfWidth);
  const clear =
    overlap >= leastOverlap(shape, Math.sqrt(halfWidth * halfHeight)) &&
    overlap - second[1].overlap >= LEAD &&
    distortion <= DISTORTION;
  return clear ? shape : 'unclear';
}

/** By area: unlike the extent, it survives blur, which takes the apex of triangles and the ends of crosses. */
function nameSize(shape: Shape, coverage: Plane, picture: Picture): Size {
  const area = coverage.data.reduce((sum, share) => sum + share, 0);
  const half = Math.sqrt(area / AREAS[shape]) / Math.min(picture.width, picture.height);
  if (half < SMALL_BELOW) return 'small';
  return half > LARGE_ABOVE ? 'large' : 'medium';
}

export function describe(
  picture: Picture,
  ground: FoundBackground,
  segmentation: Segmentation,
  index: number,
): FoundObject {
  const region = segmentation.regions[index] as Region;
  const rgb = colourOf(picture, ground, region, index, segmentation.owner);
  const purity = purityOf(picture, ground.rgb, rgb, region, index, segmentation.owner);
  const coverage = coverageOf(picture, ground.rgb, rgb, index, segmentation);
  const { box } = region;
  const origin = grow(box, MARGIN, picture.width, picture.height);
  const start: Placement = {
    x: (box.left + box.right) / 2 - origin.left,
    y: (box.top + box.bottom) / 2 - origin.top,
    halfWidth: Math.max(2, (box.right - box.left) / 2),
    halfHeight: Math.max(2, (box.bottom - box.top) / 2),
    softness: 1.5,
  };
  const fits = rank(coverage, start);
  const best = fits[0]?.[1] ?? { ...start, overlap: 0 };
  return {
    shape: nameShape(fits),
    colour: region.label !== 'foreign' && purity >= PURITY ? nameColour(rgb) : 'unclear',
    size: nameSize(fits[0]?.[0] ?? 'square', coverage, picture),
    x: origin.left + best.x + 0.5,
    y: origin.top + best.y + 0.5,
    width: 2 * best.halfWidth,
    height: 2 * best.halfHeight,
    rgb,
    purity,
    fits: Object.fromEntries(fits.map(([shape, { overlap }]) => [shape, overlap])) as Record<Shape, number>,
  };
}
