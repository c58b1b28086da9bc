/** Perceptual colour differences: OKLab (Björn Ottosson, 2020), in which equal distances look about equally different. */

import type { Rgb } from '../vocabulary.js';

export type Lab = readonly [number, number, number];

/** sRGB's transfer function for the 256 possible inputs. */
const LINEAR = Float64Array.from({ length: 256 }, (_, value) => {
  const v = value / 255;
  return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
});

function linear(value: number): number {
  return LINEAR[Math.max(0, Math.min(255, Math.round(value)))] ?? 0;
}

/** Writes the OKLab values of a linear colour to `out[i …]`. */
function write(out: Float32Array | number[], i: number, r: number, g: number, b: number): void {
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  out[i] = 0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s;
  out[i + 1] = 1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s;
  out[i + 2] = 0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s;
}

export function toLab([red, green, blue]: Rgb): Lab {
  const lab = [0, 0, 0];
  write(lab, 0, linear(red), linear(green), linear(blue));
  return lab as unknown as Lab;
}

/**
 * OKLab distances are large between colours that are all but black, because the cube root is steep there; what light a
 * screen and a room add in any case makes them as small as they look. Linear light, 1 is white.
 */
const FLARE = 0.004;

/** Every pixel of RGB data as a person sees it: OKLab over a little stray light, three numbers a pixel. */
export function perceived(data: ArrayLike<number>): Float32Array {
  const out = new Float32Array(data.length);
  for (let i = 0; i + 2 < data.length; i += 3) {
    // Most neighbours are alike.
    if (i > 0 && data[i] === data[i - 3] && data[i + 1] === data[i - 2] && data[i + 2] === data[i - 1]) {
      out.copyWithin(i, i - 3, i);
      continue;
    }
    write(
      out,
      i,
      linear(data[i] as number) + FLARE,
      linear(data[i + 1] as number) + FLARE,
      linear(data[i + 2] as number) + FLARE,
    );
  }
  return out;
}

export function difference(a: Lab, b: Lab): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}

/** Distance between entry i of `a` and entry j of `b`, counted in pixels. */
export function differenceAt(a: Float32Array, i: number, b: Float32Array, j: number): number {
  const l = (a[3 * i] as number) - (b[3 * j] as number);
  const m = (a[3 * i + 1] as number) - (b[3 * j + 1] as number);
  const s = (a[3 * i + 2] as number) - (b[3 * j + 2] as number);
  return Math.sqrt(l * l + m * m + s * s);
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

/** Channel by channel; robust against outliers. Counts in 256 bins are quicker than sorting. */
export class MedianColour {
  private readonly bins = new Uint32Array(3 * 256);
  count = 0;

  add(red: number, green: number, blue: number): void {
    this.bins[red] = (this.bins[red] as number) + 1;
    this.bins[256 + green] = (this.bins[256 + green] as number) + 1;
    this.bins[512 + blue] = (this.bins[512 + blue] as number) + 1;
    this.count += 1;
  }

  value(): Rgb {
    const channel = (first: number): number => {
      let seen = 0;
      for (let v = 0; v < 256; v++) {
        seen += this.bins[first + v] as number;
        if (2 * seen >= this.count && seen > 0) return v;
      }
      return 0;
    };
    return [channel(0), channel(256), channel(512)];
  }
}
