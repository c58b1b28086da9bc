/** Pictures and planes of numbers, addressed by column and row. */

/** RGB, row-major, 8 bits per channel. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** One number per pixel. Reading outside gives `outside`; writing outside does nothing. */
export class Plane {
  readonly data: Float32Array;

  constructor(
    readonly width: number,
    readonly height: number,
    private readonly outside = 0,
  ) {
    this.data = new Float32Array(width * height);
  }

  at(x: number, y: number): number {
    if (x < 0 || y < 0 || x >= this.width || y >= this.height) return this.outside;
    return this.data[y * this.width + x] ?? this.outside;
  }

  set(x: number, y: number, value: number): void {
    if (x >= 0 && y >= 0 && x < this.width && y < this.height) this.data[y * this.width + x] = value;
  }
}

/** Inclusive on all sides. */
export interface Box {
  left: number;
  top: number;
  right: number;
  bottom: number;
}

export function grow(box: Box, by: number, width: number, height: number): Box {
  return {
    left: Math.max(0, box.left - by),
    top: Math.max(0, box.top - by),
    right: Math.min(width - 1, box.right + by),
    bottom: Math.min(height - 1, box.bottom + by),
  };
}

export const NEIGHBOURS_4 = [
  [1, 0],
  [-1, 0],
  [0, 1],
  [0, -1],
] as const;

export const NEIGHBOURS_8 = [...NEIGHBOURS_4, [1, 1], [1, -1], [-1, 1], [-1, -1]] as const;
