/** What encoding to tokens and decoding again does to pictures, drawn ones and the model's own. */

import type { Paella } from '../../../lib/index.js';
import { mean, meanDifference } from '../difference.js';
import { drawAll, pictureOf } from '../draw.js';
import type { Expectation } from '../expectation.js';
import { assess } from '../judge.js';
import type { Picture } from '../look/raster.js';
import { shareText } from '../report.js';
import { drawScene } from '../scene.js';
import { markdownTable, type Share, shareOf } from '../summary.js';
import type { Section } from './section.js';
import { captionsOf } from './sweeps.js';

interface Result {
  pictures: string;
  /** Mean absolute difference of the RGB values before and after, 0 … 255. */
  error: number;
  before: Share;
  after: Share;
}

async function reconstructed(
  paella: Paella,
  name: string,
  pictures: ReadonlyArray<{ expectation: Expectation; picture: Picture }>,
): Promise<Result> {
  const errors: number[] = [];
  const [before, after] = [[], []] as [ReturnType<typeof assess>[], ReturnType<typeof assess>[]];
  for (const { expectation, picture } of pictures) {
    const grid = await paella.encodeImage({ ...picture, channels: 3 });
    const again = pictureOf(await paella.decodeTokens(grid));
    errors.push(meanDifference(picture, again));
    before.push(assess(expectation, picture));
    after.push(assess(expectation, again));
  }
  return { pictures: name, error: mean(errors), before: shareOf(before), after: shareOf(after) };
}

export const reconstruction: Section = async (input) => {
  const { painter, settings } = input;
  const captions = captionsOf(input);
  const drawn = captions.map((expectation, i) => ({ expectation, picture: drawScene(expectation, settings, i) }));
  const own = (await drawAll(painter, 'reconstruction', captions)).map(({ picture, judged }) => ({
    expectation: judged.expectation,
    picture,
  }));
  const results = [
    await reconstructed(painter.paella, 'drawn by the evaluator', drawn),
    await reconstructed(painter.paella, 'made by the model', own),
  ];
  const rows = results.map(({ pictures, error, before, after }) => [
    pictures,
    String(before.pictures),
    error.toFixed(2),
    shareText(before),
    shareText(after),
  ]);
  const text = `Pictures of held-out captions before and after encoding to tokens and decoding: what an edit begins with. The encoder has to guess which of two colours in a piece is in front; the U-Net learns from tokens of the drawing program, which knows. Error: mean absolute difference of RGB values (of 255).

${markdownTable([['', 'pictures', 'error', 'wholly right before', 'wholly right after'], ...rows])}`;
  return { report: { title: 'Reconstruction', text, data: results } };
};
