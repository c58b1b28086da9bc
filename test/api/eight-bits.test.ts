// precision int8, encoderWeights int8, and what inspectModel() says before anything is loaded.
import t from 'tap';
import { backends, inspectModel, Paella } from '../../lib/index.js';
import { engineFor, rejectsWith, sameNumbers, testModel } from './support/engine.js';

const pipeline = 'random:paella-v3-small-pipeline';
const quick = { prompt: 'a red circle above a blue square', steps: 3, seed: 11 } as const;
const precisions = (await backends()).find(({ name }) => name === 'cpu')?.precisions ?? [];

t.test('precision int8: the U-Net in 8 bits, the same image alone and in a batch', async (t) => {
  if (!precisions.includes('int8')) {
    const error = await rejectsWith(t, Paella.load({ backend: 'cpu', precision: 'int8' }), 'ERR_INVALID_OPTION');
    t.match(error.remedy, /AVX-512 VNNI|use auto/);
    return;
  }
  const full = await engineFor(t, { precision: 'bf16' });
  const engine = await engineFor(t, { precision: 'int8', threads: 1 });
  t.equal(engine.precision, 'int8');
  const unet = ({ model }: Paella) => model.bytes.unet ?? 0;
  t.ok(unet(engine) < 0.75 * unet(full), `${unet(engine)} of ${unet(full)} bytes`);
  t.equal(engine.model.bytes.vqgan, full.model.bytes.vqgan);
  const [alone] = await engine.generate(quick);
  const [, second] = await engine.generate({ ...quick, seed: 10, count: 3 });
  sameNumbers(t, second?.data, alone?.data, 'image by image');
  const [exact] = await full.generate(quick);
  const [mine, theirs] = [alone?.tokens.tokens ?? [], exact?.tokens.tokens ?? []];
  const changed = Array.from(mine).filter((token, i) => token !== theirs[i]).length;
  t.ok(changed < mine.length / 4, `${changed} of ${mine.length} tokens are others than in bf16`);
});

t.test('encoderWeights int8: half the memory, nearly the same conditions', async (t) => {
  const full = await engineFor(t, { model: pipeline, precision: 'fp32' });
  const engine = await engineFor(t, { model: pipeline, precision: 'fp32', encoderWeights: 'int8' });
  for (const network of ['text_encoder', 'clip_text', 'clip_image', 'prior']) {
    const [small, large] = [engine.model.bytes[network] ?? 0, full.model.bytes[network] ?? 0];
    // In a small CLIP nearly everything is the table of its tokens, which stays as it is.
    const most = network === 'clip_text' ? 1 : 0.8;
    t.ok(small > 0 && small < most * large, `${network}: ${small} of ${large} bytes`);
  }
  t.equal(engine.model.bytes.unet, full.model.bytes.unet);
  t.same(engine.model.parameters, full.model.parameters);
  const [a, b] = [(await full.encodeText('a fox')).states, (await engine.encodeText('a fox')).states];
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, value, i) => sum + value * (y[i] ?? 0), 0);
  const cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  t.ok(cosine > 0.995 && cosine < 0.9999999, `cosine ${cosine}`);
  const small = { prompt: 'a fox', width: 32, height: 32, steps: 2, seed: 5, prior: { steps: 3 } } as const;
  const [first] = await engine.generate(small);
  const low = await engineFor(t, { model: pipeline, precision: 'fp32', encoderWeights: 'int8', memory: 'low' });
  sameNumbers(t, (await low.generate(small))[0]?.data, first?.data, 'memory low draws the same');
  await rejectsWith(
    t,
    Paella.load({ encoderWeights: 'int4' as 'int8' }),
    'ERR_INVALID_OPTION',
    'encoderWeights: expected one of full, int8, got "int4"',
  );
});

t.test('inspectModel: as large as it is when it is loaded, without loading', async (t) => {
  const engine = await engineFor(t, { precision: 'fp32' });
  const found = await inspectModel(testModel, { precision: 'fp32' });
  t.same(found.parameters, engine.model.parameters);
  t.same({ ...found.defaults }, { ...engine.model.defaults });
  for (const [network, bytes] of Object.entries(engine.model.bytes))
    t.ok(Math.abs((found.bytes[network] ?? 0) / bytes - 1) < 0.15, `${network}: ${found.bytes[network]} for ${bytes}`);
  const { weights, peak } = found.memory;
  t.ok(weights.low < weights.resident && peak.low <= peak.balanced && peak.balanced <= peak.resident);
  t.ok(peak.resident > weights.resident);
  const four = await inspectModel(testModel, { precision: 'fp32', count: 4 });
  t.ok(four.memory.peak.resident > peak.resident);

  // The published configuration: 5.5 billion weights, which nobody reads.
  const before = process.memoryUsage.rss();
  const large = await inspectModel('random:paella-v3', { encoderWeights: 'int8' });
  t.ok(large.memory.peak.low < 5.5e9, `${large.memory.peak.low} bytes in low with weights of 8 bits`);
  t.ok((await inspectModel('random:paella-v3')).memory.peak.low < 8e9);
  t.ok(process.memoryUsage.rss() - before < 1e9, 'nothing of that size was made');

  await rejectsWith(t, inspectModel(testModel, { width: 33 }), 'ERR_INVALID_OPTION', /^width: expected a multiple of/);
  await rejectsWith(t, inspectModel(testModel, { precision: 'fp8' as 'fp32' }), 'ERR_INVALID_OPTION', /^precision: /);
  await rejectsWith(t, inspectModel('no-such-model'), 'ERR_MODEL_NOT_FOUND');
  const reason = new Error('changed my mind');
  await t.rejects(inspectModel(testModel, { signal: AbortSignal.abort(reason) }), reason);
});
