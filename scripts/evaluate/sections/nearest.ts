/** Whether the model draws what it has seen: the training pictures that are nearest to its own. */

import { fileURLToPath } from 'node:url';
import { meanDifference } from '../difference.js';
import { drawAll } from '../draw.js';
import { readExpectations, type WantedObject } from '../expectation.js';
import type { Judged } from '../judge.js';
import type { Picture } from '../look/raster.js';
import type { Placement } from '../look/render.js';
import { drawScene, moved, onGrid, placesOf } from '../scene.js';
import { percent } from '../summary.js';
import type { Section } from './section.js';
import { captionsOf } from './sweeps.js';

const PICTURES = 50;
/** Captions of combinations that training sees; each is drawn in several places and ways. */
const TRAINING = fileURLToPath(new URL('../../train/tuning.json', import.meta.url));
/** Where and how each is drawn: px across and down; the number chooses variants and ways to face, too. */
const MOVES = [
  [0, 0],
  [-8, 0],
  [8, 8],
  [0, -8],
  [-16, 8],
  [16, 0],
  [8, -16],
  [-8, 16],
  [16, 16],
  [-16, -16],
] as const;
const LOOKS = 4;

async function trainingPictures(extent: { width: number; height: number }): Promise<Picture[]> {
  const expectations = await readExpectations(TRAINING);
  return expectations.flatMap((expectation) =>
    MOVES.map((move, look) => drawScene(expectation, extent, look, moved(placesOf(expectation, extent), move, extent))),
  );
}

/** Where the picture has what the caption asks for, on the grid that training uses; what is not there, where it belongs. */
function placesSeen({ expectation, seen }: Judged, extent: { width: number; height: number }): Placement[] {
  const left = [...seen.objects];
  return placesOf(expectation, extent).map((place, index) => {
    const { figure, colour } = expectation.objects[index] as WantedObject;
    const at = left.findIndex((object) => object.figure === figure && object.colour === colour);
    const [found] = at < 0 ? [] : left.splice(at, 1);
    return found ? { x: onGrid(found.x), y: onGrid(found.y), half: place.half } : place;
  });
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
  // What the caption itself looks like, for comparison: drawn in the same places.
  const toCaption = drawn.map(({ picture, judged }) => {
    const places = placesSeen(judged, settings);
    const own = Array.from({ length: LOOKS }, (_, look) => drawScene(judged.expectation, settings, look, places));
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
  const text = `For each of ${drawn.length} pictures of held-out captions, the nearest of ${training.length} pictures of combinations that training sees, drawn by the evaluator: median distance ${data.median.toFixed(2)}, least ${data.least.toFixed(2)} (mean absolute difference of RGB values, of 255). Drawings of the picture's own caption in the same places are nearer in ${percent(closer, drawn.length)} of the cases (median distance ${data.medianToOwnCaption.toFixed(2)}): such pictures are not copies of the nearest training picture with another combination. The training pictures are a sample; distances of pixels show copies, not influence.`;
  return { report: { title: 'Nearest training pictures', text, data } };
};
