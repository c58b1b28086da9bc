// `npm run bench:peers`: turns, rows that are composed of measured steps, and what is kept when a peer fails.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import t, { type Test } from 'tap';
import { subject as own } from '../../lib/cli/bench/environment.js';
import { type BenchDocument, documentSchema } from '../../lib/cli/bench/schema.js';
import { quietest } from '../../scripts/bench/peers/quietest.js';

const root = path.resolve(import.meta.dirname, '../..');
const driver = ['--import', 'tsx', 'scripts/bench/peers/run.ts'];

interface Files {
  output: string;
  protocol: string;
}

function filesOf(t: Test): Files {
  const folder = t.testdir();
  return { output: path.join(folder, 'rows.json'), protocol: path.join(folder, 'protocol.txt') };
}

const fake = (name: string, { protocol }: Files, fault = '') =>
  `node test/scripts/fake-peer.mjs ${name} '${protocol}' '${fault}'`;

function measure(files: Files, subjects: readonly string[], ...options: string[]) {
  const args = [...driver, '--output', files.output, ...options, ...subjects.flatMap((each) => ['--subject', each])];
  return spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' });
}

const read = ({ output }: Files): BenchDocument => documentSchema.parse(JSON.parse(readFileSync(output, 'utf8')));

t.test('subjects take turns, and no prompt comes twice', (t) => {
  const files = filesOf(t);
  const { status, stderr } = measure(files, [fake('a', files), fake('b', files)], '--rounds', '2');
  t.equal(status, 0, stderr);
  const runs = readFileSync(files.protocol, 'utf8').trim().split('\n');
  t.same(
    runs.map((line) => line.split(' ')[0]),
    ['a', 'b', 'a', 'b', 'a', 'b'],
    'a warm-up and two rounds',
  );
  const prompts = runs.map((line) => line.split(' ').slice(2).join(' '));
  t.equal(new Set(prompts).size, prompts.length);
  t.equal(new Set(prompts.map((prompt) => prompt.length)).size, 1, 'all of one length');
  t.end();
});

t.test('a run beside other work is taken again: the first quiet one counts, or the quietest of four', async (t) => {
  const taken = async (shares: readonly (number | undefined)[], most: number) => {
    let runs = 0;
    const { others } = await quietest(async () => ({ measured: runs, others: shares[runs++] }), most);
    return [others, runs];
  };
  t.same(await taken([0.5, 0.3, 0.05, 0], 0.1), [0.05, 3]);
  t.same(await taken([0.5, 0.3, 0.4, 0.6, 0], 0.1), [0.3, 4]);
  t.same(await taken([0.5], 1), [0.5, 1], 'whoever does not ask for it');
  t.same(await taken([undefined], 0), [undefined, 1], 'where the system does not tell');
  const files = filesOf(t);
  t.equal(measure(files, [fake('a', files)], '--rounds', '2', '--most-others', '5').status, 0);
  const [row] = read(files).rows;
  t.equal(row?.ms.runs, 2);
  t.match(row?.command, '--most-others 5', 'the command that reproduces it');
  t.match(measure(files, [fake('a', files)], '--most-others', 'few').stderr, /--most-others: expected an integer/);
});

t.test('rows: composed of the measured steps and the rest of the same run', (t) => {
  const files = filesOf(t);
  const subjects = [fake('a', files), fake('b', files)];
  t.equal(measure(files, subjects, '--rounds', '2').status, 0);
  const { rows, environment, complete, command } = read(files);
  t.equal(command, rows[0]?.command, 'one command makes the whole file');
  t.equal(complete, true);
  t.equal(environment.runtimes.a, '1');
  t.same(
    rows.map(({ subject, steps }) => [subject, steps]),
    [
      ['a', 4],
      ['a', 8],
      ['b', 4],
      ['b', 8],
    ],
  );
  const [four, eight] = rows;
  // Run n takes 100 n, its steps n, 2 n and 6 n: 91 n beyond the steps, and 2 n for each step that is added.
  t.same(four?.samples, [2 * 99, 3 * 99]);
  t.same(eight?.samples, [2 * 107, 3 * 107]);
  t.equal(four?.firstMs, 99, 'the warm-up, composed in the same way');
  t.equal(four?.evidence, 'composed');
  t.match(four?.explanation, /^4 times the median of 3 measured steps/);
  t.same(eight?.stages, { decode: 7, denoise: 16 * 2.5 }, 'medians of both runs');
  t.same(four?.perStep, [2.5, 5, 15]);
  t.equal(four?.rssBytes, 1000);
  t.equal(new Set(rows.map(({ details }) => details?.turns)).size, 1, 'one run');
  const others = four?.details?.others;
  if (process.platform === 'linux') t.ok(typeof others === 'number' && others >= 0 && others <= 1, 'what else ran');
  t.match(four?.command, /^npm run bench:peers -- --rounds 2 --warmup 1 --subject 'node test/);
  t.end();
});

t.test('a peer in Python, by worker.py', (t) => {
  const files = filesOf(t);
  const python = 'python3 test/scripts/fake_peer.py --threads 2 --size 64,128 --steps 3';
  const { status, stderr } = measure(files, [`${python} --measure-steps 3`], '--rounds', '1', '--warmup', '0');
  t.equal(status, 0, stderr);
  t.match(stderr, /noise of a library/, 'what libraries print goes to standard error');
  const { rows, environment } = read(files);
  t.same(
    rows.map(({ width, evidence, samples }) => [width, evidence, samples]),
    [
      [64, 'measured', [101]],
      [128, 'measured', [101]],
    ],
    'all steps were run: nothing is composed',
  );
  t.equal(environment.runtimes.fake, '1');
  t.same(
    rows.map(({ pair }) => pair?.side),
    ['A', 'B'],
    'two rows are a pair for --compare',
  );
  t.match(measure(files, [`${python},13 --size 13`]).stderr, /fake_peer\.py .*ValueError: thirteen/);
  t.match(measure(files, [`${python} --size 0`]).stderr, /argument --size: expected integers from 1 on, got '0'/);
  t.end();
});

t.test("peers whose code is this repository's tell its commit as this package does", (t) => {
  const code =
    "import sys; sys.path.insert(0, 'scripts/bench/peers'); import worker; print(worker.repository_commit())";
  const { stdout, stderr } = spawnSync('python3', ['-B', '-c', code], { cwd: root, encoding: 'utf8' });
  t.equal(stdout.trim(), String(own().commit ?? 'None'), stderr);
  t.end();
});

t.test('a peer started by hand starts the driver', { skip: process.platform === 'win32' }, (t) => {
  const files = filesOf(t);
  const args = ['test/scripts/fake_peer.py', '--size', '64', '--steps', '3', '--rounds', '2', '--output', files.output];
  const { status, stderr } = spawnSync('python3', args, { cwd: root, encoding: 'utf8' });
  t.equal(status, 0, stderr);
  const { rows } = read(files);
  t.equal(rows[0]?.ms.runs, 2);
  t.match(rows[0]?.command, /--subject 'python test\/scripts\/fake_peer.py --size 64 --steps 3'/);
  t.end();
});

t.test('peers that fail are named, and complete rounds are kept', (t) => {
  const cases: [fault: string, message: RegExp][] = [
    ['cannot load', /fake-peer\.mjs b .*: no weights/],
    ['talks', /fake-peer\.mjs b .*: expected a line of JSON, got Loading weights/],
    ['dies', /fake-peer\.mjs b .*: ended without an answer/],
  ];
  for (const [fault, message] of cases) {
    const files = filesOf(t);
    const { status, stderr } = measure(files, [fake('a', files), fake('b', files, fault)], '--rounds', '3');
    t.not(status, 0, fault);
    t.match(stderr, message);
    t.equal(existsSync(files.output), fault === 'dies', 'no document without a complete round');
    if (fault !== 'dies') continue;
    const { complete, rows } = read(files);
    t.equal(complete, false);
    t.ok(
      rows.every(({ ms }) => ms.runs === 1),
      'the round that was cut off counts for nobody',
    );
  }
  t.match(measure(filesOf(t), []).stderr, /--subject: expected at least one command, got none/);
  t.match(measure(filesOf(t), ['x'], '--rounds', '0').stderr, /--rounds: expected an integer, at least 1, got 0/);
  t.end();
});

t.test('Ctrl-C keeps complete rounds and leaves no process behind', async (t) => {
  const files = filesOf(t);
  const subjects = [fake('a', files), fake('b', files, 'hangs')].flatMap((each) => ['--subject', each]);
  const child = spawn(process.execPath, [...driver, '--output', files.output, ...subjects], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  // b hangs in its third run: the second round.
  const hanging = () => existsSync(files.protocol) && readFileSync(files.protocol, 'utf8').match(/^b /gm)?.length === 3;
  const deadline = Date.now() + 60_000;
  while (!hanging() && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 50));
  child.kill('SIGINT');
  const code = await new Promise((resolve) => child.once('exit', resolve));
  t.equal(code, 130);
  const { complete, rows } = read(files);
  t.equal(complete, false);
  t.equal(rows[0]?.ms.runs, 1);
  const pids = new Set(
    readFileSync(files.protocol, 'utf8')
      .match(/(?<=^\w+ )\d+/gm)
      ?.map(Number),
  );
  t.equal(pids.size, 2);
  for (const pid of pids) t.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
});
