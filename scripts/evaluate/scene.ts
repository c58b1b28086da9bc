/** Draws what a caption asks for, in the places that the model learns, with the evaluator's own means. */

import type { Expectation, WantedObject } from './expectation.js';
import { canvasOf, rowsOf } from './look/background.js';
import { type Template, templates } from './look/figures.js';
import { paint } from './look/objects.js';
import type { Picture } from './look/raster.js';
import type { Placement } from './look/render.js';
import { arrangement } from './summary.js';
import { COLOUR_VALUES, HALVES, known } from './vocabulary.js';

/** px that places are multiples of. */
const GRID = 8;

export const onGrid = (px: number): number => GRID * Math.round(px / GRID);

type Extent = Pick<Picture, 'width' | 'height'>;

type Halves = (typeof HALVES)[number];

function halvesOf({ width, height }: Extent): Halves {
  const [first, ...rest] = HALVES;
  return rest.findLast(({ side }) => side <= Math.min(width, height)) ?? (first as Halves);
}

/** Middles of `count` things that share a length evenly. */
function middles(count: number, length: number): number[] {
  return Array.from({ length: count }, (_, k) => GRID * Math.floor(((2 * k + 1) * length) / (2 * count) / GRID + 0.5));
}

type Point = readonly [x: number, y: number];

const rowOf = (count: number, { width }: Extent, y: number): Point[] => middles(count, width).map((x) => [x, y]);

const same = (a: WantedObject | undefined, b: WantedObject | undefined): boolean =>
  a !== undefined && b !== undefined && a.figure === b.figure && a.colour === b.colour && a.texture === b.texture;

/** A group above or below one thing; the group comes first or last in the list. */
function groupAndOne(objects: readonly WantedObject[], extent: Extent): Point[] {
  const [upper = 0, lower = 0] = middles(2, extent.height);
  const [centre = 0] = middles(1, extent.width);
  const many = objects.length - 1;
  return same(objects[0], objects[1])
    ? [...rowOf(many, extent, upper), [centre, lower]]
    : [[centre, upper], ...rowOf(many, extent, lower)];
}

function points(expectation: Expectation, extent: Extent, halves: readonly number[]): Point[] {
  const { objects, relations } = expectation;
  const { width, height } = extent;
  const [x = 0] = middles(1, width);
  const [y = 0] = middles(1, height);
  const corner = relations.find(({ kind }) => kind === 'corner');
  if (corner?.kind === 'corner') {
    const margin = GRID * Math.ceil(((halves[0] ?? 0) + 4) / GRID);
    const [vertical, horizontal] = corner.at.split(' ');
    return [[horizontal === 'left' ? margin : width - margin, vertical === 'top' ? margin : height - margin]];
  }
  switch (arrangement(expectation)) {
    case 'one inside the other':
      return objects.map(() => [x, y]);
    case 'one between two': {
      const [left = 0, centre = 0, right = 0] = middles(3, width);
      return [centre, left, right].map((at): Point => [at, y]);
    }
    case 'one above the other':
      return middles(objects.length, height).map((at) => [x, at]);
    case 'a group and one':
      return groupAndOne(objects, extent);
    case 'two by two':
      return middles(2, height).flatMap((at) => rowOf(2, extent, at));
    case 'a group':
      if (objects.length === 4) return middles(2, height).flatMap((at) => rowOf(2, extent, at));
      return rowOf(objects.length, extent, y);
    default:
      return rowOf(objects.length, extent, y);
  }
}

function halfOf(expectation: Expectation, index: number, extent: Extent): number {
  const inside = expectation.relations.find(({ kind }) => kind === 'inside');
  const halves = halvesOf(extent);
  if (inside) return inside.a === index ? halves.inner : halves.container;
  return halves[expectation.objects[index]?.size ?? 'medium'];
}

/** The largest half at which boxes stay apart. */
function room(at: readonly Point[], extent: Extent): number {
  const gap = Math.min(extent.width, extent.height) <= 64 ? 4 : 8;
  const apart = at.flatMap(([ax, ay], i) =>
    at.slice(i + 1).map(([bx, by]) => Math.max(Math.abs(ax - bx), Math.abs(ay - by))),
  );
  return Math.max(8, 4 * Math.floor((Math.min(...apart, 1e6) - gap) / 8));
}

/** Where the objects of a caption stand. */
export function placesOf(expectation: Expectation, extent: Extent): Placement[] {
  const wanted = expectation.objects.map((_, index) => halfOf(expectation, index, extent));
  const at = points(expectation, extent, wanted);
  const most = arrangement(expectation) === 'one inside the other' ? 1e6 : room(at, extent);
  return at.map(([x, y], index) => ({ x, y, half: Math.min(wanted[index] ?? 0, most) }));
}

/** px that training leaves free at the borders. */
const BORDER = 4;

/** As near to `wanted` as things stay clear of the borders. */
function moveThatFits(wanted: number, spans: ReadonlyArray<readonly [centre: number, half: number]>, length: number) {
  const least = Math.max(...spans.map(([centre, half]) => BORDER + half - centre));
  const most = Math.min(...spans.map(([centre, half]) => length - BORDER - half - centre));
  return Math.max(Math.min(wanted, most), Math.min(least, 0));
}

/** The places moved together, across and down, as far as they stay in the picture. */
export function moved(places: readonly Placement[], [across, down]: Point, { width, height }: Extent): Placement[] {
  const dx = moveThatFits(
    across,
    places.map(({ x, half }) => [x, half]),
    width,
  );
  const dy = moveThatFits(
    down,
    places.map(({ y, half }) => [y, half]),
    height,
  );
  return places.map(({ x, y, half }) => ({ x: x + dx, y: y + dy, half }));
}

/** `look` chooses among a figure's variants and the ways it may face; the same for things that are the same. */
export function drawScene(
  expectation: Expectation,
  extent: Extent,
  look = 0,
  places: readonly Placement[] = placesOf(expectation, extent),
): Picture {
  const canvas = canvasOf(rowsOf(expectation.background, extent.height), extent.width);
  expectation.objects.forEach(({ figure, colour, texture }, index) => {
    const ways = templates().filter((template) => template.figure === figure);
    paint(canvas, {
      template: ways[look % ways.length] as Template,
      texture,
      main: known(COLOUR_VALUES, colour),
      place: places[index] as Placement,
    });
  });
  return { ...extent, data: Uint8Array.from(canvas.data, Math.round) };
}
