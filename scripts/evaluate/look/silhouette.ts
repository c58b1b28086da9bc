/** Which figures a region could be by its outline alone: quick, and leaves few to draw in full. */

import { CELLS, type Template, templates } from './figures.js';
import { type Box, boxWidth } from './raster.js';
import type { Placement } from './render.js';

export interface Outline {
  template: Template;
  place: Placement;
  /** Shared pixels over united pixels, 0 … 1. */
  overlap: number;
}

interface Silhouette {
  box: Box;
  mask: Uint8Array;
}

/** Outlines that overlap less than this are not looked at. */
const LEAST_OVERLAP = 0.6;
/** How much worse than the best an outline may be, and how many are kept. */
const BEHIND = 0.12;
const KEPT = 6;
const STEPS = [1, 0.5];

function overlap(template: Template, { x, y, half }: Placement, { box, mask }: Silhouette): number {
  const width = boxWidth(box);
  const scale = CELLS / (2 * half);
  let shared = 0;
  let united = 0;
  for (let pixel = 0, i = 0, j = 0; pixel < mask.length; pixel++) {
    const column = Math.floor((box.left + i + 0.5 - x + half) * scale);
    const row = Math.floor((box.top + j + 0.5 - y + half) * scale);
    const inside =
      column >= 0 && row >= 0 && column < CELLS && row < CELLS && (template.map[row * CELLS + column] as number) > 0;
    const seen = mask[pixel] === 1;
    if (inside && seen) shared++;
    if (inside || seen) united++;
    if (++i === width) {
      i = 0;
      j++;
    }
  }
  return shared / united;
}

/** Area and centroid of the mask, px. */
function moments({ box, mask }: Silhouette): { area: number; x: number; y: number } {
  const width = boxWidth(box);
  let [area, x, y] = [0, 0, 0];
  mask.forEach((inside, pixel) => {
    if (!inside) return;
    area += 1;
    x += box.left + (pixel % width) + 0.5;
    y += box.top + Math.floor(pixel / width) + 0.5;
  });
  return { area, x: x / area, y: y / area };
}

/** The best place by coordinate descent. */
function improved(outline: Outline, silhouette: Silhouette): Outline {
  let best = outline;
  const attempt = (dx: number, dy: number, grown: number): void => {
    const { x, y, half } = best.place;
    const place = { x: x + dx, y: y + dy, half: half + grown };
    const value = overlap(outline.template, place, silhouette);
    if (value > best.overlap) best = { ...best, place, overlap: value };
  };
  for (const step of STEPS) {
    for (const by of [-step, step]) {
      attempt(by, 0, 0);
      attempt(0, by, 0);
      attempt(0, 0, by);
    }
  }
  return best;
}

/** Figures whose outline fits the mask about as well as the best, best first. */
export function outlines(silhouette: Silhouette): Outline[] {
  const { area, x, y } = moments(silhouette);
  const rough = templates()
    .map((template): Outline => {
      // Area and centroid give size and place at once.
      const half = Math.sqrt(area / template.area);
      const place = { x: x - half * template.centre[0], y: y - half * template.centre[1], half };
      return { template, place, overlap: overlap(template, place, silhouette) };
    })
    .sort((a, b) => b.overlap - a.overlap);
  const best = rough[0]?.overlap ?? 0;
  return rough
    .filter((each) => each.overlap >= Math.max(LEAST_OVERLAP, best - BEHIND))
    .slice(0, KEPT)
    .map((each) => improved(each, silhouette))
    .sort((a, b) => b.overlap - a.overlap);
}
