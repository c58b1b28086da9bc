/** Options of generate() and stream(): what they are, what is allowed, and what stands in for those not given. */
import { z } from 'zod';
import type { Condition, ModelInfo, StepEvent, TokenGrid } from '../engine/types.js';
import type { ImageInput } from '../images/input.js';
import {
  type AttentionWeights,
  type Conditioning,
  conditioningFields,
  type PresetName,
  type PriorOptions,
  presetNames,
  presets,
  resolveConditioning,
  type WeightedText,
} from './conditioning.js';
import { callback, integer, number, oneOf, ramp, signal, text } from './fields.js';
import { invalidOption, validate } from './validate.js';

/** Unless told otherwise, an option that is not given takes the model's default (`model.defaults`). */
export interface GenerateOptions {
  /**
   * What to draw, as a whole or in parts with weights (see `attentionWeights`), which are joined by blanks. Up to 767 bytes
   * of UTF-8 are read. Needed unless `condition` is given.
   */
  prompt?: string | readonly WeightedText[] | undefined;
  /**
   * An encoded prompt instead of one in words. CLIP gets the words that it was made of, where they are known; the prior does
   * not run.
   */
  condition?: Condition | undefined;
  /** Pictures to follow; needs a model with CLIP's image encoder. They stand in for the prior. */
  imagePrompt?: ImageInput | readonly ImageInput[] | undefined;
  /**
   * How the prior draws an image embedding, or false: without. Default: with, where the model has one and there are a prompt
   * in words and no pictures. false also leaves out the embedding that some models draw
   * in its place.
   */
  prior?: boolean | PriorOptions | undefined;
  /** How much attention words and pictures get. */
  attentionWeights?: AttentionWeights | undefined;
  /** Published settings, for what is not given: 'notebook', 'space', 'blog', 'training' or 'plugin'. */
  preset?: PresetName | undefined;
  /** What guidance leads away from. */
  negativePrompt?: string | undefined;
  /** Pixels, a multiple of `model.sizeMultiple`. */
  width?: number | undefined;
  /** Pixels, a multiple of `model.sizeMultiple`. */
  height?: number | undefined;
  /** Passes through the network, 1 to 1000. */
  steps?: number | undefined;
  /** Steps after which part of the tokens is made noise again. Default: the model's share of `steps`. */
  renoiseSteps?: number | undefined;
  /** How strongly to follow the prompt; 1 is no guidance. One number, or [first, last] step. */
  guidanceScale?: number | readonly [number, number] | undefined;
  /** Of the draw of each token; small is cautious. One number, or [first, last] step. */
  temperature?: number | readonly [number, number] | undefined;
  /** Guided steps; the rest run without guidance, at half the cost. Default: the model's share of `steps`. */
  conditionalSteps?: number | undefined;
  /** Draw at random ('multinomial', the default) or take the likeliest token. */
  sampler?: 'multinomial' | 'argmax' | undefined;
  /** Typical filtering: keep the most typical tokens up to this probability mass. 0 is off. */
  typicalMass?: number | undefined;
  /** Image i uses seed + i. Default: a random one, which the images tell. */
  seed?: number | undefined;
  /** How many images. Default 1. */
  count?: number | undefined;
  /** Tokens to begin with instead of noise. */
  initTokens?: TokenGrid | undefined;
  /** Not yet supported: ERR_INVALID_OPTION. */
  initImage?: ImageInput | undefined;
  /** Not yet supported: ERR_INVALID_OPTION. */
  mask?: ImageInput | undefined;
  /** Not yet supported: ERR_INVALID_OPTION. */
  strength?: number | undefined;
  /** Aborts the job, in the queue or between two steps; the call rejects with `signal.reason`. */
  signal?: AbortSignal | undefined;
  /** Higher first. Default 0. */
  priority?: number | undefined;
  /** A job that has not started this many milliseconds after the call rejects with `ERR_DEADLINE`. */
  deadlineMs?: number | undefined;
  /** `stream()` only: decode a preview after every n-th step but the last, which gives the image. */
  previewEvery?: number | undefined;
  /** After every step. What it throws ends the job and rejects the call. */
  onStep?: ((event: StepEvent) => void) | undefined;
}

/** Every default filled in. */
export interface ResolvedGenerateOptions {
  prompt: string | readonly WeightedText[] | undefined;
  condition: Condition | undefined;
  conditioning: Conditioning;
  negativePrompt: string;
  width: number;
  height: number;
  steps: number;
  renoiseSteps: number;
  conditionalSteps: number;
  guidanceScale: [number, number];
  temperature: [number, number];
  sampler: 'multinomial' | 'argmax';
  typicalMass: number;
  seed: number;
  count: number;
  initTokens: TokenGrid | undefined;
  signal: AbortSignal | undefined;
  priority: number;
  deadlineMs: number;
  previewEvery: number;
  onStep: ((event: StepEvent) => void) | undefined;
}

/** The random numbers are keyed with 64 bits; a number of JavaScript carries 53 of them. */
export const MAX_SEED = Number.MAX_SAFE_INTEGER;
const MAX_STEPS = 1000;
const MAX_COUNT = 256;

/** Ten digits at most, so that people can copy it. */
export function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}

/** A name that is known, so that it gets its own message, but no value of it ever fits. */
const later = (what: string) => z.undefined().optional().describe(`nothing: ${what} not supported yet`);

function schemaFor(model: ModelInfo) {
  const { sizeMultiple: multiple, maxSize } = model;
  const side = z
    .int()
    .min(multiple)
    .max(maxSize)
    .multipleOf(multiple)
    .optional()
    .describe(`a multiple of ${multiple} between ${multiple} and ${maxSize}`);
  return z.strictObject({
    ...conditioningFields,
    preset: oneOf(presetNames),
    condition: z
      .custom<Condition>((value) => isCondition(value, model.conditionWidth))
      .optional()
      .describe(`a result of encodeText() of this model (width ${model.conditionWidth})`),
    negativePrompt: text(),
    width: side,
    height: side,
    steps: integer(1, MAX_STEPS),
    renoiseSteps: integer(0, MAX_STEPS),
    guidanceScale: ramp(-100, 100),
    temperature: ramp(0.001, 100),
    conditionalSteps: integer(0, MAX_STEPS),
    sampler: oneOf(['multinomial', 'argmax']),
    typicalMass: number(0, 1),
    seed: integer(0, MAX_SEED),
    count: integer(1, MAX_COUNT),
    initTokens: z
      .custom<TokenGrid>((value) => isTokenGrid(value, model.vocabularySize))
      .optional()
      .describe(`{ tokens: Int32Array(width × height) of ids below ${model.vocabularySize}, width, height }`),
    initImage: later('starting from an image is'),
    mask: later('a mask is'),
    strength: later('a strength is'),
    signal,
    priority: integer(-1_000_000, 1_000_000),
    deadlineMs: number(1, 2_147_483_647, 'a number of milliseconds between 1 and 2147483647'),
    previewEvery: integer(0, MAX_STEPS),
    onStep: callback<(event: StepEvent) => void>(),
  });
}

const schemas = new WeakMap<ModelInfo, ReturnType<typeof schemaFor>>();

function cachedSchema(model: ModelInfo) {
  let schema = schemas.get(model);
  if (!schema) {
    schema = schemaFor(model);
    schemas.set(model, schema);
  }
  return schema;
}

export function isCondition(value: unknown, width: number): value is Condition {
  const { states, length, width: own, prompt } = (value ?? {}) as Partial<Condition>;
  return (
    (prompt === undefined || typeof prompt === 'string') &&
    states instanceof Float32Array &&
    own === width &&
    Number.isInteger(length) &&
    Number(length) > 0 &&
    states.length === Number(length) * width
  );
}

export function isTokenGrid(value: unknown, vocabularySize: number): value is TokenGrid {
  const { tokens, width, height } = (value ?? {}) as Partial<TokenGrid>;
  return (
    tokens instanceof Int32Array &&
    Number.isInteger(width) &&
    Number.isInteger(height) &&
    Number(width) > 0 &&
    Number(height) > 0 &&
    tokens.length === Number(width) * Number(height) &&
    tokens.every((token) => token >= 0 && token < vocabularySize)
  );
}

/** What is given goes before the preset; shares of steps follow from the steps that are given. */
function withPreset<T extends { steps?: number | undefined }>(own: T, name: PresetName): T {
  const { steps, renoiseSteps, ...rest }: (typeof presets)[PresetName] & { conditionalSteps?: number } = presets[name];
  const given = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined)) as T;
  if (own.steps === undefined) return { steps, renoiseSteps, ...rest, ...given };
  const share = (part: number) => Math.min(own.steps ?? steps, Math.round((part / steps) * (own.steps ?? steps)));
  const guided = rest.conditionalSteps === undefined ? {} : { conditionalSteps: share(rest.conditionalSteps) };
  return { ...rest, renoiseSteps: share(renoiseSteps), ...guided, ...given };
}

/** Throws `ERR_INVALID_OPTION`. */
export function resolveGenerateOptions(options: GenerateOptions | string, model: ModelInfo): ResolvedGenerateOptions {
  const own = validate(
    cachedSchema(model),
    typeof options === 'string' ? { prompt: options } : options,
    'options of generate',
  );
  const given = own.preset === undefined ? own : withPreset(own, own.preset);
  const { defaults } = model;
  if (given.prompt === undefined && given.condition === undefined) throw invalidOption('prompt', 'a string', undefined);
  if (given.prompt !== undefined && given.condition !== undefined) {
    throw invalidOption('condition', 'nothing beside a prompt', given.condition);
  }

  const grid = given.initTokens;
  const width = given.width ?? (grid ? grid.width * model.pixelsPerToken : defaults.width);
  const height = given.height ?? (grid ? grid.height * model.pixelsPerToken : defaults.height);
  if (grid && (grid.width * model.pixelsPerToken !== width || grid.height * model.pixelsPerToken !== height)) {
    const size = `${width / model.pixelsPerToken}×${height / model.pixelsPerToken}`;
    throw invalidOption(
      'initTokens',
      `a grid of ${size} tokens for an image of ${width}×${height} pixels`,
      `${grid.width}×${grid.height}`,
    );
  }
  if (width % model.sizeMultiple !== 0 || height % model.sizeMultiple !== 0) {
    throw invalidOption(
      'initTokens',
      `sides that give multiples of ${model.sizeMultiple} pixels`,
      `${grid?.width}×${grid?.height}`,
    );
  }

  const steps = given.steps ?? defaults.steps;
  const share = (part: number, most: number) => Math.min(most, Math.ceil((part / defaults.steps) * steps));
  const renoiseSteps = given.renoiseSteps ?? share(defaults.renoiseSteps, Math.max(0, steps - 1));
  const conditionalSteps = given.conditionalSteps ?? share(defaults.conditionalSteps, steps);
  if (renoiseSteps > steps) throw invalidOption('renoiseSteps', `at most the number of steps (${steps})`, renoiseSteps);
  if (conditionalSteps > steps)
    throw invalidOption('conditionalSteps', `at most the number of steps (${steps})`, conditionalSteps);

  const count = given.count ?? 1;
  const seed = given.seed ?? randomSeed();
  if (seed > MAX_SEED + 1 - count) {
    throw invalidOption('seed', `at most ${MAX_SEED + 1 - count} with count ${count} (image i uses seed + i)`, seed);
  }
  return {
    prompt: given.prompt,
    condition: given.condition,
    conditioning: resolveConditioning(given, model),
    negativePrompt: given.negativePrompt ?? defaults.negativePrompt,
    width,
    height,
    steps,
    renoiseSteps,
    conditionalSteps,
    guidanceScale: pair(given.guidanceScale ?? defaults.guidanceScale),
    temperature: pair(given.temperature ?? defaults.temperature),
    sampler: given.sampler ?? 'multinomial',
    typicalMass: given.typicalMass ?? defaults.typicalMass,
    seed,
    count,
    initTokens: grid,
    signal: given.signal,
    priority: given.priority ?? 0,
    deadlineMs: given.deadlineMs ?? 0,
    previewEvery: given.previewEvery ?? 0,
    onStep: given.onStep,
  };
}

/**
 * How many steps need the unconditional pass. Guidance of 1 is the conditional prediction to the bit, and the steps at the
 * end that have it are spared the other pass.
 */
export function guidedSteps({
  guidanceScale,
  steps,
  conditionalSteps,
}: Pick<ResolvedGenerateOptions, 'steps' | 'conditionalSteps'> & { guidanceScale: readonly [number, number] }): number {
  const [first, last] = guidanceScale;
  if (first === 1 && (last === 1 || steps === 1)) return 0;
  return last === 1 ? Math.min(conditionalSteps, steps - 1) : conditionalSteps;
}

function pair(value: number | readonly [number, number]): [number, number] {
  return typeof value === 'number' ? [value, value] : [value[0], value[1]];
}

/** The options that would give this one image again; what metadata and `image.parameters` hold. */
export function parametersOf(resolved: ResolvedGenerateOptions, seed: number): GenerateOptions {
  const { prompt, condition, negativePrompt, width, height, steps, renoiseSteps, conditionalSteps } = resolved;
  const { guidanceScale, temperature, sampler, typicalMass, initTokens, conditioning } = resolved;
  const { imagePrompts, prior, attentionWeights } = conditioning;
  return {
    ...(prompt === undefined ? { condition } : { prompt }),
    ...(imagePrompts.length > 0 ? { imagePrompt: imagePrompts } : {}),
    ...(prior === undefined ? {} : { prior }),
    ...(attentionWeights === undefined ? {} : { attentionWeights }),
    negativePrompt,
    width,
    height,
    steps,
    renoiseSteps,
    conditionalSteps,
    guidanceScale,
    temperature,
    sampler,
    typicalMass,
    seed,
    count: 1,
    ...(initTokens ? { initTokens } : {}),
  };
}
