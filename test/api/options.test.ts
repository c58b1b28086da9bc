// Every option: of the wrong type, out of range, unknown. One form of message: name, expectation, value.
import t from 'tap';
import { type GenerateOptions, generate, type LoadOptions, Paella } from '../../lib/index.js';
import { engineFor, rejectsWith, testModel } from './support/engine.js';

type Case = [value: unknown, shown: string];

const notAString: Case[] = [
  [5, '5'],
  [null, 'null'],
  [['a'], '["a"]'],
  [{}, '{}'],
];
const notANumber: Case[] = [
  ['8', '"8"'],
  [null, 'null'],
  [Number.NaN, 'NaN'],
  [Number.POSITIVE_INFINITY, 'Infinity'],
  [[], '[]'],
  [true, 'true'],
];

t.test('generate', async (t) => {
  const engine = await engineFor(t);
  const { sizeMultiple: multiple, maxSize, vocabularySize, conditionWidth, pixelsPerToken } = engine.model;
  const cases: Record<string, [expected: string, values: Case[]]> = {
    prompt: [
      'a string, or an array of { text, weight } with weights between -100 and 100',
      [
        [5, '5'],
        [null, 'null'],
        [[], '[]'],
        [[{ text: 'a' }], '[{"text":"a"}]'],
        [[{ text: 'a', weight: 101 }], '[{"text":"a","weight":101}]'],
      ],
    ],
    negativePrompt: ['a string', notAString],
    width: [
      `a multiple of ${multiple} between ${multiple} and ${maxSize}`,
      [
        ...notANumber,
        [0, '0'],
        [-multiple, `-${multiple}`],
        [multiple + 1, `${multiple + 1}`],
        [multiple + 0.5, `${multiple + 0.5}`],
        [maxSize + multiple, `${maxSize + multiple}`],
      ],
    ],
    height: [
      `a multiple of ${multiple} between ${multiple} and ${maxSize}`,
      [...notANumber, [0, '0'], [multiple - 1, `${multiple - 1}`]],
    ],
    steps: ['an integer between 1 and 1000', [...notANumber, [0, '0'], [1001, '1001'], [1.5, '1.5']]],
    renoiseSteps: ['an integer between 0 and 1000', [...notANumber, [-1, '-1'], [0.5, '0.5']]],
    conditionalSteps: ['an integer between 0 and 1000', [...notANumber, [-1, '-1']]],
    guidanceScale: [
      'a number between -100 and 100, or [first, last]',
      [...notANumber, [[1], '[1]'], [[1, 2, 3], '[1,2,3]'], [[1, 'x'], '[1,"x"]'], [101, '101']],
    ],
    temperature: [
      'a number between 0.001 and 100, or [first, last]',
      [...notANumber, [0, '0'], [[1, 0], '[1,0]'], [-1, '-1']],
    ],
    sampler: [
      'one of multinomial, argmax',
      [
        ['euler', '"euler"'],
        [1, '1'],
        [null, 'null'],
      ],
    ],
    typicalMass: ['a number between 0 and 1', [...notANumber, [1.1, '1.1'], [-0.1, '-0.1']]],
    seed: [
      'an integer between 0 and 9007199254740991',
      [...notANumber, [-1, '-1'], [2 ** 53, '9007199254740992'], [1n, '1n']],
    ],
    count: ['an integer between 1 and 256', [...notANumber, [0, '0'], [257, '257']]],
    condition: [
      `a result of encodeText() of this model (width ${conditionWidth})`,
      [
        [5, '5'],
        [{ states: new Float32Array(3), length: 1, width: 3 }, '{"states":"Float32Array(3)","length":1,"width":3}'],
      ],
    ],
    initTokens: [
      `{ tokens: Int32Array(width × height) of ids below ${vocabularySize}, width, height }`,
      [
        [5, '5'],
        [
          { tokens: Int32Array.of(vocabularySize), width: 1, height: 1 },
          '{"tokens":"Int32Array(1)","width":1,"height":1}',
        ],
        [{ tokens: Int32Array.of(0), width: 2, height: 1 }, '{"tokens":"Int32Array(1)","width":2,"height":1}'],
      ],
    ],
    initImage: ['nothing: starting from an image is not supported yet', [['a.png', '"a.png"']]],
    mask: ['nothing: a mask is not supported yet', [['a.png', '"a.png"']]],
    strength: ['nothing: a strength is not supported yet', [[0.5, '0.5']]],
    signal: [
      'an AbortSignal',
      [
        [{}, '{}'],
        [5, '5'],
      ],
    ],
    priority: ['an integer between -1000000 and 1000000', [...notANumber, [0.5, '0.5']]],
    deadlineMs: ['a number of milliseconds between 1 and 2147483647', [...notANumber, [0, '0'], [-1, '-1']]],
    previewEvery: ['an integer between 0 and 1000', [...notANumber, [-1, '-1']]],
    onStep: [
      'a function',
      [
        [{}, '{}'],
        ['x', '"x"'],
      ],
    ],
  };
  for (const [name, [expected, values]] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      for (const [value, shown] of values) {
        const options = { ...(name === 'condition' ? {} : { prompt: 'a' }), [name]: value } as GenerateOptions;
        await rejectsWith(
          t,
          engine.generate(options),
          'ERR_INVALID_OPTION',
          `${name}: expected ${expected}, got ${shown}`,
        );
      }
    });
  }

  await t.test('undefined is the same as not given', async (t) => {
    const options = Object.fromEntries(Object.keys(cases).map((name) => [name, undefined]));
    const [image] = await engine.generate({ ...options, prompt: 'a', steps: 1 });
    t.equal(image?.width, engine.model.defaults.width);
  });

  await t.test('options that do not fit together', async (t) => {
    await rejectsWith(t, engine.generate({}), 'ERR_INVALID_OPTION', 'prompt: expected a string, got undefined');
    await rejectsWith(
      t,
      engine.generate({ prompt: 'a', steps: 4, renoiseSteps: 5 }),
      'ERR_INVALID_OPTION',
      'renoiseSteps: expected at most the number of steps (4), got 5',
    );
    await rejectsWith(
      t,
      engine.generate({ prompt: 'a', steps: 4, conditionalSteps: 5 }),
      'ERR_INVALID_OPTION',
      'conditionalSteps: expected at most the number of steps (4), got 5',
    );
    await rejectsWith(
      t,
      engine.generate({ prompt: 'a', seed: Number.MAX_SAFE_INTEGER, count: 2 }),
      'ERR_INVALID_OPTION',
      'seed: expected at most 9007199254740990 with count 2 (image i uses seed + i), got 9007199254740991',
    );
    const condition = await engine.encodeText('a');
    await rejectsWith(
      t,
      engine.generate({ prompt: 'a', condition }),
      'ERR_INVALID_OPTION',
      /^condition: expected nothing beside a prompt, got /,
    );
    const side = multiple / pixelsPerToken;
    const initTokens = { tokens: new Int32Array(side * side), width: side, height: side };
    await rejectsWith(
      t,
      engine.generate({ prompt: 'a', initTokens, width: 2 * multiple }),
      'ERR_INVALID_OPTION',
      /^initTokens: expected a grid of /,
    );
  });

  await t.test('unknown names', async (t) => {
    const unknown = (name: string) => engine.generate({ prompt: 'a', [name]: 1 } as GenerateOptions);
    await rejectsWith(t, unknown('stpes'), 'ERR_INVALID_OPTION', 'stpes: unknown option, did you mean steps?');
    await rejectsWith(
      t,
      unknown('guidance'),
      'ERR_INVALID_OPTION',
      'guidance: unknown option, did you mean guidanceScale?',
    );
    await rejectsWith(
      t,
      unknown('negative_prompt'),
      'ERR_INVALID_OPTION',
      'negative_prompt: unknown option, did you mean negativePrompt?',
    );
    const error = await rejectsWith(t, unknown('zzzzzz'), 'ERR_INVALID_OPTION', 'zzzzzz: unknown option');
    t.match(error.remedy, /known options: prompt, /);
  });

  await t.test('not an object', async (t) => {
    for (const [value, shown] of [
      [5, '5'],
      [null, 'null'],
      [undefined, 'undefined'],
      [[], '[]'],
    ] as Case[]) {
      const error = `options of generate: expected an object, got ${shown}`;
      await rejectsWith(t, engine.generate(value as GenerateOptions), 'ERR_INVALID_OPTION', error);
    }
  });

  await t.test('other methods', async (t) => {
    const wrong = (value: unknown) => value as never;
    await rejectsWith(t, engine.encodeText(wrong(5)), 'ERR_INVALID_OPTION', 'prompt: expected a string, got 5');
    await rejectsWith(t, engine.encodeImage(wrong(5)), 'ERR_INVALID_OPTION', /^image: expected a path, .* got 5$/);
    await rejectsWith(
      t,
      engine.encodeImage({ data: new Uint8Array(5), width: 1, height: 1, channels: 3 }),
      'ERR_INVALID_OPTION',
      /^image: /,
    );
    await rejectsWith(
      t,
      engine.encodeImage({ data: new Uint8Array(3), width: 1, height: 1, channels: 3 }),
      'ERR_INVALID_OPTION',
      /^image: expected at least /,
    );
    await rejectsWith(
      t,
      engine.encodeImage('/no/such/file.png'),
      'ERR_IO',
      '/no/such/file.png: cannot be read: no such file or folder',
    );
    await rejectsWith(
      t,
      engine.encodeImage(Buffer.from('not an image')),
      'ERR_IO',
      /^image: cannot be decoded as an image: /,
    );
    await rejectsWith(t, engine.decodeTokens(wrong({})), 'ERR_INVALID_OPTION', /^grid: expected /);
    const side = multiple / pixelsPerToken;
    const tokens = new Int32Array(side * side);
    const input = { tokens, width: side, height: side, noiseLevel: 1, condition: null };
    await rejectsWith(
      t,
      engine.predict({ ...input, noiseLevel: 0 }),
      'ERR_INVALID_OPTION',
      'noiseLevel: expected a number above 0 and at most 1, got 0',
    );
    await rejectsWith(
      t,
      engine.predict({ ...input, width: side + 1 }),
      'ERR_INVALID_OPTION',
      /^width: expected a multiple of /,
    );
    await rejectsWith(
      t,
      engine.predict({ ...input, batch: 2 }),
      'ERR_INVALID_OPTION',
      /^tokens: expected batch × height × width = /,
    );
    await rejectsWith(t, engine.predict(wrong({ ...input, condition: 5 })), 'ERR_INVALID_OPTION', /^condition: /);
    await rejectsWith(
      t,
      engine.predict(wrong({ ...input, noise: 5 })),
      'ERR_INVALID_OPTION',
      'noise: unknown option, did you mean noiseLevel?',
    );
    t.throws(() => engine.on(wrong('progress'), () => {}), { code: 'ERR_INVALID_OPTION' });
    t.throws(() => engine.on('warning', wrong(5)), { message: 'listener: expected a function, got 5' });
    await rejectsWith(
      t,
      engine.dispose(wrong(null)),
      'ERR_INVALID_OPTION',
      'options of dispose: expected an object, got null',
    );
    await rejectsWith(
      t,
      engine.dispose({ abort: wrong('yes') }),
      'ERR_INVALID_OPTION',
      'abort: expected true or false, got "yes"',
    );
    await rejectsWith(
      t,
      engine.dispose(wrong({ abrot: true })),
      'ERR_INVALID_OPTION',
      'abrot: unknown option, did you mean abort?',
    );
    await engine.generate({ prompt: 'a', steps: 1 }); // none of these has disposed of it
  });
});

t.test('load', async (t) => {
  const cases: Record<string, [expected: string, values: Case[]]> = {
    model: ["a model's name or folder", [...notAString, ['', '""']]],
    backend: [
      'one of auto, tensorrt, cuda, cpu',
      [
        ['gpu', '"gpu"'],
        [1, '1'],
      ],
    ],
    device: ['an integer between 0 and 127', [...notANumber, [-1, '-1']]],
    devices: [
      "'all' or a list of numbers between 0 and 127",
      [
        ['every', '"every"'],
        [1, '1'],
        [[], '[]'],
        [[0, -1], '[0,-1]'],
      ],
    ],
    precision: [
      'one of auto, fp32, bf16, fp16, int8',
      [
        ['half', '"half"'],
        [16, '16'],
      ],
    ],
    threads: ['an integer between 1 and 1024', [...notANumber, [0, '0'], [1.5, '1.5']]],
    maxBatch: ['an integer between 1 and 1024', [...notANumber, [0, '0']]],
    maxDelayMs: ['an integer between 0 and 60000', [...notANumber, [-1, '-1']]],
    maxQueue: ['an integer between 1 and 1000000', [...notANumber, [0, '0']]],
    memory: [
      'one of resident, balanced, low',
      [
        ['high', '"high"'],
        [1, '1'],
      ],
    ],
    signal: ['an AbortSignal', [[{}, '{}']]],
    onProgress: ['a function', [[5, '5']]],
    logger: [
      'an object with the functions debug, info, warn, error, or some of them',
      [
        [5, '5'],
        [null, 'null'],
        [{ warn: 5 }, '{"warn":5}'],
      ],
    ],
  };
  for (const [name, [expected, values]] of Object.entries(cases)) {
    for (const [value, shown] of values) {
      const options = { [name]: value } as LoadOptions;
      await rejectsWith(t, Paella.load(options), 'ERR_INVALID_OPTION', `${name}: expected ${expected}, got ${shown}`);
    }
  }
  await rejectsWith(
    t,
    Paella.load({ backed: 'cpu' } as LoadOptions),
    'ERR_INVALID_OPTION',
    'backed: unknown option, did you mean backend?',
  );
  await rejectsWith(
    t,
    Paella.load({ model: testModel, backend: 'cpu', precision: 'fp16' }),
    'ERR_INVALID_OPTION',
    /^precision: expected one of auto, fp32.* with backend cpu, got "fp16"$/,
  );
  await rejectsWith(
    t,
    Paella.load({ model: testModel, backend: 'cpu', device: 5 }),
    'ERR_INVALID_OPTION',
    /^device: expected a number below 1 /,
  );
  for (const [options, message] of [
    [{ device: 0, devices: [0] }, /^devices: expected nothing beside device, got \[0\]$/],
    [{ devices: [0, 0] }, /^devices: expected each device once, got \[0,0\]$/],
    [{ devices: [0, 3] }, /^device: expected a number below 1 .*, got 3$/],
  ] as const) {
    await rejectsWith(t, Paella.load({ model: testModel, backend: 'cpu', ...options }), 'ERR_INVALID_OPTION', message);
  }
  const engine = await Paella.load({ model: testModel, backend: 'cpu', devices: 'all' });
  t.equal((await engine.generate('a')).length, 1);
  await engine.dispose();
  await rejectsWith(
    t,
    generate('a', { threads: 0 }),
    'ERR_INVALID_OPTION',
    'threads: expected an integer between 1 and 1024, got 0',
  );
});
