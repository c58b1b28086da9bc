/** Writes zip archives as torch.save() does, and broken ones. */
import { crc32 } from 'node:zlib';

export interface ZipEntry {
  name: string;
  data: Buffer;
  /** Compression method; 0, the default, is stored. */
  method?: number;
  /** Bit 0: encrypted; twelve bytes of `data` are then the cipher's. */
  flags?: number;
  /** What the directory says instead of the truth. */
  declared?: { size?: number; offset?: number };
}

export interface ZipOptions {
  /** Sizes and offsets in zip64 fields, also where they would fit into 32 bits. */
  zip64?: boolean;
  /** What the end record says. */
  entryCount?: number;
}

export function zipOf(entries: readonly ZipEntry[], { zip64 = false, entryCount }: ZipOptions = {}): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const { name, data, method = 0, flags = 0, declared = {} } = entry;
    const size = declared.size ?? data.length;
    const fields = { method, flags, crc: crc32(data), name: Buffer.from(name) };
    const local = header(0x04034b50, fields, size, zip64 ? zip64Field([size, size]) : Buffer.alloc(0), zip64);
    directory.push(central(fields, size, declared.offset ?? offset, zip64));
    parts.push(local, data);
    offset += local.length + data.length;
  }
  const central_ = Buffer.concat(directory);
  const count = entryCount ?? entries.length;
  return Buffer.concat([...parts, central_, end(count, central_.length, offset, zip64)]);
}

export interface Fields {
  method: number;
  flags: number;
  crc: number;
  name: Buffer;
}

export function header(
  signature: number,
  { method, flags, crc, name }: Fields,
  size: number,
  extra: Buffer,
  zip64: boolean,
) {
  const bytes = Buffer.alloc(30);
  bytes.writeUInt32LE(signature, 0);
  bytes.writeUInt16LE(45, 4);
  bytes.writeUInt16LE(flags, 6);
  bytes.writeUInt16LE(method, 8);
  bytes.writeUInt32LE(crc, 14);
  bytes.writeUInt32LE(zip64 ? 0xffffffff : size, 18);
  bytes.writeUInt32LE(zip64 ? 0xffffffff : plainSize(size, flags), 22);
  bytes.writeUInt16LE(name.length, 26);
  bytes.writeUInt16LE(extra.length, 28);
  return Buffer.concat([bytes, name, extra]);
}

const plainSize = (size: number, flags: number): number => (flags & 1 ? size - 12 : size);

export function central({ method, flags, crc, name }: Fields, size: number, offset: number, zip64: boolean) {
  const extra = zip64 ? zip64Field([size, size, offset]) : Buffer.alloc(0);
  const bytes = Buffer.alloc(46);
  bytes.writeUInt32LE(0x02014b50, 0);
  bytes.writeUInt16LE(45, 4);
  bytes.writeUInt16LE(45, 6);
  bytes.writeUInt16LE(flags, 8);
  bytes.writeUInt16LE(method, 10);
  bytes.writeUInt32LE(crc, 16);
  bytes.writeUInt32LE(zip64 ? 0xffffffff : size, 20);
  bytes.writeUInt32LE(zip64 ? 0xffffffff : plainSize(size, flags), 24);
  bytes.writeUInt16LE(name.length, 28);
  bytes.writeUInt16LE(extra.length, 30);
  bytes.writeUInt32LE(zip64 ? 0xffffffff : offset, 42);
  return Buffer.concat([bytes, name, extra]);
}

export function zip64Field(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 + 8 * values.length);
  bytes.writeUInt16LE(1, 0);
  bytes.writeUInt16LE(8 * values.length, 2);
  for (const [i, value] of values.entries()) bytes.writeBigUInt64LE(BigInt(value), 4 + 8 * i);
  return bytes;
}

export function end(count: number, size: number, offset: number, zip64: boolean): Buffer {
  const record = Buffer.alloc(22);
  record.writeUInt32LE(0x06054b50, 0);
  record.writeUInt16LE(zip64 ? 0xffff : count, 8);
  record.writeUInt16LE(zip64 ? 0xffff : count, 10);
  record.writeUInt32LE(zip64 ? 0xffffffff : size, 12);
  record.writeUInt32LE(zip64 ? 0xffffffff : offset, 16);
  if (!zip64) return record;
  const wide = Buffer.alloc(56);
  wide.writeUInt32LE(0x06064b50, 0);
  wide.writeBigUInt64LE(44n, 4);
  wide.writeUInt16LE(45, 12);
  wide.writeUInt16LE(45, 14);
  wide.writeBigUInt64LE(BigInt(count), 24);
  wide.writeBigUInt64LE(BigInt(count), 32);
  wide.writeBigUInt64LE(BigInt(size), 40);
  wide.writeBigUInt64LE(BigInt(offset), 48);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50, 0);
  locator.writeBigUInt64LE(BigInt(offset + size), 8);
  locator.writeUInt32LE(1, 16);
  return Buffer.concat([wide, locator, record]);
}

/** What torch.save() would write for a pickle and its storages. */
export function torchZip(pickle: Buffer, storages: Record<string, Buffer>, options?: ZipOptions): Buffer {
  return zipOf(
    [
      { name: 'archive/data.pkl', data: pickle },
      { name: 'archive/byteorder', data: Buffer.from('little') },
      ...Object.entries(storages).map(([key, data]) => ({ name: `archive/data/${key}`, data })),
      { name: 'archive/version', data: Buffer.from('3\n') },
    ],
    options,
  );
}
