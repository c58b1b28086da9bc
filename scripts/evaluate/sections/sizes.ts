/** The same captions in other sizes of picture. */

import { drawAll } from '../draw.js';
import { shareText } from '../report.js';
import { markdownTable, shareOf } from '../summary.js';
import type { Section } from './section.js';
import { captionsOf } from './sweeps.js';

/** Width and height, px, besides the run's own. */
const SIZES = [
  [64, 64],
  [96, 160],
  [160, 96],
  [192, 192],
] as const;

export const sizes: Section = async (input) => {
  const captions = captionsOf(input);
  const { settings, painter } = input;
  const results = [];
  const own = [settings.width, settings.height] as const;
  const others = SIZES.filter((size) => String(size) !== String(own));
  for (const [width, height] of [own, ...others]) {
    const drawn = await drawAll(painter, `size-${width}x${height}`, captions, { width, height });
    results.push({ width, height, ...shareOf(drawn.map(({ judged }) => judged)) });
  }
  const rows = results.map((each) => [`${each.width}×${each.height}`, String(each.pictures), shareText(each)]);
  const text = `The same captions and seeds in every size (width × height, px).

${markdownTable([['size', 'pictures', 'wholly right'], ...rows])}`;
  return { report: { title: 'Sizes', text, data: results } };
};
