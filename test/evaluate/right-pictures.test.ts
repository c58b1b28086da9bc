/** Right pictures must be accepted, also when they are as lossy as an autoencoder's or a compressed file's. */

import t from 'tap';
import { assess } from '../../scripts/evaluate/judge.js';
import type { Picture } from '../../scripts/evaluate/raster.js';
import { blurred, coarse, compressed, generator, noisy } from './renderer.js';
import { draw, randomScene } from './scenes.js';

// The default half minute is short where other work keeps the machine busy.
t.setTimeout(180_000);

const random = generator(11);

/** Way of damage, number of pictures, and how many of them may be misjudged. */
const damages: Array<
  [name: string, pictures: number, errors: number, damage: (picture: Picture) => Picture | Promise<Picture>]
> = [
  ['as drawn', 18, 0, (picture) => picture],
  ['blurred by 0.7 px', 18, 0, (picture) => blurred(picture, 0.7)],
  ['blurred by 1 px', 15, 0, (picture) => blurred(picture, 1)],
  ['noise of ± 12', 15, 0, (picture) => noisy(picture, 12, random)],
  ['JPEG of quality 75', 15, 0, (picture) => compressed(picture, 75)],
  ['half resolution and back', 15, 1, coarse],
  ['blur, then noise', 15, 1, async (picture) => noisy(await blurred(picture, 0.7), 10, random)],
];

for (const [name, pictures, errors, damage] of damages) {
  t.test(name, async (t) => {
    const refused: string[] = [];
    for (let i = 0; i < pictures; i++) {
      const scene = randomScene(random, ((i % 3) + 1) as 1 | 2 | 3);
      const { verdict } = assess(scene.expectation, await damage(draw(scene)));
      if (!verdict.right) refused.push(`${JSON.stringify(scene.expectation)}: ${verdict.faults.join('; ')}`);
    }
    t.ok(refused.length <= errors, `${refused.length} of ${pictures} refused`, { refused });
  });
}
