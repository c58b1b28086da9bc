/** Perceptual colour differences: OKLab (Björn Ottosson, 2020), in which equal distances look about equally different. */

import type { Rgb } from './vocabulary.js';

export type Lab = readonly [number, number, number];

/** sRGB's transfer function for the 256 possible inputs. */
const LINEAR = Float64Array.from({ length: 256 }, (_, value) => {
  const v = value / 255;
  return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
});

function linear(value: number): number {
  return LINEAR[Math.max(0, Math.min(255, Math.round(value)))] ?? 0;
}

export function toLab([red, green, blue]: Rgb): Lab {
  const r = linear(red);
  const g = linear(green);
  const b = linear(blue);
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

export function difference(a: Lab, b: Lab): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

export interface Nearest<Name> {
  name: Name;
  distance: number;
  /** To the second nearest. */
  runnerUp: number;
}

/** The reference nearest to a colour. `references` must not be empty. */
export function nearest<Name>(colour: Lab, references: ReadonlyArray<readonly [Name, Lab]>): Nearest<Name> {
  let best: Nearest<Name> | undefined;
  for (const [name, lab] of references) {
    const distance = difference(colour, lab);
    if (best === undefined || distance < best.distance) {
      best = { name, distance, runnerUp: best?.distance ?? Number.POSITIVE_INFINITY };
    } else if (distance < best.runnerUp) {
      best.runnerUp = distance;
    }
  }
  if (best === undefined) throw new RangeError('no reference colours');
  return best;
}

/** Channel by channel; robust against outliers. */
export function median(colours: readonly Rgb[]): Rgb {
  const channel = (index: 0 | 1 | 2): number => {
    const values = colours.map((colour) => colour[index]).sort((a, b) => a - b);
    return values[values.length >> 1] ?? 0;
  };
  return [channel(0), channel(1), channel(2)];
}

export function pixel(picture: { width: number; data: Uint8Array }, x: number, y: number): Rgb {
  const i = 3 * (y * picture.width + x);
  return [picture.data[i] ?? 0, picture.data[i + 1] ?? 0, picture.data[i + 2] ?? 0];
}
