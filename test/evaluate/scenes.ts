/** Random scenes for the tests: what a caption could ask for, and where its objects stand. */

import type { Expectation, WantedObject } from '../../scripts/evaluate/expectation.js';
import { difference, toLab } from '../../scripts/evaluate/look/colour.js';
import type { Picture } from '../../scripts/evaluate/look/raster.js';
import {
  BACKGROUND_VALUES,
  BACKGROUNDS,
  FIGURE_SHAPES,
  FIGURES,
  known,
  LEAST_CONTRAST,
  TEXTURED_FIGURES,
  TEXTURES,
} from '../../scripts/evaluate/vocabulary.js';
import { colourOf, type Drawn, figureOf, groundOf, type Placed, render } from './renderer.js';

export interface Scene {
  width: number;
  height: number;
  expectation: Expectation;
  places: Placed[];
}

/** px in a picture of 128 × 128. */
const HALVES = { small: 12, medium: 20, large: 28, container: 44, inner: 16 };

export function pick<T>(random: () => number, values: readonly T[]): T {
  return values[Math.floor(random() * values.length)] as T;
}

/** Whether the colour shows on every part of the background. */
export function shows(colour: string, background: string): boolean {
  const own = toLab(colourOf(colour));
  const { top, below = top, bottom = top } = known(BACKGROUND_VALUES, background);
  return [top, below, bottom].every((rgb) => difference(own, toLab(rgb)) >= LEAST_CONTRAST);
}

export function contrasts(a: string, b: string): boolean {
  return difference(toLab(colourOf(a)), toLab(colourOf(b))) >= LEAST_CONTRAST + 0.05;
}

function randomObject(random: () => number, background: string, half: number): WantedObject {
  const figure = pick(random, FIGURES);
  const colours = known(FIGURE_SHAPES, figure).colours.filter((colour) => shows(colour, background));
  if (colours.length === 0) return randomObject(random, background, half);
  const colour = pick(random, colours);
  const textured = TEXTURED_FIGURES.includes(figure) && colour !== 'white' && half >= 16 && random() < 0.35;
  return { figure, colour, texture: textured ? pick(random, TEXTURES) : 'plain' };
}

function placeOf(random: () => number, figure: string, x: number, y: number, half: number): Placed {
  const { variants, mirrored } = known(FIGURE_SHAPES, figure);
  return { x, y, half, variant: Math.floor(random() * variants.length), mirrored: mirrored && random() < 0.5 };
}

function insideScene(random: () => number, background: string): Scene {
  const figure = pick(random, ['circle', 'square']);
  // Trunks and masts hardly show on brown.
  const colours = known(FIGURE_SHAPES, figure).colours.filter(
    (colour) => colour !== 'brown' && shows(colour, background),
  );
  const outer: WantedObject = { figure, colour: pick(random, colours), texture: random() < 0.3 ? 'outlined' : 'plain' };
  let inner = randomObject(random, background, 0);
  while (!contrasts(inner.colour, outer.colour)) inner = randomObject(random, background, 0);
  const expectation: Expectation = {
    caption: '',
    part: '',
    background,
    objects: [outer, inner],
    relations: [{ kind: 'inside', a: 1, b: 0 }],
  };
  const places = [
    placeOf(random, outer.figure, 64, 64, HALVES.container),
    placeOf(random, inner.figure, 64, 64, HALVES.inner),
  ];
  return { width: 128, height: 128, expectation, places };
}

export type Arrangement = 'alone' | 'row2' | 'column2' | 'row3' | 'inside';
export const ARRANGEMENTS: readonly Arrangement[] = ['alone', 'row2', 'column2', 'row3', 'inside'];

const CENTRES: Record<Exclude<Arrangement, 'inside'>, Array<readonly [number, number]>> = {
  alone: [[64, 56]],
  row2: [
    [32, 64],
    [96, 64],
  ],
  column2: [
    [64, 32],
    [64, 96],
  ],
  row3: [
    [24, 64],
    [64, 64],
    [104, 64],
  ],
};

/** 128 × 128 px. */
export function randomScene(random: () => number, arrangement: Arrangement): Scene {
  const background = pick(random, BACKGROUNDS);
  if (arrangement === 'inside') return insideScene(random, background);
  const centres = CENTRES[arrangement];
  const objects: WantedObject[] = [];
  const places: Placed[] = [];
  for (const [x, y] of centres) {
    const size = centres.length < 3 ? pick(random, [undefined, 'small', 'large'] as const) : undefined;
    const half = centres.length === 3 ? HALVES.inner : HALVES[size ?? 'medium'];
    let object = randomObject(random, background, half);
    while (objects.some(({ figure, colour }) => figure === object.figure && colour === object.colour)) {
      object = randomObject(random, background, half);
    }
    objects.push({ ...object, ...(size && { size }) });
    places.push(placeOf(random, object.figure, x, y, half));
  }
  const kind = arrangement === 'column2' ? 'above' : 'left';
  const relations = places.slice(1).map((_, index) => ({ kind, a: index, b: index + 1 }) as const);
  return { width: 128, height: 128, expectation: { caption: '', part: '', background, objects, relations }, places };
}

/** The parts of every object. */
export function drawnObjects({ expectation, places }: Scene): Drawn[][] {
  return expectation.objects.map(({ figure, colour, texture }, index) =>
    figureOf(figure, colourOf(colour), texture, places[index] as Placed),
  );
}

export function draw(scene: Scene, objects: readonly Drawn[] = drawnObjects(scene).flat()): Picture {
  const { width, height, expectation } = scene;
  return render(width, height, groundOf(expectation.background, height), objects);
}

/** The scene with one object changed. */
export function changed(
  scene: Scene,
  index: number,
  change: Partial<WantedObject>,
  place: Partial<Placed> = {},
): Scene {
  const objects = scene.expectation.objects.map((object, i) => (i === index ? { ...object, ...change } : object));
  const places = scene.places.map((each, i) => (i === index ? { ...each, ...place } : each));
  return { ...scene, expectation: { ...scene.expectation, objects }, places };
}
