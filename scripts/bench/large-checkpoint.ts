/** Checkpoints as large as the published ones, written as torch.save() does, in seconds and without PyTorch. */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { central, end, type Fields, header, zip64Field } from '../../test/checkpoints/support/archives.js';
import { PickleWriter } from '../../test/checkpoints/support/pickles.js';

export interface LargeTensor {
  name: string;
  shape: readonly number[];
}

const TILE = 16 << 20;

/**
 * One fp32 storage per tensor.
 * @param dense whether all values are written; else each tensor has some at its start and is a hole of zeros behind
 * @returns bytes of the file
 */
export async function writeLargeCheckpoint(
  path: string,
  tensors: readonly LargeTensor[],
  dense: boolean,
): Promise<number> {
  const handle = await open(path, 'w');
  try {
    const writer = new ZipWriter(handle, dense ? smallNumbers(TILE) : smallNumbers(1 << 16), dense);
    await writer.entry('archive/data.pkl', pickleOf(tensors));
    await writer.entry('archive/byteorder', Buffer.from('little'));
    for (const [i, { shape }] of tensors.entries()) await writer.values(`archive/data/${i}`, 4 * count(shape));
    await writer.entry('archive/version', Buffer.from('3\n'));
    return await writer.finish();
  } finally {
    await handle.close();
  }
}

const count = (shape: readonly number[]): number => shape.reduce((product, side) => product * side, 1);

function pickleOf(tensors: readonly LargeTensor[]): Buffer {
  return new PickleWriter()
    .protocol()
    .dictionary((writer) => {
      for (const [i, { name, shape }] of tensors.entries()) {
        const strides = shape.map((_, axis) => count(shape.slice(axis + 1)));
        const storage = { storage: 'torch.FloatStorage', key: String(i), length: count(shape) };
        writer.text(name).tensor({ ...storage, shape, strides });
      }
    })
    .stop();
}

/** Random fp32 values between 2^-7 and 2, of both signs. */
function smallNumbers(bytes: number): Buffer {
  const buffer = randomBytes(bytes);
  for (let i = 3; i < bytes; i += 4) {
    buffer[i] = ((buffer[i] ?? 0) & 0x80) | (0x3c + ((buffer[i] ?? 0) & 3));
  }
  return buffer;
}

class ZipWriter {
  readonly #handle: FileHandle;
  readonly #tile: Buffer;
  readonly #dense: boolean;
  readonly #directory: Buffer[] = [];
  #at = 0;

  constructor(handle: FileHandle, tile: Buffer, dense: boolean) {
    this.#handle = handle;
    this.#tile = tile;
    this.#dense = dense;
  }

  async entry(name: string, data: Buffer): Promise<void> {
    await this.#begin(name, data.length);
    await this.#write(data);
  }

  async values(name: string, bytes: number): Promise<void> {
    await this.#begin(name, bytes);
    const last = this.#at + bytes;
    do {
      await this.#write(this.#tile.subarray(0, Math.min(this.#tile.length, last - this.#at)));
    } while (this.#dense && this.#at < last);
    this.#at = last;
  }

  async finish(): Promise<number> {
    const directory = Buffer.concat(this.#directory);
    const start = this.#at;
    await this.#write(directory);
    await this.#write(end(this.#directory.length, directory.length, start, true));
    return this.#at;
  }

  /** Values begin at a multiple of 64 bytes, as PyTorch has it: the rest is a field that nobody reads. */
  async #begin(name: string, size: number): Promise<void> {
    const fields: Fields = { method: 0, flags: 0, crc: 0, name: Buffer.from(name) };
    const wide = zip64Field([size, size]);
    const bare = this.#at + 30 + fields.name.length + wide.length + 4;
    const padding = Buffer.alloc(4 + ((64 - (bare % 64)) % 64));
    padding.write('FB', 'latin1');
    padding.writeUInt16LE(padding.length - 4, 2);
    this.#directory.push(central(fields, size, this.#at, true));
    await this.#write(header(0x04034b50, fields, size, Buffer.concat([wide, padding]), true));
  }

  async #write(bytes: Buffer): Promise<void> {
    await this.#handle.write(bytes, 0, bytes.length, this.#at);
    this.#at += bytes.length;
  }
}
