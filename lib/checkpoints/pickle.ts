/**
 * A reader of pickles that executes nothing. It understands the opcodes that data needs; a global is not looked up but
 * must stand in the caller's table, which maps it to a value or to one of our own functions. Anything else is refused by
 * name. The safety model is that of PyTorch's `weights_only` unpickler.
 */
import { Cursor, PickleError } from './pickle-cursor.js';
import { opcodeName } from './pickle-opcodes.js';
import { type PickledValue, Stack } from './pickle-stack.js';

export { PickleEnd, PickleError } from './pickle-cursor.js';
export type { PickledValue } from './pickle-stack.js';

/** A name in the table. Without `call`, it may be stored and passed on, but not called. */
export class PickledGlobal {
  readonly name: string;
  readonly call: ((args: readonly PickledValue[]) => PickledValue) | undefined;

  constructor(name: string, call?: (args: readonly PickledValue[]) => PickledValue) {
    this.name = name;
    this.call = call;
  }
}

/** What a call gave that nobody here needs to look into. */
export class PickledObject {
  readonly of: string;

  constructor(of: string) {
    this.of = of;
  }
}

export interface PickleOptions {
  /** `module.name` → what stands for it; undefined: refused. */
  global: (name: string) => PickledGlobal | undefined;
  /** What a persistent id stands for. Without it they are refused. */
  persistent?: (id: PickledValue) => PickledValue;
}

/** Values that one pickle may make; official checkpoints make some ten thousand. */
const MAX_VALUES = 1_000_000;
/** Of these, lists, tuples, dictionaries and sets, which take some hundred bytes each. */
const MAX_CONTAINERS = 300_000;
/** Of one integer; the magic number of PyTorch's old files has ten. */
const MAX_LONG_BYTES = 64;
const HIGHEST_PROTOCOL = 5;

/** @returns the value and where the pickle ends. Throws PickleError; PickleEnd if `bytes` ends first. */
export function readPickle(bytes: Uint8Array, options: PickleOptions, start = 0): { value: PickledValue; end: number } {
  const machine = new Machine(new Cursor(bytes, start), options);
  const value = machine.run();
  return { value, end: machine.position };
}

class Machine {
  readonly #cursor: Cursor;
  readonly #options: PickleOptions;
  readonly #stack = new Stack(MAX_VALUES);
  readonly #memo = new Map<number, PickledValue>();
  #containerCount = 0;

  constructor(cursor: Cursor, options: PickleOptions) {
    this.#cursor = cursor;
    this.#options = options;
  }

  get position(): number {
    return this.#cursor.position;
  }

  run(): PickledValue {
    for (;;) {
      const at = this.#cursor.position;
      const opcode = this.#cursor.byte();
      if (opcode === 0x2e) return this.#stack.last(); // STOP
      if (!(this.#data(opcode) || this.#containers(opcode) || this.#names(opcode))) {
        throw new PickleError(`opcode ${opcodeName(opcode)} at byte ${at} of the pickle is not allowed`);
      }
    }
  }

  /** Opcodes that push a value which stands in the stream. */
  #data(opcode: number): boolean {
    const cursor = this.#cursor;
    const push = (value: PickledValue) => {
      this.#stack.push(value);
      return true;
    };
    switch (opcode) {
      case 0x80: {
        const protocol = cursor.byte();
        if (protocol > HIGHEST_PROTOCOL) {
          throw new PickleError(`expected a protocol up to ${HIGHEST_PROTOCOL}, found ${protocol}`);
        }
        return true;
      }
      case 0x95: // FRAME: only a hint for buffering
        cursor.uint64();
        return true;
      case 0x4e:
        return push(null);
      case 0x88:
        return push(true);
      case 0x89:
        return push(false);
      case 0x4b:
        return push(cursor.byte());
      case 0x4d:
        return push(cursor.uint16());
      case 0x4a:
        return push(cursor.int32());
      case 0x8a:
        return push(this.#long(cursor.byte()));
      case 0x8b:
        return push(this.#long(cursor.int32()));
      case 0x47:
        return push(cursor.float64());
      case 0x8c:
        return push(cursor.text(cursor.byte()));
      case 0x58:
        return push(cursor.text(cursor.uint32()));
      case 0x8d:
        return push(cursor.text(cursor.uint64()));
      // Bytes, and strings of Python 2, which may be anything: Latin-1 keeps every byte.
      case 0x43:
      case 0x55:
        return push(cursor.latin1(cursor.byte()));
      case 0x42:
      case 0x54:
        return push(cursor.latin1(cursor.uint32()));
      case 0x8e:
        return push(cursor.latin1(cursor.uint64()));
      default:
        return false;
    }
  }

  #long(length: number): number | bigint {
    if (length < 0 || length > MAX_LONG_BYTES) {
      throw new PickleError(`expected an integer of at most ${MAX_LONG_BYTES} bytes, found ${length}`);
    }
    return this.#cursor.long(length);
  }

  /** Tuples, lists, dictionaries, sets, and what moves values about. */
  #containers(opcode: number): boolean {
    const stack = this.#stack;
    switch (opcode) {
      case 0x28:
        stack.mark();
        return true;
      case 0x30: // POP
        stack.drop();
        return true;
      case 0x31: // POP_MARK
        stack.sinceMark();
        return true;
      case 0x32: // DUP
        stack.push(stack.last());
        return true;
      case 0x29: // EMPTY_TUPLE
      case 0x5d: // EMPTY_LIST
        stack.push(this.#container([]));
        return true;
      case 0x7d:
        stack.push(this.#container(new Map()));
        return true;
      case 0x8f:
        stack.push(this.#container(new Set()));
        return true;
      case 0x85:
      case 0x86:
      case 0x87:
        stack.push(this.#container(stack.take(opcode - 0x84)));
        return true;
      case 0x74: // TUPLE
      case 0x6c: // LIST
        stack.push(this.#container(stack.sinceMark()));
        return true;
      case 0x91: // FROZENSET
        stack.push(this.#container(new Set(stack.sinceMark())));
        return true;
      case 0x64: {
        const items = stack.sinceMark(); // DICT
        this.#stack.push(this.#container(new Map()));
        this.#setItems(items);
        return true;
      }
      case 0x61:
        this.#append([stack.pop()]);
        return true;
      case 0x65:
        this.#append(stack.sinceMark());
        return true;
      case 0x73:
        this.#setItems(stack.take(2));
        return true;
      case 0x75:
        this.#setItems(stack.sinceMark());
        return true;
      case 0x90: // ADDITEMS
        this.#addItems(stack.sinceMark());
        return true;
      default:
        return false;
    }
  }

  #container<T extends object>(made: T): T {
    if (++this.#containerCount > MAX_CONTAINERS) throw new PickleError(`more than ${MAX_CONTAINERS} containers`);
    return made;
  }

  #append(values: readonly PickledValue[]): void {
    const list = this.#stack.last();
    if (!Array.isArray(list)) throw new PickleError('APPEND to something that is no list');
    for (const value of values) list.push(value);
  }

  #setItems(values: readonly PickledValue[]): void {
    const map = this.#stack.last();
    if (!(map instanceof Map)) throw new PickleError('SETITEM on something that is no dictionary');
    if (values.length % 2 !== 0) throw new PickleError('a dictionary with a key that has no value');
    for (let i = 0; i < values.length; i += 2) map.set(values[i] as PickledValue, values[i + 1] as PickledValue);
  }

  #addItems(values: readonly PickledValue[]): void {
    const set = this.#stack.last();
    if (!(set instanceof Set)) throw new PickleError('ADDITEMS to something that is no set');
    for (const value of values) set.add(value);
  }

  /** The memo, globals, calls and persistent ids. */
  #names(opcode: number): boolean {
    const cursor = this.#cursor;
    const stack = this.#stack;
    switch (opcode) {
      case 0x71:
        return this.#remember(cursor.byte());
      case 0x72:
        return this.#remember(cursor.uint32());
      case 0x94: // MEMOIZE
        return this.#remember(this.#memo.size);
      case 0x68:
        return this.#recall(cursor.byte());
      case 0x6a:
        return this.#recall(cursor.uint32());
      case 0x63: // GLOBAL
        stack.push(this.#global(cursor.line(), cursor.line()));
        return true;
      case 0x93: {
        const [module, name] = stack.take(2); // STACK_GLOBAL
        if (typeof module !== 'string' || typeof name !== 'string') {
          throw new PickleError('STACK_GLOBAL with a name that is no string');
        }
        stack.push(this.#global(module, name));
        return true;
      }
      case 0x52: // REDUCE
      case 0x81: {
        const [callee, args] = stack.take(2); // NEWOBJ
        stack.push(call(callee, args));
        return true;
      }
      case 0x62: {
        stack.pop(); // BUILD: attributes such as `_metadata`, which hold no weights
        const target = stack.last();
        if (!(target instanceof Map || target instanceof PickledObject)) {
          throw new PickleError(`BUILD on ${describe(target)} is not allowed`);
        }
        return true;
      }
      case 0x51: {
        if (!this.#options.persistent) throw new PickleError('a persistent id where none is expected');
        stack.push(this.#options.persistent(stack.pop()));
        return true;
      }
      default:
        return false;
    }
  }

  #remember(index: number): boolean {
    if (this.#memo.size >= MAX_VALUES) throw new PickleError(`more than ${MAX_VALUES} values`);
    this.#memo.set(index, this.#stack.last());
    return true;
  }

  #recall(index: number): boolean {
    const value = this.#memo.get(index);
    if (value === undefined) throw new PickleError(`nothing was remembered under ${index}`);
    this.#stack.push(value);
    return true;
  }

  #global(module: string, name: string): PickledGlobal {
    const full = `${module}.${name}`;
    const found = this.#options.global(full);
    if (!found) throw new PickleError(`the global ${JSON.stringify(clip(full))} is not allowed`, full);
    return found;
  }
}

function call(callee: PickledValue | undefined, args: PickledValue | undefined): PickledValue {
  if (!(callee instanceof PickledGlobal)) throw new PickleError(`a call of ${describe(callee)} is not allowed`);
  if (!callee.call) throw new PickleError(`a call of ${callee.name} is not allowed`, callee.name);
  if (!Array.isArray(args)) throw new PickleError(`${callee.name} is called with something that is no tuple`);
  return callee.call(args);
}

function clip(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`;
}

function describe(value: unknown): string {
  if (value instanceof PickledGlobal) return value.name;
  if (value instanceof PickledObject) return `a value of ${value.of}`;
  return value === null ? 'None' : Array.isArray(value) ? 'a list or tuple' : `a ${typeof value}`;
}
