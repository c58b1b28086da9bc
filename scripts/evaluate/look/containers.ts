/** Large circles and squares with things inside of them. */

import { differenceAt, perceived } from './colour.js';
import { CELLS, type Template } from './figures.js';
import { type Fit, fits, type Scope } from './fit.js';
import { candidatesOf, doubts, explainAll, type FoundObject, named, paint, type Site, scopeOf } from './objects.js';
import { boxHeight, boxWidth, type Picture } from './raster.js';
import { joined, labelled, type Region } from './regions.js';
import type { Placement } from './render.js';

/** Half of the side over the picture's shorter side. */
const LEAST_HALF = 0.28;
const LEAST_OVERLAP = 0.9;
/** px of the outer figure's rim that name it: what stands inside keeps away from there. */
const RIM = 7;
/** px from the edge where the inside begins: behind the blur of the edge, or of the outline. */
const INSIDE = { plain: 3, outlined: 6.5 } as const;
/** OKLab distance to the outer figure's colour. */
const INNER_CONTRAST = 0.06;
/** Least side of an inner object, px. */
const LEAST_SIDE = 8;

export function mayContain({ box }: Region, { width, height }: Picture): boolean {
  return Math.min(boxWidth(box), boxHeight(box)) / 2 >= LEAST_HALF * Math.min(width, height);
}

/** px from a pixel's middle to the outside of the figure, 0 outside. */
function depthAt(template: Template, { x, y, half }: Placement, column: number, row: number): number {
  const i = Math.floor((((column + 0.5 - x) / half + 1) * CELLS) / 2);
  const j = Math.floor((((row + 0.5 - y) / half + 1) * CELLS) / 2);
  if (i < 0 || j < 0 || i >= CELLS || j >= CELLS) return 0;
  return half * (template.depth?.[j * CELLS + i] ?? 0);
}

/** The scope without what lies deeper in the figure than its rim. */
function rimOf(scope: Scope, template: Template, place: Placement): Scope {
  const { box } = scope;
  const width = boxWidth(box);
  const foreign = scope.foreign.map((value, pixel) => {
    const i = pixel % width;
    const j = (pixel - i) / width;
    return value || depthAt(template, place, box.left + i, box.top + j) > RIM ? 1 : 0;
  });
  return { ...scope, foreign };
}

function outerFit(site: Site, region: Region): { outer: Fit; all: Fit[] } | undefined {
  const scope = scopeOf(site, region);
  const outline = candidatesOf(site, region).find(
    ({ template, overlap }) => template.container && overlap >= LEAST_OVERLAP,
  );
  if (!outline) return undefined;
  const rim = rimOf(scope, outline.template, outline.place);
  // The texture is judged by its edge towards the inside, which is part of the rim.
  const all = fits(rim, [outline], ['plain', 'outlined']);
  const [best] = all;
  if (!best) return undefined;
  return doubts(rim, all).length === 0 ? { outer: best, all } : undefined;
}

/** What stands inside: regions that differ from the canvas, on which the outer figure is drawn. */
function inside({ picture, canvas, labels }: Site, labs: Float32Array, outer: Fit): Site {
  const wanted = perceived(canvas.data);
  const from = INSIDE[outer.texture === 'outlined' ? 'outlined' : 'plain'];
  const mask = new Uint8Array(labels.data.length);
  const distances = new Float32Array(mask.length);
  for (let pixel = 0; pixel < mask.length; pixel++) {
    const x = pixel % picture.width;
    const y = (pixel - x) / picture.width;
    if (depthAt(outer.template, outer.place, x, y) <= from) continue;
    distances[pixel] = differenceAt(labs, pixel, wanted, pixel);
    if ((distances[pixel] as number) > INNER_CONTRAST) mask[pixel] = 1;
  }
  return { picture, canvas, labels: joined(labelled(mask, picture.width, picture.height)), distances };
}

/** The outer figure and what it holds, drawn over the canvas; nothing if the region is not such a figure. */
export function explainContainer(site: Site, region: Region, labs: Float32Array): FoundObject[] | undefined {
  const found = outerFit(site, region);
  if (!found) return undefined;
  const { outer, all } = found;
  paint(site.canvas, outer);
  const within = inside(site, labs, outer);
  const inner = within.labels.regions.filter(({ box }) => Math.max(boxWidth(box), boxHeight(box)) >= LEAST_SIDE);
  return [named(site.picture, outer, all), ...explainAll(within, inner)];
}
