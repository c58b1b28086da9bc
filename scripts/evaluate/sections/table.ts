/** The sections of the evaluation by name, in the order in which they are drawn and written. */

import { captions, wordings } from './captions.js';
import { diversity } from './diversity.js';
import { nearestTraining } from './nearest.js';
import { reconstruction } from './reconstruction.js';
import type { Section } from './section.js';
import { sizes } from './sizes.js';
import { guidance, steps } from './sweeps.js';

export const SECTIONS = {
  captions,
  wordings,
  steps,
  guidance,
  sizes,
  reconstruction,
  diversity,
  nearest: nearestTraining,
} as const satisfies Record<string, Section>;

export type SectionName = keyof typeof SECTIONS;
export const SECTION_NAMES = Object.keys(SECTIONS) as SectionName[];
