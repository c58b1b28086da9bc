// The readers of pickles, zip archives, older files and safetensors, and a whole conversion's first half, with damaged input:
// a fixed number from a fixed seed. Whatever comes, it is a tensor list or a typed error, in bounded time.
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { openCheckpoint } from '../../lib/checkpoints/open.js';
import { PickleError, readPickle } from '../../lib/checkpoints/pickle.js';
import { torchGlobal, torchStorage } from '../../lib/checkpoints/torch-globals.js';
import { identify } from '../../lib/convert/identify.js';
import { PaellaError } from '../../lib/index.js';
import { root, temporaryFolder } from '../api/support/engine.js';
import { torchZip } from './support/archives.js';
import { onePickledTensor } from './support/pickles.js';

const formats = path.join(root, 'test/golden/torch/formats');
const official = path.join(root, 'test/golden/torch/official');

/** xorshift32 */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Flips, overwrites, cuts, doubles or moves some bytes within the first `reach` or the last. */
function damage(source: Buffer, random: (below: number) => number, reach: number): Buffer {
  let bytes = Buffer.from(source);
  for (let edits = 1 + random(4); edits > 0; edits--) {
    const within = Math.min(bytes.length, reach);
    const at = random(2) === 0 ? random(within) : Math.max(0, bytes.length - 1 - random(within));
    const kind = random(6);
    if (bytes.length === 0) return bytes;
    if (kind === 0) bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
    else if (kind === 1) bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 0x2e][random(6)] ?? 0;
    else if (kind === 2) bytes = bytes.subarray(0, at);
    else if (kind === 3) bytes.fill(0xff, at, Math.min(bytes.length, at + 1 + random(8)));
    else if (kind === 4) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.max(0, at - random(64)))]);
    else bytes.copy(bytes, at, random(bytes.length), Math.min(bytes.length, at + 16));
  }
  return bytes;
}

t.test('pickles', async (t) => {
  const random = generator(0x9e3779b9);
  const zip = readFileSync(path.join(official, 'vqgan_f4.pt'));
  const at = zip.indexOf('data.pkl') + 8;
  const seeds = [onePickledTensor('w'), zip.subarray(zip.indexOf(0x80, at), zip.indexOf('PK\x03\x04', at))];
  const options = { global: torchGlobal, persistent: torchStorage };
  const count = { read: 0, refused: 0 };
  for (let i = 0; i < 20_000; i++) {
    const bytes = damage(seeds[i % 10 === 0 ? 1 : 0] as Buffer, random, 4096);
    try {
      readPickle(bytes, options);
      count.read++;
    } catch (error) {
      if (!(error instanceof PickleError)) {
        t.fail(`input ${i}: ${bytes.toString('hex').slice(0, 2000)}`, { error });
        return;
      }
      count.refused++;
    }
  }
  // Opcodes at random, after a start that is none.
  for (let i = 0; i < 20_000; i++) {
    const bytes = Buffer.from(
      Array.from({ length: 1 + random(60) }, () => '}](t.NqhRXK)u0e\x85\x86\x93\x94cQb2'.charCodeAt(random(30)) & 255),
    );
    try {
      readPickle(bytes, options);
      count.read++;
    } catch (error) {
      if (!(error instanceof PickleError)) throw error;
      count.refused++;
    }
  }
  t.ok(count.read > 500 && count.refused > 5000, JSON.stringify(count));
});

t.test('files', async (t) => {
  const seeds: [name: string, contents: Buffer, reach: number, inputs: number][] = [
    ['zip', readFileSync(path.join(formats, 'zip.pt')), 6000, 800],
    ['small zip', torchZip(onePickledTensor('w'), { 0: Buffer.alloc(16) }), 2000, 800],
    ['zip64', torchZip(onePickledTensor('w'), { 0: Buffer.alloc(16) }, { zip64: true }), 2000, 800],
    ['legacy', readFileSync(path.join(formats, 'legacy.pt')), 6000, 800],
    ['safetensors', readFileSync(path.join(formats, 'plain.safetensors')), 2500, 800],
    ['a network', readFileSync(path.join(official, 'paella_v3.pt')), 30_000, 100],
  ];
  const file = path.join(temporaryFolder(t), 'x');
  for (const [name, contents, reach, inputs] of seeds) {
    const random = generator(0x2545f491);
    const count = { read: 0, refused: 0 };
    for (let i = 0; i < inputs; i++) {
      const bytes = damage(contents, random, reach);
      writeFileSync(file, bytes);
      try {
        const open = await openCheckpoint(file);
        try {
          for (const { offset, shape } of open.tensors.values()) {
            if (!(offset >= 0) || shape.some((side) => !(side >= 0))) throw new Error(`a tensor at ${offset}`);
          }
          await identify({
            label: file,
            files: [open.file],
            named: true,
            configs: [`${official}/paella_v3.json`],
            ...open,
          });
        } finally {
          await open.file.close();
        }
        count.read++;
      } catch (error) {
        if (!(error instanceof PaellaError && error.code === 'ERR_MODEL_FORMAT' && error.message.length < 3000)) {
          t.fail(`${name}, input ${i}`, { error });
          return;
        }
        count.refused++;
      }
    }
    t.ok(count.refused > inputs / 10, `${name}: ${JSON.stringify(count)}`);
  }
});
