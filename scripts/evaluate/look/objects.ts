/** What the regions of a picture are. */

import { COLOUR_VALUES, type Rgb, type Size, type Texture } from '../vocabulary.js';
import { nearest, toLab } from './colour.js';
import type { Template } from './figures.js';
import { boxOf, FINE, type Fit, fits, foreignPixels, type Scope } from './fit.js';
import { missingParts } from './parts.js';
import { type Box, boxHeight, boxWidth, type Canvas, grow, type Picture } from './raster.js';
import { apart, filled, type Labels, type Region } from './regions.js';
import { drawn, paste } from './render.js';
import { type Outline, outlines } from './silhouette.js';

export interface FoundObject {
  figure: string;
  colour: string;
  texture: Texture | 'unclear';
  /** Textures that look the same at this size: a small cross is all rim. */
  alike: Texture[];
  size: Size;
  /** Centre and half of the side of the square that the figure is drawn in, px. */
  x: number;
  y: number;
  half: number;
  box: Box;
  /** Why something is unclear, for people. */
  flaws: string[];
}

const COLOUR_LABS = Object.entries(COLOUR_VALUES).map(([name, rgb]) => [name, toLab(rgb)] as const);

/** OKLab distance to a named colour; no two names are closer than twice this. */
const COLOUR_TOLERANCE = 0.06;
/** Half of the box's side over the picture's shorter side. */
const SMALL = 0.14;
const LARGE = 0.172;
/** Share of what sets an object off that may be unexplained. */
const MOST_RESIDUAL = 0.125;
/** How many times more the next figure must leave unexplained. */
const LEAD = 1.4;
/** A texture that leaves hardly more unexplained than the best looks the same. */
const ALIKE = { times: 1.02, more: 0.001 };

export function colourName(rgb: Rgb): string {
  const { name, distance } = nearest(toLab(rgb), COLOUR_LABS);
  return distance <= COLOUR_TOLERANCE ? name : 'unclear';
}

function sizeOf(half: number, { width, height }: Picture): Size {
  const share = half / Math.min(width, height);
  if (share < SMALL) return 'small';
  return share > LARGE ? 'large' : 'medium';
}

export interface Site {
  picture: Picture;
  canvas: Canvas;
  labels: Labels;
  /** Of every pixel from the canvas as it was before any of these regions was drawn, OKLab. */
  distances: Float32Array;
}

export function scopeOf({ picture, canvas, labels }: Site, region: Region): Scope {
  const box = grow(region.box, 3, picture);
  return { picture, canvas, box, foreign: foreignPixels(labels.data, picture.width, box, region.label) };
}

export function candidatesOf({ labels, distances }: Site, region: Region): Outline[] {
  return outlines(filled(labels, distances, region, 1));
}

/** A region that is no figure. */
export function unclear(picture: Picture, box: Box, colour: string, flaw: string): FoundObject {
  const half = Math.max(boxWidth(box), boxHeight(box)) / 2;
  return {
    figure: 'unclear',
    colour,
    texture: 'unclear',
    alike: [],
    size: sizeOf(half, picture),
    x: (box.left + box.right + 1) / 2,
    y: (box.top + box.bottom + 1) / 2,
    half,
    box,
    flaws: [flaw],
  };
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/** Why the best fit cannot be trusted. */
export function doubts(scope: Scope, all: readonly Fit[]): string[] {
  const [best] = all;
  if (!best) return ['no figure has this outline'];
  const { picture } = scope;
  const { x, y, half } = best.place;
  const { left, top, right, bottom } = best.template.extent;
  const found: string[] = [];
  if (best.residual > MOST_RESIDUAL) found.push(`${percent(best.residual)} unexplained`);
  const next = all.find(({ template }) => template.figure !== best.template.figure);
  if (next && next.residual < LEAD * best.residual) found.push(`could be a ${next.template.figure}`);
  if (
    x + half * left < -1 ||
    y + half * top < -1 ||
    x + half * right > picture.width + 1 ||
    y + half * bottom > picture.height + 1
  ) {
    found.push('cut off by the border');
  }
  return [...found, ...missingParts(scope, best)];
}

/** The box that a figure fills, px. */
function extentOf(template: Template, { place: { x, y, half } }: Fit, picture: Picture): Box {
  const { left, top, right, bottom } = template.extent;
  return grow(
    {
      left: Math.floor(x + half * left + 0.25),
      top: Math.floor(y + half * top + 0.25),
      right: Math.ceil(x + half * right - 0.25) - 1,
      bottom: Math.ceil(y + half * bottom - 0.25) - 1,
    },
    0,
    picture,
  );
}

export function named(picture: Picture, fit: Fit, all: readonly Fit[]): FoundObject {
  const alike = all.filter(
    ({ template, residual }) => template === fit.template && residual <= ALIKE.times * fit.residual + ALIKE.more,
  );
  return {
    figure: fit.template.figure,
    colour: colourName(fit.main),
    texture: fit.texture,
    alike: alike.map(({ texture }) => texture),
    size: sizeOf(fit.place.half, picture),
    ...fit.place,
    box: extentOf(fit.template, fit, picture),
    flaws: [],
  };
}

/**
 * Draws what was found over the canvas, part by part: where two of them meet within a pixel, what lies behind shines
 * through, as it does in the pictures that the model learns from.
 */
export function paint(canvas: Canvas, { template, texture, main, place }: Omit<Fit, 'residual'>): void {
  const box = boxOf([place], canvas, 1);
  for (const map of texture === 'plain' ? template.runs() : [template.map]) {
    paste(canvas, box, drawn(template, map, texture, main, place, canvas, box, FINE));
  }
}

/**
 * Whether a region is one figure as a whole, whatever its rim looks like: a face's is a circle's, and a dotted square's a
 * square's. Filled and outlined circles and squares may hold others.
 */
export function isWhole(site: Site, region: Region): boolean {
  const scope = scopeOf(site, region);
  const all = fits(scope, candidatesOf(site, region));
  const [best] = all;
  if (!best || doubts(scope, all).length > 0) return false;
  return !best.template.container || best.texture === 'striped' || best.texture === 'dotted';
}

/** Names a region and draws it over the canvas, or says why it has no name. */
function explain(site: Site, region: Region): FoundObject {
  const scope = scopeOf(site, region);
  const all = fits(scope, candidatesOf(site, region));
  const reasons = doubts(scope, all);
  const [best] = all;
  if (best && reasons.length === 0) {
    paint(site.canvas, best);
    return named(site.picture, best, all);
  }
  const colour = best ? colourName(best.main) : 'unclear';
  const guess = best ? ` (like a ${best.texture} ${best.template.figure})` : '';
  return unclear(site.picture, region.box, colour, `${reasons.join(', ')}${guess}`);
}

/** px between the boxes of two parts of one object whose joint does not show on what lies behind. */
const JOINT = 5;

function united(a: Region, b: Region): Region {
  return {
    label: a.label,
    pixels: a.pixels + b.pixels,
    box: {
      left: Math.min(a.box.left, b.box.left),
      top: Math.min(a.box.top, b.box.top),
      right: Math.max(a.box.right, b.box.right),
      bottom: Math.max(a.box.bottom, b.box.bottom),
    },
  };
}

/** The site with one label for both regions. */
function withUnion(site: Site, a: Region, b: Region): Site {
  const data = site.labels.data.map((label) => (label === b.label ? a.label : label));
  return { ...site, labels: { ...site.labels, data } };
}

/** Names all regions. Two that have no name may be one object: a brown boat's mast does not show on brown. */
export function explainAll(site: Site, regions: readonly Region[]): FoundObject[] {
  const results = regions.map((region) => ({ region, object: explain(site, region) }));
  const nameless = results.filter(({ object }) => object.figure === 'unclear');
  for (const first of nameless) {
    for (const second of nameless) {
      if (first.region.label >= second.region.label || apart(first.region.box, second.region.box) > JOINT) continue;
      if (!results.includes(first) || !results.includes(second)) continue;
      const region = united(first.region, second.region);
      const object = explain(withUnion(site, first.region, second.region), region);
      if (object.figure === 'unclear') continue;
      results.splice(results.indexOf(second), 1);
      results[results.indexOf(first)] = { region, object };
    }
  }
  return results.map(({ object }) => object);
}
