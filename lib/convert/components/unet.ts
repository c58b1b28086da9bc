/** The v3 U-Net (spec 1). */
import { z } from 'zod';
import { type Component, cannotInfer, type ExpectedTensor, type Shapes, sameName } from './component.js';

const size = z
  .int()
  .min(1)
  .max(1 << 20);
const schema = z
  .object({
    c_in: size,
    c_out: size,
    num_labels: size.min(2),
    c_r: size.min(4).multipleOf(2),
    patch_size: z.literal(2),
    c_cond: size,
    c_hidden: z.array(size.multipleOf(2)).min(1).max(16),
    nhead: z.array(z.int().min(-1).max(1024)).min(1).max(16),
    blocks: z.array(z.int().min(1).max(1024)).min(1).max(16),
    level_config: z
      .array(z.string().regex(/^C[CTA]{0,31}$/))
      .min(1)
      .max(16),
    byt5_embd: size,
    clip_embd: z
      .int()
      .min(0)
      .max(1 << 20)
      .default(0),
    clip_image_embd: z
      .int()
      .min(0)
      .max(1 << 20)
      .default(0),
    clip_seq_len: z.int().min(1).max(256).default(4),
    kernel_size: z.literal(3).default(3),
  })
  .refine(
    ({ c_hidden, nhead, blocks, level_config }) =>
      [nhead, blocks, level_config].every((list) => list.length === c_hidden.length),
    'c_hidden, nhead, blocks and level_config of one length',
  );

type UnetConfig = z.output<typeof schema>;

/** Of the official model; heads of another width have to be told. */
const HEAD_WIDTH = 80;

export const unet: Component<UnetConfig> = {
  name: 'unet',
  title: 'Paella v3 U-Net',
  required: true,
  listedIn: 'components',
  layouts: [
    {
      name: 'paella',
      signature: ['in_mapper.0.weight', 'out_mapper.1.weight', 'byt5_mapper.weight'],
      owns: /^/,
      source: sameName,
    },
  ],
  official: schema.parse({
    c_in: 256,
    c_out: 256,
    num_labels: 8192,
    c_r: 64,
    patch_size: 2,
    c_cond: 1024,
    c_hidden: [640, 1280, 1280],
    nhead: [-1, 16, 16],
    blocks: [6, 16, 6],
    level_config: ['CT', 'CTA', 'CTA'],
    byt5_embd: 2560,
    clip_embd: 1024,
    clip_image_embd: 1024,
    clip_seq_len: 4,
  }),
  schema,
  foreign: (json) => ('c_hidden' in json && 'level_config' in json ? json : undefined),

  infer(shapes, given) {
    const [numLabels = 0, cIn = 0] = shapes.shape('in_mapper.0.weight', 2);
    const [first = 0, patched = 0] = shapes.shape('embedding.1.weight', 4);
    const [cCond = 0, byt5 = 0] = shapes.shape('byt5_mapper.weight', 2);
    const levels = shapes.count('down_blocks.');
    const widths = [first];
    for (let level = 1; level < levels; level++)
      widths[level] = shapes.shape(`down_blocks.${level}.0.1.weight`, 4)[0] ?? 0;
    const kinds = widths.map((_, level) => blockKinds(shapes, level));
    const clip = shapes.has('clip_mapper.weight') ? shapes.shape('clip_mapper.weight', 2) : undefined;
    const image = shapes.has('clip_image_mapper.weight') ? shapes.shape('clip_image_mapper.weight', 2) : undefined;
    const lengths = [clip, image].flatMap((shape) => (shape ? [(shape[0] ?? 0) / cCond] : []));
    return {
      c_in: cIn,
      c_out: shapes.shape('out_mapper.1.weight', 4)[1],
      num_labels: numLabels,
      c_r: shapes.shape(timestepWeight(kinds), 2)[1],
      patch_size: Math.sqrt(patched / cIn),
      c_cond: cCond,
      c_hidden: widths,
      nhead: given.nhead ?? widths.map((width, level) => headsOf(width, kinds[level] ?? '')),
      blocks: kinds.map((kind) => (kind.match(/C/g) ?? []).length),
      level_config: kinds.map((kind) => kind.slice(0, kind.indexOf('C', 1) < 0 ? undefined : kind.indexOf('C', 1))),
      byt5_embd: byt5,
      clip_embd: clip?.[1] ?? 0,
      clip_image_embd: image?.[1] ?? 0,
      clip_seq_len: lengths[0] ?? 4,
    };
  },

  expected(config) {
    const { c_in, c_out, num_labels, c_cond, c_hidden, patch_size, clip_embd, clip_image_embd, clip_seq_len } = config;
    const levels = c_hidden.length;
    const first = c_hidden[0] ?? 0;
    const pixels = patch_size ** 2;
    const tensors: ExpectedTensor[] = [
      ...linear('byt5_mapper', c_cond, config.byt5_embd),
      ...(clip_embd > 0 ? linear('clip_mapper', c_cond * clip_seq_len, clip_embd) : []),
      ...(clip_image_embd > 0 ? linear('clip_image_mapper', c_cond * clip_seq_len, clip_image_embd) : []),
      { name: 'in_mapper.0.weight', shape: [num_labels, c_in] },
      ...convolution('embedding.1', [first, c_in * pixels, 1, 1]),
    ];
    for (let level = 0; level < levels; level++) {
      const [width = 0, finer = 0] = [c_hidden[level], c_hidden[level - 1]];
      const stage = `down_blocks.${level}`;
      if (level > 0) tensors.push(...convolution(`${stage}.0.1`, [width, finer, 2, 2]));
      tensors.push(...blocks(config, level, stage, level > 0 ? 1 : 0, false));
    }
    for (let level = levels - 1; level >= 0; level--) {
      const [width = 0, finer = 0] = [c_hidden[level], c_hidden[level - 1]];
      const stage = `up_blocks.${levels - 1 - level}`;
      tensors.push(...blocks(config, level, stage, 0, level < levels - 1));
      const last = (config.blocks[level] ?? 0) * (config.level_config[level]?.length ?? 0);
      // Transposed: [in, out, 2, 2].
      if (level > 0) tensors.push(...convolution(`${stage}.${last}.1`, [width, finer, 2, 2], finer));
    }
    tensors.push(...convolution('clf.1', [c_out * pixels, first, 1, 1]));
    tensors.push({ name: 'out_mapper.1.weight', shape: [num_labels, c_out, 1, 1] });
    return tensors;
  },
};

/** 'CTACTA…' of one level on the way down, by a tensor that only this kind of block has. */
function blockKinds(shapes: Shapes, level: number): string {
  const stage = `down_blocks.${level}.`;
  let kinds = '';
  for (let i = level > 0 ? 1 : 0; i < shapes.count(stage); i++) {
    if (shapes.has(`${stage}${i}.depthwise.weight`)) kinds += 'C';
    else if (shapes.has(`${stage}${i}.mapper.weight`)) kinds += 'T';
    else if (shapes.has(`${stage}${i}.kv_mapper.1.weight`)) kinds += 'A';
    else throw cannotInfer('unet', `what kind of block ${stage}${i} is`);
  }
  return kinds;
}

function timestepWeight(kinds: readonly string[]): string {
  const level = kinds.findIndex((kind) => kind.includes('T'));
  if (level < 0) throw cannotInfer('unet', 'c_r');
  return `down_blocks.${level}.${(kinds[level] ?? '').indexOf('T') + (level > 0 ? 1 : 0)}.mapper.weight`;
}

function headsOf(width: number, kinds: string): number {
  if (!kinds.includes('A')) return -1;
  if (width % HEAD_WIDTH !== 0) throw cannotInfer('unet', 'nhead');
  return width / HEAD_WIDTH;
}

function blocks(config: UnetConfig, level: number, stage: string, first: number, skip: boolean): ExpectedTensor[] {
  const width = config.c_hidden[level] ?? 0;
  const kinds = (config.level_config[level] ?? '').repeat(config.blocks[level] ?? 0);
  return [...kinds].flatMap((kind, i) => {
    const name = `${stage}.${first + i}`;
    if (kind === 'T') return linear(`${name}.mapper`, 2 * width, config.c_r);
    if (kind === 'A') return attention(name, width, config.c_cond);
    // Groups of `width`: with the skip, each output channel sees two of the joined channels.
    return residual(name, width, skip && i === 0 ? 2 : 1, config.kernel_size);
  });
}

function residual(name: string, width: number, perGroup: number, kernel: number): ExpectedTensor[] {
  const hidden = 4 * width;
  return [
    ...convolution(`${name}.depthwise`, [width, perGroup, kernel, kernel]),
    ...linear(`${name}.channelwise.0`, hidden, width),
    { name: `${name}.channelwise.2.gamma`, shape: [1, 1, 1, hidden] },
    { name: `${name}.channelwise.2.beta`, shape: [1, 1, 1, hidden] },
    ...linear(`${name}.channelwise.4`, width, hidden),
  ];
}

function attention(name: string, width: number, condition: number): ExpectedTensor[] {
  return [
    { name: `${name}.attention.attn.in_proj_weight`, shape: [3 * width, width] },
    { name: `${name}.attention.attn.in_proj_bias`, shape: [3 * width] },
    ...linear(`${name}.attention.attn.out_proj`, width, width),
    ...linear(`${name}.kv_mapper.1`, width, condition),
  ];
}

/** `weight` [out, in] and `bias` [out] */
export function linear(name: string, outputs: number, inputs: number): ExpectedTensor[] {
  return convolution(name, [outputs, inputs]);
}

export function convolution(name: string, weight: readonly number[], outputs = weight[0] ?? 0): ExpectedTensor[] {
  return [
    { name: `${name}.weight`, shape: weight },
    { name: `${name}.bias`, shape: [outputs] },
  ];
}
