// The table of components against the published numbers of tensors and parameters, and published files by their hashes.
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { elementCount } from '../../lib/checkpoints/tensors.js';
import { missingComponents } from '../../lib/convert/choose.js';
import type { ComponentName } from '../../lib/convert/components/component.js';
import { componentOf, components } from '../../lib/convert/components/table.js';
import type { FoundComponent } from '../../lib/convert/identify.js';
import { candidatesOfSize, type KnownFile, knownFiles } from '../../lib/convert/known-files.js';
import { convert } from '../../lib/index.js';
import { temporaryFolder } from '../api/support/engine.js';
import { componentFolders, golden, official, readJson, weightsOf } from './support.js';

t.test('official configurations', async (t) => {
  // Spec 1.5, 1.6, 2.1, 4.4, 5.1, 5.2. CLIP's file has one parameter more, logit_scale, which is not used; the VQGAN's
  // counts leave out what is no parameter: running statistics and the counter of batches.
  const published: [name: ComponentName, tensors: number, parameters: number][] = [
    ['unet', 844, 1_008_350_592],
    ['vqgan', 122, 18_406_894 + 2 * 4 + 1],
    ['prior', 292, 899_770_624],
    ['text_encoder', 1 + 36 * 9 + 1 + 1, 2_614_091_264],
    ['clip_text', 2 + 24 * 12 + 3, 354_032_640],
    ['clip_image', 3 + 32 * 12 + 5, 632_076_800],
  ];
  t.equal(published.length, components.length);
  for (const [name, tensors, parameters] of published) {
    const { official: config, expected } = componentOf(name);
    const list = expected(config);
    t.equal(list.length, tensors, `${name}: tensors`);
    t.equal(new Set(list.map((each) => each.name)).size, tensors, `${name}: each once`);
    t.equal(
      list.reduce((sum, { shape }) => sum + elementCount(shape), 0),
      parameters,
      `${name}: parameters`,
    );
  }
});

t.test('the reference and the table name the same tensors', async (t) => {
  const cases: [component: ComponentName, folder: string][] = [
    ...componentFolders.map((name): [ComponentName, string] => [name, 'loop']),
    ['unet', 'unet-two-levels'],
    ['unet', 'unet-three-levels'],
    ['vqgan', 'vqgan'],
    ['text_encoder', 'text-encoder'],
  ];
  for (const [name, folder] of cases) {
    const { schema, expected } = componentOf(name);
    const config = schema.parse(readJson(golden, folder, name, 'config.json'));
    const wanted = [...weightsOf(path.join(golden, folder), name)].map(([key, { shape }]) => `${key} ${shape}`).sort();
    const found = expected(config)
      .map(({ name: key, shape }) => `${key} ${shape}`)
      .sort();
    t.same(found, wanted, `${folder}/${name}`);
  }
});

t.test('configurations are read off the tensors', async (t) => {
  for (const [name, folder] of [
    ['unet', 'unet-three-levels'],
    ['vqgan', 'vqgan'],
    ['text_encoder', 'text-encoder'],
  ] as const) {
    const tensors = weightsOf(path.join(golden, folder), name);
    const { schema, infer } = componentOf(name);
    const wanted = readJson(golden, folder, name, 'config.json');
    const shapes = {
      has: (key: string) => tensors.has(key),
      shape: (key: string) => tensors.get(key)?.shape ?? [],
      count: (prefix: string) =>
        1 +
        Math.max(
          ...[...tensors.keys()]
            .filter((key) => key.startsWith(prefix))
            .map((key) => Number.parseInt(key.slice(prefix.length), 10)),
        ),
    };
    const { feed_forward_proj: _, ...found } = schema.parse(
      infer(shapes, { nhead: wanted.nhead, scale_factor: 0.3764 }),
    );
    t.same(found, wanted, name);
  }
});

t.test('published files are recognised by their hash', async (t) => {
  t.same(
    candidatesOfSize(4_033_729_477).map(({ name }) => name),
    ['dome272/Paella: paella_v3.pt'],
  );
  t.same(
    candidatesOfSize(295_900_000).map(({ name }) => name),
    ['dome272/wuerstchen: vqgan_f4_v1_500k.pt'],
  );
  t.same(candidatesOfSize(1), []);
  t.equal(knownFiles.length, 6);
  for (const { sha256 } of knownFiles) t.match(sha256, /^[0-9a-f]{64}$/);

  // Ours in their place, for as long as this test runs.
  const list = knownFiles as KnownFile[];
  const file = (name: string, licence: string, sha256?: string): KnownFile => {
    const contents = readFileSync(path.join(official, name));
    return {
      name: `ours: ${name}`,
      bytes: contents.length,
      licence,
      sha256: sha256 ?? createHash('sha256').update(contents).digest('hex'),
    };
  };
  t.teardown(() => list.splice(6));
  list.push(file('vqgan_f4.pt', 'MIT'), file('byt5/pytorch_model.bin', 'Apache-2.0'), file('paella_v3.pt', 'MIT'));
  const folder = temporaryFolder(t);
  const output = path.join(folder, 'model');
  const report = await convert(official, { output, precision: 'bf16' });
  t.same(report.recognised.map(({ name }) => name).sort(), [
    'ours: byt5/pytorch_model.bin',
    'ours: paella_v3.pt',
    'ours: vqgan_f4.pt',
  ]);
  t.equal(readJson(output, 'model_index.json').licence, 'Apache-2.0, MIT');

  list.splice(6);
  list.push(file('paella_v3.pt', 'MIT', 'f'.repeat(64)));
  const other = await convert(official, { output: path.join(folder, 'other') });
  t.same(other.recognised, []);
  t.equal(other.warnings.length, 1);
  t.match(
    other.warnings[0],
    /paella_v3\.pt is as large as ours: paella_v3\.pt but has other contents \(sha256 [0-9a-f]{64}\)/,
  );
  t.equal(statSync(other.folder).isDirectory(), true);
});

t.test('what a model cannot do without', (t) => {
  const chosen = (names: ComponentName[]) => names.map((name) => ({ component: { name } }) as FoundComponent);
  t.same(missingComponents(chosen(['unet', 'text_encoder', 'vqgan'])), []);
  t.same(missingComponents(chosen(['unet', 'text_encoder', 'vqgan', 'prior'])), ['clip_text'], 'which the prior reads');
  t.same(missingComponents(chosen(['vqgan', 'clip_image'])), ['text_encoder', 'unet']);
  t.end();
});
