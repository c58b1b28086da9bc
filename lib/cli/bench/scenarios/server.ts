/**
 * `server`: requests come by themselves (Poisson), whether the engine keeps up or not, as the server scenario of MLPerf
 * Inference has it. Latency counts from the planned arrival, so that a late generator hides nothing.
 */
import { PaellaError } from '../../../errors.js';
import { loadDefaults } from '../../../options/load-options.js';
import { invalidOption } from '../../../options/validate.js';
import { poissonArrivals } from '../random.js';
import { type BenchRow, leastSamplesOfP99, type ServerFigures } from '../schema.js';
import { type Session, stageMedians, withSession } from '../session.js';
import { type Configuration, defaultServerSeconds, type RateSearch } from '../settings.js';
import { percentile, round } from '../statistics.js';
import type { Bench } from './context.js';
import { warmupOf } from './single.js';

/** A search ends when the rates that hold and that do not are this near. */
const nearEnough = 1.04;
const mostTrials = 24;

interface Trial {
  rate: number;
  samples: number[];
  row: BenchRow;
}

export async function server(configuration: Configuration, bench: Bench): Promise<void> {
  const { settings, signal, emit } = bench;
  await withSession(configuration, bench, async (session) => {
    const usual = await warmUp(session, bench);
    const { command } = configuration;
    if (settings.search) {
      const best = await search(session, settings.search, usual, bench);
      const { percentile: name, limitMs } = settings.search;
      if (best) emit({ ...best, command: `${command} --find-rate ${name}=${limitMs}` });
      return;
    }
    for (const rate of settings.rates) {
      const trial = await run(session, rate, bench);
      if (trial) emit({ ...trial.row, command: `${command} --rate ${rate}` });
      if (signal.aborted) return;
    }
  });
}

/**
 * Every size of batch that may come, too, as far as the queue has room; of more than 16 images the powers of two.
 * @returns milliseconds of a call alone
 */
async function warmUp(session: Session, { settings, progress }: Bench): Promise<number> {
  const { maxBatch = loadDefaults.maxBatch, maxQueue = loadDefaults.maxQueue } = session.configuration.load;
  const most = Math.min(maxBatch, maxQueue);
  const calls = Math.max(3, warmupOf(settings.warmup));
  const alone: number[] = [];
  for (let i = 0; i < calls; i++) {
    alone.push((await session.call()).ms);
    progress('warm-up', i + 1, calls + most);
  }
  // The first of them runs alone; those that come meanwhile share the next batch.
  for (let size = 2; size <= most; size = size < 16 ? size + 1 : 2 * size) {
    await Promise.all(Array.from({ length: size + 1 }, () => session.call().catch(unlessDropped)));
    progress('warm-up', calls + size, calls + most);
  }
  return Math.min(...alone.slice(1));
}

/** Until the engine has taken the first call, it waits in the queue too. */
function unlessDropped(error: unknown): void {
  if (!isDropped(error)) throw error;
}

const isDropped = (error: unknown) => error instanceof PaellaError && error.code === 'ERR_QUEUE_FULL';

/** Requests at one rate. @returns nothing if it was interrupted before the first answer */
async function run(session: Session, rate: number, bench: Bench): Promise<Trial | undefined> {
  const { settings, signal, progress } = bench;
  const { durationSeconds = defaultServerSeconds, deadlineMs } = settings;
  const arrivals = arrivalsAt(rate, session, bench);
  const samples: number[] = [];
  const timings: Parameters<typeof stageMedians>[0][number][] = [];
  const lags: number[] = [];
  let dropped = 0;
  let failure: unknown;
  const before = session.engine.stats();
  const start = performance.now();
  let last = start;
  const request = async (planned: number) => {
    try {
      const { images } = await session.call();
      last = performance.now();
      samples.push(last - start - planned);
      if (images[0]) timings.push(images[0].timings);
      progress(`${round(rate, 1)}/s`, samples.length + dropped, arrivals.length);
    } catch (error) {
      if (isDropped(error)) dropped++;
      else failure ??= error;
    }
  };
  const open: Promise<void>[] = [];
  for (const planned of arrivals) {
    await until(start + planned, signal);
    if (signal.aborted || failure !== undefined) break;
    lags.push(performance.now() - start - planned);
    open.push(request(planned));
  }
  await Promise.all(open);
  if (failure !== undefined && !signal.aborted) throw failure;
  if (samples.length === 0) return undefined;
  const after = session.engine.stats();
  const batches = after.batches - before.batches;
  const seconds = (last - start - (arrivals[0] ?? 0)) / 1000;
  const share = (count: number) => round(count / open.length, 4);
  const figures: ServerFigures = {
    rate: digits(rate),
    achievedRate: round(samples.length / seconds),
    durationSeconds,
    seed: session.configuration.seed,
    arrivals: open.length,
    completed: samples.length,
    dropped,
    droppedShare: share(dropped),
    deadlineMs,
    lateShare: share(deadlineMs === null ? 0 : samples.filter((ms) => ms > deadlineMs).length),
    meanBatch: round((after.images - before.images) / Math.max(1, batches)),
    dispatchLagMs: round(
      percentile(
        lags.toSorted((a, b) => a - b),
        95,
      ),
    ),
  };
  const row = session.row({
    scenario: 'server',
    warmup: warmupOf(settings.warmup),
    sampleOf: 'request',
    samples,
    stages: stageMedians(timings),
    imagesPerSecond: round((samples.length * session.batch) / seconds),
    maxBatch: session.configuration.load.maxBatch ?? loadDefaults.maxBatch,
    maxDelayMs: session.configuration.load.maxDelayMs ?? loadDefaults.maxDelayMs,
    maxQueue: session.configuration.load.maxQueue ?? loadDefaults.maxQueue,
    server: figures,
  });
  return { rate, samples, row };
}

function arrivalsAt(rate: number, { configuration: { seed } }: Session, { settings }: Bench): number[] {
  return poissonArrivals(rate, (settings.durationSeconds ?? defaultServerSeconds) * 1000, seed);
}

/** Throws `ERR_INVALID_OPTION`: of fewer arrivals p99 is one of the longest latencies, which chance decides. */
function checkArrivals(arrivals: number, rate: number, { settings }: Bench): void {
  if (arrivals >= leastSamplesOfP99) return;
  const { durationSeconds = defaultServerSeconds } = settings;
  // Some more than on average: arrivals come by chance.
  const enough = Math.ceil((1.3 * leastSamplesOfP99) / rate);
  throw invalidOption(
    'duration',
    `at least about ${enough} s, so that ${leastSamplesOfP99} requests come at ${digits(rate)} a second (p99 of fewer is no percentile; in ${durationSeconds} s there are ${arrivals})`,
    durationSeconds,
  );
}

/** Rates may be far below one. */
const digits = (rate: number) => Number(rate.toPrecision(6));

async function until(time: number, signal: AbortSignal): Promise<void> {
  for (let left = time - performance.now(); left > 0 && !signal.aborted; left = time - performance.now())
    // In slices: an interruption ends a long wait.
    await new Promise((resolve) => setTimeout(resolve, Math.min(left, 100)));
}

/**
 * The highest rate whose percentile stays within the limit and that drops nothing: doubled from half of what calls one
 * after another reach, then bisected. Every rate gets the same arrivals, on another scale.
 */
async function search(
  session: Session,
  { percentile: name, limitMs }: RateSearch,
  usualMs: number,
  bench: Bench,
): Promise<BenchRow | undefined> {
  const tried: { rate: number; ms: number; held: boolean }[] = [];
  const lowest = 500 / usualMs / 16;
  let best: Trial | undefined;
  let above: number | undefined;
  for (let rate = 500 / usualMs; tried.length < mostTrials && !bench.signal.aborted; ) {
    let held: Trial | undefined;
    // Other work on the machine makes a rate fail that holds, never the other way round: it gets a second chance.
    for (let attempt = 0; attempt < 2 && !held && !bench.signal.aborted; attempt++) {
      if (name === 'p99') checkArrivals(arrivalsAt(rate, session, bench).length, rate, bench);
      const trial = await run(session, rate, bench);
      if (!trial || bench.signal.aborted) break;
      const ms = percentile(
        trial.samples.toSorted((a, b) => a - b),
        Number(name.slice(1)),
      );
      if (ms <= limitMs && trial.row.server?.dropped === 0) held = trial;
      tried.push({ rate: digits(rate), ms: round(ms), held: held !== undefined });
    }
    if (bench.signal.aborted) break;
    if (held) best = held;
    else above = rate;
    if (best && above !== undefined && above / best.rate < nearEnough) break;
    rate = best ? (above === undefined ? rate * 2 : Math.sqrt(best.rate * above)) : rate / 2;
    if (!best && rate < lowest) break;
  }
  if (best?.row.server) {
    const found = { percentile: name, limitMs, tried };
    return { ...best.row, server: { ...best.row.server, found } };
  }
  if (bench.signal.aborted) return undefined;
  const lowestTried = tried.at(-1);
  throw new PaellaError(
    'ERR_INVALID_OPTION',
    `findRate: expected a limit that some rate holds; ${name} is ${lowestTried?.ms} ms at ${lowestTried?.rate} requests per second, got ${limitMs} ms`,
    { remedy: `a call alone takes ${round(usualMs, 1)} ms: choose a limit well above` },
  );
}
