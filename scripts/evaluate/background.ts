/** What the picture's plain background is, judged by its border. */

import { type Lab, median, nearest, pixel, toLab } from './colour.js';
import type { Picture } from './raster.js';
import { BACKGROUND_VALUES, BACKGROUNDS, type Background, type Rgb } from './vocabulary.js';

export const BACKGROUND_LABS = BACKGROUNDS.map((name) => [name, toLab(BACKGROUND_VALUES[name])] as const);

/** Width of the ring that is looked at, px. */
const RING = 2;
/** Share of the ring that must agree with the dominant background. Objects may reach into a short stretch of it. */
const DOMINANCE = 0.75;
/** How much nearer the measured colour must be to its reference than to the next; black alone is far from all others. */
const LEAD = 0.4;
/** OKLab distance of the measured colour to its reference. */
const TOLERANCE = 0.15;

export interface FoundBackground {
  /** The dominant one. */
  name: Background;
  /** Whether most of the border has it, and in its proper colour. */
  clear: boolean;
  rgb: Rgb;
  lab: Lab;
}

export function findBackground(picture: Picture): FoundBackground {
  const { width, height } = picture;
  const votes = new Map<Background, Rgb[]>(BACKGROUNDS.map((name) => [name, []]));
  let total = 0;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (x >= RING && y >= RING && x < width - RING && y < height - RING) continue;
      const rgb = pixel(picture, x, y);
      votes.get(nearest(toLab(rgb), BACKGROUND_LABS).name)?.push(rgb);
      total += 1;
    }
  }
  const [name, colours] = [...votes].reduce((a, b) => (b[1].length > a[1].length ? b : a));
  const rgb = median(colours);
  const lab = toLab(rgb);
  const { distance, runnerUp } = nearest(lab, BACKGROUND_LABS);
  const clear = colours.length >= DOMINANCE * total && distance <= TOLERANCE && distance <= LEAD * runnerUp;
  return { name, clear, rgb, lab };
}
