/** The f4 VQGAN (spec 2.1). */
import { z } from 'zod';
import type { Component, ExpectedTensor, Layout } from './component.js';
import { sameName } from './component.js';
import { convolution, linear } from './unet.js';

const schema = z
  .object({
    levels: z.int().min(1).max(5),
    bottleneck_blocks: z.int().min(1).max(256),
    c_hidden: z.int().min(1).max(65_536),
    c_latent: z.int().min(1).max(4096),
    codebook_size: z
      .int()
      .min(2)
      .max(1 << 20),
    scale_factor: z.number().min(1e-6).max(1e6).default(0.3764),
  })
  .refine(({ c_hidden, levels }) => c_hidden % 2 ** levels === 0, 'c_hidden that is a multiple of 2^levels');

type VqganConfig = z.output<typeof schema>;

const CODEBOOK = 'vquantizer.codebook.weight';
const layout = (name: Layout['name'], codebook: string): Layout => ({
  name,
  signature: [codebook, 'in_block.1.weight', 'up_blocks.0.0.weight'],
  owns: /^/,
  source: (tensor) => (tensor === CODEBOOK ? { names: [codebook] } : sameName(tensor)),
});

/** diffusers' `PaellaVQModel` → ours. */
const diffusersKeys: Record<string, string> = {
  levels: 'levels',
  bottleneck_blocks: 'bottleneck_blocks',
  embed_dim: 'c_hidden',
  latent_channels: 'c_latent',
  num_vq_embeddings: 'codebook_size',
  scale_factor: 'scale_factor',
};

export const vqgan: Component<VqganConfig> = {
  name: 'vqgan',
  title: 'VQGAN f4',
  required: true,
  listedIn: 'components',
  layouts: [layout('paella', CODEBOOK), layout('diffusers', 'vquantizer.embedding.weight')],
  official: schema.parse({ levels: 2, bottleneck_blocks: 12, c_hidden: 384, c_latent: 4, codebook_size: 8192 }),
  schema,

  foreign(json) {
    if ('codebook_size' in json && 'bottleneck_blocks' in json) return json;
    if (json._class_name !== 'PaellaVQModel') return undefined;
    return Object.fromEntries(
      Object.entries(diffusersKeys).flatMap(([theirs, ours]) => (theirs in json ? [[ours, json[theirs]]] : [])),
    );
  },

  infer(shapes, given) {
    const [width, latent] = shapes.shape('up_blocks.0.0.weight', 4);
    const codebook = shapes.has(CODEBOOK) ? CODEBOOK : 'vquantizer.embedding.weight';
    // Going down: a residual block per level, a convolution between two, and the projection to latents.
    const levels = shapes.count('down_blocks.') / 2;
    // Going up: one more convolution, and as many residual blocks at the first level as there are.
    const bottleneck = shapes.count('up_blocks.') - 2 * (levels - 1) - 1;
    return {
      levels,
      bottleneck_blocks: bottleneck,
      c_hidden: width,
      c_latent: latent,
      codebook_size: shapes.shape(codebook, 2)[0],
      scale_factor: given.scale_factor,
    };
  },

  expected({ levels, bottleneck_blocks, c_hidden, c_latent, codebook_size }) {
    const widths = Array.from({ length: levels }, (_, level) => c_hidden / 2 ** (levels - 1 - level));
    const finest = widths[0] ?? 0;
    const tensors: ExpectedTensor[] = convolution('in_block.1', [finest, 12, 1, 1]);
    let index = 0;
    for (const [level, width] of widths.entries()) {
      if (level > 0) tensors.push(...convolution(`down_blocks.${index++}`, [width, widths[level - 1] ?? 0, 4, 4]));
      tensors.push(...residual(`down_blocks.${index++}`, width));
    }
    tensors.push({ name: `down_blocks.${index}.0.weight`, shape: [c_latent, c_hidden, 1, 1] });
    for (const leaf of ['weight', 'bias', 'running_mean', 'running_var']) {
      tensors.push({ name: `down_blocks.${index}.1.${leaf}`, shape: [c_latent] });
    }
    tensors.push({ name: `down_blocks.${index}.1.num_batches_tracked`, shape: [], optional: true });
    tensors.push({ name: CODEBOOK, shape: [codebook_size, c_latent] });
    tensors.push(...convolution('up_blocks.0.0', [c_hidden, c_latent, 1, 1]));
    index = 1;
    for (let level = levels - 1; level >= 0; level--) {
      const [width = 0, finer = 0] = [widths[level], widths[level - 1]];
      const count = level === levels - 1 ? bottleneck_blocks : 1;
      for (let i = 0; i < count; i++) tensors.push(...residual(`up_blocks.${index++}`, width));
      // Transposed: [in, out, 4, 4].
      if (level > 0) tensors.push(...convolution(`up_blocks.${index++}`, [width, finer, 4, 4], finer));
    }
    tensors.push(...convolution('out_block.0', [12, finest, 1, 1]));
    return tensors;
  },
};

function residual(name: string, width: number): ExpectedTensor[] {
  return [
    { name: `${name}.gammas`, shape: [6] },
    ...convolution(`${name}.depthwise.1`, [width, 1, 3, 3]),
    ...linear(`${name}.channelwise.0`, 4 * width, width),
    ...linear(`${name}.channelwise.2`, width, 4 * width),
  ];
}
