/**
 * Checkpoints that `torch.save()` wrote: zip archives (since PyTorch 1.6) and the pickles before. Both give the value that
 * was saved, with `TorchTensor`s in it, and where each storage lies in the file.
 */
import { type PickledValue, PickleEnd, PickleError, readPickle } from './pickle.js';
import { badCheckpoint, type SourceFile } from './source-file.js';
import { type ElementType, elementBytes, type SourceTensor } from './tensors.js';
import { type TorchTensor, torchGlobal, torchStorage } from './torch-globals.js';
import { readStoredEntries, type StoredEntry } from './zip.js';

/** The pickle of a checkpoint names tensors, it does not hold them: some hundred KB for the official ones. */
const MAX_PICKLE_BYTES = 32 << 20;
const FIRST_WINDOW = 1 << 20;
/** `torch.serialization.MAGIC_NUMBER`, the first value of an old file. */
const LEGACY_MAGIC = 0x1950a86a20f9469cfc6cn;
const LEGACY_PROTOCOL = 1001;

export interface TorchCheckpoint {
  value: PickledValue;
  /** Throws `ERR_MODEL_FORMAT` if the tensor's storage is not wholly in the file. */
  locate(name: string, tensor: TorchTensor): SourceTensor;
}

/** Where storages lie. */
type Places = ReadonlyMap<string, { offset: number; bytes: number }>;

function checkpoint(file: SourceFile, value: PickledValue, places: Places): TorchCheckpoint {
  return {
    value,
    locate(name, { storage, dtype, start, shape, strides }) {
      const place = places.get(storage.key);
      if (!place) throw badCheckpoint(file.path, `${name}: storage ${JSON.stringify(storage.key)} is missing`);
      const unit = storage.dtype ? elementBytes[storage.dtype] : 1;
      const needed = (storage.start + storage.length) * unit;
      if (!(needed <= place.bytes)) {
        throw badCheckpoint(file.path, `${name}: its storage needs ${needed} bytes, found ${place.bytes}`);
      }
      const offset = place.offset + storage.start * unit + start * elementBytes[dtype];
      return { name, dtype, shape, strides, file, offset };
    },
  };
}

export async function readTorchZip(file: SourceFile): Promise<TorchCheckpoint> {
  const entries = await readStoredEntries(file);
  const pickles = [...entries.values()].filter(({ name }) => /^[^/]+\/data\.pkl$/.test(name));
  const [pickle] = pickles;
  if (!pickle || pickles.length > 1) {
    throw badCheckpoint(
      file.path,
      `expected one data.pkl, as torch.save() writes it, found ${pickles.length}`,
      'a zip archive of other files has to be unpacked first',
    );
  }
  const folder = pickle.name.slice(0, -'data.pkl'.length);
  await checkByteOrder(file, entries.get(`${folder}byteorder`));
  if (pickle.size > MAX_PICKLE_BYTES) {
    throw badCheckpoint(file.path, `data.pkl: expected at most ${MAX_PICKLE_BYTES} bytes, found ${pickle.size}`);
  }
  const bytes = await file.bytes(pickle.offset, pickle.size);
  const { value } = unpickle(file, 'data.pkl', () =>
    readPickle(bytes, { global: torchGlobal, persistent: torchStorage }),
  );
  const places = new Map<string, { offset: number; bytes: number }>();
  for (const { name, offset, size } of entries.values()) {
    if (name.startsWith(`${folder}data/`)) places.set(name.slice(folder.length + 5), { offset, bytes: size });
  }
  return checkpoint(file, value, places);
}

async function checkByteOrder(file: SourceFile, entry: StoredEntry | undefined): Promise<void> {
  if (!entry) return; // written before the entry was introduced, on a little-endian machine in practice
  const order = (await file.bytes(entry.offset, Math.min(entry.size, 16))).toString('latin1').trim();
  if (order !== 'little') throw bigEndian(file, order);
}

function bigEndian(file: SourceFile, found: string): Error {
  return badCheckpoint(
    file.path,
    `expected little-endian values, found ${JSON.stringify(found)}`,
    'save the checkpoint again on a little-endian machine',
  );
}

function unpickle<T>(file: SourceFile, what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof PickleError)) throw error;
    if (error instanceof PickleEnd) throw badCheckpoint(file.path, `${what}: ${error.message}`, undefined, error);
    const remedy =
      error.refused === undefined
        ? undefined
        : 'the checkpoint holds more than tensors; save its state_dict() alone, and do not trust a file that asks for this';
    throw badCheckpoint(file.path, `${what}: ${error.message}`, remedy, error);
  }
}

/** Before PyTorch 1.6: five pickles one after another, then for each storage its length in elements and its values. */
export async function readTorchLegacy(file: SourceFile): Promise<TorchCheckpoint> {
  const { values, end, storages } = await readLegacyPickles(file);
  const [, , system, value, keys] = values;
  const littleEndian = system instanceof Map ? system.get('little_endian') : undefined;
  if (littleEndian !== true) throw bigEndian(file, littleEndian === false ? 'big' : 'nothing');
  if (!Array.isArray(keys)) throw badCheckpoint(file.path, 'the list of storages is missing');
  const places = new Map<string, { offset: number; bytes: number }>();
  let at = end;
  for (const key of keys as unknown[]) {
    const known = typeof key === 'string' ? storages.get(key) : undefined;
    if (typeof key !== 'string' || !known) throw badCheckpoint(file.path, 'the list of storages names an unknown one');
    if (places.has(key)) throw badCheckpoint(file.path, `storage ${JSON.stringify(key)} is listed twice`);
    const length = Number((await file.bytes(at, 8)).readBigInt64LE(0));
    const bytes = length * elementBytes[known];
    if (!(length >= 0 && bytes <= file.size - at - 8)) {
      throw badCheckpoint(file.path, `storage ${JSON.stringify(key)} with ${length} elements reaches beyond the end`);
    }
    places.set(key, { offset: at + 8, bytes });
    at += 8 + bytes;
  }
  return checkpoint(file, value as PickledValue, places);
}

/** How far the pickles reach is only known by reading them: the window grows until they fit. */
async function readLegacyPickles(file: SourceFile) {
  for (let window = Math.min(FIRST_WINDOW, file.size); ; window = Math.min(window * 4, MAX_PICKLE_BYTES, file.size)) {
    const bytes = await file.bytes(0, window);
    try {
      return legacyPickles(bytes);
    } catch (error) {
      if (error instanceof PickleEnd && window < Math.min(MAX_PICKLE_BYTES, file.size)) continue;
      return unpickle(file, 'pickle', (): never => {
        throw error;
      });
    }
  }
}

function legacyPickles(bytes: Buffer) {
  const storages = new Map<string, ElementType>();
  const persistent = (id: PickledValue) => {
    const storage = torchStorage(id);
    // Files as old as this know typed storages only.
    const before = storages.get(storage.key);
    if (!storage.dtype || (before && before !== storage.dtype)) {
      throw new PickleError(`storage ${JSON.stringify(storage.key)} has no element type, or two`);
    }
    storages.set(storage.key, storage.dtype);
    return storage;
  };
  const none = () => undefined;
  const values: PickledValue[] = [];
  let end = 0;
  for (let i = 0; i < 5; i++) {
    const read = readPickle(bytes, i === 3 ? { global: torchGlobal, persistent } : { global: none }, end);
    values.push(read.value);
    end = read.end;
    if (i === 0 && read.value !== LEGACY_MAGIC) throw new PickleError("PyTorch's magic number is missing");
    if (i === 1 && read.value !== LEGACY_PROTOCOL) {
      throw new PickleError(`expected protocol ${LEGACY_PROTOCOL} of torch.save(), found another`);
    }
  }
  return { values, end, storages };
}
