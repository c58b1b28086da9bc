/** ByT5's encoder (spec 5.1): T5 v1.1. */
import { z } from 'zod';
import { type Component, cannotInfer, type ExpectedTensor, type Layout, sameName } from './component.js';

const size = z
  .int()
  .min(1)
  .max(1 << 20);
const schema = z.object({
  d_model: size,
  d_kv: size,
  d_ff: size,
  num_layers: z.int().min(1).max(1024),
  num_heads: z.int().min(1).max(1024),
  vocab_size: size.min(259),
  relative_attention_num_buckets: z.int().min(4).max(4096).default(32),
  relative_attention_max_distance: size.min(8).default(128),
  layer_norm_epsilon: z.number().min(1e-12).max(1).default(1e-6),
  feed_forward_proj: z.literal('gated-gelu').default('gated-gelu'),
});

type TextEncoderConfig = z.output<typeof schema>;

const EMBEDDING = 'shared.weight';
const ALIAS = 'encoder.embed_tokens.weight';
const QUERY = 'encoder.block.0.layer.0.SelfAttention.q.weight';

/** Files of the whole T5 have the decoder too; those of the encoder alone may have the embedding under its other name. */
const layout = (embedding: string, ignored: RegExp): Layout => ({
  name: 'transformers',
  signature: [embedding, QUERY],
  owns: /^/,
  ignored,
  source: (name) => (name === EMBEDDING ? { names: [embedding] } : sameName(name)),
});

export const textEncoder: Component<TextEncoderConfig> = {
  name: 'text_encoder',
  title: 'ByT5 encoder',
  required: true,
  listedIn: 'components',
  layouts: [
    layout(EMBEDDING, /^(decoder\.|lm_head\.|encoder\.embed_tokens\.weight$)/),
    layout(ALIAS, /^(decoder\.|lm_head\.)/),
  ],
  official: schema.parse({ d_model: 2560, d_kv: 64, d_ff: 6720, num_layers: 36, num_heads: 32, vocab_size: 384 }),
  schema,
  foreign: (json) => ('d_model' in json && 'd_kv' in json ? json : undefined),

  infer(shapes, given) {
    const [inner = 0, model] = shapes.shape(QUERY, 2);
    const bias = shapes.shape('encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight', 2);
    const heads = bias[1] ?? 0;
    if (heads < 1 || inner % heads !== 0) throw cannotInfer('text_encoder', 'd_kv');
    return {
      d_model: model,
      d_kv: inner / heads,
      d_ff: shapes.shape('encoder.block.0.layer.1.DenseReluDense.wi_0.weight', 2)[0],
      num_layers: shapes.count('encoder.block.'),
      num_heads: heads,
      vocab_size: shapes.shape(shapes.has(EMBEDDING) ? EMBEDDING : ALIAS, 2)[0],
      relative_attention_num_buckets: bias[0],
      relative_attention_max_distance: given.relative_attention_max_distance,
      layer_norm_epsilon: given.layer_norm_epsilon,
      feed_forward_proj: given.feed_forward_proj,
    };
  },

  expected({ d_model, d_kv, d_ff, num_layers, num_heads, vocab_size, relative_attention_num_buckets }) {
    const inner = d_kv * num_heads;
    const tensors: ExpectedTensor[] = [{ name: EMBEDDING, shape: [vocab_size, d_model] }];
    for (let i = 0; i < num_layers; i++) {
      const attention = `encoder.block.${i}.layer.0`;
      const feedForward = `encoder.block.${i}.layer.1`;
      for (const kind of ['q', 'k', 'v']) {
        tensors.push({ name: `${attention}.SelfAttention.${kind}.weight`, shape: [inner, d_model] });
      }
      tensors.push({ name: `${attention}.SelfAttention.o.weight`, shape: [d_model, inner] });
      if (i === 0) {
        const name = `${attention}.SelfAttention.relative_attention_bias.weight`;
        tensors.push({ name, shape: [relative_attention_num_buckets, num_heads] });
      }
      tensors.push({ name: `${attention}.layer_norm.weight`, shape: [d_model] });
      tensors.push({ name: `${feedForward}.DenseReluDense.wi_0.weight`, shape: [d_ff, d_model] });
      tensors.push({ name: `${feedForward}.DenseReluDense.wi_1.weight`, shape: [d_ff, d_model] });
      tensors.push({ name: `${feedForward}.DenseReluDense.wo.weight`, shape: [d_model, d_ff] });
      tensors.push({ name: `${feedForward}.layer_norm.weight`, shape: [d_model] });
    }
    tensors.push({ name: 'encoder.final_layer_norm.weight', shape: [d_model] });
    return tensors;
  },
};
