/** What an image follows, beside plain words: weighted words, pictures, the prior, weights of attention. */
import { z } from 'zod';
import type { ModelInfo } from '../engine/types.js';
import type { ImageInput } from '../images/input.js';
import { oneOf } from './fields.js';
import { invalidOption } from './validate.js';

/** A part of a prompt and how much attention it gets: 1 is what it gets by itself. */
export interface WeightedText {
  text: string;
  weight: number;
}

/** How the prior draws an image embedding (specification 4.4). */
export interface PriorOptions {
  /** Default: the model's, 60 in the published pipeline. DDIM needs fewer. */
  steps?: number | undefined;
  /** Default: the model's, 3 in the published pipeline. */
  guidanceScale?: number | undefined;
  /** 'ddpm' (the default) draws in every step, 'ddim' only at the beginning. */
  method?: 'ddpm' | 'ddim' | undefined;
}

/**
 * Weights that attention to the entries of the condition is multiplied by after the softmax (specification 4.3), for the
 * last entries if there are more of those. The entries: ByT5's tokens, then CLIP's of the text, then CLIP's of each picture
 * or of the prior's embedding. 'notebook': 1.2 for words and 0.4 for the picture, as the published notebook has it.
 */
export type AttentionWeights = readonly number[] | 'notebook';

export interface ResolvedPrior {
  steps: number;
  guidanceScale: number;
  method: 'ddpm' | 'ddim';
}

export interface Conditioning {
  imagePrompts: readonly ImageInput[];
  /** false: there is one, and it was told not to run. */
  prior: ResolvedPrior | false | undefined;
  /** An image embedding is drawn with the seed of each image, without a prior. */
  drawnImage: boolean;
  attentionWeights: AttentionWeights | undefined;
}

/** Most pictures in one prompt. */
const MAX_IMAGES = 16;

const weight = z.number().min(-100).max(100);
const part = z.strictObject({ text: z.string(), weight });

export const conditioningFields = {
  prompt: z
    .union([z.string(), z.array(part).min(1)])
    .optional()
    .describe('a string, or an array of { text, weight } with weights between -100 and 100'),
  imagePrompt: z
    .custom<ImageInput | readonly ImageInput[]>(
      (value) =>
        value !== null && value !== '' && (!Array.isArray(value) || (value.length > 0 && value.length <= MAX_IMAGES)),
    )
    .optional()
    .describe(`an image, or an array of 1 to ${MAX_IMAGES} images`),
  prior: z
    .union([
      z.boolean(),
      z.strictObject({
        steps: z.int().min(1).max(1000).optional(),
        guidanceScale: z.number().min(-100).max(100).optional(),
        method: oneOf(['ddpm', 'ddim']),
      }),
    ])
    .optional()
    .describe("true, false, or { steps: 1 to 1000, guidanceScale: -100 to 100, method: 'ddpm' or 'ddim' }"),
  attentionWeights: z
    .union([z.literal('notebook'), z.array(weight).min(1).max(4096)])
    .optional()
    .describe("'notebook', or an array of numbers between -100 and 100"),
};

interface Given {
  imagePrompt?: ImageInput | readonly ImageInput[] | undefined;
  prior?: boolean | PriorOptions | undefined;
  attentionWeights?: AttentionWeights | undefined;
  prompt?: string | readonly WeightedText[] | undefined;
  condition?: unknown;
  initTokens?: unknown;
}

/** A condition whose prompt is not told has some. */
function hasWords({ prompt, condition }: Given): boolean {
  if (condition !== undefined) return (condition as { prompt?: unknown }).prompt !== '';
  return Array.isArray(prompt) ? prompt.some(({ text }: WeightedText) => text !== '') : Boolean(prompt);
}

/** Throws `ERR_INVALID_OPTION` for what this model cannot do. The prior runs if there is one, unless pictures stand in. */
export function resolveConditioning(given: Given, model: ModelInfo): Conditioning {
  const { imagePrompt, prior, attentionWeights } = given;
  const imagePrompts =
    imagePrompt === undefined
      ? []
      : Array.isArray(imagePrompt)
        ? (imagePrompt as ImageInput[])
        : [imagePrompt as ImageInput];
  const { clipImage, prior: hasPrior, drawnImage } = model.conditioning;
  if (imagePrompts.length > 0 && clipImage === 0)
    throw invalidOption('imagePrompt', 'nothing: this model has no CLIP image encoder', imagePrompt);
  const asked = prior !== undefined && prior !== false;
  if (asked && !hasPrior) throw invalidOption('prior', 'nothing or false: this model has no prior', prior);
  if (asked && imagePrompts.length > 0)
    throw invalidOption('prior', 'nothing or false beside imagePrompt, which stands in for it', prior);
  if (asked && given.prompt === undefined)
    throw invalidOption('prior', 'nothing or false without a prompt in words', prior);
  const runs = hasPrior && prior !== false && imagePrompts.length === 0 && given.prompt !== undefined;
  const options = typeof prior === 'object' ? prior : {};
  return {
    imagePrompts,
    prior: runs
      ? {
          steps: options.steps ?? model.defaults.priorSteps,
          guidanceScale: options.guidanceScale ?? model.defaults.priorGuidanceScale,
          method: options.method ?? 'ddpm',
        }
      : (hasPrior || drawnImage) && prior === false
        ? false
        : undefined,
    // Where a picture is to be changed, it says what the embedding would; and no words, no embedding, as in training.
    drawnImage: drawnImage && prior !== false && hasWords(given) && given.initTokens === undefined,
    attentionWeights,
  };
}

/** Settings that were published with the v3 model (specification 4.1), by where they come from. */
export const presets = {
  /** The inference notebook: 32 steps, words stronger and the prior's picture weaker. */
  notebook: {
    steps: 32,
    renoiseSteps: 26,
    temperature: [1.2, 0.2],
    guidanceScale: 8,
    negativePrompt: 'low quality, low resolution, bad image, blurry, blur',
    attentionWeights: 'notebook',
  },
  /** The demo on Hugging Face: the same with guidance in the first 20 steps only. */
  space: {
    steps: 32,
    renoiseSteps: 26,
    conditionalSteps: 20,
    temperature: [1.2, 0.2],
    guidanceScale: 8,
    negativePrompt: 'low quality, low resolution, bad image, blurry, blur',
    attentionWeights: 'notebook',
  },
  /** The blog post and the README. */
  blog: { steps: 12, renoiseSteps: 11, temperature: [0.7, 0.3], guidanceScale: 8 },
  /** src/utils.py of the training code. */
  training: { steps: 12, renoiseSteps: 11, temperature: [1.0, 0.2], guidanceScale: 8 },
  /** A plug-in's copy. */
  plugin: { steps: 12, renoiseSteps: 9, temperature: [1.2, 0.2], guidanceScale: 5 },
} as const;

export type PresetName = keyof typeof presets;
export const presetNames = Object.keys(presets) as [PresetName, ...PresetName[]];
