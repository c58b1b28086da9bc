/** What a model is and how much memory it takes, before it is loaded. */
import { z } from 'zod';
import { loadNative } from '../native/loader.js';
import { integer, oneOf, signal } from '../options/fields.js';
import { invalidOption, validate } from '../options/validate.js';
import { modelInfoOf } from './describe.js';
import { domainOf } from './domain.js';
import { runJob } from './jobs.js';
import { resolveModel } from './model-folder.js';
import type { ModelInfo } from './types.js';

export interface InspectOptions {
  /** Default 'bf16'. */
  precision?: 'fp32' | 'bf16' | 'fp16' | 'int8' | undefined;
  /** Default 'full'. */
  encoderWeights?: 'full' | 'int8' | undefined;
  /** Pixels. Default: the model's own. */
  width?: number | undefined;
  /** Pixels. Default: the model's own. */
  height?: number | undefined;
  /** Images at a time. Default 1. */
  count?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** Bytes for each value of the option `memory` of `Paella.load()`. */
export type MemoryByMode = Record<'resident' | 'balanced' | 'low', number>;

export interface ModelInspection extends ModelInfo {
  precision: string;
  /**
   * Bytes that are there at once, at most: of weights, and with what drawing guided images of this size takes. Without what
   * Node.js itself takes, some tens of MiB.
   */
  memory: { weights: MemoryByMode; peak: MemoryByMode };
}

const most = 1 << 16;
const schema = z.strictObject({
  precision: oneOf(['fp32', 'bf16', 'fp16', 'int8']),
  encoderWeights: oneOf(['full', 'int8']),
  width: integer(1, most),
  height: integer(1, most),
  count: integer(1, 1024),
  signal,
});

/**
 * Looks at a model without reading its weights; names and shapes of all tensors are checked. `model` is what
 * `Paella.load()` takes. Rejects with `ERR_INVALID_OPTION`, `ERR_MODEL_NOT_FOUND`, `ERR_MODEL_FORMAT`, `ERR_IO`,
 * `ERR_NETWORK`, `ERR_ADDON`, or `signal.reason`.
 */
export async function inspectModel(model = 'tiny', options: InspectOptions = {}): Promise<ModelInspection> {
  const given = validate(schema, options, 'options of inspectModel');
  if (typeof model !== 'string' || model === '')
    throw invalidOption('model', 'a name, a folder or a repository', model);
  given.signal?.throwIfAborted();
  const request = {
    model: await resolveModel(model, { signal: given.signal }),
    precision: given.precision ?? 'bf16',
    encoderWeights: given.encoderWeights ?? 'full',
    width: given.width ?? 0,
    height: given.height ?? 0,
    count: given.count ?? 1,
  };
  const domain = await domainOf(request.model);
  const { info, memory } = await runJob(() => loadNative().inspectModel(request, null), given.signal);
  return { ...modelInfoOf(info, domain), precision: request.precision, memory };
}
