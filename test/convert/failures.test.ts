// What goes wrong in a conversion: typed errors that name the thing; no model folder, and nothing half-made.
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import promises, { type FileHandle, open } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import path from 'node:path';
import t, { type Test } from 'tap';
import { convert } from '../../lib/index.js';
import { rejection, rejectsWith, temporaryFolder } from '../api/support/engine.js';
import { readSafetensors, type Tensor, writeSafetensors } from '../api/support/safetensors.js';
import { torchZip } from '../checkpoints/support/archives.js';
import { onePickledTensor } from '../checkpoints/support/pickles.js';
import { componentFolders, copyOfOfficial, golden, nothingLeft, official, sameTensors, weightsOf } from './support.js';

const loop = path.join(golden, 'loop');

/** The official layouts with a U-Net that is something else. */
function withUnet(
  t: Test,
  change: (tensors: Map<string, Tensor>) => void,
  config?: (json: Record<string, unknown>) => void,
) {
  const folder = copyOfOfficial(t);
  rmSync(path.join(folder, 'paella_v3.pt'));
  const tensors = weightsOf(loop, 'unet');
  change(tensors);
  writeSafetensors(path.join(folder, 'paella_v3.safetensors'), tensors);
  const file = path.join(folder, 'paella_v3.json');
  if (config) {
    const json = JSON.parse(readFileSync(file, 'utf8'));
    config(json);
    writeFileSync(file, JSON.stringify(json));
  }
  return folder;
}

async function refused(t: Test, sources: string | string[], code: string, message: RegExp, what: string) {
  const output = path.join(temporaryFolder(t), 'model');
  const error = await rejectsWith(t, convert(sources, { output }), code, message);
  t.ok(error.message.length < 3000, `${what}: a message that can be read`);
  nothingLeft(t, output, what);
  return error;
}

t.test('tensors that do not fit', async (t) => {
  const first = 'down_blocks.0.0.depthwise.weight';
  const cases: [what: string, folder: string, message: RegExp][] = [
    ['missing', withUnet(t, (w) => w.delete(first)), /1 missing: down_blocks\.0\.0\.depthwise\.weight \[16, 1, 3, 3\]/],
    [
      'extra',
      withUnet(t, (w) => w.set('not.a.weight', w.get(first) as Tensor)),
      /1 not part of it: not\.a\.weight \[16, 1, 3, 3\]/,
    ],
    [
      'misshapen',
      withUnet(t, (w) => w.set(first, { ...(w.get(first) as Tensor), shape: [1, 16, 3, 3] })),
      /1 of another shape: down_blocks\.0\.0\.depthwise\.weight: expected \[16, 1, 3, 3\], found \[1, 16, 3, 3\]/,
    ],
    [
      'many missing: some are named, all are counted',
      withUnet(t, (w) => {
        for (const name of [...w.keys()]) if (name.startsWith('up_blocks.0')) w.delete(name);
      }),
      /\d\d missing: up_blocks.*, and \d+ more/,
    ],
    [
      'another configuration beside it',
      withUnet(
        t,
        () => undefined,
        (json) => {
          json.c_cond = 32;
        },
      ),
      /do not fit the configuration in .*paella_v3\.json: .*byt5_mapper\.weight: expected \[32, 24\], found \[16, 24\]/,
    ],
    [
      'a configuration of nonsense',
      withUnet(
        t,
        () => undefined,
        (json) => {
          json.nhead = 'many';
        },
      ),
      /paella_v3\.json: Paella v3 U-Net: nhead: .*expected array/,
    ],
    [
      'absurd numbers in names',
      withUnet(t, (w) => w.set('down_blocks.0.999999999.x', w.get(first) as Tensor)),
      /1 not part of it: down_blocks\.0\.999999999\.x/,
    ],
  ];
  for (const [what, folder, message] of cases) await refused(t, folder, 'ERR_MODEL_FORMAT', message, what);
  const bare = withUnet(t, () => undefined);
  rmSync(path.join(bare, 'paella_v3.json'));
  const error = await refused(t, bare, 'ERR_MODEL_FORMAT', /nhead cannot be seen from the tensors/, 'no configuration');
  t.match(error.remedy, /config\.json/);
  const absurd = withUnet(t, (w) => w.set('down_blocks.0.999999999.x', w.get(first) as Tensor));
  rmSync(path.join(absurd, 'paella_v3.json'));
  await refused(t, absurd, 'ERR_MODEL_FORMAT', /expected at most 1024 blocks under down_blocks\.0\./, 'absurd numbers');
});

t.test('sources', async (t) => {
  const folder = temporaryFolder(t);
  const file = path.join(folder, 'x.pt');
  const output = path.join(folder, 'model');
  const cases: [what: string, sources: string | string[], code: string, message: RegExp][] = [
    ['nowhere', path.join(folder, 'none'), 'ERR_MODEL_NOT_FOUND', /none: no such file or folder/],
    ['not fetched', 'owner/name', 'ERR_MODEL_NOT_FOUND', /owner\/name: neither a file or folder here nor in the cache/],
    ['an empty folder', temporaryFolder(t), 'ERR_MODEL_NOT_FOUND', /no checkpoint in this folder/],
    [
      'an incomplete set',
      path.join(official, 'vqgan_f4.pt'),
      'ERR_MODEL_FORMAT',
      /with text_encoder, unet too, found vqgan/,
    ],
    ['no sources', [], 'ERR_INVALID_OPTION', /sources: expected the names/],
    ['two U-Nets', [official, path.join(loop, 'unet')], 'ERR_MODEL_FORMAT', /two checkpoints hold it/],
  ];
  for (const [what, sources, code, message] of cases) await refused(t, sources, code, message, what);
  writeFileSync(file, torchZip(onePickledTensor('w'), { 0: Buffer.alloc(16) }));
  await refused(t, file, 'ERR_MODEL_FORMAT', /its 1 tensors \("w"\) are of none of: ByT5 encoder/, 'of nothing');
  const names = ['embedding.weight', 'clf.weight', 'down_blocks.0.0.ln.gamma'];
  const one = { dtype: 'F32', shape: [1], data: Buffer.alloc(4) };
  writeSafetensors(path.join(folder, 'v1.safetensors'), new Map(names.map((name) => [name, one])));
  await refused(
    t,
    path.join(folder, 'v1.safetensors'),
    'ERR_MODEL_FORMAT',
    /this is a Paella v1 U-Net/,
    'another version',
  );
  for (const name of ['../x.safetensors', '/etc/passwd', 'a/b.safetensors', '..', '']) {
    const index = path.join(folder, 'model.safetensors.index.json');
    writeFileSync(index, JSON.stringify({ weight_map: { w: name } }));
    await refused(
      t,
      index,
      'ERR_MODEL_FORMAT',
      /expected the name of a file in the same folder/,
      `a part called ${name}`,
    );
  }
  for (const options of [
    { output: '' },
    { output, precision: 'fp8' },
    { output, precision: { unet: 'x' } },
    { output, x: 1 },
  ]) {
    await rejectsWith(t, convert(official, options as never), 'ERR_INVALID_OPTION');
  }
});

t.test('values beyond fp16', async (t) => {
  const folder = withUnet(t, (w) => {
    const data = Buffer.from(w.get('clf.1.bias')?.data ?? []);
    data.writeFloatLE(70_000, 8);
    w.set('clf.1.bias', { ...(w.get('clf.1.bias') as Tensor), data });
  });
  const output = path.join(temporaryFolder(t), 'model');
  const error = await rejectsWith(
    t,
    convert(folder, { output, precision: 'fp16' }),
    'ERR_NUMERIC',
    /clf\.1\.bias: 70000 is beyond the range/,
  );
  t.match(error.remedy, /bf16/);
  nothingLeft(t, output, 'fp16');
  await convert(folder, { output, precision: 'bf16' });
});

t.test('where it is written', async (t) => {
  const folder = temporaryFolder(t);
  const output = path.join(folder, 'model');
  await rejectsWith(t, convert(official, { output: path.join(folder, 'none/model') }), 'ERR_IO', /there is no folder/);
  writeFileSync(output, 'mine');
  await rejectsWith(t, convert(official, { output, overwrite: true }), 'ERR_IO', /there is a file already/);
  t.equal(readFileSync(output, 'utf8'), 'mine');
  rmSync(output);
  mkdirSync(output);
  writeFileSync(path.join(output, 'thesis.txt'), 'mine');
  await rejectsWith(
    t,
    convert(official, { output, overwrite: true }),
    'ERR_IO',
    /a folder that is no model folder already/,
  );
  t.equal(readFileSync(path.join(output, 'thesis.txt'), 'utf8'), 'mine');
  // A pipeline of diffusers has a file of that name, too.
  writeFileSync(path.join(output, 'model_index.json'), '{"_class_name": "StableDiffusionPipeline"}');
  await rejectsWith(t, convert(official, { output, overwrite: true }), 'ERR_IO', /a folder that is no model folder/);
  writeFileSync(path.join(output, 'model_index.json'), '{"format": "paella-native"}');
  await rejectsWith(
    t,
    convert(official, { output, overwrite: true }),
    'ERR_IO',
    /there is a model folder with thesis\.txt, which is no part of a model, already/,
  );
  t.equal(readFileSync(path.join(output, 'thesis.txt'), 'utf8'), 'mine');
  t.same(readdirSync(folder), ['model']);
  if (process.getuid?.() !== 0) {
    chmodSync(folder, 0o500);
    await rejectsWith(t, convert(official, { output: path.join(folder, 'other') }), 'ERR_IO', /permission denied/);
    chmodSync(folder, 0o700);
  }
});

t.test('a conversion over itself', async (t) => {
  const folder = temporaryFolder(t);
  const output = path.join(folder, 'model');
  await convert(official, { output });
  // The sources are read to the end before they go.
  await convert(output, { output, overwrite: true, precision: 'bf16' });
  t.equal(weightsOf(output, 'unet').get('clf.1.bias')?.dtype, 'BF16');
  t.same(readdirSync(folder), ['model']);
});

/** Writing fails after `bytes`, as on a full disk, until the result is called. */
async function diskFullAfter(t: Test, bytes: number): Promise<() => void> {
  const handle = await open(path.join(temporaryFolder(t), 'x'), 'w');
  const prototype = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const original = prototype.write;
  let left = bytes;
  prototype.write = async function (this: FileHandle, ...args: unknown[]) {
    left -= Number(args[2]);
    if (left < 0) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    return (original as (...all: unknown[]) => unknown).apply(this, args);
  } as never;
  return () => {
    prototype.write = original;
  };
}

t.test('a disk that is too small is noticed before anything is written', async (t) => {
  const original = promises.statfs;
  t.teardown(() => {
    promises.statfs = original;
    syncBuiltinESMExports();
  });
  promises.statfs = (async () => ({ bavail: 3, bsize: 4096 })) as never;
  syncBuiltinESMExports();
  const error = await refused(t, official, 'ERR_IO', /0\.34 MB are needed, and 0\.01 MB are free/, 'a small disk');
  t.match(error.remedy, /free some space/);
});

t.test('a full disk, and going on after it', async (t) => {
  const folder = temporaryFolder(t);
  const output = path.join(folder, 'model');
  const restore = await diskFullAfter(t, 150_000);
  t.teardown(restore);
  const error = await rejectsWith(t, convert(official, { output }), 'ERR_IO', /no space left on the device/);
  t.match(error.remedy, /free some space/);
  t.same(readdirSync(folder), ['.model.partial'], 'no model folder, but what was written');
  t.notOk(existsSync(path.join(folder, '.model.partial/model_index.json')));
  restore();
  const report = await convert(official, { output });
  t.equal(report.resumed, true);
  t.same(readdirSync(folder), ['model']);
  for (const name of componentFolders) sameTensors(t, weightsOf(output, name), weightsOf(loop, name), name);
});

/** A network of 100 MB: long enough to be interrupted in the middle of. */
function largeUnet(t: Test): string {
  const folder = path.join(temporaryFolder(t), 'large');
  mkdirSync(path.join(folder, 'byt5'), { recursive: true });
  // The token embedding may have any size that the VQGAN has too: both get a large codebook.
  const codes = 300_000;
  const grow = (from: Map<string, Tensor>, name: string, file: string) => {
    const tensor = from.get(name) as Tensor;
    const row = tensor.data.subarray(0, tensor.data.length / (tensor.shape[0] ?? 1));
    const data = Buffer.alloc(row.length * codes);
    for (let i = 0; i < codes; i++) row.copy(data, i * row.length);
    for (let i = 0; i < data.length; i += 4096) data.writeUInt16LE(i >>> 12, i);
    from.set(name, { ...tensor, shape: [codes, ...tensor.shape.slice(1)], data });
    writeSafetensors(file, from);
  };
  const unet = weightsOf(loop, 'unet');
  const head = unet.get('out_mapper.1.weight') as Tensor;
  unet.set('out_mapper.1.weight', { ...head, shape: [codes, 12, 1, 1], data: Buffer.alloc(codes * 48, 3) });
  grow(unet, 'in_mapper.0.weight', path.join(folder, 'unet.safetensors'));
  grow(weightsOf(loop, 'vqgan'), 'vquantizer.codebook.weight', path.join(folder, 'vqgan.safetensors'));
  const config = JSON.parse(readFileSync(path.join(loop, 'unet/config.json'), 'utf8'));
  writeFileSync(path.join(folder, 'unet.json'), JSON.stringify({ ...config, num_labels: codes }));
  copyFileSync(path.join(loop, 'text_encoder/model.safetensors'), path.join(folder, 'byt5/model.safetensors'));
  return folder;
}

t.test('interrupted, and gone on with', async (t) => {
  const source = largeUnet(t);
  const folder = temporaryFolder(t);
  const output = path.join(folder, 'model');
  const whole = path.join(folder, 'whole');
  await convert(source, { output: whole });
  const stop = new AbortController();
  const reason = new Error('enough');
  const onProgress = ({ phase, loaded, total }: { phase: string; loaded: number; total: number }) => {
    if (phase === 'unet' && loaded > total / 2) stop.abort(reason);
  };
  // Progress comes some times a second: the conversion may be over sooner on a fast machine, and then is aborted before.
  const aborted = convert(source, { output, signal: stop.signal, onProgress });
  setTimeout(() => stop.abort(reason), 25);
  t.equal(await rejection(aborted), reason);
  t.notOk(existsSync(output));
  // Other wishes are another conversion: they do not go on with this one's files.
  const other = await convert(source, { output: path.join(folder, 'other'), precision: 'bf16' });
  t.equal(other.resumed, false);
  const report = await convert(source, { output });
  t.same(readdirSync(folder).sort(), ['model', 'other', 'whole']);
  t.type(report.resumed, 'boolean');
  for (const name of componentFolders) {
    const bytes = (where: string) => readFileSync(path.join(where, name, 'model.safetensors'));
    t.ok(bytes(output).equals(bytes(whole)), `${name} is what it would have been without the interruption`);
  }
});

t.test('an unfinished folder that does not fit is begun again', async (t) => {
  const folder = temporaryFolder(t);
  const output = path.join(folder, 'model');
  const restore = await diskFullAfter(t, 150_000);
  await rejection(convert(official, { output }));
  restore();
  const partial = path.join(folder, '.model.partial');
  // Somebody cut the file: what the journal says is not believed.
  writeFileSync(path.join(partial, 'text_encoder/model.safetensors'), 'x');
  await convert(official, { output });
  for (const name of componentFolders) sameTensors(t, weightsOf(output, name), weightsOf(loop, name), name);
  // A damaged journal is none.
  mkdirSync(path.join(folder, '.again.partial'));
  writeFileSync(path.join(folder, '.again.partial/journal.json'), '{"fingerprint": 3');
  t.equal((await convert(official, { output: path.join(folder, 'again') })).resumed, false);
  t.equal(readSafetensors(path.join(folder, 'again/unet/model.safetensors')).size, weightsOf(loop, 'unet').size);
});

t.test('what onProgress throws ends the conversion', async (t) => {
  const output = path.join(temporaryFolder(t), 'model');
  const thrown = new TypeError('mine');
  const onProgress = () => {
    throw thrown;
  };
  t.equal(await rejection(convert(official, { output, onProgress })), thrown);
  t.notOk(existsSync(output));
  await rejectsWith(
    t,
    convert(official, { output, signal: AbortSignal.abort(Object.assign(new Error(), { code: 'MINE' })) }),
    'MINE',
  );
});
