/** All components, and the checkpoints that are known but not converted. */

import { clipImage, clipText } from './clip.js';
import type { Component, ComponentName } from './component.js';
import { prior } from './prior.js';
import { textEncoder } from './text-encoder.js';
import { unet } from './unet.js';
import { vqgan } from './vqgan.js';

// The table is read through the common interface; each component's own configuration stays behind its schema.
export const components = [textEncoder, unet, vqgan, clipText, clipImage, prior] as unknown as readonly Component[];

export function componentOf(name: ComponentName): Component {
  const found = components.find((component) => component.name === name);
  if (!found) throw new Error(`no component ${name}`);
  return found;
}

/** Told apart by name, so that people learn that they have the right file for another program. */
export const unsupported: readonly { title: string; signature: readonly string[] }[] = [
  { title: 'a Paella v1 U-Net', signature: ['embedding.weight', 'clf.weight', 'down_blocks.0.0.ln.gamma'] },
  {
    title: 'the VQGAN f8 of Paella v1',
    signature: ['quantize.embed.weight', 'quantize.proj.weight', 'quant_conv.weight'],
  },
  { title: 'a Stable Diffusion checkpoint', signature: ['model.diffusion_model.input_blocks.0.0.weight'] },
];
