/**
 * `npm run bench:peers`: this package and others on one machine, in turns, into one document of the schema of `paella bench`.
 * Every subject is a process that stays loaded; nothing else runs while one of them does.
 */
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { environment } from '../../../lib/cli/bench/environment.js';
import { report } from '../../../lib/cli/bench/report.js';
import { type BenchDocument, documentSchema, type Environment, schemaName } from '../../../lib/cli/bench/schema.js';
import { quoted } from '../../../lib/cli/bench/settings.js';
import { writeAtomically } from '../../../lib/images/files.js';
import { PeerProcess } from './peer-process.js';
import type { Hello } from './protocol.js';
import { quietest } from './quietest.js';
import { rowsOf, type Series } from './rows.js';

const root = path.resolve(import.meta.dirname, '../../..');

const usage = `npm run bench:peers -- --subject '<command>' [--subject '<command>' …] [--rounds 3] [--warmup 1]
                       [--most-others 100] [--output <file.json>]

Measures this package and others on one machine, in turns (A B A B). Subjects are commands as a shell takes them, run in
the repository's folder; each explains itself with --help:

  node --import tsx scripts/bench/peers/paella-native-peer.ts --model random:paella-v3-256 --size 256 --steps 8
  python scripts/bench/peers/diffusers_peer.py --model sd15 --random-weights --size 256,512 --steps 20
  python scripts/bench/peers/stable_diffusion_cpp_peer.py --random-weights build/sd15-random --size 256 --measure-steps 3
  python scripts/bench/peers/pytorch_paella_peer.py --size 256 --steps 8

--rounds   measured runs of each case of each subject
--warmup   runs before
--most-others  percent of the cores that processes which are no subjects may have: a run with more is taken again, up to
               three times, and the quietest counts
--output   the document, in the schema of paella bench; written after every round (default: standard output, at the end)

Ctrl-C keeps the rounds that are complete.
`;

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    subject: { type: 'string', multiple: true, default: [] },
    rounds: { type: 'string', default: '3' },
    warmup: { type: 'string', default: '1' },
    'most-others': { type: 'string', default: '100' },
    output: { type: 'string' },
  },
});
if (values.help) {
  process.stdout.write(usage);
  process.exit(0);
}
const rounds = integer('rounds', values.rounds, 1);
const warmup = integer('warmup', values.warmup, 0);
const mostOthers = integer('most-others', values['most-others'], 0) / 100;
if (values.subject.length === 0) throw new Error('--subject: expected at least one command, got none');

const command = commandLine();
const peers: PeerProcess[] = [];
let promptsMade = 0;
let stopping = false;
const state: { environment?: Environment; series: Series[][]; complete: boolean } = { series: [], complete: false };

process.once('SIGINT', () => void stop());
try {
  await measure();
  state.complete = true;
  await save();
} catch (error) {
  if (!stopping) throw error; // else it is what stop() has done to the peers
} finally {
  await Promise.all(peers.map((peer) => peer.kill()));
}

async function measure(): Promise<void> {
  const hellos: Hello[] = [];
  for (const subject of values.subject) {
    const peer = new PeerProcess(subject, root);
    peers.push(peer);
    // One after another: loading takes all cores, too.
    const hello = await peer.hello();
    say(`${hello.cases[0]?.subject} ${hello.cases[0]?.version}: loaded in ${(hello.loadMs / 1000).toFixed(1)} s`);
    hellos.push(hello);
  }
  state.environment = await surroundings(hellos);
  state.series = hellos.map(({ cases, loadMs }) =>
    cases.map((each) => ({
      ...{ case: each, loadMs, warmup },
      ...{ first: undefined, runs: [], others: [], time: '', farewell: undefined },
    })),
  );
  for (let i = 0; i < warmup; i++) await round('warm-up', i);
  for (let i = 0; i < rounds; i++) {
    await round(`round ${i + 1}/${rounds}`, warmup + i);
    await save();
  }
  for (const [i, peer] of peers.entries()) {
    const farewell = await peer.end();
    for (const series of state.series[i] ?? []) series.farewell = farewell;
  }
}

/** Each case of each subject once. */
async function round(name: string, number: number): Promise<void> {
  for (const [i, peer] of peers.entries())
    for (const [run, series] of (state.series[i] ?? []).entries()) {
      const { subject, model, width, height, batch } = series.case;
      const time = new Date().toISOString();
      const request = { run, batch, seed: 1 + number * batch };
      const { measured, others } = await quietest(() => once(peer, request), number < warmup ? 1 : mostOthers);
      if (number < warmup) series.first ??= measured;
      else {
        if (series.runs.length === 0) series.time = time;
        series.runs.push(measured);
        if (others !== undefined) series.others.push(others);
      }
      const busy = others === undefined ? '' : `, others had ${(others * 100).toFixed(0)} % of the cores`;
      const what = `${subject}, ${model}, ${width}×${height} px, batch ${batch}`;
      say(`${name}: ${what}: ${(measured.ms / 1000).toFixed(2)} s${busy}`);
    }
}

interface Asked {
  run: number;
  batch: number;
  seed: number;
}

async function once(peer: PeerProcess, { run, batch, seed }: Asked) {
  const prompts = Array.from({ length: batch }, freshPrompt);
  const before = used();
  const measured = await peer.run({ run, prompts, seed });
  return { measured, others: othersSince(before) };
}

interface Usage {
  wall: number;
  /** Of all cores. */
  busy: number;
  /** Of the subjects; undefined where the system does not tell. */
  own: number | undefined;
}

/** Milliseconds until now. */
function used(): Usage {
  const times = os.cpus().map(({ times: { user, nice, sys, irq } }) => user + nice + sys + irq);
  const own = peers.map((peer) => peer.cpuMs());
  return {
    wall: performance.now(),
    busy: times.reduce((sum, ms) => sum + ms, 0),
    own: own.includes(undefined) ? undefined : own.reduce<number>((sum, ms) => sum + (ms ?? 0), 0),
  };
}

/** Which share of all cores processes had that are no subjects: whoever reads the times should know. */
function othersSince(before: Usage): number | undefined {
  const now = used();
  if (before.own === undefined || now.own === undefined) return undefined;
  const others = now.busy - before.busy - (now.own - before.own);
  return Math.min(1, Math.max(0, others / ((now.wall - before.wall) * os.cpus().length)));
}

/** Never the same twice, so that nobody's cache of encoded prompts makes text encoding free; all of one length. */
function freshPrompt(): string {
  return `a red fox in the snow beside an old mill, evening light, number ${String(promptsMade++).padStart(7, '0')}`;
}

/** What all series have: a round that was cut off counts for none. */
async function save(): Promise<void> {
  const { environment: where, series } = state;
  const complete = Math.min(...series.flat().map(({ runs }) => runs.length));
  if (!where || !Number.isFinite(complete) || complete === 0) return;
  const turns = where.time;
  const rows = series.flat().flatMap((each) => rowsOf({ ...each, runs: each.runs.slice(0, complete) }, command, turns));
  // Two of them are a pair, as `paella bench --compare` reads it.
  const paired = rows.map((row, i) =>
    rows.length === 2 ? { ...row, pair: { id: turns, side: i === 0 ? ('A' as const) : ('B' as const) } } : row,
  );
  const document: BenchDocument = {
    schema: schemaName,
    environment: where,
    complete: state.complete,
    command,
    rows: paired,
  };
  const text = `${report(documentSchema.parse(document), 'json')}\n`;
  if (values.output !== undefined) await writeAtomically(path.resolve(values.output), text);
  else if (state.complete || stopping) process.stdout.write(text);
}

async function stop(): Promise<never> {
  stopping = true;
  await Promise.all(peers.map((peer) => peer.kill()));
  await save();
  process.exit(130);
}

async function surroundings(hellos: readonly Hello[]): Promise<Environment> {
  const own = await environment();
  const gpus = [...(own.gpus ?? []), ...hellos.flatMap((hello) => hello.gpus as NonNullable<Environment['gpus']>)];
  const known = new Map(gpus.map((gpu) => [gpu.name, gpu]));
  return {
    ...own,
    runtimes: Object.assign({ ...own.runtimes }, ...hellos.map(({ runtimes }) => runtimes)),
    gpus: [...known.values()],
  };
}

function commandLine(): string {
  const words = values.subject.map((subject) => `--subject ${quoted(subject)}`);
  if (mostOthers < 1) words.unshift(`--most-others ${values['most-others']}`);
  if (values.output !== undefined) words.push(`--output ${quoted(path.relative(root, path.resolve(values.output)))}`);
  return ['npm run bench:peers --', `--rounds ${rounds} --warmup ${warmup}`, ...words].join(' ');
}

function integer(name: string, text: string, least: number): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < least)
    throw new Error(`--${name}: expected an integer, at least ${least}, got ${text}`);
  return number;
}

function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
