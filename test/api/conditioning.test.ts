// What an image follows beside plain words: weighted words, pictures, the prior, weights of attention, presets.
import t from 'tap';
import { attentionWeightsOf, textsOf } from '../../lib/engine/condition.js';
import { type GenerateOptions, presets, type RawImage } from '../../lib/index.js';
import { ClipTokenizer } from '../../lib/text/clip-tokenizer.js';
import { engineFor, rejectsWith, sameNumbers } from './support/engine.js';

const model = 'random:paella-v3-small-pipeline';
const small = { width: 32, height: 32, steps: 2, seed: 5 } as const;
const fast = { prior: { steps: 3 } } as const;

function picture(red: number, side = 48): RawImage {
  const data = new Uint8Array(side * side * 3);
  for (let i = 0; i < data.length; i += 3) data.set([red, (i / 3) % 256, 90], i);
  return { data, width: side, height: side, channels: 3 };
}

t.test('texts: ids for both encoders, weights of parts', (t) => {
  const clip = new ClipTokenizer([], { vocabularySize: 49_408, contextLength: 77 });
  const plain = textsOf('ab', clip);
  t.same([...plain.ids], [100, 101, 1]);
  t.equal(plain.weights, undefined);
  t.equal(plain.clipIds?.[0], 49_406);
  t.equal(plain.clipIds?.at(-1), 49_407);
  const parts = textsOf(
    [
      { text: 'a', weight: 2 },
      { text: 'bc', weight: 0.5 },
    ],
    undefined,
  );
  t.same([...parts.ids], [100, 35, 101, 102, 1], 'joined by a blank');
  t.same([...(parts.weights ?? [])], [2, 0.5, 0.5, 0.5, 1], 'the blank belongs to the part behind it, the end to none');
  const cut = textsOf('a <end_of_text> b', clip);
  t.equal(
    [...(cut.clipIds ?? [])].indexOf(49_407),
    (cut.clipIds?.length ?? 0) - 1,
    "CLIP's text ends at the first end",
  );
  t.end();
});

t.test('weights of attention: as the notebook has them, and aligned to the end', (t) => {
  const info = { clipTokens: 4 };
  const entries = { tokens: 9, clipTexts: 1, images: 1 };
  const weights = attentionWeightsOf(entries, info, undefined, 'notebook');
  const expected = [...Array(8).fill(1), ...Array(5).fill(1.2), ...Array(4).fill(0.4)];
  t.same(weights && [...weights].map((w) => Math.round(w * 10) / 10), expected, 'specification 4.3');
  const words = attentionWeightsOf({ ...entries, images: 0 }, info, undefined, 'notebook');
  const even = [...Array(4).fill(1), ...Array(9).fill(1.2)];
  t.same(words && [...words].map((w) => Math.round(w * 10) / 10), even, 'without a picture no words get its weight');
  t.equal(attentionWeightsOf(entries, info, undefined, undefined), undefined);
  const own = attentionWeightsOf({ tokens: 2, clipTexts: 0, images: 0 }, info, Float32Array.of(3, 1), [0.5]);
  t.same(own && [...own], [3, 0.5]);
  t.throws(() => attentionWeightsOf({ tokens: 2, clipTexts: 0, images: 0 }, info, undefined, [1, 1, 1]), {
    code: 'ERR_INVALID_OPTION',
    message: 'attentionWeights: expected at most 2 numbers, one for each entry of the condition, got 3',
  });
  t.end();
});

t.test('the whole pipeline', async (t) => {
  const engine = await engineFor(t, { model });
  t.same(engine.model.conditioning, { clipText: true, clipImage: 56, prior: true, drawnImage: false });
  t.same(Object.keys(engine.model.parameters).sort(), [
    'clip_image',
    'clip_text',
    'prior',
    'text_encoder',
    'unet',
    'vqgan',
  ]);
  const tokens = async (options: GenerateOptions) => {
    const [image] = await engine.generate({ prompt: 'a cat', ...small, ...fast, ...options });
    if (!image) throw new Error('no image');
    return { image, tokens: [...image.tokens.tokens].join() };
  };
  const first = await tokens({});
  t.same(first.image.parameters.prior, { steps: 3, guidanceScale: 3, method: 'ddpm' }, 'told with the image');
  t.ok(first.image.timings.prior > 0);
  const without = (await tokens({ prior: false })).image;
  t.equal(without.parameters.prior, false, 'what was told not to run is told with the image, too');
  const [again] = await engine.generate(without.parameters);
  t.same(again?.tokens.tokens, without.tokens.tokens, 'parameters give the image again');
  t.equal((await tokens({})).tokens, first.tokens, 'the same again');
  const others: Record<string, GenerateOptions> = {
    'another number of steps of the prior': { prior: { steps: 5 } },
    'another guidance of the prior': { prior: { steps: 3, guidanceScale: 1 } },
    ddim: { prior: { steps: 3, method: 'ddim' } },
    'without the prior': { prior: false },
    'a picture': { prior: undefined, imagePrompt: picture(20) },
    'another picture': { prior: undefined, imagePrompt: picture(230) },
    'two pictures': { prior: undefined, imagePrompt: [picture(20), picture(230)] },
    'weights of the notebook': { attentionWeights: 'notebook' },
    'weighted words': {
      prompt: [
        { text: 'a', weight: 1 },
        { text: 'cat', weight: 3 },
      ],
    },
  };
  const seen = new Set([first.tokens]);
  for (const [what, options] of Object.entries(others)) {
    const drawn = (await tokens(options)).tokens;
    t.notOk(seen.has(drawn), `${what} makes another image`);
    seen.add(drawn);
  }
  t.equal((await tokens({ attentionWeights: [1, 1, 1] })).tokens, first.tokens, 'weights of 1 change nothing');

  const batch = await engine.generate({ prompt: 'a cat', ...small, ...fast, count: 3 });
  t.equal([...(batch[0]?.tokens.tokens ?? [])].join(), first.tokens, 'an image of its own seed in a batch, too');
  const [second] = await engine.generate({ prompt: 'a cat', ...small, ...fast, seed: 6 });
  t.same(batch[1]?.tokens.tokens, second?.tokens.tokens, 'each image has a prior of its own seed');

  const condition = await engine.encodeText('a cat');
  t.equal(
    (await tokens({ prompt: undefined, condition, prior: false })).tokens,
    (await tokens({ prior: false })).tokens,
    'an encoding that knows its words gives them to CLIP',
  );
  const predict = (of: typeof condition | null) =>
    engine.predict({ tokens: new Int32Array(64).fill(7), width: 8, height: 8, noiseLevel: 0.5, condition: of });
  const [words, states] = [await predict(condition), await predict({ ...condition, prompt: undefined })];
  t.ok(
    words.some((logit, i) => logit !== states[i]),
    'in predict(), too',
  );
  sameNumbers(t, await predict(null), await predict(await engine.encodeText('')), 'null is the empty prompt');
});

t.test('dispose while a picture is read: waits', async (t) => {
  const engine = await engineFor(t, { model });
  const call = engine.generate({ prompt: 'a cat', ...small, imagePrompt: picture(20) });
  const disposed = engine.dispose();
  t.equal((await call).length, 1);
  await disposed;
  const aborted = await engineFor(t, { model });
  const other = rejectsWith(
    t,
    aborted.generate({ prompt: 'a cat', ...small, imagePrompt: picture(20) }),
    'ERR_DISPOSED',
  );
  await aborted.dispose({ abort: true });
  await other;
});

t.test('memory modes give the same images', async (t) => {
  const draw = async (memory: 'resident' | 'balanced' | 'low') => {
    const engine = await engineFor(t, { model, memory });
    const [image] = await engine.generate({ prompt: 'a cat', ...small, ...fast });
    return [...(image?.tokens.tokens ?? [])];
  };
  const resident = await draw('resident');
  t.same(await draw('balanced'), resident);
  t.same(await draw('low'), resident);
});

t.test('presets stand behind what is given', async (t) => {
  const engine = await engineFor(t, { model });
  const [blog] = await engine.generate({ prompt: 'a', width: 32, height: 32, preset: 'blog', ...fast });
  t.equal(blog?.parameters.steps, 12);
  t.equal(blog?.parameters.renoiseSteps, 11);
  t.same(blog?.parameters.temperature, [0.7, 0.3]);
  const [short] = await engine.generate({ prompt: 'a', ...small, preset: 'space', negativePrompt: 'x', ...fast });
  t.equal(short?.parameters.steps, 2, 'steps as given');
  t.equal(short?.parameters.renoiseSteps, 2, 'and their share of the preset');
  t.equal(short?.parameters.conditionalSteps, 1);
  t.equal(short?.parameters.negativePrompt, 'x');
  t.equal(short?.parameters.attentionWeights, presets.space.attentionWeights);
});

t.test('wrong values, and what a model cannot do', async (t) => {
  const whole = await engineFor(t, { model });
  const plain = await engineFor(t, { model: 'random:paella-v3-small' });
  const prior = "true, false, or { steps: 1 to 1000, guidanceScale: -100 to 100, method: 'ddpm' or 'ddim' }";
  const cases: [typeof whole, GenerateOptions, string][] = [
    [whole, { prior: { steps: 0 } }, `prior: expected ${prior}, got {"steps":0}`],
    [whole, { prior: 'yes' as never }, `prior: expected ${prior}, got "yes"`],
    [
      whole,
      { attentionWeights: [] },
      "attentionWeights: expected 'notebook', or an array of numbers between -100 and 100, got []",
    ],
    [whole, { imagePrompt: [] }, 'imagePrompt: expected an image, or an array of 1 to 16 images, got []'],
    [
      whole,
      { imagePrompt: 5 as never },
      'imagePrompt: expected a path, a file URL, the bytes of an image, or { data, width, height, channels }, got 5',
    ],
    [whole, { preset: 'fast' as never }, 'preset: expected one of notebook, space, blog, training, plugin, got "fast"'],
    [plain, { prior: true }, 'prior: expected nothing or false: this model has no prior, got true'],
  ];
  for (const [engine, options, message] of cases)
    await rejectsWith(t, engine.generate({ prompt: 'a', ...small, ...options }), 'ERR_INVALID_OPTION', message);
  await t.rejects(plain.generate({ prompt: 'a', ...small, imagePrompt: picture(1) }), {
    code: 'ERR_INVALID_OPTION',
    message: /^imagePrompt: expected nothing: this model has no CLIP image encoder/,
  });
  await t.rejects(whole.generate({ prompt: 'a', ...small, imagePrompt: picture(1), prior: true }), {
    code: 'ERR_INVALID_OPTION',
    message: /^prior: expected nothing or false beside imagePrompt/,
  });
  await t.rejects(whole.generate({ prompt: 'a', ...small, imagePrompt: '/nowhere.png' }), { code: 'ERR_IO' });
});

t.test('an image embedding that the seed draws in the place of a prior', async (t) => {
  const engine = await engineFor(t, { model: 'tiny', backend: 'cpu' });
  t.same(engine.model.conditioning, { clipText: false, clipImage: 0, prior: false, drawnImage: true });
  // The same noise, and one step that draws the likeliest codes: only the condition can make a difference.
  const prompt = 'a red star';
  const options = { width: 64, height: 64, steps: 1, sampler: 'argmax', guidanceScale: 1, seed: 3 } as const;
  const tokens = async (more: GenerateOptions) => {
    const images = await engine.generate({ prompt, ...options, ...more });
    return images.map(({ tokens, parameters }) => ({ text: [...tokens.tokens].join(), parameters }));
  };
  const [first] = await tokens({});
  const [without] = await tokens({ prior: false });
  t.not(first?.text, without?.text, 'the embedding makes a difference');
  t.equal(without?.parameters.prior, false, 'that it was left out is told with the image');
  t.equal((await tokens({ ...without?.parameters }))[0]?.text, without?.text, 'parameters give the image again');

  const batch = await tokens({ count: 6, seed: 1 });
  t.equal(batch[2]?.text, first?.text, 'an image has the embedding of its own seed, in a batch, too');
  t.ok(new Set(batch.map(({ text }) => text)).size > 1, 'seeds make different pictures');

  const condition = await engine.encodeText(prompt);
  t.equal((await tokens({ prompt: undefined, condition }))[0]?.text, first?.text, 'an encoded prompt has one, too');
  const [empty] = await tokens({ prompt: '', prior: false });
  t.equal((await tokens({ prompt: '' }))[0]?.text, empty?.text, 'no words, no embedding');
  t.equal((await tokens({ prompt: [{ text: '', weight: 1 }] }))[0]?.text, empty?.text, 'nor in parts');
  const encoded = await engine.encodeText('');
  t.equal((await tokens({ prompt: undefined, condition: encoded }))[0]?.text, empty?.text, 'nor encoded');
  const initTokens = { tokens: new Int32Array(256).fill(7), width: 16, height: 16 };
  t.equal(
    (await tokens({ initTokens }))[0]?.text,
    (await tokens({ initTokens, prior: false }))[0]?.text,
    'the picture that is changed takes its place',
  );

  const even = Array<number>(condition.length + 4).fill(1);
  t.equal((await tokens({ attentionWeights: even }))[0]?.text, first?.text, 'its entries have weights, too');
  await rejectsWith(t, tokens({ attentionWeights: [...even, 1] }), 'ERR_INVALID_OPTION', /^attentionWeights: /);
  await rejectsWith(t, tokens({ prior: true }), 'ERR_INVALID_OPTION', /^prior: expected nothing or false/);
});
