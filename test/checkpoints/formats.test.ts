// Checkpoints as PyTorch writes them, and damaged ones.
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { openCheckpoint } from '../../lib/checkpoints/open.js';
import { rejectsWith, root, temporaryFolder } from '../api/support/engine.js';
import { readSafetensors, writeSafetensors } from '../api/support/safetensors.js';
import { torchZip, type ZipEntry, type ZipOptions, zipOf } from './support/archives.js';
import { extract } from './support/extract.js';
import { onePickledTensor, type PickledTensor, PickleWriter } from './support/pickles.js';

const golden = path.join(root, 'test/golden/torch');
const formats = path.join(golden, 'formats');

t.test('every kind of view and element type, in both formats', async (t) => {
  const plain = readSafetensors(path.join(formats, 'plain.safetensors'));
  for (const name of ['zip.pt', 'legacy.pt', 'prefixed.pt', 'ema.pt', 'plain.safetensors']) {
    const found = await extract(t, path.join(formats, name));
    // Names are those in the file.
    const prefix = name === 'prefixed.pt' ? 'module.' : '';
    t.equal(found.size, plain.size, name);
    for (const [key, { dtype, shape, data }] of plain) {
      const tensor = found.get(prefix + key);
      t.equal(tensor?.dtype, key === 'double' ? 'F32' : dtype, `${name} ${key}`);
      t.same(tensor?.shape, shape, `${name} ${key}`);
      if (key !== 'double') t.ok(tensor?.data.equals(data), `${name} ${key} has the same bytes`);
    }
    const double = plain.get('double')?.data ?? Buffer.alloc(0);
    const rounded = Float32Array.from({ length: 7 }, (_, i) => double.readDoubleLE(8 * i));
    t.ok(found.get(`${prefix}double`)?.data.equals(Buffer.from(rounded.buffer)), `${name} double is rounded to fp32`);
  }
});

t.test('views that are too large to be read at once', async (t) => {
  const file = path.join(formats, 'zip.pt');
  const wanted = await extract(t, file);
  // Down to one element at a time.
  for (const gatherBytes of [1, 8, 24, 100, 333]) {
    const found = await extract(t, file, gatherBytes);
    for (const [name, { data }] of wanted) t.ok(found.get(name)?.data.equals(data), `${name}, ${gatherBytes} bytes`);
  }
});

t.test('wrappers', async (t) => {
  const wrappersOf = async (file: string) => {
    const checkpoint = await openCheckpoint(path.join(golden, file));
    await checkpoint.file.close();
    return { wrappers: checkpoint.wrappers, format: checkpoint.format, names: [...checkpoint.tensors.keys()] };
  };
  t.match(await wrappersOf('official/vqgan_f4.pt'), { wrappers: ['state_dict'], format: 'torch zip' });
  t.match(await wrappersOf('official/byt5/pytorch_model.bin'), { wrappers: [], format: 'torch legacy' });
  t.match(await wrappersOf('formats/ema.pt'), { wrappers: ['ema_state_dict'] });
  t.ok((await wrappersOf('formats/prefixed.pt')).names.includes('whole'), 'the prefix of all names goes');
});

t.test('files that are refused as they are', async (t) => {
  const cases: [file: string, message: RegExp][] = [
    ['formats/big-endian.pt', /expected little-endian values, found "big"/],
    ['formats/big-endian-legacy.pt', /expected little-endian values, found "big"/],
    ['formats/module.pt', /the global "torch\.nn\.modules\.linear\.Linear" is not allowed/],
  ];
  for (const [file, message] of cases) {
    await rejectsWith(t, openCheckpoint(path.join(golden, file)), 'ERR_MODEL_FORMAT', message);
  }
  const file = path.join(temporaryFolder(t), 'x');
  const contents: [contents: Buffer, message: RegExp][] = [
    [Buffer.alloc(0), /found an empty file/],
    [Buffer.from('version https://git-lfs.github.com/spec/v1\n'), /a pointer of Git LFS/],
    [Buffer.from('<!DOCTYPE html><html>'), /a web page/],
    [Buffer.alloc(1024), /found something else/],
    [Buffer.concat([Buffer.alloc(257), Buffer.from('ustar'), Buffer.alloc(512)]), /a tar archive/],
    [Buffer.from([0x80, 2, 0x4b, 1, 0x2e]), /magic number is missing/],
  ];
  for (const [bytes, message] of contents) {
    writeFileSync(file, bytes);
    await rejectsWith(t, openCheckpoint(file), 'ERR_MODEL_FORMAT', message);
  }
  await rejectsWith(t, openCheckpoint(`${file}-none`), 'ERR_MODEL_NOT_FOUND', /no such file/);
  await rejectsWith(t, openCheckpoint(path.dirname(file)), 'ERR_MODEL_FORMAT', /expected a file/);
});

const values = Buffer.alloc(16, 1);

t.test('zip archives', async (t) => {
  const file = path.join(temporaryFolder(t), 'x.pt');
  const pickle = onePickledTensor('w');
  const entries = (change: (entries: ZipEntry[]) => void, options?: ZipOptions): Buffer => {
    const list: ZipEntry[] = [
      { name: 'a/data.pkl', data: pickle },
      { name: 'a/data/0', data: values },
    ];
    change(list);
    return zipOf(list, options);
  };
  const set = (index: number, more: Partial<ZipEntry>) => (list: ZipEntry[]) =>
    Object.assign(list[index] as object, more);
  const cases: [what: string, bytes: Buffer, message: RegExp][] = [
    ['compressed', entries(set(1, { method: 8 })), /"a\/data\/0" is compressed/],
    ['encrypted', entries(set(1, { flags: 1 })), /"a\/data\/0" is encrypted/],
    [
      'a path that leads out',
      entries((l) => l.push({ name: '../../etc/passwd', data: values })),
      /damaged zip archive: .*relative path/,
    ],
    ['an absolute path', entries((l) => l.push({ name: '/etc/passwd', data: values })), /absolute path/],
    ['a backslash', entries((l) => l.push({ name: 'a\\data\\0', data: values })), /invalid characters/],
    ['one name twice', entries((l) => l.push({ name: 'a/data/0', data: values })), /two zip entries are called/],
    [
      'the same bytes twice',
      entries((l) => l.push({ name: 'a/data/1', data: values, declared: { offset: 0 } })),
      /overlap/,
    ],
    ['reaching beyond the end', entries(set(1, { declared: { size: 1 << 30 } })), /damaged zip archive/],
    ['zip64, beyond the end', entries(set(1, { declared: { size: 2 ** 52 } }), { zip64: true }), /damaged zip archive/],
    ['countless entries', entries(() => undefined, { zip64: true, entryCount: 2 ** 40 }), /at most 100000 zip entries/],
    ['no pickle', zipOf([{ name: 'a/readme', data: values }]), /expected one data\.pkl.*found 0/],
    ['two pickles', entries((l) => l.push({ name: 'b/data.pkl', data: pickle })), /found 2/],
    ['no storage', entries((l) => l.pop()), /storage "0" is missing/],
    ['a short storage', entries(set(1, { data: values.subarray(0, 15) })), /needs 16 bytes, found 15/],
  ];
  for (const [what, bytes, message] of cases) {
    writeFileSync(file, bytes);
    await rejectsWith(t, openCheckpoint(file), 'ERR_MODEL_FORMAT', message).catch((error) =>
      t.fail(`${what}: ${error}`),
    );
  }
  for (const zip64 of [false, true]) {
    const bytes = torchZip(pickle, { 0: values }, { zip64 });
    writeFileSync(file, bytes);
    t.ok((await extract(t, file)).get('w')?.data.equals(values), `as it should be, zip64 ${zip64}`);
    // Whatever is cut off, the central directory at the end is.
    for (const length of [5, 30, 100, bytes.length - 30, bytes.length - 1]) {
      writeFileSync(file, bytes);
      truncateSync(file, length);
      await rejectsWith(t, openCheckpoint(file), 'ERR_MODEL_FORMAT', /damaged zip archive/);
    }
  }
});

t.test('tensors that do not fit their storage', async (t) => {
  const file = path.join(temporaryFolder(t), 'x.pt');
  const cases: [tensor: Partial<PickledTensor>, message: RegExp][] = [
    [{ start: 1 }, /needs 5 elements, but the storage has 4/],
    [{ shape: [2, 3], strides: [3, 1] }, /needs 6 elements/],
    [{ strides: [2 ** 31 - 1, 2 ** 31 - 1] }, /elements, but the storage has 4/],
    [{ shape: [2 ** 40, 2 ** 40], strides: [0, 0] }, /elements, but the storage has 4|more than its storage/],
    [{ shape: [2 ** 20], strides: [0] }, /1048576 elements, more than its storage with 4/],
    [{ shape: [-1, 2] }, /expected a size, got -1/],
    [{ strides: [-2, 1] }, /expected a size, got -2/],
    [{ start: -1 }, /expected a size, got -1/],
    [{ shape: [2], strides: [2, 1] }, /1 sizes and 2 strides/],
    [{ shape: [1, 1, 1, 1, 1, 1], strides: [1, 1, 1, 1, 1, 1] }, /6 dimensions, more than 5/],
    [{ length: 2 ** 50 }, /its storage needs \d+ bytes, found 16/],
    [{ storage: 'torch.UntypedStorage' }, /has no element type/],
    [{ storage: 'torch.ComplexFloatStorage' }, /"torch\.ComplexFloatStorage" is not allowed/],
  ];
  for (const [tensor, message] of cases) {
    writeFileSync(file, torchZip(onePickledTensor('w', tensor), { 0: values }));
    await rejectsWith(t, openCheckpoint(file), 'ERR_MODEL_FORMAT', message);
  }
  writeFileSync(file, torchZip(new PickleWriter().raw('}').stop(), {}));
  await rejectsWith(t, openCheckpoint(file), 'ERR_MODEL_FORMAT', /expected a dictionary of tensors, found none/);
  writeFileSync(file, torchZip(new PickleWriter().raw('N').stop(), {}));
  await rejectsWith(t, openCheckpoint(file), 'ERR_MODEL_FORMAT', /expected a dictionary of tensors, found none/);
});

t.test('older files that are cut', async (t) => {
  const whole = readFileSync(path.join(formats, 'legacy.pt'));
  const file = path.join(temporaryFolder(t), 'x.pt');
  for (let length = 1; length < whole.length; length += 97) {
    writeFileSync(file, whole.subarray(0, length));
    await rejectsWith(t, openCheckpoint(file), 'ERR_MODEL_FORMAT');
  }
});

t.test('safetensors', async (t) => {
  const file = path.join(temporaryFolder(t), 'x.safetensors');
  const write = (header: unknown, data = 16) => {
    const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    writeFileSync(file, Buffer.concat([length, json, Buffer.alloc(data)]));
  };
  const entry = { dtype: 'F32', shape: [2, 2], data_offsets: [0, 16] };
  const cases: [header: unknown, message: RegExp][] = [
    ['{', /expected a header of JSON/],
    [{ w: 1 }, /expected dtype, shape and data_offsets/],
    [{ w: null }, /expected dtype, shape and data_offsets/],
    [{ w: { ...entry, dtype: 'F4' } }, /expected one of F64, .*found F4/],
    [{ w: { ...entry, dtype: 'toString' } }, /expected one of F64/],
    [{ w: { ...entry, shape: [2, -2] } }, /expected dtype/],
    [{ w: { ...entry, shape: [2 ** 30, 2 ** 30] } }, /data_offsets/],
    [{ w: { ...entry, shape: [1, 1, 1, 1, 2, 2] } }, /at most 5 dimensions/],
    [{ w: { ...entry, data_offsets: [0, 12] } }, /16 bytes apart/],
    [{ w: { ...entry, data_offsets: [4, 20] } }, /expected its data at offset 0, found 4/],
    [{ w: entry, v: entry }, /expected its data at offset 16, found 0/],
    [{ w: { ...entry, shape: [2], data_offsets: [0, 8] } }, /expected 8 bytes of values, found 16/],
  ];
  for (const [header, message] of cases) {
    write(header);
    await rejectsWith(t, openCheckpoint(file), 'ERR_MODEL_FORMAT', message);
  }
  write({ w: entry }, 15);
  await rejectsWith(t, openCheckpoint(file), 'ERR_MODEL_FORMAT', /cut short/);
  const huge = Buffer.alloc(64);
  huge.writeBigUInt64LE(1n << 30n);
  huge[8] = 0x7b;
  writeFileSync(file, huge);
  await rejectsWith(t, openCheckpoint(file), 'ERR_MODEL_FORMAT', /header of at most/);
  writeSafetensors(file, new Map([['w', { dtype: 'F32', shape: [2, 2], data: values }]]));
  t.ok((await extract(t, file)).get('w')?.data.equals(values));
});
