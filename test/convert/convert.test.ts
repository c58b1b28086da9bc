// Checkpoints of every layout → a model folder that the engine loads, with the same weights and the same images.
import { copyFileSync, cpSync, existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { convert, inspectModel, Paella } from '../../lib/index.js';
import { rejectsWith, temporaryFolder, tokensOf } from '../api/support/engine.js';
import { paella } from '../api/support/process.js';
import { readSafetensors, type Tensor, writeSafetensors } from '../api/support/safetensors.js';
import { componentFolders, golden, official, readJson, sameTensors, weightsOf } from './support.js';

const loop = path.join(golden, 'loop');

t.test('the official layouts: zip, wrapped, and the older format', async (t) => {
  const output = path.join(temporaryFolder(t), 'model');
  const phases = new Set<string>();
  const report = await convert(official, { output, onProgress: ({ phase }) => phases.add(phase) });
  t.equal(report.folder, output);
  t.same(
    report.components.map(({ name, layout, wrappers, leftOut }) => ({ name, layout, wrappers, leftOut })),
    [
      { name: 'text_encoder', layout: 'transformers', wrappers: [], leftOut: 4 },
      { name: 'unet', layout: 'paella', wrappers: [], leftOut: 0 },
      { name: 'vqgan', layout: 'paella', wrappers: ['state_dict'], leftOut: 0 },
    ],
  );
  t.match(report, { missing: [], recognised: [], skipped: [], warnings: [], resumed: false });
  t.same([...phases], [...componentFolders]);
  for (const name of componentFolders) {
    sameTensors(t, weightsOf(output, name), weightsOf(loop, name), name);
    const { feed_forward_proj: _, ...config } = readJson(output, name, 'config.json');
    t.same(config, readJson(loop, name, 'config.json'), `${name}: the same configuration`);
  }
  t.match(readJson(output, 'model_index.json'), {
    format: 'paella-native',
    family: 'v3',
    name: 'model',
    licence: 'unknown',
  });

  const generate = async (model: string) => {
    const engine = await Paella.load({ model, backend: 'cpu' });
    const request = { prompt: 'a red circle', seed: 3, width: 48, height: 32, steps: 5, negativePrompt: 'blur' };
    const [image] = await engine.generate({
      ...request,
      guidanceScale: 3,
      temperature: 1,
      renoiseSteps: 4,
      conditionalSteps: 5,
    });
    await engine.dispose();
    return { tokens: tokensOf(image), pixels: Buffer.from(image?.data ?? []) };
  };
  const [converted, own] = [await generate(output), await generate(loop)];
  t.same(converted.tokens, own.tokens, 'the same tokens as the same weights in our own format');
  t.ok(converted.pixels.equals(own.pixels) && own.pixels.length === 48 * 32 * 3, 'and the same pixels');
});

t.test('files by name, and a model folder as a source', async (t) => {
  const folder = temporaryFolder(t);
  const first = path.join(folder, 'first');
  const report = await convert([path.join(official, 'paella_v3.pt')], {
    output: first,
    incomplete: true,
    name: 'mine',
  });
  t.same(report.missing, ['text_encoder', 'vqgan']);
  t.match(readJson(first, 'model_index.json'), { name: 'mine', components: ['unet'] });
  const second = path.join(folder, 'second');
  const files = [first, path.join(official, 'vqgan_f4.pt'), path.join(official, 'byt5/pytorch_model.bin')];
  await convert(files, { output: second });
  for (const name of componentFolders) sameTensors(t, weightsOf(second, name), weightsOf(loop, name), name);
  // From our own format to our own format nothing is lost.
  const third = path.join(folder, 'third');
  await convert(loop, { output: third });
  t.same(readJson(third, 'generation_config.json'), readJson(loop, 'generation_config.json'));
  t.match(readJson(third, 'model_index.json'), { licence: 'MIT' });
  t.notOk(existsSync(path.join(third, 'domain.json')));
  const domain = { about: 'red things', words: ['red'], remedy: 'Take another model.' };
  writeFileSync(path.join(third, 'domain.json'), JSON.stringify(domain));
  const fourth = path.join(folder, 'fourth');
  await convert(third, { output: fourth, precision: 'bf16' });
  t.same((await inspectModel(fourth)).domain, domain, 'it draws the same');
  const bundled = path.join(folder, 'bundled');
  await convert('models/tiny', { output: bundled });
  const embeddingOf = (model: string) => readJson(model, 'model_index.json').image_embedding;
  t.match(embeddingOf(bundled), { levels: Array }, 'the seed still draws an embedding');
  t.same(embeddingOf(bundled), embeddingOf('models/tiny'));
});

t.test('precisions', async (t) => {
  const folder = temporaryFolder(t);
  const output = path.join(folder, 'model');
  await convert(official, { output, precision: { unet: 'bf16', text_encoder: 'fp16' } });
  const types = (component: string) =>
    [...new Set([...weightsOf(output, component).values()].map(({ dtype }) => dtype))].sort();
  t.same(types('unet'), ['BF16']);
  t.same(types('text_encoder'), ['F16']);
  t.same(types('vqgan'), ['F32', 'I64'], 'the others stay what they are');
  const engine = await Paella.load({ model: output, backend: 'cpu' });
  await engine.generate({ prompt: 'a', steps: 2 });
  await engine.dispose();
  await convert(official, { output, precision: 'bf16', overwrite: true });
  t.same(types('vqgan'), ['BF16', 'I64'], 'one for all; whole numbers stay');
});

t.test('rounding is that of PyTorch, bit for bit', async (t) => {
  const { convertElements } = await import('../../lib/convert/element-types.js');
  const tensors = readSafetensors(path.join(golden, 'torch/formats/rounding.safetensors'));
  const data = (name: string) => Buffer.from(tensors.get(name)?.data ?? []);
  const cases = [
    ['values', 'F32', 'as_bf16', 'BF16', 2],
    ['inside', 'F32', 'as_fp16', 'F16', 2],
    ['as_fp16', 'F16', 'as_fp16_as_fp32', 'F32', 4],
  ] as const;
  const isNan = { BF16: (v: number) => (v & 0x7fff) > 0x7f80, F16: (v: number) => (v & 0x7fff) > 0x7c00 };
  for (const [from, fromType, to, toType, unit] of cases) {
    const [source, wanted] = [new Uint8Array(data(from)), data(to)];
    const target = Buffer.from(new ArrayBuffer(wanted.length));
    convertElements(source, fromType, target, toType, wanted.length / unit, from);
    let wrong = 0;
    for (let i = 0; i < wanted.length; i += unit) {
      if (unit === 4) {
        const [a, b] = [target.readFloatLE(i), wanted.readFloatLE(i)];
        if (!Object.is(a, b)) wrong++;
      } else {
        const [a, b] = [target.readUInt16LE(i), wanted.readUInt16LE(i)];
        // Which NaN it is does not matter.
        const nan = isNan[toType as 'BF16' | 'F16'];
        if (a !== b && !(nan(a) && nan(b))) wrong++;
      }
    }
    t.equal(wrong, 0, `${fromType} → ${toType}: ${wanted.length / unit} values`);
    t.ok(wanted.length / unit > 2000);
  }
});

t.test('CLIP under both names of its tensors, and the prior', async (t) => {
  const folder = temporaryFolder(t);
  const [open, theirs] = [path.join(folder, 'open'), path.join(folder, 'transformers')];
  const torch = path.join(golden, 'torch');
  const options = { incomplete: true };
  const sources = (clip: string) => [path.join(torch, clip), path.join(torch, 'prior_v1.pt')];
  await convert(sources('clip'), { ...options, output: open });
  const report = await convert(sources('clip-transformers'), { ...options, output: theirs });
  t.same(
    report.components.map(({ name, layout }) => [name, layout]),
    [
      ['clip_text', 'transformers'],
      ['clip_image', 'transformers'],
      ['prior', 'paella'],
    ],
  );
  for (const name of ['clip_text', 'clip_image', 'prior']) {
    t.same(
      readJson(theirs, name, 'config.json'),
      readJson(open, name, 'config.json'),
      `${name}: the same configuration`,
    );
    sameTensors(t, weightsOf(theirs, name), weightsOf(open, name), name);
  }
  t.match(readJson(open, 'clip_text/config.json'), {
    embed_dim: 12,
    width: 64,
    layers: 2,
    heads: 1,
    context_length: 7,
  });
  t.match(readJson(open, 'clip_image/config.json'), { image_size: 28, patch_size: 14, mlp_width: 40 });
  t.match(readJson(open, 'prior/config.json'), { c_in: 12, c_hidden: 10, c_cond: 12, c_r: 8, num_layers: 2 });
  const index = readJson(open, 'model_index.json');
  t.same([index.components, index.optional_components], [[], ['clip_text', 'clip_image', 'prior']]);
  // The engine refuses what does not fit, as convert() does.
  const whole = path.join(folder, 'whole');
  await convert(loop, { output: whole });
  cpSync(path.join(theirs, 'clip_text'), path.join(whole, 'clip_text'), { recursive: true });
  const own = { ...readJson(whole, 'model_index.json'), optional_components: ['clip_text'] };
  writeFileSync(path.join(whole, 'model_index.json'), JSON.stringify(own));
  await rejectsWith(
    t,
    Paella.load({ model: whole, backend: 'cpu' }),
    'ERR_MODEL_NOT_FOUND',
    /clip_text.merges\.txt: expected the merges of CLIP's tokenizer, got no such file/,
  );
  writeFileSync(path.join(whole, 'clip_text/merges.txt'), '#version: 0.2\n');
  await rejectsWith(
    t,
    Paella.load({ model: whole, backend: 'cpu' }),
    'ERR_MODEL_FORMAT',
    /whole: unet clip_embd: expected clip_text's embed_dim 12, got 0/,
  );
  await rejectsWith(
    t,
    convert([loop, theirs], { output: path.join(folder, 'misfit') }),
    'ERR_MODEL_FORMAT',
    /unet.model\.safetensors: clip_embd: expected 12, the embed_dim of .*clip_text.model\.safetensors, found 0/,
  );
});

/** As transformers writes large models. */
function shard(tensors: Map<string, Tensor>, folder: string, stem: string, parts: number): void {
  mkdirSync(folder, { recursive: true });
  const map: Record<string, string> = {};
  const names = [...tensors.keys()];
  for (let i = 0; i < parts; i++) {
    const file = `${stem}-${String(i + 1).padStart(5, '0')}-of-${String(parts).padStart(5, '0')}.safetensors`;
    const part = names.filter((_, n) => n % parts === i);
    writeSafetensors(path.join(folder, file), new Map(part.map((name) => [name, tensors.get(name) as Tensor])));
    for (const name of part) map[name] = file;
  }
  writeFileSync(path.join(folder, `${stem}.safetensors.index.json`), JSON.stringify({ metadata: {}, weight_map: map }));
}

t.test('shards, diffusers, links, and other things in a folder', async (t) => {
  const folder = path.join(temporaryFolder(t), 'downloads');
  shard(weightsOf(loop, 'text_encoder'), path.join(folder, 'byt5'), 'model', 3);
  copyFileSync(path.join(loop, 'text_encoder/config.json'), path.join(folder, 'byt5/config.json'));
  // diffusers' PaellaVQModel: another name for the codebook, and other keys.
  const vqgan = weightsOf(loop, 'vqgan');
  const codebook = vqgan.get('vquantizer.codebook.weight') as Tensor;
  vqgan.delete('vquantizer.codebook.weight');
  vqgan.set('vquantizer.embedding.weight', codebook);
  mkdirSync(path.join(folder, 'vqgan'));
  writeSafetensors(path.join(folder, 'vqgan/diffusion_pytorch_model.safetensors'), vqgan);
  const theirs = { _class_name: 'PaellaVQModel', bottleneck_blocks: 1, embed_dim: 16, latent_channels: 4, levels: 2 };
  const config = { ...theirs, num_vq_embeddings: 24, scale_factor: 0.5, up_down_scale_factor: 2 };
  writeFileSync(path.join(folder, 'vqgan/config.json'), JSON.stringify(config));
  // As in the hub's cache.
  symlinkSync(path.join(official, 'paella_v3.pt'), path.join(folder, 'paella_v3.pt'));
  symlinkSync(path.join(official, 'paella_v3.json'), path.join(folder, 'paella_v3.json'));
  writeFileSync(path.join(folder, 'training_args.bin'), 'what is this');
  writeFileSync(path.join(folder, 'readme.md'), '# hello');
  const output = path.join(path.dirname(folder), 'model');
  const report = await convert(folder, { output });
  t.match(report.skipped, [{ file: path.join(folder, 'training_args.bin'), reason: /found something else/ }]);
  for (const name of componentFolders) sameTensors(t, weightsOf(output, name), weightsOf(loop, name), name);
  t.equal(readJson(output, 'vqgan/config.json').scale_factor, 0.5);
  t.equal(report.components[0]?.sources.length, 3);
  // The index alone does as well.
  const again = path.join(path.dirname(folder), 'again');
  await convert(path.join(folder, 'byt5/model.safetensors.index.json'), { output: again, incomplete: true });
  sameTensors(t, weightsOf(again, 'text_encoder'), weightsOf(loop, 'text_encoder'), 'by its index');
});

t.test('the same weights twice', async (t) => {
  const folder = path.join(temporaryFolder(t), 'clip');
  cpSync(path.join(golden, 'torch/clip'), folder, { recursive: true });
  copyFileSync(path.join(golden, 'torch/clip-transformers/model.safetensors'), path.join(folder, 'model.safetensors'));
  const report = await convert(folder, { output: path.join(path.dirname(folder), 'model'), incomplete: true });
  t.match(report.skipped, [{ reason: /the same as model\.safetensors/ }, { reason: /the same as/ }]);
  t.same(
    report.components.map(({ sources }) => sources.map((file) => path.basename(file))),
    [['model.safetensors'], ['model.safetensors']],
  );
});

t.test('the command line', async (t) => {
  const output = path.join(temporaryFolder(t), 'model');
  const done = await paella(['convert', official, '-o', output, '--precision', 'unet=bf16', '--json']);
  t.equal(done.code, 0, done.stderr);
  t.match(JSON.parse(done.stdout), { folder: output, components: [{}, { name: 'unet', precision: 'bf16' }, {}] });
  const again = await paella(['convert', official, '-o', output]);
  t.equal(again.code, 1);
  t.match(again.stderr, /there is a folder that is not empty already\n.*--force/);
  const forced = await paella(['convert', official, '-o', output, '--force']);
  t.equal(forced.code, 0, forced.stderr);
  t.match(forced.stdout, /unet .* keep .*paella_v3\.pt \(paella\)[\s\S]*vqgan_f4\.pt \(paella, state_dict\)/);
  const wrong = await paella(['convert', official, '-o', output, '--precision', 'int3']);
  t.equal(wrong.code, 2);
  t.match(wrong.stderr, /--precision: expected one of keep, fp32, bf16, fp16.*got "int3"/);
  const nothing = await paella(['convert', official]);
  t.match(nothing, { code: 2, stderr: /--output: expected a folder/ });
  rmSync(output, { recursive: true });
});
