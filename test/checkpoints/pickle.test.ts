// The pickle reader: exploits are refused by name and nothing is executed; bombs end in an error.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { openCheckpoint } from '../../lib/checkpoints/open.js';
import { PickleEnd, PickleError, readPickle } from '../../lib/checkpoints/pickle.js';
import { torchGlobal, torchStorage } from '../../lib/checkpoints/torch-globals.js';
import { rejectsWith, root, temporaryFolder } from '../api/support/engine.js';
import { torchZip } from './support/archives.js';
import { PickleWriter } from './support/pickles.js';

const options = { global: torchGlobal, persistent: torchStorage };
const read = (bytes: Buffer) => readPickle(bytes, options).value;

interface Exploits {
  marker: string;
  cases: { name: string; refused: string; pickle: string }[];
}

const exploits = JSON.parse(readFileSync(path.join(root, 'test/golden/torch/exploits.json'), 'utf8')) as Exploits;

t.test('exploits that Python wrote', async (t) => {
  rmSync(exploits.marker, { force: true });
  const file = path.join(temporaryFolder(t), 'x.pt');
  t.ok(exploits.cases.length >= 28);
  for (const { name, refused, pickle } of exploits.cases) {
    const bytes = Buffer.from(pickle, 'base64');
    const message = new RegExp(`the global "${refused.replaceAll('.', '\\.')}" is not allowed`);
    t.throws(() => read(bytes), { message, refused }, name);
    writeFileSync(file, torchZip(bytes, {}));
    const error = await rejectsWith(t, openCheckpoint(file), 'ERR_MODEL_FORMAT', message);
    t.match(error.remedy, /do not trust/);
  }
  t.notOk(existsSync(exploits.marker), 'nothing was executed');
});

t.test('calls and states that no honest pickle has', async (t) => {
  const writer = () => new PickleWriter().protocol(4);
  const cases: [what: string, bytes: Buffer, message: RegExp][] = [
    ['STACK_GLOBAL', writer().text('os').text('system').raw(0x93).stop(), /"os\.system" is not allowed/],
    ['STACK_GLOBAL of numbers', writer().int(1).int(2).raw(0x93).stop(), /no string/],
    ['INST', writer().raw('(ios\nsystem\n').stop(), /opcode INST .* not allowed/],
    ['OBJ', writer().raw('(').global('collections.OrderedDict').raw('o').stop(), /opcode OBJ/],
    ['NEWOBJ_EX', writer().global('torch.Size').raw(')}', 0x92).stop(), /opcode NEWOBJ_EX/],
    ['EXT1', writer().raw(0x82, 1).stop(), /opcode EXT1/],
    ['PERSID', writer().raw('P0\n').stop(), /opcode PERSID/],
    ['NEXT_BUFFER', writer().raw(0x97).stop(), /opcode NEXT_BUFFER/],
    ['a call of a type', writer().global('torch.FloatStorage').raw(')R').stop(), /call of torch\.FloatStorage/],
    ['a call of a string', writer().text('x').raw(')R').stop(), /a call of a string/],
    [
      'a call of what a call gave',
      writer().global('torch.device').raw(')R)R').stop(),
      /a call of a value of torch\.device/,
    ],
    ['BUILD on a global', writer().global('torch.Size').raw('}b').stop(), /BUILD on torch\.Size/],
    ['BUILD on a list', writer().raw(']}b').stop(), /BUILD on a list/],
    ['a name within a name', writer().global('collections.OrderedDict.fromkeys').stop(), /not allowed/],
    ['a name of every object', writer().global('collections.__class__').stop(), /not allowed/],
    ['a name of JavaScript', writer().global('__proto__.constructor').stop(), /not allowed/],
    ['a persistent id that is none', writer().text('x').raw('Q').stop(), /no storage/],
    ['a storage of another class', storageOf('torch.Size'), /no storage of PyTorch/],
  ];
  for (const [what, bytes, message] of cases) t.throws(() => read(bytes), { constructor: PickleError, message }, what);
  t.throws(() => readPickle(writer().raw('NQ').stop(), { global: () => undefined }), { message: /persistent id/ });
});

function storageOf(type: string): Buffer {
  return new PickleWriter().raw('(').text('storage').global(type).text('0').text('cpu').int(1).raw('tQ').stop();
}

t.test('bombs', async (t) => {
  const big = (value: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(value);
    return bytes;
  };
  const filled = (opcode: string, count: number) => Buffer.alloc(count, opcode);
  const cases: [what: string, bytes: Buffer, message: RegExp][] = [
    ['declares a huge string', new PickleWriter().raw(0x8d, big(1n << 62n), 'x').stop(), /cut short/],
    ['declares huge bytes', new PickleWriter().raw('B', 0xff, 0xff, 0xff, 0xff, 'x').stop(), /cut short/],
    ['a huge integer', new PickleWriter().raw(0x8b, 0xff, 0xff, 0xff, 0x7f, 'x').stop(), /integer of at most 64 bytes/],
    [
      'an integer of negative length',
      new PickleWriter().raw(0x8b, 0xff, 0xff, 0xff, 0xff).stop(),
      /integer of at most/,
    ],
    ['a stack of values', filled('N', 3_000_000), /more than 1000000 values/],
    ['a stack of marks', filled('(', 3_000_000), /more than 1000000 values/],
    ['a stack of dictionaries', filled('}', 3_000_000), /more than 300000 containers/],
    ['nested lists', filled(']', 400_000), /more than 300000 containers/],
    ['a copy of a copy', Buffer.concat([Buffer.from('N'), filled('2', 3_000_000)]), /more than 1000000 values/],
    ['nothing', Buffer.alloc(0), /cut short/],
    ['only STOP', Buffer.from('.'), /missing on the stack/],
    ['what was never remembered', new PickleWriter().raw('h', 5).stop(), /nothing was remembered/],
    ['no mark', new PickleWriter().raw('t').stop(), /mark is missing/],
    ['a mark as a value', new PickleWriter().raw('(').stop(), /missing on the stack/],
    ['a later protocol', new PickleWriter().protocol(9).stop(), /protocol up to 5, found 9/],
    ['text opcodes', new PickleWriter().raw('I1\n').stop(), /opcode INT/],
  ];
  for (const [what, bytes, message] of cases) t.throws(() => read(bytes), { message }, what);
  t.throws(() => read(Buffer.from('X')), new PickleEnd());
  // One list of pairs, copied again and again.
  const copies = new PickleWriter().raw('](');
  for (let i = 0; i < 1000; i++) copies.int(i).raw('N', 0x86);
  copies.raw('eq', 0).global('collections.OrderedDict').raw('q', 1);
  for (let i = 0; i < 20_000; i++) copies.raw('h', 1, 'h', 0, 0x85, 'R0');
  t.throws(() => read(copies.stop()), { message: /more than 1000000 values/ }, 'a dictionary copied again and again');
  const python2 = new PickleWriter().global('collections.OrderedDict').raw('](](').text('a').int(1).raw('e]');
  const pairs = read(python2.raw('(').text('b').int(2).raw('ee', 0x85, 'R').stop());
  t.same(pairs instanceof Map && [...pairs], [
    ['a', 1],
    ['b', 2],
  ]);
  // Doubled forty times by reference: small here, endless for whoever would walk through it.
  const doubling = new PickleWriter().raw(']q', 0);
  for (let i = 0; i < 40; i++) doubling.raw('(h', i, 'h', i, 'lq', i + 1);
  t.ok(Array.isArray(read(doubling.stop())));
});

t.test('values', async (t) => {
  const long = (...bytes: number[]) => read(new PickleWriter().raw(0x8a, bytes.length, Buffer.from(bytes)).stop());
  t.equal(long(), 0);
  t.equal(long(0xff), -1);
  t.equal(long(0x00, 0xff), -256);
  t.equal(long(0xff, 0x00), 255);
  t.equal(long(0, 0, 0, 0, 0, 0, 0, 0x80), -(2n ** 63n));
  t.equal(long(0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19), 0x1950a86a20f9469cfc6cn);
  t.equal(read(new PickleWriter().raw('G', Buffer.from('3ff8000000000000', 'hex')).stop()), 1.5);
  t.equal(read(new PickleWriter().text('größe').stop()), 'größe');
  const tuple = read(new PickleWriter().raw('(').int(1).raw('N', 0x88, 0x89, 't').stop());
  t.same(tuple, [1, null, true, false]);
  const map = read(new PickleWriter().dictionary((w) => w.text('__proto__').int(1).text('a').raw('}')).stop());
  t.ok(map instanceof Map && map.get('__proto__') === 1 && map.get('a') instanceof Map);
  t.notOk('polluted' in {});
});
