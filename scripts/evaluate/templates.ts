/**
 * Ideal shapes with soft edges, and how well a measured coverage agrees with them.
 *
 * A shape is named by analysis through synthesis: every template is moved and scaled until it covers the object best,
 * and the shape is the template that fits clearly better than all others. Corners, straight edges, symmetry and the
 * ratio of area to bounding box all enter at once, and what fits no template well is nothing we know.
 */

import type { Plane } from './raster.js';
import type { Shape } from './vocabulary.js';

export interface Placement {
  x: number;
  y: number;
  /** Half of the width and of the height. */
  halfWidth: number;
  halfHeight: number;
  /** Over how many px the edge fades. */
  softness: number;
}

export interface Fit extends Placement {
  /** Shared coverage over united coverage, 0 … 1. */
  overlap: number;
}

/** Half of a cross's arm width over its half size. */
const CROSS_ARM = 1 / 3;

function box(x: number, y: number, halfWidth: number, halfHeight: number): number {
  return Math.max(Math.abs(x) - halfWidth, Math.abs(y) - halfHeight);
}

/** Signed distance to the edge in px (approximate outside corners), negative inside; (x, y) from the centre of the box. */
const DISTANCES: Readonly<Record<Shape, (x: number, y: number, w: number, h: number) => number>> = {
  circle: (x, y, w, h) => {
    const radius = Math.hypot(x / w, y / h);
    return (radius - 1) * Math.min(w, h);
  },
  square: box,
  triangle: (x, y, w, h) => {
    // Apex (0, -h), base from (-w, h) to (w, h); y points down.
    const slope = Math.hypot(w, 2 * h);
    return Math.max(y - h, (2 * h * Math.abs(x) - w * (y + h)) / slope);
  },
  cross: (x, y, w, h) => Math.min(box(x, y, w, CROSS_ARM * h), box(x, y, CROSS_ARM * w, h)),
};

function overlap(shape: Shape, at: Placement, coverage: Plane): number {
  const distance = DISTANCES[shape];
  const { width, data } = coverage;
  let shared = 0;
  let united = 0;
  for (let i = 0; i < data.length; i++) {
    const x = i % width;
    const d = distance(x - at.x, (i - x) / width - at.y, at.halfWidth, at.halfHeight);
    const ideal = Math.max(0, Math.min(1, 0.5 - d / at.softness));
    const measured = data[i] ?? 0;
    shared += Math.min(ideal, measured);
    united += Math.max(ideal, measured);
  }
  return united > 0 ? shared / united : 0;
}

/** The best placement of `shape` on `coverage`, by coordinate descent from `start` in the given steps (px). */
export function fit(shape: Shape, coverage: Plane, start: Placement, steps: readonly number[]): Fit {
  let best: Fit = { ...start, overlap: overlap(shape, start, coverage) };
  const attempt = (candidate: Placement): void => {
    const score = overlap(shape, candidate, coverage);
    if (score > best.overlap + 1e-6) best = { ...candidate, overlap: score };
  };
  for (const step of steps) {
    for (let round = 0; round < 6; round++) {
      const before = best.overlap;
      for (const by of [-step, step]) {
        attempt({ ...best, x: best.x + by });
        attempt({ ...best, y: best.y + by });
        attempt({ ...best, halfWidth: Math.max(2, best.halfWidth + by) });
        attempt({ ...best, halfHeight: Math.max(2, best.halfHeight + by) });
        attempt({
          ...best,
          halfWidth: Math.max(2, best.halfWidth + by),
          halfHeight: Math.max(2, best.halfHeight + by),
        });
        // The apex of a small blurred triangle is lost: its height and centre move together.
        attempt({ ...best, y: best.y - by, halfHeight: Math.max(2, best.halfHeight + by) });
        attempt({ ...best, softness: Math.max(1, Math.min(3.5, best.softness + by)) });
      }
      if (best.overlap - before < 1e-4) break;
    }
  }
  return best;
}
