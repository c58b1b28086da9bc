/** Checkpoints → a model folder. */
import path from 'node:path';
import { z } from 'zod';
import { PaellaError } from '../errors.js';
import { withLock } from '../file-lock.js';
import { locateInCache } from '../hub/cache.js';
import { callback, signal } from '../options/fields.js';
import { invalidOption, validate } from '../options/validate.js';
import { checkFit, chooseComponents, missingComponents } from './choose.js';
import { type ComponentName, componentNames } from './components/component.js';
import { Conversion } from './conversion.js';
import { type ConvertPrecision, precisions } from './element-types.js';
import { describeUnknown, type FoundComponent, identify } from './identify.js';
import { closeAll, type Found, findCheckpoints } from './sources.js';
import { checkTarget, workFolderOf } from './work-folder.js';

export interface ConvertProgress {
  /** The component's folder: 'text_encoder', 'unet', … */
  phase: string;
  /** Bytes. */
  loaded: number;
  /** Bytes. */
  total: number;
}

export interface ConvertOptions {
  /** The model folder to write. Its parent exists. */
  output: string;
  /**
   * What weights are stored in: one for all components, or one for each by its name (others keep theirs). 'keep', the
   * default, leaves them as they are, F64 apart, which becomes fp32.
   */
  precision?: ConvertPrecision | Partial<Record<ComponentName, ConvertPrecision | undefined>> | undefined;
  /** Of the model, for `model.name` and metadata. Default: the folder's name. */
  name?: string | undefined;
  /** Replace a model folder that is there. Default false. */
  overwrite?: boolean | undefined;
  /** Write a folder that lacks components a model needs; it can be named together with others later. Default false. */
  incomplete?: boolean | undefined;
  /** Stops; the same call goes on where it stopped. */
  signal?: AbortSignal | undefined;
  /** What it throws ends the conversion and rejects the call. */
  onProgress?: ((progress: ConvertProgress) => void) | undefined;
}

export interface ConvertedComponent {
  name: ComponentName;
  /** For people: 'Paella v3 U-Net'. */
  title: string;
  /** The files that its tensors came from. */
  sources: string[];
  /** Whose names the tensors had: 'paella', 'open_clip', 'transformers', 'diffusers'. */
  layout: string;
  /** The keys of the checkpoint under which it was: ['state_dict'], … */
  wrappers: string[];
  tensors: number;
  /** Tensors that were left out on purpose, as the decoder of ByT5. */
  leftOut: number;
  parameters: number;
  /** Of its model.safetensors. */
  bytes: number;
  precision: ConvertPrecision;
  /** config.json. */
  config: Record<string, unknown>;
}

export interface ConvertReport {
  /** The model folder. */
  folder: string;
  components: ConvertedComponent[];
  /** Components that a model needs and that are not there; only with `incomplete`. */
  missing: ComponentName[];
  /** Files that are, byte for byte, a published one. */
  recognised: { file: string; name: string; sha256: string }[];
  /** Files of folders that were passed over, and why. */
  skipped: { file: string; reason: string }[];
  /** What else is worth knowing. */
  warnings: string[];
  /** Whether it went on from an earlier, interrupted conversion. */
  resumed: boolean;
}

const componentPrecision = z.enum(precisions).optional();
const schema = z.strictObject({
  output: z.string().min(1).describe('a folder'),
  precision: z
    .union([
      z.enum(precisions),
      z.strictObject(
        Object.fromEntries(componentNames.map((name) => [name, componentPrecision])) as Record<
          ComponentName,
          typeof componentPrecision
        >,
      ),
    ])
    .optional()
    .describe(`one of ${precisions.join(', ')}, or one for each of ${componentNames.join(', ')}`),
  name: z.string().min(1).max(200).optional().describe('a name of at most 200 characters'),
  overwrite: z.boolean().optional().describe('true or false'),
  incomplete: z.boolean().optional().describe('true or false'),
  signal,
  onProgress: callback<(progress: ConvertProgress) => void>(),
});

/**
 * Converts checkpoints of PyTorch and safetensors to a model folder. Nothing of a checkpoint is executed, and memory does
 * not depend on its size. The folder appears when it is complete; after an interruption (and after errors of the file
 * system) the same call goes on from `.<name>.partial` beside it.
 *
 * @param sources files, folders with files, or repositories that `pull()` fetched ('owner/name')
 * Rejects with `ERR_INVALID_OPTION`, `ERR_MODEL_NOT_FOUND`, `ERR_MODEL_FORMAT`, `ERR_NUMERIC` (a value does not fit into
 * fp16), `ERR_IO`, or `signal.reason`.
 */
export async function convert(sources: string | readonly string[], options: ConvertOptions): Promise<ConvertReport> {
  const given = validate(schema, options, 'options of convert');
  const names = typeof sources === 'string' ? [sources] : sources;
  if (!Array.isArray(names) || names.length === 0 || !names.every((name) => typeof name === 'string' && name !== '')) {
    throw invalidOption('sources', 'the names of files or folders', sources);
  }
  const target = path.resolve(given.output);
  given.signal?.throwIfAborted();
  const overwrite = given.overwrite ?? false;
  await checkTarget(target, overwrite);
  const found = await findCheckpoints(names, locateInCache);
  try {
    const chosen = await select(found, given.incomplete ?? false);
    return await withLock(`${workFolderOf(target)}.lock`, given.signal, async () => {
      await checkTarget(target, overwrite); // whoever had the lock may have written it
      return new Conversion(chosen, found.skipped, target, given).run();
    });
  } finally {
    await closeAll(found.checkpoints);
  }
}

/** One of each component. */
async function select(found: Found, incomplete: boolean): Promise<FoundComponent[]> {
  const all: FoundComponent[] = [];
  for (const checkpoint of found.checkpoints) {
    const inside = await identify(checkpoint);
    if (inside.length === 0) {
      const reason = describeUnknown(checkpoint);
      if (checkpoint.named) throw new PaellaError('ERR_MODEL_FORMAT', `${checkpoint.label}: ${reason}`);
      found.skipped.push({ file: checkpoint.label, reason });
    }
    all.push(...inside);
  }
  const chosen = chooseComponents(all, found.skipped);
  const missing = missingComponents(chosen);
  if (chosen.length === 0 || (missing.length > 0 && !incomplete)) {
    const there = chosen.map(({ component }) => component.name).join(', ') || 'none';
    const passed = found.skipped.slice(0, 5).map(({ file, reason }) => `${path.basename(file)} (${reason})`);
    throw new PaellaError(
      'ERR_MODEL_FORMAT',
      `sources: expected checkpoints with ${missing.join(', ')} too, found ${there}` +
        (passed.length > 0 ? `; passed over: ${passed.join('; ')}` : ''),
      { remedy: 'name all checkpoints in one command; --incomplete writes those that there are' },
    );
  }
  checkFit(chosen);
  return chosen;
}
