/** Writes the tensors of one component, one after another, in memory that does not depend on their size. */
import { type FileHandle, open } from 'node:fs/promises';
import { safetensorsHeader } from '../checkpoints/safetensors.js';
import {
  contiguousStrides,
  type ElementType,
  elementBytes,
  elementCount,
  isContiguous,
  type SourceTensor,
  spanOf,
} from '../checkpoints/tensors.js';
import { ioError } from '../errors.js';
import { BlockWriter } from './block-writer.js';
import { type ConvertPrecision, convertElements, targetType } from './element-types.js';
import type { PlannedTensor } from './identify.js';

/** Elements of a piece that is read at once. */
const CHUNK = 1 << 18;
/** Of a tensor whose elements do not follow one another; the widest of the official models has 69 MB. */
const GATHER_BYTES = 80 << 20;

export interface ComponentFile {
  readonly path: string;
  readonly header: Buffer;
  /** Bytes, header included. */
  readonly size: number;
  readonly tensors: readonly { readonly plan: PlannedTensor; readonly dtype: ElementType; readonly end: number }[];
}

/** Where everything will lie; the same for the same tensors, so that an interrupted file can be gone on with. */
export function layOut(path: string, tensors: readonly PlannedTensor[], precision: ConvertPrecision): ComponentFile {
  const typed = tensors.map((plan) => ({ plan, dtype: targetType(plan.pieces[0]?.dtype ?? 'F32', precision) }));
  // Wider elements first keeps every tensor at a multiple of its element's size; within one width the order of the files.
  typed.sort((a, b) => elementBytes[b.dtype] - elementBytes[a.dtype]);
  const header = safetensorsHeader(
    typed.map(({ plan, dtype }) => ({ name: plan.name, shape: plan.shape, dtype })),
    { format: 'pt' },
  );
  let end = header.length;
  const placed = typed.map(({ plan, dtype }) => {
    end += elementCount(plan.shape) * elementBytes[dtype];
    return { plan, dtype, end };
  });
  return { path, header, size: end, tensors: placed };
}

export interface WriteEvents {
  /** Bytes of the file that were made, and that are in it for certain. */
  progress(made: number, safe: number): void;
  /** At the end, however it ends: bytes of the file that are in it. */
  finished(safe: number): void;
  signal: AbortSignal | undefined;
}

/**
 * @param done tensors that are in the file already, from an earlier try
 * @param gatherBytes most to read at once of a tensor whose elements do not follow one another
 * Throws `ERR_IO`, `ERR_MODEL_FORMAT`, `ERR_NUMERIC`, or the signal's reason; what was written stays.
 */
export async function writeComponent(
  file: ComponentFile,
  done: number,
  events: WriteEvents,
  gatherBytes = GATHER_BYTES,
): Promise<void> {
  const start = done === 0 ? 0 : (file.tensors[done - 1]?.end ?? file.header.length);
  let handle: FileHandle;
  try {
    handle = await open(file.path, done === 0 ? 'w' : 'r+');
  } catch (error) {
    throw ioError('written', file.path, error);
  }
  const writer = new BlockWriter(handle, file.path, start);
  try {
    if (done === 0) await append(writer, file.header);
    const copier = new Copier(writer, events, gatherBytes);
    for (const [i, { plan, dtype }] of file.tensors.entries()) {
      if (i < done) continue;
      for (const piece of plan.pieces) await copier.copy(piece, dtype, plan.name);
    }
    await writer.flush();
    // An earlier try may have left a longer file.
    await handle.truncate(file.size).catch((error: unknown) => {
      throw ioError('written', file.path, error);
    });
  } finally {
    await writer.settle();
    events.finished(writer.safe);
    await handle.close().catch((error: unknown) => {
      throw ioError('written', file.path, error);
    });
  }
}

async function append(writer: BlockWriter, bytes: Buffer): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const room = await writer.room(bytes.length - done, 1);
    bytes.copy(room, 0, done, done + room.length);
    writer.commit(room.length);
    done += room.length;
  }
}

class Copier {
  readonly #writer: BlockWriter;
  readonly #events: WriteEvents;
  readonly #gatherBytes: number;
  /** Elements as they are in the source; eight bytes is the widest. */
  readonly #chunk = Buffer.from(new ArrayBuffer(CHUNK * 8));
  #gathered = Buffer.alloc(0);

  constructor(writer: BlockWriter, events: WriteEvents, gatherBytes: number) {
    this.#gatherBytes = gatherBytes;
    this.#writer = writer;
    this.#events = events;
  }

  async copy(tensor: SourceTensor, to: ElementType, name: string): Promise<void> {
    if (elementCount(tensor.shape) === 0) return;
    if (isContiguous(tensor)) await this.#stream(tensor, to, name);
    else await this.#gather(tensor, 0, tensor.offset, to, name);
  }

  /** Elements that follow one another in the file. */
  async #stream({ file, offset, dtype, shape }: SourceTensor, to: ElementType, name: string): Promise<void> {
    const total = elementCount(shape);
    const [from, unit] = [elementBytes[dtype], elementBytes[to]];
    for (let done = 0; done < total; ) {
      this.#check();
      const room = await this.#writer.room(dtype === to ? total - done : Math.min(CHUNK, total - done), unit);
      const count = room.length / unit;
      if (dtype === to) await file.read(room, offset + done * from);
      else {
        const source = this.#chunk.subarray(0, count * from);
        await file.read(source, offset + done * from);
        convertElements(source, dtype, room, to, count, name);
      }
      this.#writer.commit(room.length);
      done += count;
    }
  }

  /** The part of a tensor with the first `depth` indices fixed, whose first element is at `offset`. */
  async #gather(tensor: SourceTensor, depth: number, offset: number, to: ElementType, name: string): Promise<void> {
    const shape = tensor.shape.slice(depth);
    const strides = tensor.strides.slice(depth);
    const unit = elementBytes[tensor.dtype];
    const [rows = 1, ...rest] = shape;
    const [step = 0, ...restStrides] = strides;
    const rowSpan = spanOf(rest, restStrides);
    const most = Math.floor(this.#gatherBytes / unit);
    if (shape.length > 0 && rowSpan > most) {
      for (let i = 0; i < rows; i++) await this.#gather(tensor, depth + 1, offset + i * step * unit, to, name);
      return;
    }
    const perRead = step === 0 ? rows : Math.max(1, Math.floor((most - rowSpan) / step) + 1);
    for (let first = 0; first < rows; first += perRead) {
      this.#check();
      const part = shape.length === 0 ? [] : [Math.min(perRead, rows - first), ...rest];
      const bytes = spanOf(part, strides) * unit;
      // One buffer for all: several of this size would wait for the garbage collector.
      if (this.#gathered.length < bytes) this.#gathered = Buffer.from(new ArrayBuffer(bytes));
      const source = this.#gathered.subarray(0, bytes);
      await tensor.file.read(source, offset + first * step * unit);
      await this.#pack(source, part, strides, tensor.dtype, to, name);
    }
  }

  /** Writes elements of `source` in row-major order. */
  async #pack(
    source: Buffer,
    shape: readonly number[],
    strides: readonly number[],
    from: ElementType,
    to: ElementType,
    name: string,
  ): Promise<void> {
    const total = elementCount(shape);
    const [fromBytes, toBytes] = [elementBytes[from], elementBytes[to]];
    const counts = contiguousStrides(shape);
    for (let done = 0; done < total; ) {
      const room = await this.#writer.room(Math.min(CHUNK, total - done), toBytes);
      const count = room.length / toBytes;
      const packed = this.#chunk.subarray(0, count * fromBytes);
      gather(source, packed, { first: done, count, unit: fromBytes, counts, strides });
      convertElements(packed, from, room, to, count, name);
      this.#writer.commit(room.length);
      done += count;
    }
  }

  #check(): void {
    this.#events.signal?.throwIfAborted();
    this.#events.progress(this.#writer.position, this.#writer.safe);
  }
}

interface Selection {
  first: number;
  count: number;
  unit: number;
  /** Of a packed tensor. */
  counts: readonly number[];
  strides: readonly number[];
}

/** Element i of the packed tensor is at the sum of its indices times their strides. */
function gather(source: Buffer, target: Buffer, { first, count, unit, counts, strides }: Selection): void {
  const [from, to] = [typed(source, unit), typed(target, unit)];
  for (let i = 0; i < count; i++) {
    let rest = first + i;
    let at = 0;
    for (let axis = 0; axis < counts.length; axis++) {
      const step = counts[axis] as number;
      const index = Math.floor(rest / step);
      rest -= index * step;
      at += index * (strides[axis] as number);
    }
    to[i] = from[at] as never;
  }
}

function typed(bytes: Buffer, unit: number) {
  const length = Math.floor(bytes.length / unit);
  if (unit === 8) return new BigUint64Array(bytes.buffer, bytes.byteOffset, length);
  if (unit === 4) return new Uint32Array(bytes.buffer, bytes.byteOffset, length);
  return unit === 2
    ? new Uint16Array(bytes.buffer, bytes.byteOffset, length)
    : new Uint8Array(bytes.buffer, bytes.byteOffset, length);
}
