/** Options of buildEngines(), and profiles: which sizes an engine is built for. */
import { z } from 'zod';
import { callback, integer, oneOf, signal } from './fields.js';
import { isLogger, type Logger } from './load-options.js';
import { invalidOption, validate } from './validate.js';

/** One size, or the smallest, the one that the engine is fastest at, and the largest. */
export type SizeRange = number | readonly [smallest: number, best: number, largest: number];

/** An entry of `engines/profiles.json`. */
export interface EngineProfile {
  name: string;
  /** Only for engines of this precision. Default: for any. */
  precision?: 'fp32' | 'bf16' | 'fp16' | undefined;
  /** Images at a time. */
  batch: SizeRange;
  /** Pixels. */
  width: SizeRange;
  /** Pixels. */
  height: SizeRange;
  /** Tokens of a prompt, in multiples of 32. */
  condition: SizeRange;
  steps: SizeRange;
}

export interface EngineBuildProgress {
  network: string;
  /** TensorRT's own name of what it does; phases are nested. */
  phase: string;
  step: number;
  /** 0 where it is not known. */
  steps: number;
}

export interface BuildEnginesOptions {
  /** As for `Paella.load()`: 'tiny' is the default. */
  model?: string | undefined;
  /** Default 'bf16'. */
  precision?: 'fp32' | 'bf16' | 'fp16' | undefined;
  /** 'enterprise' (TensorRT 10 and later) or 'rtx'. Default: the first that works here. */
  flavour?: 'enterprise' | 'rtx' | undefined;
  /** Like '8.9': for GPUs that need not be here; TensorRT-RTX only. Default: for `device` of this machine. */
  computeCapability?: string | undefined;
  /** Number of the GPU. Default 0. */
  device?: number | undefined;
  /** Names of `engines/profiles.json`, or profiles. Default: all of that file. */
  profiles?: readonly (string | EngineProfile)[] | undefined;
  /** Default: both. */
  networks?: readonly ('unet' | 'vqgan-decoder')[] | undefined;
  /** Most working memory of one operation, in MiB. Default: what the GPU has. */
  workspaceLimit?: number | undefined;
  /** Aborts; plans that were finished stay in the cache. */
  signal?: AbortSignal | undefined;
  onProgress?: ((progress: EngineBuildProgress) => void) | undefined;
  /** Receives what TensorRT has to say. */
  logger?: Logger | undefined;
}

const schema = z.strictObject({
  model: z.string().min(1).optional().describe("a model's name or folder"),
  precision: oneOf(['fp32', 'bf16', 'fp16']),
  flavour: oneOf(['enterprise', 'rtx']),
  computeCapability: z
    .string()
    .regex(/^[1-9]\d?\.\d$/)
    .optional()
    .describe("a compute capability like '8.9'"),
  device: integer(0, 127),
  profiles: z
    .array(z.union([z.string().min(1), z.looseObject({})]))
    .min(1)
    .readonly()
    .optional()
    .describe('a list of names of profiles, or of profiles'),
  networks: z
    .array(z.enum(['unet', 'vqgan-decoder']))
    .min(1)
    .readonly()
    .optional()
    .describe('some of unet, vqgan-decoder'),
  workspaceLimit: integer(1, 1 << 20),
  signal,
  onProgress: callback<(progress: EngineBuildProgress) => void>(),
  logger: z
    .custom<Logger>(isLogger)
    .optional()
    .describe('an object with the functions debug, info, warn, error, or some'),
});

/** Throws `ERR_INVALID_OPTION`. */
export function resolveBuildEnginesOptions(options: BuildEnginesOptions = {}) {
  const given = validate(schema, options, 'options of buildEngines');
  return {
    model: given.model ?? 'tiny',
    precision: given.precision ?? ('bf16' as const),
    flavour: given.flavour ?? ('' as const),
    computeCapability: given.computeCapability ?? '',
    device: given.device ?? 0,
    profiles: given.profiles,
    networks: [...(given.networks ?? [])],
    workspaceBytes: (given.workspaceLimit ?? 0) * 2 ** 20,
    signal: given.signal,
    onProgress: given.onProgress,
    logger: given.logger,
  };
}

function range(words: string, most: number) {
  const size = z.int().min(1).max(most);
  return z
    .union([size, z.tuple([size, size, size]).refine(([low, best, high]) => low <= best && best <= high)])
    .describe(`${words}: a whole number from 1 to ${most}, or [smallest, best, largest]`);
}

const profileSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[\w.-]+$/)
    .describe('letters, digits, dots, dashes and underscores'),
  precision: oneOf(['fp32', 'bf16', 'fp16']),
  batch: range('images', 1024),
  width: range('pixels', 2048),
  height: range('pixels', 2048),
  condition: range('tokens', 8192),
  steps: range('steps', 1000),
});

/** As the native side takes it. */
export interface ResolvedProfile {
  name: string;
  /** '': any. */
  precision: string;
  batch: [number, number, number];
  width: [number, number, number];
  height: [number, number, number];
  condition: [number, number, number];
  steps: [number, number, number];
}

/** Throws `ERR_INVALID_OPTION`; `where` says which one it is. */
export function resolveProfile(profile: unknown, where: string): ResolvedProfile {
  const given = validate(profileSchema, profile, where);
  const three = (size: number | [number, number, number]): [number, number, number] =>
    typeof size === 'number' ? [size, size, size] : [...size];
  return {
    name: given.name,
    precision: given.precision ?? '',
    batch: three(given.batch),
    width: three(given.width),
    height: three(given.height),
    condition: three(given.condition),
    steps: three(given.steps),
  };
}

/** The contents of a profile file. Throws `ERR_INVALID_OPTION`. */
export function resolveProfileFile(contents: unknown, file: string): ResolvedProfile[] {
  const list = (contents as { profiles?: unknown } | null)?.profiles;
  if (!Array.isArray(list)) throw invalidOption(file, 'an object with a list "profiles"', contents);
  const profiles = list.map((profile, i) => resolveProfile(profile, `profile ${i + 1} of ${file}`));
  const names = profiles.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw invalidOption(file, 'profiles with different names', twice);
  return profiles;
}
