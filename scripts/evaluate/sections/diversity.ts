/** How different the pictures of one caption are. */

import { mean, meanDifference } from '../difference.js';
import { drawAll } from '../draw.js';
import type { Picture } from '../look/raster.js';
import { percent, shareOf } from '../summary.js';
import type { Section } from './section.js';
import { captionsOf } from './sweeps.js';

const CAPTIONS = 20;
const SEEDS = 8;

function pairsOf(pictures: readonly Picture[]): number[] {
  return pictures.flatMap((a, i) => pictures.slice(i + 1).map((b) => meanDifference(a, b)));
}

export const diversity: Section = async (input) => {
  const captions = captionsOf(input, CAPTIONS);
  // Neighbours in the list share a caption, so that seed + index gives each its own.
  const drawn = await drawAll(
    input.painter,
    'diversity',
    captions.flatMap((caption) => Array.from({ length: SEEDS }, () => caption)),
  );
  const distances = captions.flatMap((_, i) =>
    pairsOf(drawn.slice(i * SEEDS, (i + 1) * SEEDS).map(({ picture }) => picture)),
  );
  const identical = distances.filter((distance) => distance === 0).length;
  const share = shareOf(drawn.map(({ judged }) => judged));
  const average = mean(distances);
  const text = `${SEEDS} seeds for each of ${captions.length} captions, ${percent(share.right, share.pictures)} of the pictures wholly right. Of ${distances.length} pairs of pictures of one caption, ${percent(identical, distances.length)} are identical to the pixel; the mean distance of a pair is ${average.toFixed(2)} (mean absolute difference of RGB values, of 255). A caption leaves open where the scene stands, how far some things step out of line, which way figures face, and sometimes their kind; nothing else should differ.`;
  const data = {
    captions: captions.length,
    seeds: SEEDS,
    pairs: distances.length,
    identical,
    meanDistance: average,
    share,
  };
  return { report: { title: 'Diversity', text, data } };
};
