/** The stack of the pickle machine. Marks lie in the same array, as a value that no pickle can make. */
import { PickleError } from './pickle-cursor.js';

/** Lists and tuples are arrays, dictionaries maps, integers beyond 2^53 bigints; objects are the caller's. */
export type PickledValue = null | boolean | number | bigint | string | object;

const MARK = Object.freeze({});

export class Stack {
  readonly #values: PickledValue[] = [];
  readonly #limit: number;
  #made = 0;

  /** @param limit values that may be pushed altogether */
  constructor(limit: number) {
    this.#limit = limit;
  }

  push(value: PickledValue): void {
    this.charge(1);
    this.#values.push(value);
  }

  /** Counts values that are made elsewhere. */
  charge(count: number): void {
    this.#made += count;
    if (this.#made > this.#limit) throw new PickleError(`more than ${this.#limit} values`);
  }

  mark(): void {
    this.push(MARK);
  }

  pop(): PickledValue {
    const value = this.#values.pop();
    if (value === undefined || value === MARK) throw new PickleError('a value is missing on the stack');
    return value;
  }

  /** Whatever is on top, also a mark. */
  drop(): void {
    if (this.#values.pop() === undefined) throw new PickleError('a value is missing on the stack');
  }

  last(): PickledValue {
    const value = this.#values.at(-1);
    if (value === undefined || value === MARK) throw new PickleError('a value is missing on the stack');
    return value;
  }

  /** The top `count` values, the lowest first. */
  take(count: number): PickledValue[] {
    const values: PickledValue[] = [];
    for (let i = 0; i < count; i++) values.push(this.pop());
    return values.reverse();
  }

  /** Everything above the last mark, which goes too. */
  sinceMark(): PickledValue[] {
    const at = this.#values.lastIndexOf(MARK);
    if (at < 0) throw new PickleError('a mark is missing on the stack');
    const values = this.#values.splice(at);
    values.shift();
    return values;
  }
}
