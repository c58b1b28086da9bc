/**
 * The safetensors container: 8 bytes length of the header (little-endian), a JSON header, then the values of all tensors.
 * The checks are those of the native reader (native/core/safetensors.cpp).
 */
import { badCheckpoint, type SourceFile } from './source-file.js';
import {
  contiguousStrides,
  type ElementType,
  elementBytes,
  elementCount,
  MAX_RANK,
  type SourceTensor,
} from './tensors.js';

/** That of the reference is 100 MB; the largest model that is converted here has some thousand tensors. */
const MAX_HEADER_BYTES = 16 << 20;

/** Whether a file that begins with these bytes may be safetensors. */
export function looksLikeSafetensors(start: Buffer): boolean {
  return start.length >= 9 && start[8] === 0x7b && start.readBigUInt64LE(0) < 1n << 40n;
}

export async function readSafetensors(file: SourceFile): Promise<SourceTensor[]> {
  if (file.size < 8) throw badCheckpoint(file.path, `expected a safetensors file, found only ${file.size} bytes`);
  const length = Number((await file.bytes(0, 8)).readBigUInt64LE(0));
  if (length > MAX_HEADER_BYTES) {
    throw badCheckpoint(file.path, `expected a header of at most ${MAX_HEADER_BYTES} bytes, found ${length}`);
  }
  if (length > file.size - 8) {
    throw badCheckpoint(
      file.path,
      `expected a header of ${length} bytes, found ${file.size - 8}: the file is cut short`,
    );
  }
  const header = parseHeader(await file.bytes(8, length), file);
  const start = 8 + length;
  const tensors = Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, entry]) => readEntry(name, entry, start, file));
  tensors.sort((a, b) => a.offset - b.offset || byteLength(a) - byteLength(b));
  let expected = start;
  for (const tensor of tensors) {
    if (tensor.offset !== expected) {
      throw badCheckpoint(
        file.path,
        `${JSON.stringify(tensor.name)}: expected its data at offset ${expected - start}, found ${tensor.offset - start}`,
      );
    }
    expected += byteLength(tensor);
  }
  if (expected !== file.size) {
    const cut = expected > file.size ? ': the file is cut short' : '';
    throw badCheckpoint(file.path, `expected ${expected - start} bytes of values, found ${file.size - start}${cut}`);
  }
  return tensors;
}

function parseHeader(bytes: Buffer, file: SourceFile): Record<string, unknown> {
  let header: unknown;
  try {
    header = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw badCheckpoint(file.path, 'expected a header of JSON, found something else', undefined, error);
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw badCheckpoint(file.path, 'expected a header that is a JSON object');
  }
  return header as Record<string, unknown>;
}

function readEntry(name: string, entry: unknown, start: number, file: SourceFile): SourceTensor {
  const where = JSON.stringify(name.length <= 200 ? name : `${name.slice(0, 200)}…`);
  const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
  const whole = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;
  if (typeof dtype !== 'string' || !Array.isArray(shape) || !shape.every(whole) || !Array.isArray(offsets)) {
    throw badCheckpoint(file.path, `${where}: expected dtype, shape and data_offsets`);
  }
  if (!Object.hasOwn(elementBytes, dtype)) {
    throw badCheckpoint(
      file.path,
      `${where}: expected one of ${Object.keys(elementBytes).join(', ')}, found ${dtype.slice(0, 20)}`,
    );
  }
  if (shape.length > MAX_RANK) {
    throw badCheckpoint(file.path, `${where}: expected at most ${MAX_RANK} dimensions, found ${shape.length}`);
  }
  const type = dtype as ElementType;
  const [begin, end] = offsets as unknown[];
  const bytes = elementCount(shape) * elementBytes[type];
  if (!Number.isSafeInteger(bytes) || !whole(begin) || !whole(end) || offsets.length !== 2 || end - begin !== bytes) {
    throw badCheckpoint(file.path, `${where}: expected data_offsets ${bytes} bytes apart`);
  }
  return { name, dtype: type, shape, strides: contiguousStrides(shape), file, offset: start + begin };
}

const byteLength = ({ shape, dtype }: SourceTensor): number => elementCount(shape) * elementBytes[dtype];

export interface TargetTensor {
  readonly name: string;
  readonly dtype: ElementType;
  readonly shape: readonly number[];
}

/** The bytes before the values of these tensors, which follow one another in this order. */
export function safetensorsHeader(
  tensors: readonly TargetTensor[],
  metadata: Readonly<Record<string, string>>,
): Buffer {
  let offset = 0;
  const header: Record<string, unknown> = { __metadata__: metadata };
  for (const { name, dtype, shape } of tensors) {
    const end = offset + elementCount(shape) * elementBytes[dtype];
    header[name] = { dtype, shape, data_offsets: [offset, end] };
    offset = end;
  }
  // The values start at a multiple of 8, as the reference writer has it.
  const json = Buffer.from(JSON.stringify(header));
  const padded = Buffer.alloc(Math.ceil(json.length / 8) * 8, ' ');
  json.copy(padded);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded]);
}
