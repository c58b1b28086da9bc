/** CLIP's two encoders (spec 5.2), under open_clip's names; files of transformers keep queries, keys and values apart. */
import { z } from 'zod';
import {
  type Component,
  type Config,
  cannotInfer,
  type ExpectedTensor,
  type Layout,
  type Shapes,
  sameName,
  type TensorSource,
} from './component.js';
import { convolution, linear } from './unet.js';

const size = z
  .int()
  .min(1)
  .max(1 << 20);
const tower = {
  embed_dim: size,
  width: size,
  layers: z.int().min(1).max(1024),
  heads: z.int().min(1).max(1024),
  mlp_width: size,
  layer_norm_epsilon: z.number().min(1e-12).max(1).default(1e-5),
  /** The exact GELU; OpenAI's own weights would need another. */
  hidden_act: z.literal('gelu').default('gelu'),
};
const textSchema = z.object({ ...tower, context_length: size, vocab_size: size });
const imageSchema = z.object({ ...tower, image_size: size, patch_size: size });

type TextConfig = z.output<typeof textSchema>;
type ImageConfig = z.output<typeof imageSchema>;

/** Width of one head by width of the tower, as open_clip's configurations have it; 64 where nothing is said. */
const imageHeadWidths: Record<number, number> = { 1280: 80, 1408: 88, 1664: 104 };

const leaves: Record<string, string> = {
  ln_1: 'layer_norm1',
  ln_2: 'layer_norm2',
  'mlp.c_fc': 'mlp.fc1',
  'mlp.c_proj': 'mlp.fc2',
  'attn.out_proj': 'self_attn.out_proj',
};

/** Of one layer, in transformers' names. */
function layerSource(layer: string, leaf: string): TensorSource {
  const packed = /^attn\.in_proj_(weight|bias)$/.exec(leaf)?.[1];
  if (packed) return { names: ['q', 'k', 'v'].map((kind) => `${layer}.self_attn.${kind}_proj.${packed}`) };
  const dot = leaf.lastIndexOf('.');
  return { names: [`${layer}.${leaves[leaf.slice(0, dot)] ?? leaf.slice(0, dot)}${leaf.slice(dot)}`] };
}

function transformersSource(prefix: string, others: Record<string, TensorSource>) {
  return (name: string): TensorSource => {
    const [, index, leaf] = /(?:^|\.)transformer\.resblocks\.(\d+)\.(.+)$/.exec(name) ?? [];
    if (index !== undefined && leaf !== undefined) return layerSource(`${prefix}.encoder.layers.${index}`, leaf);
    return others[name] ?? { names: [name] };
  };
}

const one = (name: string): TensorSource => ({ names: [name] });

const textLayouts: Layout[] = [
  {
    name: 'open_clip',
    signature: ['token_embedding.weight', 'text_projection', 'transformer.resblocks.0.ln_1.weight'],
    owns: /^(token_embedding|positional_embedding|transformer|ln_final|text_projection|logit_scale|attn_mask)/,
    ignored: /^(logit_scale|attn_mask)$/,
    source: sameName,
  },
  {
    name: 'transformers',
    signature: ['text_model.embeddings.token_embedding.weight', 'text_projection.weight'],
    owns: /^(text_model\.|text_projection\.|logit_scale$)/,
    ignored: /^(logit_scale|text_model\.embeddings\.position_ids)$/,
    source: transformersSource('text_model', {
      'token_embedding.weight': one('text_model.embeddings.token_embedding.weight'),
      positional_embedding: one('text_model.embeddings.position_embedding.weight'),
      'ln_final.weight': one('text_model.final_layer_norm.weight'),
      'ln_final.bias': one('text_model.final_layer_norm.bias'),
      text_projection: { names: ['text_projection.weight'], transposed: true },
    }),
  },
];

const imageLayouts: Layout[] = [
  {
    name: 'open_clip',
    signature: ['visual.conv1.weight', 'visual.proj', 'visual.transformer.resblocks.0.ln_1.weight'],
    owns: /^visual\./,
    source: sameName,
  },
  {
    name: 'transformers',
    signature: ['vision_model.embeddings.patch_embedding.weight', 'visual_projection.weight'],
    owns: /^(vision_model\.|visual_projection\.)/,
    ignored: /^vision_model\.embeddings\.position_ids$/,
    source: transformersSource('vision_model', {
      'visual.conv1.weight': one('vision_model.embeddings.patch_embedding.weight'),
      'visual.class_embedding': one('vision_model.embeddings.class_embedding'),
      'visual.positional_embedding': one('vision_model.embeddings.position_embedding.weight'),
      // Misspelt in transformers.
      'visual.ln_pre.weight': one('vision_model.pre_layrnorm.weight'),
      'visual.ln_pre.bias': one('vision_model.pre_layrnorm.bias'),
      'visual.ln_post.weight': one('vision_model.post_layernorm.weight'),
      'visual.ln_post.bias': one('vision_model.post_layernorm.bias'),
      'visual.proj': { names: ['visual_projection.weight'], transposed: true },
    }),
  },
];

function layers(
  prefix: string,
  { layers: count, width, mlp_width }: { layers: number; width: number; mlp_width: number },
) {
  return Array.from({ length: count }, (_, i) => `${prefix}.resblocks.${i}`).flatMap((name): ExpectedTensor[] => [
    ...convolution(`${name}.ln_1`, [width]),
    { name: `${name}.attn.in_proj_weight`, shape: [3 * width, width] },
    { name: `${name}.attn.in_proj_bias`, shape: [3 * width] },
    ...linear(`${name}.attn.out_proj`, width, width),
    ...convolution(`${name}.ln_2`, [width]),
    ...linear(`${name}.mlp.c_fc`, mlp_width, width),
    ...linear(`${name}.mlp.c_proj`, width, mlp_width),
  ]);
}

function headsOf(component: string, given: Config, width: number, headWidth: number): unknown {
  if (given.heads !== undefined) return given.heads;
  if (width % headWidth !== 0) throw cannotInfer(component, 'heads');
  return width / headWidth;
}

/** What both towers' configurations have, from whichever layout is there. */
function inferTower(shapes: Shapes, open: string, their: string, mlp: string) {
  const isOpen = shapes.has(`${open}.resblocks.0.ln_1.weight`);
  return {
    layers: shapes.count(isOpen ? `${open}.resblocks.` : `${their}.encoder.layers.`),
    mlp_width: shapes.shape(
      isOpen ? `${open}.resblocks.0.mlp.c_fc.weight` : `${their}.encoder.layers.0.mlp.${mlp}.weight`,
      2,
    )[0],
    isOpen,
  };
}

/** config.json of transformers and open_clip_config.json → ours; whatever a file does not say is left to the shapes. */
function foreignTower(json: Config, part: 'text' | 'vision'): Config | undefined {
  if (part === 'text' ? 'context_length' in json && 'width' in json : 'image_size' in json && 'width' in json)
    return json;
  const theirs = json[`${part}_config`] as Config | undefined;
  if (typeof theirs === 'object' && theirs !== null) {
    return pick({
      heads: theirs.num_attention_heads,
      hidden_act: theirs.hidden_act,
      layer_norm_epsilon: theirs.layer_norm_eps,
    });
  }
  const config = (json.model_cfg ?? json) as Config;
  const open = config[`${part}_cfg`] as Config | undefined;
  if (typeof open !== 'object' || open === null) return undefined;
  const heads = open.heads ?? (typeof open.head_width === 'number' ? Number(open.width) / open.head_width : undefined);
  return pick({ heads, hidden_act: config.quick_gelu === true ? 'quick_gelu' : undefined });
}

const pick = (values: Config): Config =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));

export const clipText: Component<TextConfig> = {
  name: 'clip_text',
  title: 'CLIP text encoder',
  required: false,
  listedIn: 'optional_components',
  layouts: textLayouts,
  official: textSchema.parse({
    embed_dim: 1024,
    width: 1024,
    layers: 24,
    heads: 16,
    mlp_width: 4096,
    context_length: 77,
    vocab_size: 49_408,
  }),
  schema: textSchema,
  foreign: (json) => foreignTower(json, 'text'),

  infer(shapes, given) {
    const { isOpen, ...common } = inferTower(shapes, 'transformer', 'text_model', 'fc1');
    const embedding = isOpen ? 'token_embedding.weight' : 'text_model.embeddings.token_embedding.weight';
    const positions = isOpen ? 'positional_embedding' : 'text_model.embeddings.position_embedding.weight';
    const [vocabulary, width = 0] = shapes.shape(embedding, 2);
    return {
      ...common,
      embed_dim: isOpen ? shapes.shape('text_projection', 2)[1] : shapes.shape('text_projection.weight', 2)[0],
      width,
      heads: headsOf('clip_text', given, width, 64),
      context_length: shapes.shape(positions, 2)[0],
      vocab_size: vocabulary,
      layer_norm_epsilon: given.layer_norm_epsilon,
      hidden_act: given.hidden_act,
    };
  },

  expected(config) {
    const { width, embed_dim, vocab_size, context_length } = config;
    return [
      { name: 'token_embedding.weight', shape: [vocab_size, width] },
      { name: 'positional_embedding', shape: [context_length, width] },
      ...layers('transformer', config),
      ...convolution('ln_final', [width]),
      { name: 'text_projection', shape: [width, embed_dim] },
    ];
  },
};

export const clipImage: Component<ImageConfig> = {
  name: 'clip_image',
  title: 'CLIP image encoder',
  required: false,
  listedIn: 'optional_components',
  layouts: imageLayouts,
  official: imageSchema.parse({
    embed_dim: 1024,
    width: 1280,
    layers: 32,
    heads: 16,
    mlp_width: 5120,
    image_size: 224,
    patch_size: 14,
  }),
  schema: imageSchema,
  foreign: (json) => foreignTower(json, 'vision'),

  infer(shapes, given) {
    const { isOpen, ...common } = inferTower(shapes, 'visual.transformer', 'vision_model', 'fc1');
    const patches = isOpen ? 'visual.conv1.weight' : 'vision_model.embeddings.patch_embedding.weight';
    const positions = isOpen ? 'visual.positional_embedding' : 'vision_model.embeddings.position_embedding.weight';
    const [width = 0, , patch = 0] = shapes.shape(patches, 4);
    // One position is the class token's; the others are a square.
    const side = Math.sqrt((shapes.shape(positions, 2)[0] ?? 0) - 1);
    return {
      ...common,
      embed_dim: isOpen ? shapes.shape('visual.proj', 2)[1] : shapes.shape('visual_projection.weight', 2)[0],
      width,
      heads: headsOf('clip_image', given, width, imageHeadWidths[width] ?? 64),
      image_size: side * patch,
      patch_size: patch,
      layer_norm_epsilon: given.layer_norm_epsilon,
      hidden_act: given.hidden_act,
    };
  },

  expected(config) {
    const { width, embed_dim, image_size, patch_size } = config;
    return [
      { name: 'visual.conv1.weight', shape: [width, 3, patch_size, patch_size] },
      { name: 'visual.class_embedding', shape: [width] },
      { name: 'visual.positional_embedding', shape: [Math.floor(image_size / patch_size) ** 2 + 1, width] },
      ...convolution('visual.ln_pre', [width]),
      ...layers('visual.transformer', config),
      ...convolution('visual.ln_post', [width]),
      { name: 'visual.proj', shape: [width, embed_dim] },
    ];
  },
};
