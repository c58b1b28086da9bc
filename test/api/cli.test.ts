// The command line as a user meets it: files, output, exit codes.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import t from 'tap';
import { packageVersion } from '../../lib/package-root.cjs';
import { root, temporaryFolder, testModel } from './support/engine.js';
import { paella, program } from './support/process.js';

const model = ['--model', testModel, '--backend', 'cpu'];
const quick = [...model, '--steps', '2'];

t.test('a prompt makes a PNG in the current folder', async (t) => {
  const cwd = temporaryFolder(t);
  const first = await paella(['a', 'Red circle,', 'above a square', '--seed', '7', ...quick], { cwd });
  t.equal(first.code, 0, first.stderr);
  t.equal(first.stderr, '', 'calm: no progress without a terminal');
  t.match(
    first.stdout,
    /^a-red-circle-above-a-square-7\.png {2}\d+×\d+ {2}seed 7 {2}.* on cpu in (fp32|bf16)\nload .* total .*\n$/,
  );
  const second = await paella(['generate', 'a Red circle, above a square', '--seed=7', ...quick], { cwd });
  t.equal(second.code, 0, second.stderr);
  t.same(
    readdirSync(cwd).sort(),
    ['a-red-circle-above-a-square-7-2.png', 'a-red-circle-above-a-square-7.png'],
    'no file is replaced',
  );
  const [a, b] = readdirSync(cwd).map((name) => readFileSync(path.join(cwd, name)));
  t.ok(a && b && a.equals(b), 'the same seed, the same file');
});

t.test('--output and --format', async (t) => {
  const cwd = temporaryFolder(t);
  mkdirSync(path.join(cwd, 'pictures'));
  const run = (...args: string[]) => paella([...args, '--seed', '1', ...quick], { cwd });
  t.equal((await run('x', '-o', 'one.webp')).code, 0);
  t.equal((await sharp(path.join(cwd, 'one.webp')).metadata()).format, 'webp');
  writeFileSync(path.join(cwd, 'old.png'), 'old');
  t.equal((await run('x', '--output', 'old.png')).code, 0, 'a file named by the user is replaced');
  t.equal((await sharp(path.join(cwd, 'old.png')).metadata()).format, 'png');
  t.equal((await run('x', '-o', 'pictures', '--format', 'jpeg')).code, 0);
  t.same(readdirSync(path.join(cwd, 'pictures')), ['x-1.jpg']);
  t.equal((await run('x', '-o', 'many.png', '-n', '2')).code, 0);
  t.ok(existsSync(path.join(cwd, 'many-1.png')) && existsSync(path.join(cwd, 'many-2.png')));
  t.equal((await run('', '--preview', '1', '-o', 'p.png')).code, 0, 'the empty prompt');
  t.ok(existsSync(path.join(cwd, 'p-step-1.png')) && existsSync(path.join(cwd, 'p.png')));

  const fails = async (args: string[], code: number, message: RegExp) => {
    const before = readdirSync(cwd);
    const outcome = await run(...args);
    t.equal(outcome.code, code, `${args.join(' ')}: ${outcome.stderr}`);
    t.match(outcome.stderr, message);
    t.equal(outcome.stdout, '');
    t.same(readdirSync(cwd), before, 'no file');
  };
  await fails(
    ['x', '-o', 'a.gif'],
    2,
    /^paella: --output: expected an existing folder, or a file name ending in .*, got "a\.gif"\n/,
  );
  await fails(
    ['x', '-o', 'none/'],
    1,
    /^paella: none\/: cannot be written: no such folder\n {8}create the folder first\n$/,
  );
  await fails(['x', '-o', 'none/a.png'], 1, /^paella: none\/a\.png: cannot be written: no such folder\n/);
  await fails(
    ['x', '-o', 'a.png', '--format', 'webp'],
    2,
    /^paella: --format: expected png, as the file name says, or nothing, got "webp"\n/,
  );
  await fails(
    ['x', '-o', 'a.jpg', '--quality', '500'],
    2,
    /^paella: --quality: expected an integer between 1 and 100, got 500\n/,
  );
  await fails(['x', '--quality', '9'], 2, /^paella: --quality: expected nothing for PNG, which has no loss, got 9\n/);
  await fails(['x', '--format', 'bmp'], 2, /^paella: --format: expected one of png, jpeg, webp, avif, got "bmp"\n/);
});

t.test('wrong usage', async (t) => {
  const cwd = temporaryFolder(t);
  const cases: [args: string[], message: RegExp][] = [
    [[...model], /^paella: prompt: expected some words, got undefined\n {8}run `paella --help`\n$/],
    [['x', '--guidence-scale', '4'], /^paella: --guidence-scale: unknown option, did you mean --guidance-scale\?\n/],
    [['x', '--zzz'], /^paella: --zzz: unknown option\n/],
    [['doctor', 'foo'], /^paella: foo: unexpected argument\n/],
    [['doctor', 'o', '--json=false'], /^paella: o: unexpected argument\n/],
    [['doctor', '--', 'foo'], /^paella: foo: unexpected argument\n/],
    [['engine', 'list', 'foo'], /^paella: names: expected nothing behind list, got \["foo"\]\n/],
    [
      ['x', '--attention-weights', '1', '--attention-weights', '2', ...model],
      /^paella: --attention-weights: expected /,
    ],
    [['x', '--seed'], /Not enough arguments following: seed/],
    [['x', '--width', '1', ...model], /^paella: --width: expected a multiple of \d+ between \d+ and \d+, got 1\n$/],
    [['x', '--steps', 'many', ...model], /^paella: --steps: expected an integer between 1 and 1000, got "many"\n$/],
    [['x', '--guidance-scale', '1,b', ...model], /^paella: --guidance-scale: expected .*, got "1,b"\n$/],
    [['x', '--sampler', 'euler', ...model], /^paella: --sampler: expected one of multinomial, argmax, got "euler"\n$/],
    [['x', '--backend', 'gpu'], /^paella: --backend: expected one of auto, tensorrt, cuda, cpu, got "gpu"\n$/],
    [['x', '--temperature', '.0', ...model], /^paella: --temperature: expected .*, got 0\n$/],
    [['x', '--preview', 'x', ...model], /^paella: --preview: expected an integer between 0 and 1000, got "x"\n$/],
    [['x', '-o', 'a.png', '-o', 'b.png'], /^paella: --output: expected one file or folder, got \["a.png","b.png"\]\n$/],
    [['x', '-o', ''], /^paella: --output: expected one file or folder, got ""\n$/],
    [['encode', 'x.png', '-o', 'a', '-o', 'b'], /^paella: --output: expected one file or folder, got \["a","b"\]\n$/],
    [['bench', '-o', 'a', '-o', 'b'], /^paella: --output: expected one file or folder, got \["a","b"\]\n$/],
    [['x', '--threads', '0'], /^paella: --threads: expected an integer between 1 and 1024, got 0\n$/],
    [['doctor', '--backend', 'gpu'], /^paella: --backend: expected one of cpu, cuda, tensorrt, got "gpu"\n$/],
    [['inspect'], /Not enough non-option arguments/],
    [['bench', '--repeat', '0'], /^paella: --repeat: expected an integer, at least 1, got 0\n$/],
  ];
  for (const [args, message] of cases) {
    const outcome = await paella(args, { cwd });
    t.equal(outcome.code, 2, `paella ${args.join(' ')}: ${outcome.stderr}`);
    t.match(outcome.stderr, message);
    t.equal(outcome.stdout, '');
  }
  t.same(readdirSync(cwd), []);

  const json = await paella(['x', '--zzz', '--json'], { cwd });
  t.equal(json.code, 2);
  t.same(JSON.parse(json.stdout), {
    error: { code: 'ERR_INVALID_OPTION', message: '--zzz: unknown option', remedy: 'run `paella --help`' },
  });
});

t.test('what follows -- is part of the prompt', async (t) => {
  const cwd = temporaryFolder(t);
  const { code, stdout, stderr } = await paella(['a', '--json', '-t', '.5', ...quick, '--', '--width', 'circle'], {
    cwd,
  });
  t.equal(code, 0, stderr);
  t.match(JSON.parse(stdout).images[0].parameters, { prompt: 'a --width circle', temperature: [0.5, 0.5] });
});

t.test('failures', async (t) => {
  const cwd = temporaryFolder(t);
  const unknown = await paella(['x', '--model', 'huge'], { cwd });
  t.equal(unknown.code, 1);
  t.match(
    unknown.stderr,
    /^paella: --model: no bundled model is called "huge", and there is no folder .*\n {8}bundled models: /,
  );
  const offline = { cwd, env: { HF_HUB_OFFLINE: '1', HF_HOME: cwd } };
  const hub = await paella(['x', '--model', 'owner/name', '--json'], offline);
  t.equal(hub.code, 1);
  t.match(JSON.parse(hub.stdout), {
    error: { code: 'ERR_MODEL_NOT_FOUND', message: /owner\/name/, remedy: /HF_HUB_OFFLINE/ },
  });
  const env = { PAELLA_CUDA_PLUGIN: '/nowhere' };
  const cuda = await paella(['x', '--backend', 'cuda', '--model', testModel], { cwd, env });
  t.equal(cuda.code, 1, 'a named backend never falls back');
  t.match(cuda.stderr, /^paella: backend cuda is unavailable: /);
  t.same(readdirSync(cwd), []);
  writeFileSync(path.join(cwd, 'model'), '');
  const below = await paella(['x', '-o', 'model/x.png'], { cwd });
  t.equal(below.code, 1);
  t.match(below.stderr, /^paella: model\/x\.png: cannot be written: no such folder\n/);
  const image = await paella(['inspect', 'model'], { cwd });
  t.equal(image.code, 1);
  t.match(image.stderr, /^paella: model: cannot be decoded as an image: /, 'a file is not taken for an option');
  const none = await paella(['inspect', 'model/none'], offline);
  t.equal(none.code, 1);
  t.match(
    none.stderr,
    /^paella: model: model\/none is neither a folder here nor in the cache .*, and HF_HUB_OFFLINE is set\n/,
  );
});

t.test('--json is one document', async (t) => {
  const cwd = temporaryFolder(t);
  const { code, stdout, stderr } = await paella(
    ['a red circle', '--json', '-n', '2', '--seed', '3', '-t', '1,0.5', '-o', 'x.png', ...quick],
    { cwd },
  );
  t.equal(code, 0, stderr);
  t.equal(stderr, '');
  const document = JSON.parse(stdout);
  t.match(document, {
    model: String,
    backend: 'cpu',
    device: String,
    precision: String,
    loadMs: Number,
    images: [
      {
        file: 'x-3.png',
        seed: 3,
        width: Number,
        parameters: { prompt: 'a red circle', temperature: [1, 0.5], steps: 2 },
        timings: { unet: Number, total: Number },
      },
      { file: 'x-4.png', seed: 4 },
    ],
  });
});

t.test('progress of loading, on a terminal', async (t) => {
  const { stderr } = await program(`
    process.stderr.isTTY = true;
    const { loadEngine } = await import(${JSON.stringify(path.join(root, 'dist/esm/cli/progress.js'))});
    for (const model of [${JSON.stringify(testModel)}, 'random:paella-v3-small'])
      await (await loadEngine({ model, backend: 'cpu' })).dispose();
  `);
  t.match(stderr, /loading unet █+░* \d+ %/);
  t.match(stderr, /making unet [\d.]+ MiB/, 'random weights have no total');
  for (const [, percent] of stderr.matchAll(/(\d+) %/g)) t.ok(Number(percent) <= 100);
  t.ok(stderr.endsWith('\r\x1b[2K'), 'and nothing is left of it');
});

t.test('interrupted', async (t) => {
  const cwd = temporaryFolder(t);
  const { code, signal, stdout, stderr } = await paella(
    ['x', '--steps', '1000', '--preview', '1', '-W', '128', '-H', '128', ...model],
    {
      cwd,
      kill: { signal: 'SIGINT', afterMs: 2000 },
    },
  );
  t.equal(signal, null);
  t.equal(code, 130, stderr);
  t.equal(stdout, '');
  t.match(stderr, /paella: interrupted\n$/);
  t.same(
    readdirSync(cwd).filter((name) => !/-step-\d+\.png$/.test(name)),
    [],
    'no image and no partial file',
  );
});

t.test('doctor', async (t) => {
  const people = await paella(['doctor']);
  t.equal(people.code, 0, people.stderr);
  t.match(people.stdout, /✓ cpu\n/);
  t.match(people.stdout, /[✓✗] cuda/);
  t.match(people.stdout, /✗ tensorrt: /);
  const { stdout } = await paella(['doctor', '--json']);
  const document = JSON.parse(stdout);
  t.equal(document.version, packageVersion);
  t.same(
    document.backends.map(({ name }: { name: string }) => name),
    ['cpu', 'cuda', 'tensorrt'],
  );
  t.equal((await paella(['doctor', '--backend', 'cpu'])).code, 0);
  t.equal((await paella(['doctor', '--backend', 'tensorrt'])).code, 1);
});

t.test('inspect', async (t) => {
  const cwd = temporaryFolder(t);
  await paella(['a red circle', '--seed', '5', '-o', 'a.jpg', ...quick], { cwd });
  const image = await paella(['inspect', 'a.jpg'], { cwd });
  t.equal(image.code, 0, image.stderr);
  t.match(image.stdout, /prompt +a red circle\n/);
  t.match(JSON.parse((await paella(['inspect', 'a.jpg', '--json'], { cwd })).stdout), {
    file: 'a.jpg',
    parameters: { seed: 5, steps: 2 },
  });
  const about = await paella(['inspect', testModel]);
  t.equal(about.code, 0, about.stderr);
  for (const network of ['text_encoder', 'unet', 'vqgan', 'total'])
    t.match(about.stdout, new RegExp(`^${network} .*[KMG]iB$`, 'm'));
  t.match(JSON.parse((await paella(['inspect', testModel, '--json'])).stdout), {
    parameters: { unet: Number },
    memory: { weights: { resident: Number, low: Number }, peak: { resident: Number } },
  });
  t.match(about.stdout, /^memory \(estimate\) +weights at once +peak\nresident .*\nbalanced .*\nlow /m);
  const half = await paella(['inspect', testModel, '--encoder-weights', 'int8', '--precision', 'fp32', '-n', '4']);
  t.match(half.stdout, /in fp32\n/);
  const wrong = await paella(['inspect', testModel, '--width', '33']);
  t.match(wrong, { code: 2, stderr: /^paella: --width: expected a multiple of/ });
  await sharp({ create: { width: 8, height: 8, channels: 3, background: 'red' } }).toFile(path.join(cwd, 'plain.png'));
  const plain = await paella(['inspect', 'plain.png'], { cwd });
  t.equal(plain.code, 1);
  t.match(plain.stderr, /^paella: plain\.png: no parameters of paella-native in this image\n/);
});

t.test('encode and decode', async (t) => {
  const cwd = temporaryFolder(t);
  await paella(['a red circle', '-o', 'a.png', ...quick], { cwd });
  const encoded = await paella(['encode', 'a.png', ...model], { cwd });
  t.equal(encoded.code, 0, encoded.stderr);
  const grid = JSON.parse(encoded.stdout);
  t.equal(grid.tokens.length, grid.width * grid.height);
  t.equal((await paella(['encode', 'a.png', '-o', 'a.json', ...model], { cwd })).code, 0);
  t.same(JSON.parse(readFileSync(path.join(cwd, 'a.json'), 'utf8')), grid);
  const decoded = await paella(['decode', 'a.json', '-o', 'b.png', '--json', ...model], { cwd });
  t.equal(decoded.code, 0, decoded.stderr);
  t.match(JSON.parse(decoded.stdout), { file: 'b.png', width: Number });
  for (const [content, message] of [
    ['nonsense', /got something that is not JSON/],
    ['{"tokens":[1]}', /got another document/],
    ['{"width":2,"height":2,"tokens":[1]}', /got 1 tokens for 2 × 2/],
    ['{"width":1,"height":2,"tokens":[1,-1]}', /bad\.json: tokens\[1\]: expected an integer from 0 to \d+, got -1\n/],
    [
      '{"width":1,"height":1,"tokens":[4294967297]}',
      /tokens\[0\]: expected an integer from 0 to \d+, got 4294967297\n/,
    ],
    [
      '{"width":1,"height":1,"tokens":[99999]}',
      /bad\.json: tokens\[0\]: expected an integer from 0 to \d+, got 99999\n/,
    ],
  ] as const) {
    writeFileSync(path.join(cwd, 'bad.json'), content);
    const outcome = await paella(['decode', 'bad.json', '-o', 'c.png', ...model], { cwd });
    t.equal(outcome.code, 1);
    t.match(outcome.stderr, message);
  }
  t.notOk(existsSync(path.join(cwd, 'c.png')));
  writeFileSync(path.join(cwd, 'other.json'), JSON.stringify({ ...grid, model: 'other' }));
  const foreign = await paella(['decode', 'other.json', '-o', 'd.png', ...model], { cwd });
  t.match(foreign, { code: 0, stderr: /^paella: other\.json: tokens of the model other, decoded by / });
  const none = await paella(['encode', 'none.png', ...model], { cwd });
  t.equal(none.code, 1);
  t.match(none.stderr, /^paella: none\.png: cannot be read: no such file or folder\n/);
});

t.test('--help and --version', async (t) => {
  const help = await paella(['--help']);
  t.equal(help.code, 0);
  for (const name of [
    'generate',
    'doctor',
    'inspect',
    'encode',
    'decode',
    'bench',
    '--guidance-scale',
    '--no-metadata',
  ])
    t.match(help.stdout, name);
  t.equal((await paella(['--version'])).stdout.trim(), packageVersion);
});
