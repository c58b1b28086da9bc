/** Connected regions of a mask. */

import { type Box, boxHeight, boxWidth, grow } from './raster.js';

export interface Region {
  label: number;
  pixels: number;
  box: Box;
}

/** A label for every pixel: 0 is nothing, regions are counted from 1. */
export interface Labels {
  width: number;
  height: number;
  data: Int32Array;
  regions: Region[];
}

/** px between a small part and what it belongs to. */
const GAP = 3;
/** A part with at most this share of the pixels of its neighbour may belong to it. */
const PART = 0.2;

/** Regions of neighbouring pixels, diagonals included, for which `mask` is not 0. */
export function labelled(mask: Uint8Array, width: number, height: number): Labels {
  const data = new Int32Array(width * height);
  const regions: Region[] = [];
  const queue = new Int32Array(width * height);
  for (let first = 0; first < data.length; first++) {
    if (!mask[first] || data[first]) continue;
    const label = regions.length + 1;
    const box = { left: width, top: height, right: -1, bottom: -1 };
    let head = 0;
    let tail = 0;
    queue[tail++] = first;
    data[first] = label;
    while (head < tail) {
      const pixel = queue[head++] as number;
      const x = pixel % width;
      const y = (pixel - x) / width;
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x);
      box.top = Math.min(box.top, y);
      box.bottom = Math.max(box.bottom, y);
      for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
          const next = v * width + u;
          if (!mask[next] || data[next]) continue;
          data[next] = label;
          queue[tail++] = next;
        }
      }
    }
    regions.push({ label, pixels: tail, box });
  }
  return { width, height, data, regions };
}

/** px between two boxes, 0 if they touch or overlap. */
export function apart(a: Box, b: Box): number {
  return Math.max(0, b.left - a.right - 1, a.left - b.right - 1, b.top - a.bottom - 1, a.top - b.bottom - 1);
}

/** Joins small parts with the larger region that they stand close to: a thin or pale joint may be lost. */
export function joined(labels: Labels): Labels {
  const bySize = [...labels.regions].sort((a, b) => b.pixels - a.pixels);
  const regions: Region[] = [];
  for (const part of bySize) {
    const whole = regions.find(({ pixels, box }) => part.pixels <= PART * pixels && touches(labels, part, box));
    if (!whole) {
      regions.push({ ...part, box: { ...part.box } });
      continue;
    }
    for (let y = part.box.top; y <= part.box.bottom; y++) {
      for (let x = part.box.left; x <= part.box.right; x++) {
        const pixel = y * labels.width + x;
        if (labels.data[pixel] === part.label) labels.data[pixel] = whole.label;
      }
    }
    whole.pixels += part.pixels;
    whole.box = {
      left: Math.min(whole.box.left, part.box.left),
      top: Math.min(whole.box.top, part.box.top),
      right: Math.max(whole.box.right, part.box.right),
      bottom: Math.max(whole.box.bottom, part.box.bottom),
    };
  }
  return { ...labels, regions };
}

/** Whether a part stands close to a region with this box, but not inside of it, where it can be a thing of its own. */
function touches(labels: Labels, part: Region, box: Box): boolean {
  const { left, top, right, bottom } = part.box;
  const within = left > box.left + GAP && right < box.right - GAP && top > box.top + GAP && bottom < box.bottom - GAP;
  return (
    !within && apart(part.box, box) < GAP && boxWidth(part.box) < labels.width && boxHeight(part.box) < labels.height
  );
}

/** A pixel at a region's edge belongs to its outline if it has at least this share of its neighbours' contrast. */
const HALF = 0.5;

/** Whether a pixel of the region is at its edge and paler than half: less than half of it is covered. */
function isPaleEdge({ width, height, data }: Labels, distances: Float32Array, x: number, y: number): boolean {
  const own = data[y * width + x];
  let edge = false;
  let most = 0;
  for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
    for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
      const next = v * width + u;
      if (data[next] !== own) edge = true;
      else most = Math.max(most, distances[next] as number);
    }
  }
  return edge && (distances[y * width + x] as number) < HALF * most;
}

/**
 * A region's pixels and whatever they enclose, in the region's box grown by `margin` px. `distances` are those from what
 * lies behind.
 */
export function filled(
  labels: Labels,
  distances: Float32Array,
  region: Region,
  margin: number,
): { box: Box; mask: Uint8Array } {
  const box = grow(region.box, margin, labels);
  const [width, height] = [boxWidth(box), boxHeight(box)];
  const own = (i: number, j: number): boolean => {
    const x = box.left + i;
    const y = box.top + j;
    return labels.data[y * labels.width + x] === region.label && !isPaleEdge(labels, distances, x, y);
  };
  const outside = new Uint8Array(width * height);
  const stack: number[] = [];
  const visit = (i: number, j: number): void => {
    if (i < 0 || j < 0 || i >= width || j >= height || outside[j * width + i] || own(i, j)) return;
    outside[j * width + i] = 1;
    stack.push(j * width + i);
  };
  for (let i = 0; i < width; i++) {
    visit(i, 0);
    visit(i, height - 1);
  }
  for (let j = 0; j < height; j++) {
    visit(0, j);
    visit(width - 1, j);
  }
  for (let pixel = stack.pop(); pixel !== undefined; pixel = stack.pop()) {
    const i = pixel % width;
    const j = (pixel - i) / width;
    visit(i - 1, j);
    visit(i + 1, j);
    visit(i, j - 1);
    visit(i, j + 1);
  }
  return { box, mask: outside.map((value) => 1 - value) };
}
