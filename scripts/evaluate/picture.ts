/** Everything that can be seen in one picture. */

import { findBackground } from './background.js';
import { describe, type FoundObject } from './objects.js';
import type { Picture } from './raster.js';
import { segment } from './regions.js';
import type { Background } from './vocabulary.js';

export interface Seen {
  background: Background | 'unclear';
  objects: FoundObject[];
  /** Share of the picture that is neither background nor object. */
  specks: number;
}

export function look(picture: Picture): Seen {
  const ground = findBackground(picture);
  const segmentation = segment(picture, ground);
  return {
    background: ground.clear ? ground.name : 'unclear',
    objects: segmentation.regions.map((_, index) => describe(picture, ground, segmentation, index)),
    specks: segmentation.specks / (picture.width * picture.height),
  };
}
