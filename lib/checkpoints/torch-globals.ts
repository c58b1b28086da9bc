/**
 * The names that checkpoints of PyTorch may use, and what stands for them here. Nothing of Python is run: tensors become
 * descriptions of where their values lie, and what holds no weights becomes a `PickledObject` that nobody looks into.
 */
import { type PickledFunction, PickledGlobal, PickledObject, type PickledValue, PickleError } from './pickle.js';
import { type ElementType, elementBytes, elementCount, MAX_RANK, spanOf } from './tensors.js';

/** A storage as a persistent id describes it: elements that tensors are views of. */
export class TorchStorage {
  readonly key: string;
  readonly dtype: ElementType | undefined;
  /** Elements; bytes if `dtype` is undefined. */
  readonly length: number;
  /** Elements from the start of the storage that holds the values, in files before PyTorch 1.6. */
  readonly start: number;

  constructor(key: string, dtype: ElementType | undefined, length: number, start = 0) {
    this.key = key;
    this.dtype = dtype;
    this.length = length;
    this.start = start;
  }
}

export class TorchTensor {
  readonly storage: TorchStorage;
  readonly dtype: ElementType;
  /** Elements from the start of the storage. */
  readonly start: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(
    storage: TorchStorage,
    dtype: ElementType,
    start: number,
    shape: readonly number[],
    strides: readonly number[],
  ) {
    this.storage = storage;
    this.dtype = dtype;
    this.start = start;
    this.shape = shape;
    this.strides = strides;
  }
}

/** Classes of storages; an untyped one has bytes, and its tensors name their type. */
const storageTypes: Readonly<Record<string, ElementType | undefined>> = {
  'torch.DoubleStorage': 'F64',
  'torch.FloatStorage': 'F32',
  'torch.HalfStorage': 'F16',
  'torch.BFloat16Storage': 'BF16',
  'torch.LongStorage': 'I64',
  'torch.IntStorage': 'I32',
  'torch.ShortStorage': 'I16',
  'torch.CharStorage': 'I8',
  'torch.ByteStorage': 'U8',
  'torch.BoolStorage': 'BOOL',
  'torch.storage.UntypedStorage': undefined,
  'torch.UntypedStorage': undefined,
};

const dtypes: Readonly<Record<string, ElementType>> = {
  'torch.float64': 'F64',
  'torch.float32': 'F32',
  'torch.float16': 'F16',
  'torch.bfloat16': 'BF16',
  'torch.int64': 'I64',
  'torch.int32': 'I32',
  'torch.int16': 'I16',
  'torch.int8': 'I8',
  'torch.uint8': 'U8',
  'torch.bool': 'BOOL',
};

/** Of training state beside the weights: numbers of NumPy, devices, sets. They may be made, and are not looked into. */
const inert = [
  'numpy.dtype',
  'numpy.core.multiarray.scalar',
  'numpy._core.multiarray.scalar',
  'numpy.core.multiarray._reconstruct',
  'numpy._core.multiarray._reconstruct',
  'numpy.ndarray',
  '_codecs.encode',
  'torch.device',
  'torch.Size',
  'builtins.set',
  'builtins.frozenset',
  'builtins.complex',
  'builtins.bytearray',
];

const dictionaries = ['collections.OrderedDict', 'collections.defaultdict', 'collections.Counter'];

const table = new Map<string, PickledGlobal>();

function define(name: string, call?: PickledFunction): void {
  table.set(name, new PickledGlobal(name, call));
}

for (const name of Object.keys(storageTypes)) define(name);
for (const name of Object.keys(dtypes)) define(name);
for (const name of inert) define(name, () => new PickledObject(name));
for (const name of dictionaries) define(name, (args, charge) => dictionary(name, args, charge));
define('torch._utils._rebuild_tensor_v2', rebuildTensor);
define('torch._utils._rebuild_tensor', rebuildTensor);
define('torch._utils._rebuild_tensor_v3', rebuildTypedTensor);
define('torch._utils._rebuild_parameter', ([data]) => tensorOf(data, 'torch._utils._rebuild_parameter'));
define('torch._utils._rebuild_parameter_with_state', ([data]) =>
  tensorOf(data, 'torch._utils._rebuild_parameter_with_state'),
);
// A whole module's class could be anything, so that a checkpoint that stores modules is refused at its first global.

/** For `readPickle()`. Up to protocol 2, pickles use the names of Python 2. */
export function torchGlobal(name: string): PickledGlobal | undefined {
  return table.get(name.replace(/^__builtin__\./, 'builtins.'));
}

/** @returns what `('storage', class, key, device, elements)` describes; older files add the part of another storage */
export function torchStorage(id: PickledValue): TorchStorage {
  if (!Array.isArray(id) || id[0] !== 'storage') throw new PickleError('a persistent id that is no storage');
  const [, type, key, , length, view] = id as unknown[];
  if (!(type instanceof PickledGlobal && type.name in storageTypes)) {
    throw new PickleError('a storage whose class is no storage of PyTorch');
  }
  if (typeof key !== 'string') throw new PickleError('a storage whose key is no string');
  const dtype = storageTypes[type.name];
  if (view === undefined || view === null) return new TorchStorage(key, dtype, size(length, `storage ${key}`));
  if (!Array.isArray(view) || typeof view[0] !== 'string') throw new PickleError(`storage ${key}: a damaged view`);
  size(length, `storage ${key}`);
  return new TorchStorage(key, dtype, size(view[2], `storage ${key}`), size(view[1], `storage ${key}`));
}

/** Empty, to be filled; Python 2 gave OrderedDict a list of pairs. What the others are given holds no weights. */
function dictionary(name: string, [pairs]: readonly PickledValue[], charge: (values: number) => void): PickledValue {
  const map = new Map<PickledValue, PickledValue>();
  if (pairs === undefined || name !== 'collections.OrderedDict') return map;
  if (!Array.isArray(pairs)) throw new PickleError(`${name} of something that is no list`);
  // One list may be given to any number of them.
  charge(pairs.length);
  for (const pair of pairs) {
    if (!Array.isArray(pair) || pair.length !== 2)
      throw new PickleError(`${name} of something that is no list of pairs`);
    map.set(pair[0], pair[1]);
  }
  return map;
}

/** (storage, offset, size, stride, …) */
function rebuildTensor([storage, start, shape, strides]: readonly PickledValue[]): TorchTensor {
  if (!(storage instanceof TorchStorage)) throw new PickleError('a tensor without a storage');
  if (!storage.dtype) throw new PickleError(`storage ${storage.key} has no element type`);
  return tensor(storage, storage.dtype, storage.length, start, shape, strides);
}

/** (storage, offset, size, stride, requires_grad, hooks, dtype, …) over bytes */
function rebuildTypedTensor([storage, start, shape, strides, , , type]: readonly PickledValue[]): TorchTensor {
  if (!(storage instanceof TorchStorage)) throw new PickleError('a tensor without a storage');
  const dtype = type instanceof PickledGlobal ? dtypes[type.name] : undefined;
  if (!dtype) throw new PickleError(`a tensor of storage ${storage.key} has no element type that is known here`);
  const bytes = storage.length * (storage.dtype ? elementBytes[storage.dtype] : 1);
  return tensor(storage, dtype, Math.floor(bytes / elementBytes[dtype]), start, shape, strides);
}

function tensor(
  storage: TorchStorage,
  dtype: ElementType,
  length: number,
  start: unknown,
  shape: unknown,
  strides: unknown,
): TorchTensor {
  const where = `a tensor of storage ${storage.key}`;
  const sides = sizes(shape, where);
  const steps = sizes(strides, where);
  if (sides.length !== steps.length)
    throw new PickleError(`${where} has ${sides.length} sizes and ${steps.length} strides`);
  const first = size(start, where);
  const span = spanOf(sides, steps);
  if (!Number.isSafeInteger(elementCount(sides)) || !Number.isSafeInteger(span) || first + span > length) {
    throw new PickleError(
      `${where} needs ${first + span} elements, but the storage has ${length} (offset ${first}, sizes ${sides.join('×') || 'none'})`,
    );
  }
  // A view that repeats its elements can be of any size whatever the file's; no published weight is one.
  if (elementCount(sides) > Math.max(length, 1 << 16)) {
    throw new PickleError(`${where} has ${elementCount(sides)} elements, more than its storage with ${length}`);
  }
  return new TorchTensor(storage, dtype, first, sides, steps);
}

function tensorOf(value: PickledValue | undefined, name: string): TorchTensor {
  if (!(value instanceof TorchTensor)) throw new PickleError(`${name} of something that is no tensor`);
  return value;
}

function sizes(value: unknown, where: string): number[] {
  if (!Array.isArray(value)) throw new PickleError(`${where} has sizes that are no tuple`);
  if (value.length > MAX_RANK) throw new PickleError(`${where} has ${value.length} dimensions, more than ${MAX_RANK}`);
  return value.map((each) => size(each, where));
}

function size(value: unknown, where: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw new PickleError(
      `${where}: expected a size, got ${typeof value === 'object' ? 'something else' : String(value).slice(0, 40)}`,
    );
  }
  return value;
}
