// What generate(), stream() and the low-level methods give.
import t from 'tap';
import { GeneratedImage, type GenerateEvent, generate, Paella, type StepEvent } from '../../lib/index.js';
import { engineFor, longJob, rejection, sameNumbers, temporaryFolder, testModel, tokensOf } from './support/engine.js';

t.test('an engine tells what it is', async (t) => {
  const phases = new Set<string>();
  let last = { phase: '', loaded: 0, total: 0 };
  const engine = await engineFor(t, {
    onProgress: (progress) => {
      phases.add(progress.phase);
      last = progress;
    },
  });
  t.equal(engine.backend, 'cpu');
  t.match(engine.precision, /^(fp32|bf16)$/);
  t.ok(engine.device.length > 0);
  t.equal(engine.model.family, 'v3');
  t.same(Object.keys(engine.model.parameters).sort(), ['text_encoder', 'unet', 'vqgan']);
  for (const count of Object.values(engine.model.parameters)) t.ok(count > 0);
  t.ok(engine.model.sizeMultiple % engine.model.pixelsPerToken === 0);
  t.ok(engine.model.defaults.steps >= 1);
  t.same([...phases].sort(), ['text_encoder', 'unet', 'vqgan'], 'progress of each network');
  t.ok(last.loaded <= last.total || last.total === 0);
  t.throws(() => {
    (engine.model.defaults as { steps: number }).steps = 3;
  }, 'model is read-only');
});

t.test('one image by default', async (t) => {
  const engine = await engineFor(t);
  const { defaults, pixelsPerToken, vocabularySize } = engine.model;
  const images = await engine.generate('a red circle');
  t.equal(images.length, 1);
  const [image] = images;
  if (!image) return;
  t.type(image, GeneratedImage);
  t.equal(image.width, defaults.width);
  t.equal(image.height, defaults.height);
  t.equal(image.channels, 3);
  t.type(image.data, Uint8Array);
  t.equal(image.data.length, image.width * image.height * 3);
  t.equal(image.tokens.width * pixelsPerToken, image.width);
  t.equal(image.tokens.height * pixelsPerToken, image.height);
  t.equal(image.tokens.tokens.length, image.tokens.width * image.tokens.height);
  t.ok(image.tokens.tokens.every((token) => token >= 0 && token < vocabularySize));
  t.ok(Number.isInteger(image.seed) && image.seed >= 0 && image.seed < 2 ** 32, 'a seed was chosen and is told');
  for (const stage of [
    'tokenize',
    'queue',
    'encode_text',
    'prior',
    'unet',
    'guide',
    'sample',
    'renoise',
    'decode',
    'total',
  ] as const) {
    t.ok(image.timings[stage] >= 0, stage);
  }
  t.ok(image.timings.total > 0);
  const [again] = await engine.generate(image.parameters);
  t.same(tokensOf(again), tokensOf(image), 'its parameters give it again');
  sameNumbers(t, again?.data, image.data, 'the same pixels');
});

t.test('seeds', async (t) => {
  const engine = await engineFor(t);
  // Hot enough that two seeds never agree on every token, however sure a trained model is.
  const options = { prompt: 'a blue square', steps: 3, temperature: 2 };
  const images = await engine.generate({ ...options, seed: 40, count: 3 });
  t.same(
    images.map(({ seed }) => seed),
    [40, 41, 42],
  );
  const [second] = await engine.generate({ ...options, seed: 41 });
  t.same(tokensOf(second), tokensOf(images[1]), 'image i is what seed + i gives');
  t.notSame(tokensOf(images[0]), tokensOf(images[1]));
  const [a] = await engine.generate(options);
  const [b] = await engine.generate(options);
  t.not(a?.seed, b?.seed, 'another seed each time');
  const [last] = await engine.generate({ ...options, seed: Number.MAX_SAFE_INTEGER, steps: 1 });
  t.equal(last?.seed, Number.MAX_SAFE_INTEGER);
  const [word] = await engine.generate({ ...options, seed: 2 ** 32 - 1, steps: 1 });
  t.notSame(tokensOf(last), tokensOf(word), 'all 53 bits count');
});

t.test('sizes', async (t) => {
  const engine = await engineFor(t);
  const { sizeMultiple: m } = engine.model;
  for (const [width, height] of [
    [m, m],
    [m, 3 * m],
    [5 * m, 2 * m],
  ] as const) {
    const [image] = await engine.generate({ prompt: 'a', width, height, steps: 2, seed: 1 });
    t.equal(image?.width, width);
    t.equal(image?.height, height);
    t.equal(image?.data.length, width * height * 3);
  }
});

t.test('prompts of every kind', async (t) => {
  const engine = await engineFor(t);
  const warnings: string[] = [];
  engine.on('warning', ({ code, message }) => warnings.push(`${code} ${message}`));
  const options = { steps: 1, seed: 1 };
  for (const prompt of ['', ' ', '🟥🔵 ‍', 'a\0b', '\uD83D', 'ひらがな', '</s>', '-']) {
    const [image] = await engine.generate({ ...options, prompt });
    t.equal(image?.parameters.prompt, prompt, JSON.stringify(prompt));
  }
  t.same(warnings, []);
  const [long] = await engine.generate({ ...options, prompt: 'x'.repeat(10_000) });
  const [cut] = await engine.generate({ ...options, prompt: 'x'.repeat(767) });
  t.same(tokensOf(long), tokensOf(cut));
  t.same(warnings, ['PROMPT_TRUNCATED prompt: expected at most 767 bytes of UTF-8, got 10000; the rest is not read']);
});

t.test('guidance of 1 is no guidance, and needs no unconditional pass', async (t) => {
  const engine = await engineFor(t);
  const warnings: string[] = [];
  engine.on('warning', ({ code, message }) => warnings.push(`${code} ${message}`));
  const base = { prompt: 'a red circle', seed: 5, steps: 4, temperature: 2 };
  const one = async (more: object) => (await engine.generate({ ...base, ...more }))[0];
  const unguided = await one({ guidanceScale: 3, conditionalSteps: 0 });
  const plain = await one({ guidanceScale: 1 });
  t.same(tokensOf(plain), tokensOf(unguided));
  t.equal(plain?.parameters.conditionalSteps, 4, 'the option itself stays as it was');
  t.same(
    tokensOf(await one({ guidanceScale: [3, 1] })),
    tokensOf(await one({ guidanceScale: [3, 1], conditionalSteps: 3 })),
  );
  t.notSame(tokensOf(await one({ guidanceScale: [1, 3] })), tokensOf(plain));
  t.same(tokensOf(await one({ guidanceScale: [1, 3], steps: 1 })), tokensOf(await one({ guidanceScale: 1, steps: 1 })));
  t.same(warnings, []);
  t.same(tokensOf(await one({ guidanceScale: 1, negativePrompt: 'blue' })), tokensOf(plain));
  t.same(warnings, [
    'NEGATIVE_PROMPT_UNUSED negativePrompt: expected a guidanceScale other than 1 in some step, got none; it has no effect',
  ]);
});

t.test('knobs change the image', async (t) => {
  const engine = await engineFor(t);
  const base = {
    prompt: 'a red circle',
    seed: 5,
    steps: 4,
    renoiseSteps: 3,
    guidanceScale: 3,
    // Hot enough that every change shows, however sure a trained model is.
    temperature: [3, 2] as [number, number],
  };
  const tokens = async (more: object) => tokensOf((await engine.generate({ ...base, ...more }))[0]);
  const plain = await tokens({});
  t.same(await tokens({}), plain);
  const changes = {
    renoiseSteps: 0,
    guidanceScale: [1, 9],
    temperature: 1,
    sampler: 'argmax',
    typicalMass: 0.2,
    steps: 5,
    conditionalSteps: 1,
    prompt: 'a large green triangle on a black background',
    negativePrompt: 'a green triangle',
    seed: 6,
  };
  for (const [name, value] of Object.entries(changes)) t.notSame(await tokens({ [name]: value }), plain, name);
});

t.test('a condition instead of a prompt', async (t) => {
  const engine = await engineFor(t);
  const condition = await engine.encodeText('a red circle');
  t.equal(condition.width, engine.model.conditionWidth);
  t.equal(condition.length, 'a red circle'.length + 1);
  t.equal(condition.states.length, condition.length * condition.width);
  t.ok(condition.states.every(Number.isFinite));
  const options = { seed: 3, steps: 3 };
  const [byPrompt] = await engine.generate({ ...options, prompt: 'a red circle' });
  const [byCondition] = await engine.generate({ ...options, condition });
  t.same(tokensOf(byCondition), tokensOf(byPrompt));
});

t.test('predict', async (t) => {
  const engine = await engineFor(t);
  const { sizeMultiple, pixelsPerToken, vocabularySize } = engine.model;
  const side = sizeMultiple / pixelsPerToken;
  const tokens = Int32Array.from({ length: 2 * side * side }, (_, i) => i % vocabularySize);
  const condition = await engine.encodeText('a');
  const logits = await engine.predict({ tokens, width: side, height: side, batch: 2, noiseLevel: 0.5, condition });
  t.equal(logits.length, 2 * side * side * vocabularySize);
  t.ok(logits.every(Number.isFinite));
  const one = await engine.predict({
    tokens: tokens.slice(0, side * side),
    width: side,
    height: side,
    noiseLevel: 0.5,
    condition,
  });
  sameNumbers(t, one, logits.slice(0, one.length), 'a row does not depend on its batch');
  const none = await engine.predict({
    tokens: tokens.slice(0, side * side),
    width: side,
    height: side,
    noiseLevel: 0.5,
    condition: null,
  });
  const empty = await engine.predict({
    tokens: tokens.slice(0, side * side),
    width: side,
    height: side,
    noiseLevel: 0.5,
    condition: await engine.encodeText(''),
  });
  sameNumbers(t, none, empty, 'null is the empty prompt');
});

t.test('images to tokens and back', async (t) => {
  const engine = await engineFor(t);
  const { pixelsPerToken } = engine.model;
  const [image] = await engine.generate({ prompt: 'a red circle', seed: 1, steps: 2 });
  if (!image) return;
  const decoded = await engine.decodeTokens(image.tokens);
  sameNumbers(t, decoded.data, image.data, 'decoding the tokens of an image gives the image');
  t.same(decoded.parameters, {});
  const grid = await engine.encodeImage(image);
  t.equal(grid.width, image.tokens.width);
  t.equal(grid.height, image.tokens.height);
  const fromFile = await engine.encodeImage(await image.encode('png'));
  t.same(fromFile, grid, 'the same from a PNG');
  const file = `${temporaryFolder(t)}/image.png`;
  await image.save(file);
  t.same(await engine.encodeImage(file), grid, 'the same from a file');
  const odd = {
    data: new Uint8Array((2 * pixelsPerToken + 1) * (3 * pixelsPerToken + 2) * 3),
    width: 2 * pixelsPerToken + 1,
    height: 3 * pixelsPerToken + 2,
    channels: 3 as const,
  };
  const cropped = await engine.encodeImage(odd);
  t.same([cropped.width, cropped.height], [2, 3], 'cropped to whole tokens');
  const [started] = await engine.generate({
    prompt: 'a',
    initTokens: image.tokens,
    steps: 1,
    renoiseSteps: 0,
    seed: 9,
  });
  t.equal(started?.width, image.width);
});

t.test('stream', async (t) => {
  const engine = await engineFor(t);
  const options = { prompt: 'a red circle', steps: 4, seed: 2, count: 2, previewEvery: 2 };
  const events: GenerateEvent[] = [];
  for await (const event of engine.stream(options)) events.push(event);
  const kinds = events.map(({ type }) => type);
  t.equal(kinds[0], 'queued');
  t.same(kinds.filter((kind) => kind === 'step').length, 4);
  t.same(kinds.slice(-2), ['image', 'image']);
  const steps = events.filter((event) => event.type === 'step');
  t.same(
    steps.map(({ step }) => step),
    [1, 2, 3, 4],
  );
  t.equal(steps[0]?.noiseLevel, 1);
  t.ok(steps.every(({ noiseLevel }, i) => i === 0 || noiseLevel < (steps[i - 1]?.noiseLevel ?? 0)));
  const previews = events.filter((event) => event.type === 'preview');
  t.same(previews.map(({ step, index }) => `${step}.${index}`).sort(), ['2.0', '2.1']);
  for (const { preview } of previews) t.equal(preview.data.length, preview.width * preview.height * 3);
  const images = events.flatMap((event) => (event.type === 'image' ? [event.image] : []));
  const direct = await engine.generate(options);
  t.same(images.map(tokensOf), direct.map(tokensOf));
  const error = await rejection(
    (async () => {
      for await (const _ of engine.stream({ prompt: 'a', steps: 0 }));
    })(),
  );
  t.match(error, { code: 'ERR_INVALID_OPTION' });
});

t.test('onStep', async (t) => {
  const engine = await engineFor(t);
  const steps: StepEvent[] = [];
  await engine.generate({ prompt: 'a', steps: 3, onStep: (event) => steps.push(event) });
  t.same(
    steps.map(({ step, steps }) => [step, steps]),
    [
      [1, 3],
      [2, 3],
      [3, 3],
    ],
  );
  const mistake = new Error('mistake in a callback');
  const error = await rejection(
    engine.generate({
      ...longJob,
      onStep: () => {
        throw mistake;
      },
    }),
  );
  t.equal(error, mistake, 'what a callback throws ends the job and is its rejection');
});

t.test('stats', async (t) => {
  const engine = await engineFor(t);
  const before = engine.stats();
  t.equal(before.images, 0);
  await engine.generate({ prompt: 'a', count: 2, steps: 2 });
  const after = engine.stats();
  t.equal(after.images, 2);
  t.equal(after.jobs.done, 1);
  t.equal(after.jobs.queued, 0);
  t.ok(after.stages.unet > 0);
  t.ok(after.memory.weights > 0 && after.memory.peak >= after.memory.current);
  t.same(after.batchSizes, { 2: 1 });
  t.same(after.transfers, { uploads: 0, downloads: 0, launches: 0, synchronizations: 0 });
});

t.test('the shared engine', async (t) => {
  const load = { model: testModel, backend: 'cpu' } as const;
  const [[a], [b]] = await Promise.all([
    generate({ prompt: 'a', seed: 1, steps: 1 }, load),
    generate({ prompt: 'a', seed: 1, steps: 1 }, load),
  ]);
  t.same(tokensOf(a), tokensOf(b));
  const error = await rejection(generate('a', { model: './no-such-folder' }));
  t.match(error, { code: 'ERR_MODEL_NOT_FOUND' });

  // An engine that is still to be loaded, and two who wait for it; one of them gives up.
  const other = { ...load, maxBatch: 3 };
  const stop = new AbortController();
  const given = rejection(generate('a', { ...other, signal: stop.signal }));
  const kept = generate({ prompt: 'a', seed: 1, steps: 1 }, other);
  stop.abort(new Error('given up'));
  t.match(await given, { message: 'given up' });
  t.same(tokensOf((await kept)[0]), tokensOf(a));
  t.match(await rejection(generate('a', { ...other, signal: AbortSignal.abort(new Error('late')) })), {
    message: 'late',
  });
});

t.test('what onProgress throws is what load rejects with', async (t) => {
  const onProgress = () => {
    throw new Error('mine');
  };
  t.match(await rejection(Paella.load({ model: testModel, backend: 'cpu', onProgress })), { message: 'mine' });
});

t.test('Paella cannot be made without load()', async (t) => {
  t.throws(() => new (Paella as unknown as new () => Paella)());
});
