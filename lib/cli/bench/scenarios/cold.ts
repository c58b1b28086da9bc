/**
 * `cold`: from the start of a process to the first image and the end, in a process of its own for each run. The files are
 * in the system's cache, unless nothing has read them before.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { PaellaError, type PaellaErrorCode } from '../../../errors.js';
import type { ColdFailure, ColdMarks } from '../cold-process.js';
import { describe } from '../session.js';
import { type Configuration, numbered } from '../settings.js';
import { round, summarize } from '../statistics.js';
import { type Bench, repeated } from './context.js';
import { warmupOf } from './single.js';

/** Built JavaScript, or the source under a loader of TypeScript. */
const program = path.join(import.meta.dirname, `../cold-process${path.extname(import.meta.filename)}`);

interface Run {
  ms: number;
  phases: { start: number; import: number; load: number; generate: number; exit: number };
  marks: ColdMarks;
}

export async function cold(configuration: Configuration, bench: Bench): Promise<void> {
  const { settings, signal, emit, progress } = bench;
  const { repeat } = settings;
  const warmup = warmupOf(settings.warmup);
  const all: Run[] = [];
  await repeated(warmup + repeat, signal, async (i) => {
    all.push(await run(configuration, i, signal));
    progress('process', i + 1, warmup + repeat);
  });
  const counted = all.slice(warmup);
  const [first] = counted;
  if (!first) return;
  const { parameters, model } = first.marks;
  const ms = summarize(counted.map((each) => each.ms));
  const middle = (values: number[]) => round(summarize(values).p50);
  emit({
    ...describe(model, configuration, parameters),
    scenario: 'cold',
    counted: { textEncoding: true, decode: true, load: true },
    sampleOf: 'process',
    warmup,
    firstMs: round(all[0]?.ms ?? first.ms),
    loadMs: middle(counted.map(({ phases }) => phases.load)),
    ms,
    samples: counted.map((each) => round(each.ms)),
    imagesPerSecond: round(((configuration.generate.count ?? 1) * 1000) / ms.mean),
    stages: {
      start: middle(counted.map(({ phases }) => phases.start)),
      import: middle(counted.map(({ phases }) => phases.import)),
      load: middle(counted.map(({ phases }) => phases.load)),
      generate: middle(counted.map(({ phases }) => phases.generate)),
      exit: middle(counted.map(({ phases }) => phases.exit)),
    },
    peakBytes: Math.max(...counted.map(({ marks }) => marks.peakBytes)),
    rssBytes: Math.max(...counted.map(({ marks }) => marks.rssBytes)),
  });
}

async function run({ load, generate, prompt, seed }: Configuration, i: number, signal: AbortSignal): Promise<Run> {
  const options = { load, generate: { ...generate, prompt: numbered(prompt, i), seed: seed + i } };
  const start = performance.timeOrigin + performance.now();
  const child = spawn(process.execPath, [...process.execArgv, program, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    signal,
    killSignal: 'SIGKILL',
    // Ctrl-C on a terminal reaches the whole group: the child's end is ours to decide.
    detached: true,
  });
  let [out, errors] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  const end = performance.timeOrigin + performance.now();
  if (code !== 0) throw failureOf(out, errors, code);
  const marks = JSON.parse(out) as ColdMarks;
  const { entered, imported, loaded, drawn } = marks;
  return {
    ms: end - start,
    phases: {
      start: Math.max(0, entered - start),
      import: imported - entered,
      load: loaded - imported,
      generate: drawn - loaded,
      exit: Math.max(0, end - drawn),
    },
    marks,
  };
}

function failureOf(out: string, errors: string, code: number | null): PaellaError {
  try {
    const { error } = JSON.parse(out) as ColdFailure;
    return new PaellaError(error.code as PaellaErrorCode, error.message, { remedy: error.remedy });
  } catch {
    return new PaellaError(
      'ERR_ADDON',
      `the process of a cold start ended with ${code ?? 'a signal'}: ${errors.trim()}`,
    );
  }
}
