// Models that are missing, incomplete or damaged: one typed error that names the thing, the expected and the found.
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { Paella } from '../../lib/index.js';
import { packageRoot } from '../../lib/package-root.cjs';
import { rejectsWith, temporaryFolder, testModel } from './support/engine.js';
import { readSafetensors, type Tensor, writeSafetensors } from './support/safetensors.js';

const source = testModel.includes(path.sep) ? testModel : path.join(packageRoot, 'models', testModel);
const load = (model: string) => Paella.load({ model, backend: 'cpu' });

/** A copy of the model with something wrong. */
function broken(t: Parameters<typeof temporaryFolder>[0], damage: (folder: string) => void): string {
  const folder = path.join(temporaryFolder(t), 'model');
  cpSync(source, folder, { recursive: true });
  damage(folder);
  return folder;
}

function editJson(file: string, edit: (json: Record<string, unknown>) => void): void {
  const json = JSON.parse(readFileSync(file, 'utf8'));
  edit(json);
  writeFileSync(file, JSON.stringify(json));
}

function editTensors(file: string, edit: (tensors: Map<string, Tensor>) => void): void {
  const tensors = readSafetensors(file);
  edit(tensors);
  writeSafetensors(file, tensors);
}

/** Puts something else in the place of a file. */
function replace(name: string, make: (file: string) => void): (folder: string) => void {
  return (folder) => {
    const file = path.join(folder, name);
    rmSync(file);
    make(file);
  };
}

/** The first tensor of weights; there are counters of whole numbers too. */
function firstOf(tensors: Map<string, Tensor>): [string, Tensor] {
  const found = [...tensors.entries()].find(([, { dtype }]) => /^B?F\d+$/.test(dtype));
  if (!found) throw new Error('no weights');
  return found;
}

t.test('not there', async (t) => {
  await rejectsWith(
    t,
    load('tyny'),
    'ERR_MODEL_NOT_FOUND',
    /^model: no bundled model is called "tyny", and there is no folder /,
  );
  await rejectsWith(t, load('./no-such-folder'), 'ERR_MODEL_NOT_FOUND', /no-such-folder/);
  const random = await rejectsWith(
    t,
    load('random:paella-v9'),
    'ERR_MODEL_NOT_FOUND',
    /^model: no configuration is called "paella-v9"/,
  );
  t.match(random.remedy, /known configurations: .*paella-v3/);
  const folder = temporaryFolder(t);
  await rejectsWith(
    t,
    load(folder),
    'ERR_MODEL_NOT_FOUND',
    `model: expected model_index.json in ${folder}, got a folder without it`,
  );
  writeFileSync(path.join(folder, 'file'), '');
  await rejectsWith(
    t,
    load(path.join(folder, 'file')),
    'ERR_MODEL_FORMAT',
    /^model: expected a folder with model_index\.json, got the file /,
  );
});

t.test('the copy is fine as it is', async (t) => {
  const engine = await load(broken(t, () => {}));
  await engine.generate({ prompt: 'a', steps: 1 });
  await engine.dispose();
});

t.test('files', async (t) => {
  const cases: [what: string, damage: (folder: string) => void, message: RegExp, code?: string][] = [
    ['no unet', (f) => rmSync(path.join(f, 'unet'), { recursive: true }), /unet/, 'ERR_MODEL_NOT_FOUND'],
    [
      'no weights',
      (f) => rmSync(path.join(f, 'vqgan/model.safetensors')),
      /vqgan.model\.safetensors/,
      'ERR_MODEL_NOT_FOUND',
    ],
    [
      'no generation_config',
      (f) => rmSync(path.join(f, 'generation_config.json')),
      /generation_config\.json/,
      'ERR_MODEL_NOT_FOUND',
    ],
    ['index is not JSON', (f) => writeFileSync(path.join(f, 'model_index.json'), '{'), /model_index\.json/],
    [
      'index of another format',
      (f) =>
        editJson(path.join(f, 'model_index.json'), (j) => {
          j.format = 'diffusers';
        }),
      /format.*diffusers/,
    ],
    [
      'index of a later version',
      (f) =>
        editJson(path.join(f, 'model_index.json'), (j) => {
          j.format_version = 99;
        }),
      /format_version.*99/,
    ],
    [
      'index with a key that does not exist',
      (f) =>
        editJson(path.join(f, 'model_index.json'), (j) => {
          j.image_embeding = j.image_embedding;
        }),
      /model_index\.json: unknown entry "image_embeding"/,
    ],
    [
      'index with levels of an image embedding that are no numbers',
      (f) =>
        editJson(path.join(f, 'model_index.json'), (j) => {
          j.image_embedding = { levels: [1, null] };
        }),
      /image_embedding: expected \{"levels": \[2 to 256 numbers/,
    ],
    [
      'an image embedding that the U-Net does not take',
      (f) => {
        editJson(path.join(f, 'model_index.json'), (j) => {
          j.image_embedding = { levels: [-1, 1] };
        });
        editJson(path.join(f, 'unet/config.json'), (j) => {
          j.clip_image_embd = 0;
        });
      },
      /clip_image_embd: expected a width of the image embedding/,
    ],
    [
      'config lacks a key',
      (f) =>
        editJson(path.join(f, 'unet/config.json'), (j) => {
          delete j.c_cond;
        }),
      /unet.config\.json.*c_cond/,
    ],
    [
      'config with a wrong type',
      (f) =>
        editJson(path.join(f, 'unet/config.json'), (j) => {
          j.c_cond = 'wide';
        }),
      /c_cond.*wide/,
    ],
    ...['model_index.json', 'generation_config.json', 'unet/config.json', 'vqgan/model.safetensors'].flatMap(
      (name): typeof cases => [
        [
          `${name} is a folder`,
          replace(name, mkdirSync),
          /\.(json|safetensors): expected a file, found something else$/,
        ],
        [
          `${name} is a pipe`, // which nobody writes to
          replace(name, (file) => execFileSync('mkfifo', [file])),
          /\.(json|safetensors): expected a file, found something else$/,
        ],
      ],
    ),
    [
      'networks that do not fit',
      (f) =>
        editJson(path.join(f, 'text_encoder/config.json'), (j) => {
          j.d_model = Number(j.d_model) * 2;
        }),
      /./,
    ],
  ];
  for (const [what, damage, message, code = 'ERR_MODEL_FORMAT'] of cases) {
    await t.test(what, async (t) => {
      await rejectsWith(t, load(broken(t, damage)), code, message);
    });
  }
});

t.test('weights', async (t) => {
  const file = 'unet/model.safetensors';
  const cases: [what: string, damage: (file: string) => void, message: RegExp][] = [
    ['empty file', (f) => writeFileSync(f, ''), /unet.model\.safetensors/],
    ['truncated', (f) => truncateSync(f, readFileSync(f).length - 100), /unet.model\.safetensors/],
    [
      'bytes after the end',
      (f) => writeFileSync(f, Buffer.concat([readFileSync(f), Buffer.alloc(8)])),
      /unet.model\.safetensors/,
    ],
    [
      'huge header',
      (f) => {
        const b = readFileSync(f);
        b.writeBigUInt64LE(1n << 60n, 0);
        writeFileSync(f, b);
      },
      /unet.model\.safetensors/,
    ],
    [
      'header that is not JSON',
      (f) => {
        const b = readFileSync(f);
        b.write('!!!!', 8, 'latin1');
        writeFileSync(f, b);
      },
      /unet.model\.safetensors/,
    ],
    [
      'missing tensor',
      (f) =>
        editTensors(f, (w) => {
          w.delete(firstOf(w)[0]);
        }),
      /unet/,
    ],
    [
      'extra tensor',
      (f) =>
        editTensors(f, (w) => {
          w.set('not.a.weight', { ...firstOf(w)[1] });
        }),
      /not\.a\.weight/,
    ],
    [
      'wrong shape',
      (f) =>
        editTensors(f, (w) => {
          const [n, x] = firstOf(w);
          w.set(n, { ...x, shape: [1, ...x.shape] });
        }),
      /expected/,
    ],
    [
      'other dtype',
      (f) =>
        editTensors(f, (w) => {
          const [n, x] = firstOf(w);
          w.set(n, { ...x, dtype: x.dtype === 'F32' ? 'U32' : 'U16' });
        }),
      /expected F32, F16 or BF16 values, found U(32|16)/,
    ],
  ];
  for (const [what, damage, message] of cases) {
    await t.test(what, async (t) => {
      const error = await rejectsWith(
        t,
        load(broken(t, (folder) => damage(path.join(folder, file)))),
        'ERR_MODEL_FORMAT',
        message,
      );
      t.ok(error.message.length < 2000, 'and is readable');
    });
  }

  await t.test('not finite', async (t) => {
    for (const component of ['text_encoder', 'unet', 'vqgan']) {
      const folder = broken(t, (f) =>
        editTensors(path.join(f, component, 'model.safetensors'), (tensors) => {
          const [name, tensor] = firstOf(tensors);
          const data = Buffer.from(tensor.data);
          // All bits set is NaN in F32, F16 and BF16.
          data.fill(0xff, 0, 4);
          tensors.set(name, { ...tensor, data });
        }),
      );
      // At loading, with the names of file and tensor.
      const message = new RegExp(`${component}.model\\.safetensors: [\\w.]+: expected finite weights`);
      await rejectsWith(t, load(folder), 'ERR_NUMERIC', message);
    }
  });
});

t.test('links and odd places', async (t) => {
  const folder = path.join(temporaryFolder(t), 'ein Ordner – 模型');
  mkdirSync(folder);
  cpSync(source, folder, { recursive: true });
  t.ok(existsSync(path.join(folder, 'model_index.json')));
  const engine = await load(folder);
  await engine.dispose();
});
