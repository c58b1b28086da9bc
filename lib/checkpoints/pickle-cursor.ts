/** Reads the operands of pickle opcodes. */

/** What is wrong with a pickle. */
export class PickleError extends Error {
  /** The name that was refused, if that is what is wrong. */
  readonly refused: string | undefined;

  constructor(message: string, refused?: string) {
    super(message);
    this.refused = refused;
  }
}

/** The bytes at hand end before the pickle does. */
export class PickleEnd extends PickleError {
  constructor() {
    super('the pickle is cut short');
  }
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

export class Cursor {
  readonly #bytes: Buffer;
  position: number;

  constructor(bytes: Uint8Array, position: number) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.position = position;
  }

  /** Where the next `length` bytes begin; they are passed. */
  #pass(length: number): number {
    const start = this.position;
    if (!(length <= this.#bytes.length - start)) throw new PickleEnd();
    this.position = start + length;
    return start;
  }

  byte(): number {
    return this.#bytes.readUInt8(this.#pass(1));
  }

  uint16(): number {
    return this.#bytes.readUInt16LE(this.#pass(2));
  }

  int32(): number {
    return this.#bytes.readInt32LE(this.#pass(4));
  }

  uint32(): number {
    return this.#bytes.readUInt32LE(this.#pass(4));
  }

  /** Rounded beyond 2^53, where it is larger than any file. */
  uint64(): number {
    return Number(this.#bytes.readBigUInt64LE(this.#pass(8)));
  }

  float64(): number {
    return this.#bytes.readDoubleBE(this.#pass(8));
  }

  /** Two's complement, little-endian; a number where it fits. */
  long(length: number): number | bigint {
    const start = this.#pass(length);
    if (length === 0) return 0;
    const digits = Buffer.from(this.#bytes.subarray(start, start + length)).reverse();
    const value = BigInt.asIntN(length * 8, BigInt(`0x${digits.toString('hex')}`));
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  text(length: number): string {
    const start = this.#pass(length);
    return utf8.decode(this.#bytes.subarray(start, start + length));
  }

  latin1(length: number): string {
    const start = this.#pass(length);
    return this.#bytes.toString('latin1', start, start + length);
  }

  /** Up to a line feed, which is passed too. */
  line(): string {
    const end = this.#bytes.indexOf(0x0a, this.position);
    if (end < 0) throw new PickleEnd();
    const start = this.#pass(end + 1 - this.position);
    return this.#bytes.toString('utf8', start, end);
  }
}
