/** Whether the model draws what it has seen: the training pictures that are nearest to its own. */

import { fileURLToPath } from 'node:url';
import { meanDifference } from '../difference.js';
import { drawAll } from '../draw.js';
import { readExpectations } from '../expectation.js';
import type { Picture } from '../look/raster.js';
import { drawScene } from '../scene.js';
import { percent } from '../summary.js';
import type { Section } from './section.js';
import { captionsOf } from './sweeps.js';

const PICTURES = 50;
/** Captions of combinations that training sees; each is drawn in several places and ways. */
const TRAINING = fileURLToPath(new URL('../../train/tuning.json', import.meta.url));
/** px: scenes stand on the grid or a step beside it. */
const SHIFTS = [
  [0, 0],
  [-8, 0],
  [8, 0],
  [0, -8],
  [0, 8],
] as const;
const WAYS = 2;

async function trainingPictures(extent: { width: number; height: number }): Promise<Picture[]> {
  const expectations = await readExpectations(TRAINING);
  return expectations.flatMap((expectation) =>
    SHIFTS.flatMap((shift) => Array.from({ length: WAYS }, (_, way) => drawScene(expectation, extent, way, shift))),
  );
}

function nearest(picture: Picture, others: readonly Picture[]): number {
  return Math.min(...others.map((other) => meanDifference(picture, other)));
}

export const nearestTraining: Section = async (input) => {
  const { painter, settings } = input;
  const captions = captionsOf(input, PICTURES);
  const drawn = await drawAll(painter, 'nearest', captions);
  const training = await trainingPictures(settings);
  const toTraining = drawn.map(({ picture }) => nearest(picture, training));
  // What the caption itself looks like, for comparison: the nearest of its own places and ways.
  const toCaption = drawn.map(({ picture, judged }) => {
    const own = SHIFTS.flatMap((shift) =>
      [0, 1, 2, 3].map((way) => drawScene(judged.expectation, settings, way, shift)),
    );
    return nearest(picture, own);
  });
  const closer = toCaption.filter((distance, i) => distance < (toTraining[i] ?? 0)).length;
  const sorted = [...toTraining].sort((a, b) => a - b);
  const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
  const data = {
    pictures: drawn.length,
    training: training.length,
    least: sorted[0] ?? 0,
    median: median(toTraining),
    medianToOwnCaption: median(toCaption),
    closerToOwnCaption: closer,
  };
  const text = `For each of ${drawn.length} pictures of held-out captions, the nearest of ${training.length} pictures of combinations that training sees, drawn by the evaluator: median distance ${data.median.toFixed(2)}, least ${data.least.toFixed(2)} (mean absolute difference of RGB values, of 255). Drawings of the picture's own caption are nearer in ${percent(closer, drawn.length)} of the cases (median distance ${data.medianToOwnCaption.toFixed(2)}): such pictures are not copies of the nearest training picture with another combination. The training pictures are a sample; distances of pixels show copies, not influence.`;
  return { report: { title: 'Nearest training pictures', text, data } };
};
