/** Options of Paella.load(). */
import { z } from 'zod';
import { callback, integer, oneOf, signal } from './fields.js';
import { invalidOption, validate } from './validate.js';

export type BackendName = 'tensorrt' | 'cuda' | 'cpu';
export type Precision = 'fp32' | 'bf16' | 'fp16' | 'int8';

/** Receives what the engine has to say; each function is optional. `console` fits. */
export interface Logger {
  debug?(message: string): void;
  info?(message: string): void;
  warn?(message: string): void;
  error?(message: string): void;
}

export interface LoadProgress {
  /**
   * The component's folder: 'text_encoder', 'unet', 'vqgan', 'clip_text', 'clip_image', 'prior'; 'download' while files come
   * from a hub.
   */
  phase: string;
  /** Bytes. */
  loaded: number;
  /** Bytes. */
  total: number;
}

export interface LoadOptions {
  /**
   * The name of the bundled model ('tiny', the default), a model folder (a path with a slash), the name of a model on the
   * Hugging Face hub ('owner/name' or 'owner/name@revision'; fetched into the shared cache unless it is there), or
   * 'random:<configuration>': a network of that configuration with seeded random weights, for measurements.
   */
  model?: string | undefined;
  /** 'auto' (the default) takes the first that is available of tensorrt, cuda, cpu. A named one never falls back. */
  backend?: 'auto' | BackendName | undefined;
  /** Number of the GPU. Default 0. */
  device?: number | undefined;
  /**
   * Several GPUs instead of `device`: their numbers, or 'all'. Each holds the whole model; one queue feeds them, and the
   * images of one call are spread over those that are idle.
   */
  devices?: 'all' | readonly number[] | undefined;
  /** What the matrix products compute in. 'auto', the default, lets the backend choose. */
  precision?: 'auto' | Precision | undefined;
  /** Threads of the CPU backend. Default: the number of usable cores. */
  threads?: number | undefined;
  /** Most images in one batch. Default 8. */
  maxBatch?: number | undefined;
  /** How long a job may wait for others to share its batch. Default 0: it takes those already waiting. */
  maxDelayMs?: number | undefined;
  /** Most jobs that may wait; one more rejects with `ERR_QUEUE_FULL`. Default 256. */
  maxQueue?: number | undefined;
  /**
   * What stays loaded. 'resident' (default): everything. 'balanced': what prompts are encoded with (ByT5, CLIP, the prior)
   * goes once they are encoded and is loaded again for new ones. 'low': of these and the U-Net never two are in memory
   * together; each prompt that is not in the cache costs loading them again, and with a prior each new seed costs loading
   * that and the U-Net.
   */
  memory?: 'resident' | 'balanced' | 'low' | undefined;
  /**
   * Weights of what prompts are encoded with (ByT5, CLIP, the prior). 'full' (default): in `precision`. 'int8': 8 bits and a
   * scale for each row, half the memory of bf16; docs/int8.md says what that changes.
   */
  encoderWeights?: 'full' | 'int8' | undefined;
  /** Aborts loading. */
  signal?: AbortSignal | undefined;
  /** What it throws ends the loading and rejects the call. */
  onProgress?: ((progress: LoadProgress) => void) | undefined;
  logger?: Logger | undefined;
}

export function isLogger(value: unknown): value is Logger {
  if (typeof value !== 'object' || value === null) return false;
  const { debug, info, warn, error } = value as Record<string, unknown>;
  return [debug, info, warn, error].every((each) => each === undefined || typeof each === 'function');
}

const schema = z.strictObject({
  model: z.string().min(1).optional().describe("a model's name or folder"),
  backend: oneOf(['auto', 'tensorrt', 'cuda', 'cpu']),
  device: integer(0, 127),
  devices: z
    .union([z.literal('all'), z.array(z.int().min(0).max(127)).min(1).readonly()])
    .optional()
    .describe("'all' or a list of numbers between 0 and 127"),
  precision: oneOf(['auto', 'fp32', 'bf16', 'fp16', 'int8']),
  threads: integer(1, 1024),
  maxBatch: integer(1, 1024),
  maxDelayMs: integer(0, 60_000),
  maxQueue: integer(1, 1_000_000),
  memory: oneOf(['resident', 'balanced', 'low']),
  encoderWeights: oneOf(['full', 'int8']),
  signal,
  onProgress: callback<(progress: LoadProgress) => void>(),
  logger: z
    .custom<Logger>(isLogger)
    .optional()
    .describe('an object with the functions debug, info, warn, error, or some of them'),
});

export const loadOptionNames: readonly string[] = Object.keys(schema.shape);

/** The same with every default filled in. */
export interface ResolvedLoadOptions {
  model: string;
  backend: 'auto' | BackendName;
  devices: 'all' | readonly number[];
  precision: 'auto' | Precision;
  /** 0: the number of usable cores. */
  threads: number;
  maxBatch: number;
  maxDelayMs: number;
  maxQueue: number;
  memory: 'resident' | 'balanced' | 'low';
  encoderWeights: 'full' | 'int8';
  signal: AbortSignal | undefined;
  onProgress: ((progress: LoadProgress) => void) | undefined;
  logger: Logger | undefined;
}

/** What `Paella.load()` uses for options that are not given and do not depend on the machine. */
export const loadDefaults = {
  maxBatch: 8,
  maxDelayMs: 0,
  maxQueue: 256,
  memory: 'resident',
  encoderWeights: 'full',
} as const;

/** Throws `ERR_INVALID_OPTION`. */
export function resolveLoadOptions(options: LoadOptions = {}): ResolvedLoadOptions {
  const given = validate(schema, options, 'options of load');
  if (given.device !== undefined && given.devices !== undefined) {
    throw invalidOption('devices', 'nothing beside device', given.devices);
  }
  if (Array.isArray(given.devices) && new Set<number>(given.devices).size !== given.devices.length) {
    throw invalidOption('devices', 'each device once', given.devices);
  }
  return {
    model: given.model ?? 'tiny',
    backend: given.backend ?? 'auto',
    devices: given.devices ?? [given.device ?? 0],
    precision: given.precision ?? 'auto',
    threads: given.threads ?? 0,
    maxBatch: given.maxBatch ?? loadDefaults.maxBatch,
    maxDelayMs: given.maxDelayMs ?? loadDefaults.maxDelayMs,
    maxQueue: given.maxQueue ?? loadDefaults.maxQueue,
    memory: given.memory ?? loadDefaults.memory,
    encoderWeights: given.encoderWeights ?? loadDefaults.encoderWeights,
    signal: given.signal,
    onProgress: given.onProgress,
    logger: given.logger,
  };
}
