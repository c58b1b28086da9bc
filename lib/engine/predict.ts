/** Options of the low-level predict(). */
import { z } from 'zod';
import type { NativePredictRequest } from '../native/contract.js';
import { isCondition } from '../options/generate-options.js';
import { invalidOption, validate } from '../options/validate.js';
import type { Texts } from './condition.js';
import type { Condition, ModelInfo } from './types.js';

export interface PredictInput {
  /** [batch, height, width] */
  tokens: Int32Array;
  /** In tokens. */
  width: number;
  /** In tokens. */
  height: number;
  /** r in (0, 1]; 1 is pure noise. */
  noiseLevel: number;
  /** null: the empty prompt. CLIP gets the words that it was made of, where they are known; the prior does not run. */
  condition: Condition | null;
  /** Default 1. */
  batch?: number | undefined;
}

/** `textsOf` as the model's tokenizers have it. Throws `ERR_INVALID_OPTION`. */
export function predictRequest(
  input: PredictInput,
  model: ModelInfo,
  textsOf: (prompt: string) => Texts,
): NativePredictRequest {
  const multiple = model.sizeMultiple / model.pixelsPerToken;
  const most = Math.floor(model.maxSize / model.pixelsPerToken);
  const side = z
    .int()
    .min(multiple)
    .max(most)
    .multipleOf(multiple)
    .describe(`a multiple of ${multiple} tokens between ${multiple} and ${most}`);
  const schema = z.strictObject({
    tokens: z
      .custom<Int32Array>(
        (value) => value instanceof Int32Array && value.every((token) => token >= 0 && token < model.vocabularySize),
      )
      .describe(`an Int32Array of ids below ${model.vocabularySize}`),
    width: side,
    height: side,
    noiseLevel: z.number().positive().max(1).describe('a number above 0 and at most 1'),
    condition: z
      .custom<Condition | null>((value) => value === null || isCondition(value, model.conditionWidth))
      .describe('a result of encodeText() of this model, or null'),
    batch: z.int().min(1).max(1024).optional().describe('an integer between 1 and 1024'),
  });
  const { batch = 1, condition, ...given } = validate(schema, input, 'input of predict');
  const expected = batch * given.width * given.height;
  if (given.tokens.length !== expected) {
    throw invalidOption(
      'tokens',
      `batch × height × width = ${batch} × ${given.height} × ${given.width} = ${expected} ids`,
      given.tokens,
    );
  }
  // CLIP gets its words as it does in generate(), where they are known.
  const prompt = condition === null ? '' : condition.prompt;
  const texts = prompt === undefined ? undefined : textsOf(prompt);
  const states = condition === null ? { ids: textsOf('').ids } : { states: condition.states };
  return { ...given, batch, condition: { ...states, ...(texts?.clipIds ? { clipIds: texts.clipIds } : {}) } };
}
