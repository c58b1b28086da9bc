// The report of docs/benchmarks/: what is committed is what the generator makes, and what the generator makes is true.
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t from 'tap';
import { type BenchDocument, type BenchRow, documentSchema } from '../../lib/cli/bench/schema.js';
import { summarize } from '../../lib/cli/bench/statistics.js';
import { withEightBits } from '../../scripts/bench/report/eight-bits.js';
import { withSpeed } from '../../scripts/bench/report/readme.js';
import { readSources, reportOf } from '../../scripts/bench/report/report.js';

const folder = path.resolve(import.meta.dirname, '../../docs/benchmarks');
const remedy = 'run `npm run bench:report` and commit what it writes';

t.test('the committed report and charts are made of the committed measurements', (t) => {
  const { markdown, charts } = reportOf(readSources(folder));
  t.equal(readFileSync(path.join(folder, 'README.md'), 'utf8'), markdown, remedy);
  const committed = readdirSync(folder).filter((file) => file.endsWith('.svg'));
  t.same(committed.toSorted(), charts.map(({ file }) => file).toSorted(), remedy);
  for (const { file, svg } of charts) t.equal(readFileSync(path.join(folder, file), 'utf8'), svg, remedy);
  t.end();
});

t.test("the README's numbers are those of the report, and its pictures exist", (t) => {
  const text = readFileSync(path.join(folder, '../../README.md'), 'utf8');
  t.equal(text, withSpeed(text, reportOf(readSources(folder)).speed), remedy);
  const pictures = [...text.matchAll(/!\[[^\]]*\]\(docs\/benchmarks\/([^)]+)\)/g)].map(([, file]) => file ?? '');
  t.ok(pictures.length > 0);
  for (const file of pictures) t.ok(readdirSync(folder).includes(file), file);
  t.throws(() => withSpeed('no place', ''), /README\.md: expected <!-- speed/);
  t.end();
});

t.test('the numbers of docs/int8.md are those of the committed measurements', (t) => {
  const docs = path.join(folder, '..');
  const text = readFileSync(path.join(docs, 'int8.md'), 'utf8');
  t.equal(text, withEightBits(docs, text), remedy);
  const [file = ''] = readdirSync(docs).filter((name) => /^int8-.*\.json$/.test(name));
  const document = JSON.parse(readFileSync(path.join(docs, file), 'utf8'));
  const changed = (steps: object) => t.testdir({ [file]: JSON.stringify({ ...document, steps }) });
  const { results } = document.steps;
  const other = changed({ ...document.steps, results: { ...results, ratio: 9.87 } });
  t.match(withEightBits(other, text), '| 9.87 |', 'a number comes from the file');
  const broken = changed({ ...document.steps, results: { ...results, seconds: { bf16: [] } } });
  t.throws(() => withEightBits(broken, text), /expected a document of bench:int8, got steps\.results\.seconds\.bf16/);
  t.throws(() => withEightBits(t.testdir({}), text), /expected int8-\*\.json of bench:int8, found none/);
  t.throws(() => withEightBits(docs, 'no place'), /int8\.md: expected <!-- measured/);
  t.end();
});

const plain: BenchRow = {
  scenario: 'single',
  subject: 'paella-native',
  version: '1',
  commit: null,
  time: '2026-01-01T00:00:00Z',
  command: 'the command of ours',
  evidence: 'measured',
  model: 'random:paella-v3',
  weights: 'random',
  device: 'Processor (2 threads)',
  backend: 'cpu',
  precision: 'bf16',
  threads: 2,
  width: 256,
  height: 256,
  steps: 8,
  batch: 1,
  guidance: 8,
  scheduler: null,
  compile: null,
  counted: { textEncoding: true, decode: true },
  sampleOf: 'call',
  warmup: 1,
  firstMs: null,
  loadMs: null,
  ms: summarize([1]),
  samples: [1],
  imagesPerSecond: 1,
  stages: {},
  peakBytes: null,
  rssBytes: null,
};

function rowOf(samples: number[], own: Partial<BenchRow> = {}): BenchRow {
  return { ...plain, ms: summarize(samples), samples, ...own };
}

function documentOf(rows: BenchRow[], gpus: { name: string }[] = []): BenchDocument {
  const environment = {
    time: '2026-01-01T00:00:00Z',
    cpu: 'Processor',
    cores: 2,
    memoryGiB: 8,
    os: 'OS',
    runtimes: {},
    gpus,
  };
  return documentSchema.parse({ schema: 'paella-bench/1', environment, rows });
}

function made(...documents: BenchDocument[]): string {
  const named = documents.map((document, i) => ({ file: `${i}.json`, document }));
  return reportOf({ documents: named, conversions: [] }).markdown;
}

/** The cells of the rows of the table under `head` that contain all of `words`. */
function cells(markdown: string, head: string, ...words: string[]): string[][] {
  const section = markdown.slice(markdown.indexOf(head)).slice(head.length).split(/^##+ /m)[0] ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('|') && words.every((word) => line.includes(word)))
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}

const questions = '## What this project has measured of it';
const diffusers = {
  subject: 'diffusers',
  model: 'stable-diffusion-v1-5',
  scheduler: 'dpm++',
  compile: 'eager',
  steps: 20,
};

t.test('what nobody measured is missing, on a GPU too', (t) => {
  const markdown = made(documentOf([rowOf([5000])]));
  t.same(cells(markdown, questions, 'v3, this package', '| 256 |'), [
    ['Paella v3, this package', '256', '8', '', '5000 ms', '**missing**'],
  ]);
  t.same(cells(markdown, questions, 'SD-Turbo')[0]?.slice(-2), ['**missing**', '**missing**']);
  t.match(markdown, 'No GPU was at hand');
  t.end();
});

t.test('composed rows say so, and how', (t) => {
  const explanation = '20 times the median of 3 measured steps, and the rest';
  const composed = rowOf([9000], { ...diffusers, evidence: 'composed', explanation, details: { turns: 'x' } });
  const markdown = made(documentOf([composed]));
  t.same(cells(markdown, questions, '1.5, diffusers', '| 256 |', 'eager')[0]?.slice(-2), [
    '9000 ms (composed)',
    '**missing**',
  ]);
  t.match(markdown, 'Composed rows are as many times the median of the measured steps');
  t.match(cells(markdown, '### Beside others, 256 px', 'diffusers')[0]?.join(), 'composed');
  t.end();
});

t.test('a prediction stands in no table but its own', (t) => {
  const predicted = rowOf([24], { evidence: 'predicted', explanation: 'FLOP over a rate' });
  const markdown = made(documentOf([predicted]));
  t.equal(cells(markdown, questions, 'this package', '| 256 |')[0]?.at(-1), '**missing**');
  t.match(cells(markdown, '## Predictions', 'FLOP over a rate')[0]?.join(), '24');
  t.equal(markdown.split('FLOP over a rate').length, 2);
  t.notMatch(markdown, '## What a thousand images cost');
  t.match(made(documentOf([rowOf([1])])), 'No row of this page is a prediction');
  t.end();
});

t.test('ratios are of rounds, and of an image', (t) => {
  const turns = { details: { turns: 'x' } };
  // The machine is ten times slower in the second round, for both: in every round theirs takes twice as long.
  const ours = rowOf([100, 1000, 120], turns);
  const theirs = rowOf([400, 4000, 480], { ...diffusers, ...turns, batch: 2, command: 'the command of theirs' });
  const other = rowOf([100, 1000, 120], { ...turns, batch: 2, steps: 4 });
  const markdown = made(documentOf([ours, theirs, other]));
  const [row] = cells(markdown, '### Beside others', 'diffusers');
  t.match(row?.join(), '4.00 ×', 'against the row of the same batch');
  const section = markdown.slice(markdown.indexOf('### Beside others'));
  t.match(section, 'the command of ours');
  t.match(section, 'the command of theirs');
  t.match(section, 'paella-native at 8 or 4 steps', 'and it says against which');
  t.end();
});

t.test('each machine has its section, and a GPU is one', (t) => {
  const onGpu = rowOf([20], { device: 'NVIDIA H100 80GB HBM3', backend: 'cuda', threads: null });
  const markdown = made(documentOf([rowOf([5000])]), documentOf([onGpu], [{ name: 'NVIDIA H100 80GB HBM3' }]));
  t.match(markdown, '\n## NVIDIA H100 80GB HBM3\n');
  t.match(markdown, '\n## Processor, 2 cores\n');
  t.same(cells(markdown, questions, 'this package', '| 256 |')[0]?.slice(-2), ['20.0 ms', '5000 ms']);
  t.notMatch(markdown, 'No GPU was at hand');
  t.end();
});

t.test('cost: hours of a thousand images, at the best batch', (t) => {
  const markdown = made(documentOf([rowOf([36_000]), rowOf([72_000], { batch: 4 })]));
  t.match(markdown, '*p* × *t* / 3,600');
  const rows = cells(markdown, '## What a thousand images cost', 'paella-native');
  t.equal(rows.length, 1);
  t.match(rows[0]?.join(), '18000,5.00,0.5000');
  t.end();
});

t.test('a step is the median of the measured steps, of an even number too', (t) => {
  const row = rowOf([9000], { ...diffusers, details: { turns: 'x' }, perStep: [1000, 9000, 2000, 4000] });
  const [cellsOfRow] = cells(made(documentOf([row])), '### Beside others', 'diffusers');
  t.match(cellsOfRow?.join(), ',3.00,');
  t.end();
});

t.test('lists of prompts, clients and operations have their tables', (t) => {
  const load = { clients: 8, workers: 2, meanBatch: 3.5 };
  const markdown = made(
    documentOf([
      rowOf([10, 20], { scenario: 'load', details: load }),
      rowOf([30], { scenario: 'prompts', sampleOf: 'request', details: { inFlight: 16, meanBatch: 7.5 } }),
      rowOf([2], { scenario: 'native', sampleOf: 'operation', operation: 'a product', details: { gflops: 12.5 } }),
      rowOf([10, 30], { scenario: 'offline' }),
    ]),
  );
  t.match(cells(markdown, '### Many calls at once', '| load |')[0]?.join(), ',8,2,,2,15.0 ms,');
  t.match(cells(markdown, '### Many calls at once', '| prompts |')[0]?.join(), ',16,1,30.0 ms,');
  t.match(cells(markdown, '### Operations of a step', 'a product')[0]?.join(), 'a product,paella-v3,bf16,2.00,12.5');
  t.match(cells(markdown, '### This package alone', 'offline')[1]?.join() ?? '', '20.0 ms');
  t.end();
});

t.test('rows that differ in guidance or scenario can be told apart', (t) => {
  const floor = { ms: 1, gflop: 1, gflops: 1, share: 0.5, source: 'x' };
  const markdown = made(
    documentOf([
      rowOf([10], { scenario: 'stages', perStep: [1], stages: { decode: 1 }, floor, guidance: 1 }),
      rowOf([10], { scenario: 'native', sampleOf: 'step', floor }),
      rowOf([10], { stages: { decode: 1 }, details: { turns: 'x' } }),
    ]),
  );
  t.match(
    cells(markdown, '### Distance to the floor', 'random:paella-v3').map((row) => row[2]),
    ['1', '8'],
  );
  t.match(
    cells(markdown, '### Where the time goes', 'paella-v3').map((row) => row[1]),
    ['stages'],
  );
  t.end();
});

t.test('whose PyTorch it is stands beside its numbers', (t) => {
  const turns = { details: { turns: 'x' } };
  const peer = rowOf([20], { ...turns, subject: 'pytorch-paella', version: '2.15.0', compile: 'eager' });
  const source = { file: 'a.json', document: documentOf([rowOf([10], turns), peer]) };
  const { markdown, speed } = reportOf({ documents: [source], conversions: [] });
  for (const text of [markdown, speed]) {
    t.match(text, "PyTorch 2.15.0, this project's reference network");
    t.match(text, "not the code of Paella's authors");
  }
  t.end();
});

t.test('the page says which command makes which file, and which run was interrupted', (t) => {
  const one = documentOf([rowOf([1]), rowOf([2], { batch: 2 })]);
  const markdown = made(one, documentOf([rowOf([1]), rowOf([2], { command: 'another' })]), {
    ...one,
    command: 'npm run bench -- --output x.json',
    complete: false,
  });
  const line = (file: string) => markdown.split('\n').find((each) => each.startsWith(`- [${file}]`));
  t.match(line('0.json'), 'the whole file by the command under its tables');
  t.match(line('1.json'), 'its rows by 2 commands');
  t.match(line('2.json'), '`npm run bench -- --output x.json`. **The run was interrupted**');
  t.end();
});

t.test('a summary that is not that of its samples is refused', (t) => {
  const row = rowOf([1, 3]);
  const text = (p50: number) => JSON.stringify(documentOf([{ ...row, ms: { ...row.ms, p50 } }]));
  t.throws(() => readSources(t.testdir({ 'x.json': text(1) })), /x\.json: rows\.0\.ms\.p50: expected 2, .* got 1$/);
  t.equal(readSources(t.testdir({ 'y.json': text(2.001) })).documents.length, 1, 'roundings may differ');
  t.end();
});

t.test('what docs/benchmarks.md says of batches is what was measured', (t) => {
  const { rows } = documentSchema.parse(JSON.parse(readFileSync(path.join(folder, 'scaling-cpu-zen5.json'), 'utf8')));
  const each = rows.filter(({ axis }) => axis === 'batch').map(({ ms, batch }) => ms.p50 / batch);
  const text = readFileSync(path.join(folder, '../benchmarks.md'), 'utf8').replaceAll('\n', ' ');
  const [, ...told] =
    text.match(
      /takes ([\d.]+) ms for an image alone, ([\d.]+) ms for each of two, ([\d.]+) ms for each of four and ([\d.]+) ms for each of eight/,
    ) ?? [];
  t.same(
    told,
    each.map((ms) => ms.toFixed(1)),
  );
  const gain = ((each[0] ?? 0) / Math.min(...each) - 1) * 100;
  t.match(text, `the best of these batches gains ${gain.toFixed(0)} % in rate`);
  t.end();
});

t.test('a file of no known kind is an error', (t) => {
  const files = { 'x.json': '{"schema":"paella-bench/2","rows":[]}' };
  t.throws(() => readSources(t.testdir(files)), /x\.json: expected the schema paella-bench\/1, got "paella-bench\/2"/);
  t.throws(() => readSources(t.testdir({ 'y.json': '{"some":1}' })), /y\.json/);
  t.end();
});

t.test('text from files cannot break a table or a chart', (t) => {
  const row = rowOf([5], { ...diffusers, model: 'a|b<script>', details: { turns: 'x' }, stages: { decode: 1 } });
  const { markdown, charts } = reportOf({
    documents: [{ file: 'a.json', document: documentOf([row]) }],
    conversions: [],
  });
  t.match(markdown, String.raw`a\|b`);
  t.ok(charts.length > 0);
  for (const { svg } of charts) t.notMatch(svg, '<script>');
  t.end();
});
