/** The prior (spec 4.4): from a CLIP text embedding to a CLIP image embedding. */
import { z } from 'zod';
import { type Component, type ExpectedTensor, sameName } from './component.js';
import { convolution, linear } from './unet.js';

const size = z
  .int()
  .min(1)
  .max(1 << 20);
const schema = z.object({
  /** Of the image embedding, which is what is drawn. */
  c_in: size,
  c_hidden: size,
  /** Of the text embedding. */
  c_cond: size,
  /** Of the timestep embedding. */
  c_r: size.multipleOf(2),
  /** Residual blocks between the first and the last layer. */
  num_layers: z.int().min(1).max(1000),
  layer_norm_epsilon: z.number().min(1e-12).max(1).default(1e-5),
});

type PriorConfig = z.output<typeof schema>;

export const prior: Component<PriorConfig> = {
  name: 'prior',
  title: 'prior',
  required: false,
  listedIn: 'optional_components',
  layouts: [
    {
      name: 'paella',
      signature: [
        'blocks.0.weight',
        'blocks.1.0.weight',
        'blocks.1.1.weight',
        'blocks.1.3.weight',
        'blocks.1.4.weight',
      ],
      owns: /^/,
      source: sameName,
    },
  ],
  official: schema.parse({ c_in: 1024, c_hidden: 1280, c_cond: 1024, c_r: 64, num_layers: 48 }),
  schema,
  foreign: (json) => ('c_r' in json && 'num_layers' in json && 'c_cond' in json ? json : undefined),

  infer(shapes, given) {
    const [hidden = 0, width = 0] = shapes.shape('blocks.0.weight', 2);
    const joined = shapes.shape('blocks.1.0.weight', 2)[1] ?? 0;
    // Only the sum of the three is in the shapes; both embeddings are CLIP's and of one width unless told otherwise.
    const condition = typeof given.c_cond === 'number' ? given.c_cond : width;
    return {
      c_in: width,
      c_hidden: hidden,
      c_cond: condition,
      c_r: joined - hidden - condition,
      num_layers: shapes.count('blocks.') - 2,
      layer_norm_epsilon: given.layer_norm_epsilon,
    };
  },

  expected({ c_in, c_hidden, c_cond, c_r, num_layers }) {
    const tensors: ExpectedTensor[] = linear('blocks.0', c_hidden, c_in);
    for (let i = 1; i <= num_layers; i++) {
      tensors.push({ name: `blocks.${i}.0.weight`, shape: [4 * c_hidden, c_hidden + c_cond + c_r] });
      tensors.push(...convolution(`blocks.${i}.1`, [4 * c_hidden]));
      tensors.push({ name: `blocks.${i}.3.weight`, shape: [c_hidden, 4 * c_hidden] });
      tensors.push(...convolution(`blocks.${i}.4`, [c_hidden]));
    }
    tensors.push(...linear(`blocks.${num_layers + 1}`, c_in, c_hidden));
    return tensors;
  },
};
