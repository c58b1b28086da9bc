/** Random scenes for the tests: what a caption could ask for, where its objects stand, and what can be wrong with them. */

import type { Expectation } from '../../scripts/evaluate/expectation.js';
import type { Picture } from '../../scripts/evaluate/raster.js';
import {
  BACKGROUND_VALUES,
  BACKGROUNDS,
  COLOUR_VALUES,
  COLOURS,
  type Relation,
  SHAPES,
} from '../../scripts/evaluate/vocabulary.js';
import { type Drawn, outline, render } from './renderer.js';

export interface Placed {
  x: number;
  y: number;
  half: number;
}

export interface Scene {
  width: number;
  height: number;
  expectation: Expectation;
  places: Placed[];
}

const HALVES = { small: 0.09375, medium: 0.125, large: 0.1875 };
const CANVASES = [
  [64, 64],
  [64, 64],
  [64, 96],
  [96, 64],
  [96, 96],
] as const;

export function pick<T>(random: () => number, values: readonly T[]): T {
  return values[Math.floor(random() * values.length)] as T;
}

export function randomScene(random: () => number, count: 1 | 2 | 3): Scene {
  const [width, height] = pick(random, CANVASES);
  const shorter = Math.min(width, height);
  const row = random() < 0.5;
  const objects: Expectation['objects'] = [];
  while (objects.length < count) {
    const size = pick(
      random,
      count === 3 ? [undefined, 'small' as const] : [undefined, 'small' as const, 'large' as const],
    );
    const [shape, colour] = [pick(random, SHAPES), pick(random, COLOURS)];
    if (!objects.some((object) => object.shape === shape && object.colour === colour)) {
      objects.push({ shape, colour, ...(size && { size }) });
    }
  }
  const along = { 1: [0.5], 2: [0.25, 0.75], 3: [0.19, 0.5, 0.81] }[count];
  const places = objects.map(({ size }, index) => {
    const half = HALVES[size ?? 'medium'] * shorter * (0.96 + 0.08 * random());
    const jitter = () => (count === 3 ? 0.01 : 0.03) * shorter * (2 * random() - 1);
    const a = (along[index] ?? 0.5) * (row ? width : height) + jitter();
    const b = 0.5 * (row ? height : width) + 3 * jitter();
    return row ? { x: a, y: b, half } : { x: b, y: a, half };
  });
  const kind: Relation = row ? 'left' : 'above';
  const relations = places.slice(1).map((_, index) => ({ kind, a: index, b: index + 1 }));
  const background = pick(random, BACKGROUNDS);
  return { width, height, expectation: { caption: '', background, objects, relations }, places };
}

export function drawnObjects(scene: Scene): Drawn[] {
  return scene.expectation.objects.map(({ shape, colour }, index) => {
    const { x, y, half } = scene.places[index] as Placed;
    return { polygon: outline(shape, x, y, half), colour: COLOUR_VALUES[colour] };
  });
}

export function draw(scene: Scene, objects: readonly Drawn[] = drawnObjects(scene)): Picture {
  return render(scene.width, scene.height, BACKGROUND_VALUES[scene.expectation.background], objects);
}
