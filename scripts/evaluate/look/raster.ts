/** Pictures, and the boxes in which a part of one is looked at. */

/** RGB, row-major, 8 bits per channel. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** What a picture should look like so far: RGB, row-major, not rounded. */
export interface Canvas {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** Inclusive on all sides. */
export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export function grow(box: Box, by: number, { width, height }: { width: number; height: number }): Box {
  return {
    left: Math.max(0, box.left - by),
    top: Math.max(0, box.top - by),
    right: Math.min(width - 1, box.right + by),
    bottom: Math.min(height - 1, box.bottom + by),
  };
}

export function contains(box: Box, x: number, y: number): boolean {
  return x >= box.left && x <= box.right && y >= box.top && y <= box.bottom;
}

export function boxWidth(box: Box): number {
  return box.right - box.left + 1;
}

export function boxHeight(box: Box): number {
  return box.bottom - box.top + 1;
}
