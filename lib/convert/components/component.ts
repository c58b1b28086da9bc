/** What the table of components says about each. */
import type { z } from 'zod';
import { PaellaError } from '../../errors.js';

/** Folders of a model folder. */
export const componentNames = ['text_encoder', 'unet', 'vqgan', 'clip_text', 'clip_image', 'prior'] as const;
export type ComponentName = (typeof componentNames)[number];

/** A tensor that a configuration calls for. */
export interface ExpectedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** May be missing in a checkpoint, and is then left out. */
  readonly optional?: boolean;
}

/** Where a tensor's values are in a layout: in tensors that are joined along their first dimension. */
export interface TensorSource {
  readonly names: readonly string[];
  /** Rows and columns are exchanged. */
  readonly transposed?: boolean;
}

/** Names under which a component's tensors are published. */
export interface Layout {
  readonly name: 'paella' | 'open_clip' | 'transformers' | 'diffusers';
  /** A checkpoint that has all of these holds the component in this layout. */
  readonly signature: readonly string[];
  /** Which tensors of such a checkpoint are the component's. */
  readonly owns: RegExp;
  /** Of these, which are left out on purpose: copies and constants. */
  readonly ignored?: RegExp;
  source(name: string): TensorSource;
}

/** A checkpoint's tensors by name, as far as a configuration is read off them. */
export interface Shapes {
  /** Throws `ERR_MODEL_FORMAT` if it is not there or has another number of dimensions. */
  shape(name: string, rank: number): readonly number[];
  has(name: string): boolean;
  /** One more than the highest number that stands after `prefix`; at most `MAX_BLOCKS`. */
  count(prefix: string): number;
}

export type Config = Record<string, unknown>;

export interface Component<C extends Config = Config> {
  readonly name: ComponentName;
  /** For people. */
  readonly title: string;
  /** The engine cannot load a model without it. */
  readonly required: boolean;
  /**
   * The list of model_index.json that names it: `components` are those which the engine loads; a component that it does not
   * know there makes it refuse the folder.
   */
  readonly listedIn: 'components' | 'optional_components';
  readonly layouts: readonly Layout[];
  /** Of the published weights. Checkpoints without a configuration that look like them are held to it. */
  readonly official: C;
  /** Of config.json. Checks and fills in defaults; entries that it does not know are dropped. */
  readonly schema: z.ZodType<C>;
  /** A config.json beside a checkpoint under this schema's names, or undefined if it is of something else. */
  foreign(json: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> | undefined;
  /**
   * Everything that shapes tell; what they do not comes from `given`.
   * Throws `ERR_MODEL_FORMAT` if something is still missing.
   */
  infer(shapes: Shapes, given: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>>;
  expected(config: C): ExpectedTensor[];
}

/** So that one absurd name does not make a list of billions. */
export const MAX_BLOCKS = 1024;

/** For layouts whose names are ours. */
export const sameName = (name: string): TensorSource => ({ names: [name] });

/** A configuration needs `what`, and shapes cannot tell. */
export function cannotInfer(component: string, what: string): PaellaError {
  return new PaellaError('ERR_MODEL_FORMAT', `${component}: ${what} cannot be seen from the tensors`, {
    remedy: `put a config.json with it beside the checkpoint (docs/model-format.md), in a folder of its own`,
  });
}
