// `paella bench` as a user meets it: every scenario in a short form, what it writes, and what keeps it from writing.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import sharp from 'sharp';
import t, { type Test } from 'tap';
import { parseDocument } from '../../lib/cli/bench/documents.js';
import type { BenchDocument } from '../../lib/cli/bench/schema.js';
import { packageVersion } from '../../lib/package-root.cjs';
import { nativeProgram } from '../../scripts/setup/native.mjs';
import { temporaryFolder, testModel } from './support/engine.js';
import { paella, type RunOptions, run } from './support/process.js';

const model = ['--model', testModel, '--backend', 'cpu'];
const quick = ['--steps', '1', '--repeat', '2', '--warmup', '1'];

/** One thread unless told otherwise: two that wait for each other are slow where others want the cores too. */
const bench = (args: readonly string[], options?: RunOptions) =>
  paella(['bench', ...model, ...(args.includes('--threads') ? [] : ['--threads', '1']), ...args], options);

/** Checked against the schema. */
async function rowsOf(t: Test, args: readonly string[]): Promise<BenchDocument['rows']> {
  const { code, stdout, stderr } = await bench([...args, '-o', 'json']);
  t.equal(code, 0, stderr);
  t.equal(stderr, '', 'calm: no progress without a terminal');
  const { rows, complete } = parseDocument(stdout, 'stdout');
  t.equal(complete, undefined);
  return rows;
}

t.test('single: lists give their product, and rows describe themselves', async (t) => {
  const rows = await rowsOf(t, ['--steps', '1,2', '--count', '1,2', '--repeat', '3', '--warmup', '1']);
  t.same(
    rows.map(({ steps, batch }) => [steps, batch]),
    [
      [1, 1],
      [1, 2],
      [2, 1],
      [2, 2],
    ],
  );
  t.match(rows[3], {
    scenario: 'single',
    subject: 'paella-native',
    version: packageVersion,
    weights: 'trained',
    backend: 'cpu',
    counted: { textEncoding: true, decode: true },
    firstMs: Number,
    loadMs: Number,
    warmup: 1,
    ms: { runs: 3, min: Number, p50: Number, p90: Number },
    stages: { unet: Number, decode: Number },
    peakBytes: Number,
    command: `paella bench --model ${testModel} --repeat 3 --warmup 1 --backend cpu --threads 1 --steps 2 --count 2`,
  });
  t.ok(Number(rows[0]?.stages.encode_text) > 0, 'each call encodes its text');
});

t.test('single, the same prompt: encoded once', async (t) => {
  const [row] = await rowsOf(t, [...quick, '--prompts', 'same', '--prompt', "it's"]);
  t.match(row, { counted: { textEncoding: false }, command: / --prompt 'it'\\''s' --prompts same/ });
});

t.test('offline', async (t) => {
  const [row] = await rowsOf(t, ['--scenario', 'offline', ...quick, '--max-batch', '3']);
  t.match(row, { scenario: 'offline', batch: 3, maxBatch: 3, ms: { runs: 2 }, details: { concurrency: 2 } });
  // Calls of one image share batches, and end together.
  const merged = ['--scenario', 'offline', '--steps', '4', '--repeat', '24', '--count', '1', '--concurrency', '8'];
  const [shared] = await rowsOf(t, merged);
  const { mean = 0 } = shared?.ms ?? {};
  t.ok(Number(shared?.details?.together) > 1, `${shared?.details?.together} ended together`);
  t.ok(Math.abs(Number(shared?.imagesPerSecond) * mean - 1000) < 1, 'the rate follows from the mean');
});

t.test('server', async (t) => {
  const args = ['--scenario', 'server', '--steps', '1', '--duration', '0.5', '--deadline-ms', '1000'];
  const rows = await rowsOf(t, [...args, '--rate', '10,40', '--max-batch', '1,4', '--max-delay-ms', '2']);
  t.same(
    rows.map(({ maxBatch, server }) => [maxBatch, server?.rate]),
    [
      [1, 10],
      [1, 40],
      [4, 10],
      [4, 40],
    ],
  );
  for (const { server, ms, samples, maxDelayMs, command } of rows) {
    t.equal(maxDelayMs, 2);
    t.equal(server?.completed, ms.runs);
    t.equal(server?.arrivals, ms.runs + Number(server?.dropped));
    t.equal(samples.length, ms.runs);
    t.match(command, new RegExp(`--rate ${server?.rate}$`));
  }
  t.equal(rows[0]?.server?.arrivals, rows[2]?.server?.arrivals, 'the same arrivals');
});

t.test('server: what does not fit into the queue is dropped, and counted', async (t) => {
  const args = ['--scenario', 'server', '--rate', '2000', '--duration', '0.2', '--max-queue', '1', '--max-batch', '1'];
  const [row] = await rowsOf(t, args);
  t.ok(Number(row?.server?.dropped) > 0);
  t.equal(Number(row?.server?.dropped) + Number(row?.server?.completed), row?.server?.arrivals);
});

t.test('server: a short queue', async (t) => {
  const args = ['--scenario', 'server', '--steps', '1', '--rate', '20', '--duration', '0.3', '--max-queue', '2'];
  const [row] = await rowsOf(t, args);
  t.match(row, { maxQueue: 2, maxBatch: 8 });
});

t.test('server: the highest rate of a percentile', async (t) => {
  const args = ['--scenario', 'server', '--steps', '1', '--duration', '0.2', '--find-rate', 'p50=2000'];
  const [row] = await rowsOf(t, args);
  const { rate, found } = row?.server ?? {};
  t.match(found, { percentile: 'p50', limitMs: 2000 });
  t.ok(found?.tried.some((trial) => trial.held && trial.rate === rate));
  t.ok(Number(row?.ms.p50) <= 2000);
  t.match(row?.command, /--find-rate p50=2000$/);
  const few = await bench([...args.slice(0, -1), 'p99=2000']);
  t.equal(few.code, 2);
  t.match(
    few.stderr,
    /^paella: --duration: expected at least about \d+ s, so that 100 requests come at [\d.]+ a second/,
  );
  const none = await bench(['--scenario', 'server', '--duration', '0.1', '--find-rate', 'p95=0.001']);
  t.equal(none.code, 2);
  t.match(none.stderr, /^paella: --find-rate: expected a limit that some rate holds; p95 is [\d.]+ ms at/);
});

t.test('stages', async (t) => {
  const [row] = await rowsOf(t, ['--scenario', 'stages', '--repeat', '2', '--steps', '3']);
  t.equal(row?.perStep?.length, 3);
  t.ok(
    row?.perStep?.every((ms) => ms > 0),
    'each step took its time',
  );
  const { unet = 0, sample = 0 } = row?.stages ?? {};
  const sum = row?.perStep?.reduce((all, ms) => all + ms, 0) ?? 0;
  t.ok(sum > 0.5 * (unet + sample), `steps of ${sum} ms together hold the network's ${unet} ms`);
  const program = nativeProgram('paella_bench');
  if (program === undefined) t.match(row?.details, { floor: /paella_bench is not there/ });
  else {
    t.match(row?.floor, { gflop: Number, gflops: Number, ms: Number, share: Number });
    const args = ['--scenario', 'stages', '--repeat', '1', '--warmup', '1', '--steps', '2'];
    const [unguided] = await rowsOf(t, [...args, '--guidance-scale', '1']);
    const [guided] = await rowsOf(t, [...args, '--guidance-scale', '3']);
    t.equal(unguided?.details?.floor, 'of a step without guidance');
    t.ok(Number(unguided?.floor?.gflop) < Number(guided?.floor?.gflop), 'guidance of 1 needs one pass');
  }
});

t.test('scaling', async (t) => {
  const args = ['--scenario', 'scaling', '--repeat', '1', '--warmup', '1', '--axis', 'pixels,steps,batch,threads'];
  const rows = await rowsOf(t, [...args, '--width', '32,64', '--steps', '1,2', '--count', '1,9', '--threads', '1,2']);
  t.same(
    rows.map(({ axis, width, steps, batch, threads }) => [axis, width, steps, batch, threads]),
    [
      ['pixels', 32, 1, 1, 1],
      ['pixels', 64, 1, 1, 1],
      ['steps', 32, 1, 1, 1],
      ['steps', 32, 2, 1, 1],
      ['batch', 32, 1, 1, 1],
      ['batch', 32, 1, 9, 1],
      ['threads', 32, 1, 1, 1],
      ['threads', 32, 1, 1, 2],
    ],
  );
  t.equal(rows[5]?.maxBatch, 9, 'one batch');
  t.match(rows[1]?.command, / --repeat 1 --warmup 1 .*--threads 1 --width 64 --steps 1 --count 1$/);
  t.notMatch(rows[1]?.command, /scaling/, 'a point is what `single` measures');
});

t.test('cold', async (t) => {
  const [row] = await rowsOf(t, ['--scenario', 'cold', '--repeat', '2', '--warmup', '0', '--steps', '1']);
  t.match(row, { sampleOf: 'process', warmup: 1, ms: { runs: 2 }, counted: { load: true } }, 'the first never counts');
  t.notOk(row?.samples.includes(row?.firstMs ?? Number.NaN));
  const parts = Object.values(row?.stages ?? {}).reduce((sum, ms) => sum + ms, 0);
  t.ok(parts > 0 && parts <= Number(row?.samples.reduce((sum, ms) => sum + ms, 0)));
  const failed = await paella(['bench', '--scenario', 'cold', '--model', 'none/of/these', '--backend', 'cpu'], {
    env: { HF_HUB_OFFLINE: '1' },
  });
  t.equal(failed.code, 1);
  t.match(failed.stderr, /^paella: (--)?model: /, 'the error of the process is the error of the run');
});

t.test('soak', async (t) => {
  const [byNumber] = await rowsOf(t, ['--scenario', 'soak', '--generations', '12', '--steps', '1']);
  t.match(byNumber, { soak: { generations: 12, latencyDrift: Number }, counted: { encodeFile: true } });
  t.equal(byNumber?.soak?.windows.length, 10);
  const [byTime] = await rowsOf(t, ['--scenario', 'soak', '--duration', '0.5', '--steps', '1']);
  t.ok(Number(byTime?.soak?.seconds) >= 0.5);
});

t.test('two configurations in turns', async (t) => {
  const args = ['--steps', '1', '--repeat', '6', '--against', 'steps=2 threads=2'];
  const rows = await rowsOf(t, args);
  t.match(rows, [
    { pair: { side: 'A' }, steps: 1, ms: { runs: 6 } },
    { pair: { side: 'B' }, steps: 2, threads: 2, ms: { runs: 6 } },
  ]);
  t.equal(rows[0]?.pair?.id, rows[1]?.pair?.id);
  const { stdout } = await bench(args);
  t.match(stdout, /\| threads .*steps 1 → 2 \(in turns\) \| .* to /);
});

t.test('formats, files, charts', async (t) => {
  const cwd = temporaryFolder(t);
  const write = async (...args: string[]) => {
    const { code, stderr, stdout } = await bench([...quick, ...args], { cwd });
    t.equal(code, 0, stderr);
    return stdout;
  };
  t.match(await write(), /^\| runs \| p50 ms \|/m, 'Markdown unless told otherwise');
  t.equal((await write('-o', 'csv')).trim().split('\n').length, 2);
  t.equal((await write('--count', '1,2', '--format', 'jsonl')).trim().split('\n').length, 2);
  t.equal(parseDocument(await write('--json'), 'stdout').rows.length, 1);
  t.equal(await write('--output', 'a.json', '--chart', 'a.svg'), '', 'the file name says the format');
  const document = parseDocument(readFileSync(path.join(cwd, 'a.json'), 'utf8'), 'a.json');
  t.equal(document.rows.length, 1);
  t.match(document.command, /^paella bench .* --output a\.json --chart a\.svg$/);
  t.match(readFileSync(path.join(cwd, 'a.svg'), 'utf8'), /^<svg [\s\S]*<\/svg>\n$/);
  await write('-o', 'md', '--output', 'b.txt', '--chart', 'b.png');
  t.match(readFileSync(path.join(cwd, 'b.txt'), 'utf8'), /p50 ms/);
  t.equal((await sharp(path.join(cwd, 'b.png')).metadata()).format, 'png');
});

t.test('a pipe stays a pipe', async (t) => {
  const cwd = temporaryFolder(t);
  const pipe = path.join(cwd, 'pipe');
  spawnSync('mkfifo', [pipe]);
  const [read, written] = await Promise.all([run('cat', [pipe]), bench([...quick, '-o', pipe, '-o', 'json'])]);
  t.equal(written.code, 0, written.stderr);
  t.equal(parseDocument(read.stdout, 'pipe').rows.length, 1);
  t.ok(statSync(pipe).isFIFO());
});

t.test('--compare', async (t) => {
  const cwd = temporaryFolder(t);
  for (const [file, steps] of [
    ['a.json', '1,2'],
    ['b.jsonl', '2,3'],
  ] as const)
    await bench(['--steps', steps, '--repeat', '6', '-o', file], { cwd });
  const compared = await paella(['bench', '--compare', 'a.json', 'b.jsonl'], { cwd });
  t.equal(compared.code, 0, compared.stderr);
  t.match(compared.stdout, /\| steps 2 \| [\d.]+ \| [\d.]+ \| 6 and 6 \| [\d.]+ \([\d.]+ to [\d.]+\) \|/);
  t.match(compared.stdout, /Only in A:\n\n- steps 1\n\nOnly in B:\n\n- steps 3/);
  const json = await paella(['bench', '--compare', 'a.json', 'b.jsonl', '--ignore', 'steps', '--json'], { cwd });
  t.equal(JSON.parse(json.stdout).rows.length, 2, 'several of a kind in their order');
  const text = readFileSync(path.join(cwd, 'a.json'), 'utf8');
  writeFileSync(path.join(cwd, 'new.json'), text.replace('paella-bench/1', 'paella-bench/9'));
  writeFileSync(path.join(cwd, 'cut.json'), text.slice(0, 1000));
  const cases: [args: string[], code: number, message: RegExp][] = [
    [
      ['a.json', 'new.json'],
      2,
      /^paella: new\.json: expected the schema paella-bench\/1, got "paella-bench\/9"\n {8}measure again/,
    ],
    [['a.json', 'cut.json'], 2, /^paella: cut\.json, line 1: expected a document of `paella bench` .* not JSON\n/],
    [['a.json', 'none.json'], 1, /^paella: none\.json: cannot be read: no such file or folder\n/],
    [[], 2, /^paella: --compare: expected one or two files, got \[\]\n/],
    [['a.json'], 2, /^paella: --compare: expected two files, or one with pairs that --against made, got "a\.json"\n/],
    [['a.json', 'b.jsonl', 'c'], 2, /^paella: --compare: expected one or two files/],
    [['a.json', 'b.jsonl', '--ignore', 'colour'], 2, /^paella: --ignore: expected names among scenario, /],
    [['a.json', 'b.jsonl', '--steps', '9'], 2, /^paella: --steps: expected nothing beside --compare, got "9"\n/],
    [['a.json', 'b.jsonl', '-o', 'csv'], 2, /^paella: --format: expected md or json with --compare, got "csv"\n/],
  ];
  for (const [args, code, message] of cases) {
    const outcome = await paella(['bench', '--compare', ...args], { cwd });
    t.equal(outcome.code, code, `${args.join(' ')}: ${outcome.stderr}`);
    t.match(outcome.stderr, message);
    t.equal(outcome.stdout, '');
  }
});

t.test('wrong options', async (t) => {
  const cases: [args: string[], message: RegExp][] = [
    [
      ['--scenario', 'serve'],
      /^paella: --scenario: expected one of single, .*, got "serve"\n {8}did you mean server\?\n$/,
    ],
    [['--steps', '4,,8'], /^paella: --steps: expected values separated by commas, got "4,,8"\n$/],
    [['--steps', ''], /^paella: --steps: expected values separated by commas, got ""\n$/],
    [['--steps', '4,4'], /^paella: --steps: expected each value once, got "4,4"\n$/],
    [['--steps', 'x', '--repeat', '1'], /^paella: --steps: expected an integer between 1 and 1000, got "x"\n$/],
    [['--rate', '5'], /^paella: --rate: expected nothing in the scenario single \(only in server\), got "5"\n$/],
    [['--scenario', 'server'], /^paella: --rate: expected either rates .* or --find-rate, got undefined\n$/],
    [['--scenario', 'server', '--rate', '0'], /^paella: --rate: expected a number above 0, got 0\n$/],
    [
      ['--scenario', 'server', '--rate', '1e12'],
      /^paella: --rate: expected at most 100000 requests per second for 10 s/,
    ],
    [['--prompt', 'x'.repeat(760)], /^paella: prompt: expected one prompt of at most 759 bytes, got /],
    [['--prompt', 'a', '--prompt', 'b'], /^paella: prompt: expected one prompt /],
    [
      ['--scenario', 'soak', '--repeat', '5'],
      /^paella: --repeat: expected nothing in the scenario soak \(only in single, offline, stages, scaling, cold\), got "5"\n$/,
    ],
    [['--scenario', 'soak', '--warmup', '5'], /^paella: --warmup: expected nothing in the scenario soak /],
    [
      ['--scenario', 'server', '--rate', '5', '--repeat', '5'],
      /^paella: --repeat: expected nothing in the scenario server /,
    ],
    [['--scenario', 'cold', '--prompts', 'same'], /^paella: --prompts: expected nothing in the scenario cold /],
    [
      ['--scenario', 'scaling', '--precision', 'fp32,bf16'],
      /^paella: --precision: expected one value in the scenario scaling \(lists are the curves: width, steps, count, threads\), got "fp32,bf16"\n$/,
    ],
    [['--scenario', 'scaling', '--guidance-scale', '1,2'], /^paella: --guidance-scale: expected one value in /],
    [['--scenario', 'scaling', '--max-batch', '1,2'], /^paella: --max-batch: expected one value in /],
    [
      ['--scenario', 'scaling', '--axis', 'pixels', '--steps', '1,2'],
      /^paella: --steps: expected one value in the scenario scaling \(lists are the curves: width\)/,
    ],
    [['--against', 'max-delay-ms=5'], /^paella: --max-delay-ms: expected nothing in the scenario single /],
    [['-o', 'x.svg', '--chart', './x.svg'], /^paella: --chart: expected another file than that of the results, got /],
    [['--scenario', 'server', '--find-rate', 'p95'], /^paella: --find-rate: expected a percentile and its limit/],
    [['--scenario', 'server', '--rate', '1', '--find-rate', 'p95=9'], /^paella: --rate: expected either/],
    [['--scenario', 'server', '--rate', '1', '--duration', '-1'], /^paella: --duration: expected a number above 0/],
    [['--scenario', 'soak', '--generations', '1'], /^paella: --generations: expected an integer, at least 2, got 1\n$/],
    [
      ['--scenario', 'soak', '--generations', '9', '--duration', '1'],
      /^paella: --generations: expected nothing beside/,
    ],
    [['--scenario', 'scaling', '--axis', 'colour'], /^paella: --axis: expected one of pixels, /],
    [['--against', 'colour=red'], /^paella: --against: expected name=value with names among /],
    [['--against', 'steps=1', '--steps', '1,2'], /^paella: --against: expected two configurations: no lists/],
    [['--chart', 'a.gif'], /^paella: --chart: expected one file name that ends in \.svg or \.png, got "a\.gif"\n$/],
    [['-o', 'json', '--format', 'csv'], /^paella: --format: expected one format, got \["csv","json"\]\n$/],
    [['a.json'], /^paella: --compare: expected this option before names of files, got \["a\.json"\]\n$/],
    [['--ignore', 'steps'], /^paella: --ignore: expected nothing without --compare, got "steps"\n$/],
    [['--seed', '-1'], /^paella: --seed: expected an integer, at least 0, got -1\n$/],
    [['--prompts', 'new'], /^paella: --prompts: expected one of fresh, same, got "new"\n$/],
  ];
  for (const [args, message] of cases) {
    const outcome = await bench(args);
    t.equal(outcome.code, 2, `${args.join(' ')}: ${outcome.stderr}`);
    t.match(outcome.stderr, message);
    t.equal(outcome.stdout, '');
  }
});

t.test('an output that cannot be written is found before the work', async (t) => {
  const cwd = temporaryFolder(t);
  mkdirSync(path.join(cwd, 'folder'));
  const slow = ['--repeat', '100000'];
  const cases: [args: string[], message: RegExp][] = [
    [['-o', 'none/a.json'], /^paella: none\/a\.json: cannot be written: no such file or folder\n/],
    [['-o', 'folder'], /^paella: folder: cannot be written: it is a folder\n/],
    [['--chart', 'none/a.svg'], /^paella: none\/a\.svg: cannot be written: no such file or folder\n/],
  ];
  chmodSync(path.join(cwd, 'folder'), 0o500);
  if (process.getuid?.() !== 0) cases.push([['-o', 'folder/a.json'], /permission denied/]);
  for (const [args, message] of cases) {
    const outcome = await bench([...slow, ...args], { cwd, timeoutMs: 20_000 });
    t.equal(outcome.code, 1, outcome.stderr);
    t.match(outcome.stderr, message);
  }
});

t.test('a run that fails in the middle keeps what it has', async (t) => {
  const cwd = temporaryFolder(t);
  const { code, stderr } = await bench([...quick, '--width', '32,33', '-o', 'a.json'], { cwd });
  t.equal(code, 2);
  t.match(stderr, /^paella: --width: expected a multiple of/);
  const document = parseDocument(readFileSync(path.join(cwd, 'a.json'), 'utf8'), 'a.json');
  t.equal(document.complete, false);
  t.same(
    document.rows.map(({ width }) => width),
    [32],
  );
});

t.test('interrupted: what is done is kept, at every stage', async (t) => {
  const cwd = temporaryFolder(t);
  const cases: [name: string, args: string[]][] = [
    ['single', ['--repeat', '100000', '--steps', '1']],
    ['offline', ['--scenario', 'offline', '--repeat', '100000', '--steps', '1', '--count', '1']],
    ['server', ['--scenario', 'server', '--rate', '20', '--duration', '1000', '--steps', '1', '--max-batch', '1']],
    ['stages', ['--scenario', 'stages', '--repeat', '100000', '--steps', '1']],
    ['cold', ['--scenario', 'cold', '--repeat', '100000', '--warmup', '0', '--steps', '1']],
    ['paired', ['--repeat', '100000', '--steps', '1', '--against', 'steps=2']],
  ];
  const interrupt = async ([name, args]: (typeof cases)[number], afterMs: number) => {
    const file = `${name}.json`;
    const kill = { signal: 'SIGINT', afterMs } as const;
    const outcome = await bench([...args, '-o', file], { cwd, kill });
    t.equal(outcome.signal, null);
    t.equal(outcome.code, 130, outcome.stderr);
    t.match(outcome.stderr, /paella: interrupted\n$/);
    const document = parseDocument(readFileSync(path.join(cwd, file), 'utf8'), file);
    t.equal(document.complete, false);
    t.ok(document.rows.length > 0 && document.rows.every(({ ms }) => ms.runs > 0), `${name}: its row so far`);
  };
  await Promise.all(cases.map((each) => interrupt(each, 8000)));
  // Its warm-up comes first.
  await interrupt(['soak', ['--scenario', 'soak', '--generations', '100000', '--steps', '1']], 10_000);
  // While it loads or warms up; before it listens, the signal ends it as any program.
  const slow = [
    'bench',
    '--model',
    'random:paella-v3-small',
    '--backend',
    'cpu',
    '--width',
    '1024',
    '-o',
    'early.json',
  ];
  const early = await paella(slow, { cwd, kill: { signal: 'SIGINT', afterMs: 900 } });
  t.ok(early.code === 130 || early.signal === 'SIGINT', `${early.code} ${early.signal}: ${early.stderr}`);
  if (existsSync(path.join(cwd, 'early.json')))
    t.equal(parseDocument(readFileSync(path.join(cwd, 'early.json'), 'utf8'), 'early.json').complete, false);
  t.notOk(
    readdirSync(cwd).some((name) => name.endsWith('.tmp')),
    'no partial file',
  );
});
