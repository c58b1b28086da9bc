// The throughput scripts and the guard, as a user runs them.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { parseDocument } from '../../lib/cli/bench/documents.js';
import { TarWriter } from '../../scripts/bench/tar.js';
import { rejection, root, temporaryFolder, testModel } from '../api/support/engine.js';
import { type RunOptions, run } from '../api/support/process.js';

const script = (name: string, args: readonly string[], options?: RunOptions) =>
  run(
    process.execPath,
    [`--import=${import.meta.resolve('tsx')}`, path.join(root, 'scripts/bench', name), ...args],
    options,
  );
const model = ['--model', testModel, '--backend', 'cpu'];

t.test('prompts to a folder: killed, and gone on with', async (t) => {
  const cwd = temporaryFolder(t);
  const prompts = Array.from({ length: 60 }, (_, i) => `a red circle and ${i} blue squares`);
  writeFileSync(path.join(cwd, 'prompts.txt'), `${prompts.join('\r\n')}\n\n`);
  const args = ['prompts.txt', ...model, '--steps', '8', '--seed', '5', '--output'];
  const whole = await script('prompts-to-images.ts', [...args, 'whole.tar', '--result', 'row.json'], { cwd });
  t.equal(whole.code, 0, whole.stderr);
  t.match(whole.stdout, /^60 of 60 images in whole\.tar; 60 of them now, in [\d.]+ s, [\d.]+ images\/s\n$/);
  const [row] = parseDocument(readFileSync(path.join(cwd, 'row.json'), 'utf8'), 'row.json').rows;
  t.match(row, {
    scenario: 'prompts',
    warmup: 1,
    ms: { runs: 59 },
    counted: { encodeFile: true },
    details: { images: 60 },
  });
  t.notOk(row?.samples.includes(row?.firstMs ?? Number.NaN), 'the first is no sample');
  t.ok(Number(row?.details?.meanBatch) > 2, 'batches are shared');

  const folder = path.join(cwd, 'folder');
  const child = script('prompts-to-images.ts', [...args, 'folder'], { cwd });
  const dies = script('prompts-to-images.ts', [...args, 'killed'], {
    cwd,
    kill: { signal: 'SIGKILL', afterMs: 1800 },
  });
  const killed = path.join(cwd, 'killed');
  t.equal((await child).code, 0);
  t.equal((await dies).signal, 'SIGKILL');
  if (existsSync(killed)) writeFileSync(path.join(killed, '.paella-1-abcdef01.tmp'), 'left by the dead');
  const again = await script('prompts-to-images.ts', [...args, 'killed'], { cwd });
  t.equal(again.code, 0, again.stderr);
  const images = readdirSync(folder).sort();
  t.equal(images.length, 61, 'with the manifest');
  t.same(readdirSync(killed).sort(), images, 'nothing missing, nothing twice, nothing else');
  t.ok(
    images.every((name) => readFileSync(path.join(folder, name)).equals(readFileSync(path.join(killed, name)))),
    'the images of one run',
  );
  const third = await script('prompts-to-images.ts', [...args, 'killed'], { cwd });
  t.match(third.stdout, /^60 of 60 images in killed; 0 of them now/);

  const listed = spawnSync('tar', ['-tf', 'whole.tar'], { cwd, encoding: 'utf8' });
  t.same(listed.stdout.trim().split('\n').sort(), images, 'an archive that tar reads');
});

t.test('a tar archive that was cut short', async (t) => {
  const cwd = temporaryFolder(t);
  writeFileSync(path.join(cwd, 'prompts.txt'), 'one\ntwo\nthree\n');
  const args = ['prompts.txt', ...model, '--steps', '1', '--output', 'a.tar'];
  t.equal((await script('prompts-to-images.ts', args, { cwd })).code, 0);
  const file = path.join(cwd, 'a.tar');
  const before = readFileSync(file);
  truncateSync(file, before.length - 1024 - 700);
  const again = await script('prompts-to-images.ts', args, { cwd });
  t.equal(again.code, 0, again.stderr);
  t.match(again.stdout, /^3 of 3 images in a\.tar; 1 of them now/);
  const listed = spawnSync('tar', ['-tf', 'a.tar'], { cwd, encoding: 'utf8' });
  t.equal(listed.stdout.trim().split('\n').length, 4);
  t.equal(listed.status, 0, listed.stderr);
  writeFileSync(path.join(cwd, 'b.tar'), 'x'.repeat(5000));
  t.match(await rejection(TarWriter.open(path.join(cwd, 'b.tar'), 'manifest.json')), {
    message: /something else at byte 0$/,
  });
  t.equal(readFileSync(path.join(cwd, 'b.tar'), 'utf8'), 'x'.repeat(5000), 'and is left as it was');
});

t.test('archives and files of others stay as they are', async (t) => {
  const cwd = temporaryFolder(t);
  writeFileSync(path.join(cwd, 'prompts.txt'), 'one\n');
  const args = ['prompts.txt', ...model, '--steps', '1', '--output', 'a.tar'];
  t.equal((await script('prompts-to-images.ts', args, { cwd })).code, 0);
  writeFileSync(path.join(cwd, 'notes.txt'), 'mine');
  spawnSync('tar', ['-cf', 'foreign.tar', 'notes.txt'], { cwd });
  writeFileSync(path.join(cwd, 'short.tar'), 'my notes');
  writeFileSync(path.join(cwd, 'zeros.tar'), Buffer.alloc(2048));
  const cases: [file: string, more: string[], message: RegExp][] = [
    ['a.tar', ['--seed', '2'], /expected images of the same run, found others: seed 1 instead of 2/],
    ['foreign.tar', [], /something else at byte 0/],
    ['short.tar', [], /something else at byte 0/],
    ['zeros.tar', [], /something else at byte 0/],
  ];
  for (const [file, more, message] of cases) {
    const before = readFileSync(path.join(cwd, file));
    const outcome = await script('prompts-to-images.ts', [...args.slice(0, -1), file, ...more], { cwd });
    t.equal(outcome.code, 1);
    t.match(outcome.stderr, message, file);
    t.same(readFileSync(path.join(cwd, file)), before, `${file} is left as it was`);
  }
});

t.test('images of a model that changed are not mixed with earlier ones', async (t) => {
  const cwd = temporaryFolder(t);
  writeFileSync(path.join(cwd, 'prompts.txt'), 'one\ntwo\n');
  cpSync('models/tiny', path.join(cwd, 'mine'), { recursive: true });
  const args = ['prompts.txt', '--backend', 'cpu', '--model', './mine', '--steps', '1', '--output', 'new/out'];
  t.equal((await script('prompts-to-images.ts', args, { cwd })).code, 0, 'in a folder that is made');
  const file = path.join(cwd, 'mine/generation_config.json');
  const settings = JSON.parse(readFileSync(file, 'utf8')) as { temperature: number[] };
  writeFileSync(file, JSON.stringify({ ...settings, temperature: [0.5, 0.5] }));
  const again = await script('prompts-to-images.ts', args, { cwd });
  t.equal(again.code, 1);
  t.match(again.stderr, /found others: weights .*temperature/);
});

t.test('prompts to images: what cannot be', async (t) => {
  const cwd = temporaryFolder(t);
  writeFileSync(path.join(cwd, 'prompts.txt'), 'one\ntwo\n');
  writeFileSync(path.join(cwd, 'empty.txt'), '\n\n');
  mkdirSync(path.join(cwd, 'full'));
  writeFileSync(path.join(cwd, 'full', 'mine.txt'), '');
  const args = [...model, '--steps', '1'];
  t.equal((await script('prompts-to-images.ts', ['prompts.txt', ...args, '-o', 'out'], { cwd })).code, 0);
  writeFileSync(path.join(cwd, 'busy.tar.lock'), String(process.pid));
  const cases: [args: string[], message: RegExp][] = [
    [
      ['prompts.txt', ...args, '-o', 'out', '--seed', '2'],
      /out: expected images of the same run, found others: seed 1 instead of 2/,
    ],
    [['prompts.txt', ...args, '-o', 'full'], /full: expected an empty folder, or one of an earlier run/],
    [['prompts.txt', ...args, '-o', 'busy.tar'], /busy\.tar\.lock: process \d+ writes there already/],
    [['prompts.txt', ...args], /--output: expected a folder or a file that ends in \.tar/],
    [['prompts.txt', ...args, '-o', 'x', '--count', '0'], /--count: expected an integer, at least 1, got 0/],
    [['prompts.txt', ...args, '-o', 'x', '--format', 'gif'], /--format: expected one of png, /],
    [['empty.txt', ...args, '-o', 'x'], /empty\.txt: expected prompts, one a line, found none/],
    [[...args, '-o', 'x'], /expected one file of prompts/],
  ];
  for (const [given, message] of cases) {
    const outcome = await script('prompts-to-images.ts', given, { cwd });
    t.equal(outcome.code, 1, outcome.stderr);
    t.match(outcome.stderr, message);
  }
  t.notOk(existsSync(path.join(cwd, 'x')));
});

t.test('load generator: in the process, and in workers', async (t) => {
  const cwd = temporaryFolder(t);
  const args = [...model, '--steps', '1', '--duration', '0.5', '--clients', '3', '--result', 'row.json'];
  for (const workers of [0, 2]) {
    const outcome = await script('load-generator.ts', [...args, '--workers', String(workers)], { cwd });
    t.equal(outcome.code, 0, outcome.stderr);
    t.equal(outcome.stderr, '');
    const [row] = parseDocument(readFileSync(path.join(cwd, 'row.json'), 'utf8'), 'row.json').rows;
    t.match(row, { scenario: 'load', details: { clients: 3, workers }, imagesPerSecond: Number });
    t.ok(Number(row?.ms.runs) >= 3 * Math.max(1, workers));
  }
  // More than the queue holds unless told.
  const many = [...args, '--clients', '300', '--warmup', '1'];
  const crowd = await script('load-generator.ts', many, { cwd });
  t.equal(crowd.code, 0, crowd.stderr);
  const document = parseDocument(readFileSync(path.join(cwd, 'row.json'), 'utf8'), 'row.json');
  t.match(document.rows[0], { details: { clients: 300 } });
  t.match(document.command, /^npm run bench:load -- .*--clients 300/);
  const failed = await script('load-generator.ts', [...args, '--workers', '2', '--width', '33'], { cwd });
  t.equal(failed.code, 1);
  t.match(failed.stderr, /^load-generator: width: expected a multiple of/);
});

t.test('guard: ratios beside those of the profile', async (t) => {
  const cwd = temporaryFolder(t);
  // Steps take `factor` times their products; every other round another program has the machine.
  const native = (factor: number) => {
    const file = path.join(cwd, `native-${factor}`);
    const line = (model: string) =>
      JSON.stringify({
        ...{ bench: 'step', model, device: 'A CPU (1 thread, avx9)', precision: 'fp32' },
        ...{ step_samples: [0.001 * factor, 0.005 * factor], share_samples: [1 / factor, 1] },
      });
    writeFileSync(file, `#!/bin/sh\necho '${line('tiny')}'\n`);
    chmodSync(file, 0o755);
    return file;
  };
  const check = (factor: number, ...args: string[]) =>
    script('check.ts', ['--native', native(factor), '--profile', 'profile.json', ...args], { cwd });
  const missing = await check(2);
  t.equal(missing.code, 1, 'a name that is wrong compares nothing');
  t.match(missing.stderr, /--profile: expected a file that bench:check --update wrote, found none at profile\.json/);
  writeFileSync(path.join(cwd, 'profile.json'), '{"schema":"paella-bench-profile/1","ratios":[]}');
  const none = await check(2);
  t.equal(none.code, 0);
  t.match(none.stdout, /Nothing was compared: the profile has no ratios for avx9\. With --update it gets them\.\n$/);
  t.equal((await check(2, '--update')).code, 0);
  const { ratios } = JSON.parse(readFileSync(path.join(cwd, 'profile.json'), 'utf8'));
  t.match(ratios[0], { instructionSet: 'avx9', ratio: 2, precision: 'fp32', model: String });
  const same = await check(2.2);
  t.equal(same.code, 0, 'a tenth more is reported');
  t.match(same.stdout, /2\.200 +2\.000 +1\.10×\n/);
  const slow = await check(3.2);
  t.equal(slow.code, 1);
  t.match(slow.stdout, /expected at most 1\.5 times the profile's ratio, got 1\.60 times\n/);
  t.equal((await check(3.2, '--limit', '2')).code, 0);
  writeFileSync(path.join(cwd, 'profile.json'), '{"schema":"other"}');
  const wrong = await check(2);
  t.equal(wrong.code, 1);
  t.match(wrong.stderr, /expected a profile of bench:check, got schema/);
});

t.test('native rows: what is measured is kept, and says that it is not all', async (t) => {
  const cwd = temporaryFolder(t);
  const native = path.join(cwd, 'native');
  const step = {
    ...{ bench: 'step', model: 'tiny', device: 'A CPU (1 thread, avx9)', precision: 'fp32', threads: 1, tokens: '2x2' },
    ...{ pixels_per_token: 4, batch: 1, condition: 8, load_seconds: 1, product_gflop: 1, unet_ms: 1, guide_ms: 1 },
    ...{ sample_ms: 1, renoise_ms: 1, decode_seconds: 1, weight_bytes: 1, peak_bytes: 1 },
    ...{ step_samples: [0.001, 0.002], share_samples: [0.5, 0.5] },
  };
  const operation = { ...{ bench: 'operations', what: 'a product', device: 'A CPU', precision: 'fp32' } };
  const said = JSON.stringify({ ...operation, seconds: 0.001, gflops: 2, cpu_seconds: 0.001 });
  writeFileSync(
    native,
    `#!/bin/sh\nif [ "$1" = step ]; then echo '${JSON.stringify(step)}'; elif [ -e '${path.join(cwd, 'broken')}' ]; then exit 3; else echo '${said}'; fi\n`,
  );
  chmodSync(native, 0o755);
  const args = [
    '--only',
    'steps,operations',
    '--precisions',
    'fp32',
    '--native',
    native,
    '--output',
    path.join(cwd, 'a.json'),
  ];
  const read = () => parseDocument(readFileSync(path.join(cwd, 'a.json'), 'utf8'), 'a.json');
  writeFileSync(path.join(cwd, 'broken'), '');
  const broken = await script('run.ts', args);
  t.equal(broken.code, 1);
  t.match(broken.stderr, /operations --precision fp32: ended with 3/);
  t.match(read(), { complete: false, rows: [{ sampleOf: 'step' }, { sampleOf: 'step' }] });
  rmSync(path.join(cwd, 'broken'));
  const whole = await script('run.ts', args);
  t.equal(whole.code, 0, whole.stderr);
  t.match(read(), { complete: true, command: /^npm run bench -- --only steps,operations / });
  t.same(
    read().rows.map(({ operation: what }) => what),
    [undefined, undefined, 'a product'],
  );
});

t.test('scripts that take hours look at their options first', async (t) => {
  const cwd = temporaryFolder(t);
  const cases: [name: string, args: string[], message: RegExp][] = [
    ['convert.ts', ['--runs', '0'], /--runs: expected an integer, at least 1, got 0/],
    ['convert.ts', ['--runs', 'abc'], /--runs: expected an integer, at least 1, got abc/],
    ['convert.ts', ['--output', 'none/a.json'], /none\/a\.json: cannot be written: no such file or folder/],
    ['eight-bits.ts', ['--output', 'none/a.json'], /none\/a\.json: cannot be written: no such file or folder/],
    ['run.ts', ['--output', 'none/a.json'], /none\/a\.json: cannot be written: no such file or folder/],
  ];
  for (const [name, args, message] of cases) {
    const outcome = await script(name, args, { cwd, timeoutMs: 60_000 });
    t.equal(outcome.code, 1, `${name} ${args.join(' ')}: ${outcome.stderr}`);
    t.match(outcome.stderr, message);
  }
  t.same(readdirSync(cwd), []);
});

t.test("the repository's own profile", async (t) => {
  const { schema, ratios } = JSON.parse(readFileSync(path.join(root, 'scripts/bench/profile.json'), 'utf8'));
  t.equal(schema, 'paella-bench-profile/1');
  t.ok(ratios.length > 0);
});
