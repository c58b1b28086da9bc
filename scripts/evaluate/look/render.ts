/** Draws a template at any place and in any size over a canvas, with soft edges. */

import { ACCENT_VALUES, known, type Rgb, type Texture } from '../vocabulary.js';
import { CELLS, calmness, type PartMap, type Template } from './figures.js';
import { type Box, boxHeight, boxWidth, type Canvas } from './raster.js';

/** Where a figure stands: centre and half of the box's side, px from the picture's top left corner. */
export interface Placement {
  x: number;
  y: number;
  half: number;
}

/** px that outlines are wide, and that stripes and dots leave at the edge. */
const RIM = { plain: 0, outlined: 4, striped: 4, dotted: 2.5 } as const;
/** Stripes and dots come back every 8 px; a stripe is half of that wide, a dot has this radius. */
const PERIOD = 8;
const DOT = 2.8;
const WHITE: Rgb = [255, 255, 255];

interface Lines {
  /** Cell of the map for every sample, -1 outside. */
  cells: Int16Array;
  /** px from the figure's centre. */
  offsets: Float32Array;
}

function sampleLines(from: number, pixels: number, samples: number, centre: number, half: number): Lines {
  const cells = new Int16Array(pixels * samples);
  const offsets = new Float32Array(pixels * samples);
  for (let s = 0; s < cells.length; s++) {
    const offset = from + (s + 0.5) / samples - centre;
    const cell = Math.floor(((offset / half + 1) * CELLS) / 2);
    offsets[s] = offset;
    cells[s] = cell >= 0 && cell < CELLS ? cell : -1;
  }
  return { cells, offsets };
}

const inPeriod = (offset: number): number => offset - PERIOD * Math.floor(offset / PERIOD);

/** The part of a pixel that shows several; see its samples. */
export const MIXED = 255;

/** 0 is the canvas, then come the layers, and `layers + 1` is the texture's white. */
export interface Coverage {
  /** Of every pixel, row by row. */
  parts: Uint8Array;
  /** samples² of every pixel; only those of mixed ones are set. */
  samples: Uint8Array;
}

/** What `cover` returns, until it is called again: hundreds of drawings a picture share one piece of memory. */
const scratch: Coverage = { parts: new Uint8Array(0), samples: new Uint8Array(0) };

function memory(pixels: number, each: number): Coverage {
  if (scratch.parts.length < pixels) scratch.parts = new Uint8Array(pixels);
  if (scratch.samples.length < pixels * each) scratch.samples = new Uint8Array(pixels * each);
  return scratch;
}

type Change = (part: number, cell: number, x: number, y: number) => number;

/** What a texture makes of a part of the figure, given its cell and the px from the figure's centre. */
function changeOf({ depth, fills }: Template, texture: Texture, half: number): Change | undefined {
  if (texture === 'plain' || !depth) return undefined;
  const white = fills.length + 1;
  const rim = RIM[texture] / half;
  const isWhite = {
    outlined: () => false,
    striped: (_: number, y: number) => inPeriod(y) < PERIOD / 2,
    dotted: (x: number, y: number) => (inPeriod(x) - PERIOD / 2) ** 2 + (inPeriod(y) - PERIOD / 2) ** 2 <= DOT * DOT,
  }[texture];
  return (part, cell, x, y) => {
    if ((depth[cell] as number) <= rim) return part;
    if (texture === 'outlined') return 0;
    return isWhite(x, y) ? white : part;
  };
}

/** The one part that the whole pixel shows, or MIXED; from its middle and the cells around that are alike. */
function wholePart(map: PartMap, calm: Uint8Array | undefined, column: number, row: number, reach: number): number {
  if (column < -reach || row < -reach || column >= CELLS + reach || row >= CELLS + reach) return 0;
  if (!calm || column < 0 || row < 0 || column >= CELLS || row >= CELLS) return MIXED;
  const cell = row * CELLS + column;
  return (calm[cell] as number) > reach ? (map[cell] as number) : MIXED;
}

/**
 * Which part of the figure every pixel of the box shows, with samples² samples where it may show several. Good until the
 * next call.
 */
export function cover(
  template: Template,
  map: PartMap,
  texture: Texture,
  { x, y, half }: Placement,
  box: Box,
  samples: number,
): Coverage {
  const width = boxWidth(box);
  const height = boxHeight(box);
  const each = samples * samples;
  const result = memory(width * height, each);
  const change = changeOf(template, texture, half);
  const columns = sampleLines(box.left, width, samples, x, half);
  const rows = sampleLines(box.top, height, samples, y, half);
  // Other maps than the template's own are drawn too seldom to be worth the preparation.
  const calm = map === template.map ? calmness(map) : undefined;
  const scale = CELLS / (2 * half);
  const reach = Math.ceil(scale / 2) + 1;
  for (let j = 0, pixel = 0; j < height; j++) {
    const middleRow = Math.floor((box.top + j + 0.5 - y + half) * scale);
    for (let i = 0; i < width; i++, pixel++) {
      const middleColumn = Math.floor((box.left + i + 0.5 - x + half) * scale);
      const whole = wholePart(map, calm, middleColumn, middleRow, reach);
      const plain = whole === 0 || (whole !== MIXED && !change);
      result.parts[pixel] = plain ? whole : MIXED;
      if (!plain) sample(map, change, columns, rows, i, j, samples, result.samples, pixel * each);
    }
  }
  return result;
}

/** Writes the parts of one pixel's samples to `out[next …]`. */
function sample(
  map: PartMap,
  change: Change | undefined,
  columns: Lines,
  rows: Lines,
  i: number,
  j: number,
  samples: number,
  out: Uint8Array,
  from: number,
): void {
  let next = from;
  for (let t = j * samples; t < (j + 1) * samples; t++) {
    const row = rows.cells[t] as number;
    for (let s = i * samples; s < (i + 1) * samples; s++) {
      const column = columns.cells[s] as number;
      let part = 0;
      if (row >= 0 && column >= 0) {
        const cell = row * CELLS + column;
        part = map[cell] as number;
        if (part > 0 && change) part = change(part, cell, columns.offsets[s] as number, rows.offsets[t] as number);
      }
      out[next++] = part;
    }
  }
}

/** Colours of the parts as `cover` numbers them, three numbers each; that of part 0 is not used. */
function palette(template: Template, main: Rgb): Float32Array {
  const ofLayers = template.fills.map((fill) => (fill === 'main' ? main : known(ACCENT_VALUES, fill)));
  return Float32Array.from([main, ...ofLayers, WHITE].flat());
}

/** The box of a canvas with the figure drawn over it: RGB, row-major; in `into`, if that is long enough. */
export function drawn(
  template: Template,
  map: PartMap,
  texture: Texture,
  main: Rgb,
  place: Placement,
  canvas: Canvas,
  box: Box,
  samples: number,
  into?: Float32Array,
): Float32Array {
  const width = boxWidth(box);
  const height = boxHeight(box);
  const length = 3 * width * height;
  const result = into && into.length >= length ? into : new Float32Array(length);
  const colours = palette(template, main);
  const coverage = cover(template, map, texture, place, box, samples);
  const each = samples * samples;
  for (let pixel = 0, i = 0, j = 0; pixel < width * height; pixel++) {
    const behind = 3 * ((box.top + j) * canvas.width + box.left + i);
    const whole = coverage.parts[pixel] as number;
    const count = whole === MIXED ? each : 1;
    let red = 0;
    let green = 0;
    let blue = 0;
    for (let s = 0; s < count; s++) {
      const part = whole === MIXED ? (coverage.samples[pixel * each + s] as number) : whole;
      const from = part === 0 ? canvas.data : colours;
      const at = part === 0 ? behind : 3 * part;
      red += from[at] as number;
      green += from[at + 1] as number;
      blue += from[at + 2] as number;
    }
    result[3 * pixel] = red / count;
    result[3 * pixel + 1] = green / count;
    result[3 * pixel + 2] = blue / count;
    if (++i === width) {
      i = 0;
      j++;
    }
  }
  return result;
}

/** Replaces the box of a canvas. */
export function paste(canvas: Canvas, box: Box, data: Float32Array): void {
  const width = boxWidth(box);
  for (let j = 0; j < boxHeight(box); j++) {
    canvas.data.set(data.subarray(3 * j * width, 3 * (j + 1) * width), 3 * ((box.top + j) * canvas.width + box.left));
  }
}
