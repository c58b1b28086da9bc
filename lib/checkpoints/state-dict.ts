/** From what a checkpoint holds to its tensors by name. */
import type { PickledValue } from './pickle.js';
import { badCheckpoint, type SourceFile } from './source-file.js';
import type { SourceTensor } from './tensors.js';
import type { TorchCheckpoint } from './torch.js';
import { TorchTensor } from './torch-globals.js';

export interface StateDict {
  readonly tensors: ReadonlyMap<string, SourceTensor>;
  /** The keys under which the weights were: 'state_dict', … */
  readonly wrappers: readonly string[];
}

/** Where trainers put the weights. Averaged weights come first: they are those to draw with. */
const wrapperKeys = ['ema_state_dict', 'state_dict', 'model_state_dict', 'model', 'module'];
const MAX_WRAPPERS = 3;
/** Of DistributedDataParallel, torch.compile and averaged models; only if all names have it. */
const prefixes = ['module.', '_orig_mod.'];
const MAX_NAME = 500;

export function stateDictOf({ value, locate }: TorchCheckpoint, file: SourceFile): StateDict {
  const { dictionary, wrappers } = unwrap(value, file);
  const tensors = new Map<string, SourceTensor>();
  for (const [key, entry] of dictionary) {
    // Counters and settings beside the weights are no weights.
    if (!(entry instanceof TorchTensor)) continue;
    if (typeof key !== 'string' || key.length > MAX_NAME) {
      throw badCheckpoint(
        file.path,
        `expected tensor names of at most ${MAX_NAME} characters, found another kind of key`,
      );
    }
    tensors.set(key, locate(key, entry));
  }
  return { tensors: withoutPrefix(tensors), wrappers };
}

function unwrap(value: PickledValue, file: SourceFile) {
  const wrappers: string[] = [];
  let current: unknown = value;
  while (current instanceof Map && ![...current.values()].some((entry) => entry instanceof TorchTensor)) {
    const inside: Map<unknown, unknown> = current;
    const key = wrapperKeys.find((name) => inside.get(name) instanceof Map);
    if (key === undefined || wrappers.length === MAX_WRAPPERS) break;
    wrappers.push(key);
    current = inside.get(key);
  }
  if (current instanceof Map) {
    // A training checkpoint with a tensor beside the weights.
    const inside: Map<unknown, unknown> = current;
    const key = wrapperKeys.find((name) => inside.get(name) instanceof Map);
    if (key !== undefined && wrappers.length < MAX_WRAPPERS) {
      wrappers.push(key);
      current = inside.get(key);
    }
  }
  if (!(current instanceof Map) || ![...current.values()].some((entry) => entry instanceof TorchTensor)) {
    throw badCheckpoint(
      file.path,
      'expected a dictionary of tensors, found none',
      `looked for tensors at the top and under ${wrapperKeys.join(', ')}`,
    );
  }
  return { dictionary: current as Map<PickledValue, PickledValue>, wrappers };
}

/** Names without the prefix that all of them have. */
export function withoutPrefix(tensors: ReadonlyMap<string, SourceTensor>): Map<string, SourceTensor> {
  let current = new Map(tensors);
  for (let again = true; again; ) {
    const prefix = prefixes.find(
      (each) => current.size > 0 && [...current.keys()].every((key) => key.startsWith(each)),
    );
    again = prefix !== undefined;
    if (prefix !== undefined) {
      current = new Map([...current].map(([key, tensor]) => [key.slice(prefix.length), tensor]));
    }
  }
  return current;
}
