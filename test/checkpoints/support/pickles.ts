/** Writes pickles opcode by opcode: also those that no Python would. */

export class PickleWriter {
  readonly #parts: Buffer[] = [];

  raw(...bytes: (number | Buffer | string)[]): this {
    for (const each of bytes) {
      this.#parts.push(
        typeof each === 'number' ? Buffer.from([each]) : typeof each === 'string' ? Buffer.from(each, 'latin1') : each,
      );
    }
    return this;
  }

  protocol(version = 2): this {
    return this.raw(0x80, version);
  }

  text(value: string): this {
    const bytes = Buffer.from(value);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(bytes.length);
    return this.raw('X', length, bytes);
  }

  int(value: number): this {
    if (value >= 0 && value < 256) return this.raw('K', value);
    if (Number.isInteger(value) && Math.abs(value) < 2 ** 31) {
      const bytes = Buffer.alloc(4);
      bytes.writeInt32LE(value);
      return this.raw('J', bytes);
    }
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64LE(BigInt(value));
    return this.raw(0x8a, 8, bytes);
  }

  global(name: string): this {
    const dot = name.lastIndexOf('.');
    return this.raw(`c${name.slice(0, dot)}\n${name.slice(dot + 1)}\n`);
  }

  ints(values: readonly number[]): this {
    this.raw('(');
    for (const value of values) this.int(value);
    return this.raw('t');
  }

  /** As torch.save() has them. */
  tensor({ storage, key, length, start = 0, shape, strides, view }: PickledTensor): this {
    this.global('torch._utils._rebuild_tensor_v2').raw('((').text('storage').global(storage).text(key).text('cpu');
    this.int(length);
    if (view === null) this.raw('N');
    this.raw('tQ').int(start).ints(shape).ints(strides);
    return this.raw(0x89).global('collections.OrderedDict').raw(')Rt', 'R');
  }

  /** A dictionary of what `fill` writes: key, value, key, value, … */
  dictionary(fill: (writer: this) => void): this {
    this.raw('}(');
    fill(this);
    return this.raw('u');
  }

  stop(): Buffer {
    this.raw('.');
    return Buffer.concat(this.#parts);
  }
}

export interface PickledTensor {
  /** 'torch.FloatStorage' */
  storage: string;
  key: string;
  /** Elements of the storage. */
  length: number;
  start?: number;
  shape: readonly number[];
  strides: readonly number[];
  /** null: as older files have it. */
  view?: null;
}

/** One tensor `name` of fp32, 2 × 2 unless told otherwise. */
export function onePickledTensor(name: string, tensor: Partial<PickledTensor> = {}): Buffer {
  return new PickleWriter()
    .protocol()
    .dictionary((w) =>
      w
        .text(name)
        .tensor({ storage: 'torch.FloatStorage', key: '0', length: 4, shape: [2, 2], strides: [2, 1], ...tensor }),
    )
    .stop();
}
