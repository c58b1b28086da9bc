/** Every figure of the domain as a map of its parts, from which it can be drawn at any place and size. */

import { CONTAINERS, FIGURE_SHAPES, known, type Layer, TEXTURED_FIGURES } from '../vocabulary.js';

/** Cells of a map along each side of the square from -1 to 1. */
export const CELLS = 256;

/** A map holds 0 outside the figure and 1 + the number of the topmost layer inside. */
export type PartMap = Uint8Array;

export interface Template {
  figure: string;
  variant: number;
  mirrored: boolean;
  /** Fill of every layer: 'main' or an accent. */
  fills: string[];
  map: PartMap;
  /** Maps without one of the layers, in the order of `fills`, made when asked for. */
  without: (layer: number) => PartMap;
  /** One map for each run of layers of one fill, from back to front, made when asked for. */
  runs: () => PartMap[];
  /** Of the whole figure in the square of side 2: area, centroid, and how far it reaches. */
  area: number;
  centre: readonly [x: number, y: number];
  extent: { left: number; top: number; right: number; bottom: number };
  /** May be striped, dotted or outlined; has depths then. */
  textured: boolean;
  /** May hold other things. */
  container: boolean;
  /** Distance of every cell to the outside, in halves of the square's side. Only for textured figures. */
  depth: Float32Array | undefined;
}

function insidePolygon(points: ReadonlyArray<readonly [number, number]>, x: number, y: number): boolean {
  let inside = false;
  let [ax, ay] = points.at(-1) ?? [0, 0];
  for (const [bx, by] of points) {
    if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
    [ax, ay] = [bx, by];
  }
  return inside;
}

function inLayer({ polygon, circle, ellipse, minus }: Layer, x: number, y: number): boolean {
  if (minus && Math.hypot(x - minus[0], y - minus[1]) <= minus[2]) return false;
  if (polygon) return insidePolygon(polygon, x, y);
  if (circle) return Math.hypot(x - circle[0], y - circle[1]) <= circle[2];
  if (ellipse) return Math.hypot((x - ellipse[0]) / ellipse[2], (y - ellipse[1]) / ellipse[3]) <= 1;
  throw new RangeError('domain.json: a layer without a polygon, circle or ellipse');
}

/** Centre of cell i, in the square from -1 to 1. */
const at = (i: number): number => (2 * (i + 0.5)) / CELLS - 1;

/** For every cell, which of the layers hold it. */
function drawLayers(layers: readonly Layer[], mirrored: boolean): Uint8Array[] {
  return layers.map((layer) => {
    const mask = new Uint8Array(CELLS * CELLS);
    for (let j = 0; j < CELLS; j++) {
      for (let i = 0; i < CELLS; i++) {
        if (inLayer(layer, mirrored ? -at(i) : at(i), at(j))) mask[j * CELLS + i] = 1;
      }
    }
    return mask;
  });
}

function flatten(masks: readonly Uint8Array[], without = -1): PartMap {
  const map = new Uint8Array(CELLS * CELLS);
  masks.forEach((mask, layer) => {
    if (layer === without) return;
    for (let c = 0; c < map.length; c++) if (mask[c]) map[c] = layer + 1;
  });
  return map;
}

function mapsOfRuns(layers: readonly Layer[], masks: readonly Uint8Array[]): PartMap[] {
  const maps: PartMap[] = [];
  layers.forEach(({ fill }, layer) => {
    const same = layer > 0 && layers[layer - 1]?.fill === fill;
    const map = (same && maps.at(-1)) || new Uint8Array(CELLS * CELLS);
    const mask = masks[layer] as Uint8Array;
    for (let c = 0; c < map.length; c++) if (mask[c]) map[c] = layer + 1;
    if (!same) maps.push(map);
  });
  return maps;
}

/** Squared distances along one line to the nearest zero of `f` in the sense of Felzenszwalb and Huttenlocher (2012). */
function distancesOfLine(f: Float64Array): Float64Array {
  const n = f.length;
  const [vertex, start, out] = [new Int32Array(n), new Float64Array(n + 1), new Float64Array(n)];
  let k = 0;
  start[0] = Number.NEGATIVE_INFINITY;
  start[1] = Number.POSITIVE_INFINITY;
  const meet = (q: number, v: number): number => ((f[q] as number) + q * q - (f[v] as number) - v * v) / (2 * (q - v));
  for (let q = 1; q < n; q++) {
    let s = meet(q, vertex[k] as number);
    while (s <= (start[k] as number)) s = meet(q, vertex[--k] as number);
    vertex[++k] = q;
    start[k] = s;
    start[k + 1] = Number.POSITIVE_INFINITY;
  }
  k = 0;
  for (let q = 0; q < n; q++) {
    while ((start[k + 1] as number) < q) k++;
    const v = vertex[k] as number;
    out[q] = (q - v) ** 2 + (f[v] as number);
  }
  return out;
}

/** Distance of every cell to the nearest one outside; what lies beyond the map is outside. */
function depths(map: PartMap): Float32Array {
  const side = CELLS + 2;
  const far = 1e9;
  const squares = new Float64Array(side * side);
  for (let j = 0; j < CELLS; j++) {
    for (let i = 0; i < CELLS; i++) if (map[j * CELLS + i]) squares[(j + 1) * side + i + 1] = far;
  }
  for (let j = 0; j < side; j++) squares.set(distancesOfLine(squares.slice(j * side, (j + 1) * side)), j * side);
  const column = new Float64Array(side);
  const result = new Float32Array(CELLS * CELLS);
  for (let i = 1; i <= CELLS; i++) {
    for (let j = 0; j < side; j++) column[j] = squares[j * side + i] as number;
    const line = distancesOfLine(column);
    for (let j = 1; j <= CELLS; j++) result[(j - 1) * CELLS + i - 1] = (2 * Math.sqrt(line[j] as number)) / CELLS;
  }
  return result;
}

const calmOf = new WeakMap<PartMap, Uint8Array>();

/** How many cells away, along either axis, the nearest cell of another part is; at most 255. Outside lies part 0. */
export function calmness(map: PartMap): Uint8Array {
  const known = calmOf.get(map);
  if (known) return known;
  const calm = new Uint8Array(CELLS * CELLS);
  const relax = (i: number, j: number, i1: number, j1: number, least: number): number => {
    const at = j1 * CELLS + i1;
    const inside = i1 >= 0 && j1 >= 0 && i1 < CELLS && j1 < CELLS;
    if ((inside ? map[at] : 0) !== map[j * CELLS + i]) return 1;
    return inside ? Math.min(least, (calm[at] as number) + 1) : least;
  };
  calm.fill(255);
  // Forwards from the neighbours before each cell, then backwards from those behind it.
  for (const step of [-1, 1]) {
    for (let c = 0; c < calm.length; c++) {
      const at = step < 0 ? c : calm.length - 1 - c;
      const i = at % CELLS;
      const j = (at - i) / CELLS;
      let least = relax(i, j, i - 1, j + step, calm[at] as number);
      least = relax(i, j, i, j + step, least);
      least = relax(i, j, i + 1, j + step, least);
      calm[at] = relax(i, j, i + step, j, least);
    }
  }
  calmOf.set(map, calm);
  return calm;
}

function moments(map: PartMap): Pick<Template, 'area' | 'centre' | 'extent'> {
  let [cells, sumX, sumY] = [0, 0, 0];
  const extent = { left: 1, top: 1, right: -1, bottom: -1 };
  const edge = 1 / CELLS;
  for (let c = 0; c < map.length; c++) {
    if (!map[c]) continue;
    const [x, y] = [at(c % CELLS), at(Math.floor(c / CELLS))];
    cells += 1;
    sumX += x;
    sumY += y;
    extent.left = Math.min(extent.left, x - edge);
    extent.right = Math.max(extent.right, x + edge);
    extent.top = Math.min(extent.top, y - edge);
    extent.bottom = Math.max(extent.bottom, y + edge);
  }
  return { area: (4 * cells) / (CELLS * CELLS), centre: [sumX / cells, sumY / cells], extent };
}

function makeTemplate(figure: string, variant: number, mirrored: boolean): Template {
  const layers = known(FIGURE_SHAPES, figure).variants[variant] ?? [];
  const masks = drawLayers(layers, mirrored);
  const map = flatten(masks);
  const partial = new Map<number, PartMap>();
  const without = (layer: number): PartMap => {
    const made = partial.get(layer) ?? flatten(masks, layer);
    partial.set(layer, made);
    return made;
  };
  let runs: PartMap[] | undefined;
  const textured = TEXTURED_FIGURES.includes(figure);
  return {
    figure,
    variant,
    mirrored,
    fills: layers.map(({ fill }) => fill),
    map,
    without,
    runs: () => {
      runs ??= mapsOfRuns(layers, masks);
      return runs;
    },
    ...moments(map),
    textured,
    container: CONTAINERS.includes(figure),
    depth: textured ? depths(map) : undefined,
  };
}

let all: Template[] | undefined;

/** Every figure in every variant, and mirrored where that may be. */
export function templates(): readonly Template[] {
  all ??= Object.entries(FIGURE_SHAPES).flatMap(([figure, { variants, mirrored }]) =>
    variants.flatMap((_, variant) =>
      (mirrored ? [false, true] : [false]).map((way) => makeTemplate(figure, variant, way)),
    ),
  );
  return all;
}
