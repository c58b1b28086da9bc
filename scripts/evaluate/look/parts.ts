/** Whether every part of a figure is there: its roof, its wheels, each ray and petal, the stripes or dots. */

import { FINE, type Fit, type Scope } from './fit.js';
import { boxWidth } from './raster.js';
import { drawn } from './render.js';

/** How much of a part's contrast must be seen; small details come out of an autoencoder paler than they were. */
const LEAST = 0.45;
const MOST = 1.6;
/** A part that sets off fewer pixels than this, fully, cannot be seen in any picture of this size. */
const LEAST_PIXELS = 1.5;
/** A texture of fewer pixels than this looks like none. */
const LEAST_TEXTURE = 6;
/** RGB difference, 0 … 255, below which a part does not show on what lies behind it (a yellow flower's heart). */
const PALE = 30;

interface Shown {
  /** How much of the difference that the part makes is in the picture: 0 is nothing, 1 is all. */
  share: number;
  /** How many fully different pixels that is about. */
  pixels: number;
}

/** Compares the picture with a drawing with and one without the part. */
function shown({ picture, box, foreign }: Scope, complete: Float32Array, lacking: Float32Array): Shown {
  const width = boxWidth(box);
  let [product, square, largest] = [0, 0, 0];
  for (let pixel = 0; pixel < foreign.length; pixel++) {
    if (foreign[pixel]) continue;
    const j = Math.floor(pixel / width);
    const at = 3 * ((box.top + j) * picture.width + box.left + pixel - j * width);
    let own = 0;
    for (let c = 0; c < 3; c++) {
      const without = lacking[3 * pixel + c] as number;
      const step = (complete[3 * pixel + c] as number) - without;
      if (step === 0) continue;
      product += step * ((picture.data[at + c] as number) - without);
      own += step * step;
    }
    square += own;
    largest = Math.max(largest, own);
  }
  if (Math.sqrt(largest) < PALE) return { share: 1, pixels: 0 };
  return { share: product / square, pixels: square / largest };
}

/** The parts that are missing, for people. */
export function missingParts(scope: Scope, fit: Fit): string[] {
  const { template, texture, main, place } = fit;
  const draw = (map: Uint8Array, of = texture): Float32Array =>
    drawn(template, map, of, main, place, scope.canvas, scope.box, FINE);
  const complete = draw(template.map);
  const missing: string[] = [];
  const check = (name: string, lacking: Float32Array, least = LEAST_PIXELS): void => {
    const { share, pixels } = shown(scope, complete, lacking);
    if (pixels >= least && (share < LEAST || share > MOST)) missing.push(`${name} ${Math.round(100 * share)} %`);
  };
  if (texture !== 'plain') check(texture, draw(template.map, 'plain'), LEAST_TEXTURE);
  if (template.fills.length > 1 && texture === 'plain') {
    template.fills.forEach((fill, layer) => {
      check(fill === 'main' ? `part ${layer + 1}` : fill, draw(template.without(layer)));
    });
  }
  return missing;
}
