/** Right pictures must be accepted, also when they are as lossy as an autoencoder's or a compressed file's. */

import t from 'tap';
import { assess } from '../../scripts/evaluate/judge.js';
import type { Picture } from '../../scripts/evaluate/look/raster.js';
import { blurred, compressed, generator, noisy } from './renderer.js';
import { ARRANGEMENTS, type Arrangement, draw, randomScene } from './scenes.js';

// The default half minute is short where other work keeps the machine busy.
t.setTimeout(180_000);

const random = generator(11);

/** Way of damage, number of pictures, and how to damage. */
const damages: Array<[name: string, pictures: number, damage: (picture: Picture) => Picture | Promise<Picture>]> = [
  ['as drawn', 30, (picture) => picture],
  ['blurred by 0.7 px', 20, (picture) => blurred(picture, 0.7)],
  ['noise of ± 6', 15, (picture) => noisy(picture, 6, random)],
  ['JPEG of quality 85', 20, (picture) => compressed(picture, 85)],
  ['blur, then noise', 15, async (picture) => noisy(await blurred(picture, 0.6), 5, random)],
];

for (const [name, pictures, damage] of damages) {
  t.test(name, async (t) => {
    const refused: string[] = [];
    for (let i = 0; i < pictures; i++) {
      const scene = randomScene(random, ARRANGEMENTS[i % ARRANGEMENTS.length] as Arrangement);
      const { verdict } = assess(scene.expectation, await damage(draw(scene)));
      if (!verdict.right) refused.push(`${JSON.stringify(scene.expectation)}: ${verdict.faults.join('; ')}`);
    }
    t.same(refused, []);
  });
}
