/**
 * A reader of pickles that executes nothing. It understands the opcodes that data needs; a global is not looked up but
 * must stand in the caller's table, which maps it to a value or to one of our own functions. Anything else is refused by
 * name. The safety model is that of PyTorch's `weights_only` unpickler.
 */
import { Cursor, PickleError } from './pickle-cursor.js';
import { Op, opcodeName } from './pickle-opcodes.js';
import { type PickledValue, Stack } from './pickle-stack.js';

export { PickleEnd, PickleError } from './pickle-cursor.js';
export type { PickledValue } from './pickle-stack.js';

/** @param charge to be told of copies of values, before they are made; throws when there are too many */
export type PickledFunction = (args: readonly PickledValue[], charge: (values: number) => void) => PickledValue;

/** A name in the table. Without `call`, it may be stored and passed on, but not called. */
export class PickledGlobal {
  readonly name: string;
  readonly call: PickledFunction | undefined;

  constructor(name: string, call?: PickledFunction) {
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
      if (opcode === Op.STOP) return this.#stack.last();
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
      case Op.PROTO: {
        const protocol = cursor.byte();
        if (protocol > HIGHEST_PROTOCOL) {
          throw new PickleError(`expected a protocol up to ${HIGHEST_PROTOCOL}, found ${protocol}`);
        }
        return true;
      }
      case Op.FRAME: // only a hint for buffering
        cursor.uint64();
        return true;
      case Op.NONE:
        return push(null);
      case Op.NEWTRUE:
        return push(true);
      case Op.NEWFALSE:
        return push(false);
      case Op.BININT1:
        return push(cursor.byte());
      case Op.BININT2:
        return push(cursor.uint16());
      case Op.BININT:
        return push(cursor.int32());
      case Op.LONG1:
        return push(this.#long(cursor.byte()));
      case Op.LONG4:
        return push(this.#long(cursor.int32()));
      case Op.BINFLOAT:
        return push(cursor.float64());
      case Op.SHORT_BINUNICODE:
        return push(cursor.text(cursor.byte()));
      case Op.BINUNICODE:
        return push(cursor.text(cursor.uint32()));
      case Op.BINUNICODE8:
        return push(cursor.text(cursor.uint64()));
      // Bytes, and strings of Python 2, which may be anything: Latin-1 keeps every byte.
      case Op.SHORT_BINBYTES:
      case Op.SHORT_BINSTRING:
        return push(cursor.latin1(cursor.byte()));
      case Op.BINBYTES:
      case Op.BINSTRING:
        return push(cursor.latin1(cursor.uint32()));
      case Op.BINBYTES8:
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
      case Op.MARK:
        stack.mark();
        return true;
      case Op.POP:
        stack.drop();
        return true;
      case Op.POP_MARK:
        stack.sinceMark();
        return true;
      case Op.DUP:
        stack.push(stack.last());
        return true;
      case Op.EMPTY_TUPLE:
      case Op.EMPTY_LIST:
        stack.push(this.#container([]));
        return true;
      case Op.EMPTY_DICT:
        stack.push(this.#container(new Map()));
        return true;
      case Op.EMPTY_SET:
        stack.push(this.#container(new Set()));
        return true;
      case Op.TUPLE1:
      case Op.TUPLE2:
      case Op.TUPLE3:
        stack.push(this.#container(stack.take(opcode - Op.TUPLE1 + 1)));
        return true;
      case Op.TUPLE:
      case Op.LIST:
        stack.push(this.#container(stack.sinceMark()));
        return true;
      case Op.FROZENSET:
        stack.push(this.#container(new Set(stack.sinceMark())));
        return true;
      case Op.DICT: {
        const items = stack.sinceMark();
        this.#stack.push(this.#container(new Map()));
        this.#setItems(items);
        return true;
      }
      case Op.APPEND:
        this.#append([stack.pop()]);
        return true;
      case Op.APPENDS:
        this.#append(stack.sinceMark());
        return true;
      case Op.SETITEM:
        this.#setItems(stack.take(2));
        return true;
      case Op.SETITEMS:
        this.#setItems(stack.sinceMark());
        return true;
      case Op.ADDITEMS:
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
      case Op.BINPUT:
        return this.#remember(cursor.byte());
      case Op.LONG_BINPUT:
        return this.#remember(cursor.uint32());
      case Op.MEMOIZE:
        return this.#remember(this.#memo.size);
      case Op.BINGET:
        return this.#recall(cursor.byte());
      case Op.LONG_BINGET:
        return this.#recall(cursor.uint32());
      case Op.GLOBAL:
        stack.push(this.#global(cursor.line(), cursor.line()));
        return true;
      case Op.STACK_GLOBAL: {
        const [module, name] = stack.take(2);
        if (typeof module !== 'string' || typeof name !== 'string') {
          throw new PickleError('STACK_GLOBAL with a name that is no string');
        }
        stack.push(this.#global(module, name));
        return true;
      }
      case Op.REDUCE:
      case Op.NEWOBJ: {
        const [callee, args] = stack.take(2);
        const made = call(callee, args, (values) => stack.charge(values));
        stack.push(typeof made === 'object' && made !== null ? this.#container(made) : made);
        return true;
      }
      case Op.BUILD: {
        stack.pop(); // attributes such as `_metadata`, which hold no weights
        const target = stack.last();
        if (!(target instanceof Map || target instanceof PickledObject)) {
          throw new PickleError(`BUILD on ${describe(target)} is not allowed`);
        }
        return true;
      }
      case Op.BINPERSID: {
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

function call(
  callee: PickledValue | undefined,
  args: PickledValue | undefined,
  charge: (values: number) => void,
): PickledValue {
  if (!(callee instanceof PickledGlobal)) throw new PickleError(`a call of ${describe(callee)} is not allowed`);
  if (!callee.call) throw new PickleError(`a call of ${callee.name} is not allowed`, callee.name);
  if (!Array.isArray(args)) throw new PickleError(`${callee.name} is called with something that is no tuple`);
  return callee.call(args, charge);
}

function clip(text: string): string {
  return text.length <= 200 ? text : `${text.slice(0, 200)}…`;
}

function describe(value: unknown): string {
  if (value instanceof PickledGlobal) return value.name;
  if (value instanceof PickledObject) return `a value of ${value.of}`;
  return value === null ? 'None' : Array.isArray(value) ? 'a list or tuple' : `a ${typeof value}`;
}
