/** The bundled model draws what captions ask for: a short form of `npm run evaluate`. */

import t from 'tap';
import { Paella } from '../../lib/index.js';
import { readExpectations, spread } from '../../scripts/evaluate/expectation.js';
import { assess } from '../../scripts/evaluate/judge.js';

t.setTimeout(300_000);

const CAPTIONS = 30;
/** Pictures that must be wholly right; docs/models has how many are of all held-out captions. */
const LEAST_RIGHT = 26;

t.test(`at least ${LEAST_RIGHT} of ${CAPTIONS} held-out captions are drawn wholly right`, async (t) => {
  const captions = spread(await readExpectations('scripts/train/heldout.json'), CAPTIONS);
  await using paella = await Paella.load({ model: 'tiny', backend: 'cpu' });
  const faults = await Promise.all(
    captions.map(async (expectation, index) => {
      const [image] = await paella.generate({ prompt: expectation.caption, seed: index + 1 });
      if (!image) throw new Error(`no image for "${expectation.caption}"`);
      const { verdict } = assess(expectation, image);
      return verdict.right ? [] : [`${expectation.caption}: ${verdict.faults.join('; ')}`];
    }),
  );
  const right = faults.filter((each) => each.length === 0).length;
  t.ok(right >= LEAST_RIGHT, `${right} of ${CAPTIONS} are right`, { faults: faults.flat() });
});
