/** `soak`: many generations in one process, as a server has them: does memory or latency drift, is the event loop free. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { withSession } from '../session.js';
import type { Configuration } from '../settings.js';
import { median, round } from '../statistics.js';
import { type Bench, repeated } from './context.js';

/** Opens sharp's library too, which blocks once, fills the cache of prompts, which is bounded, and lets V8 settle. */
const warmup = 300;
const usualGenerations = 1000;
const parts = 10;

export async function soak(configuration: Configuration, bench: Bench): Promise<void> {
  const { settings, signal, emit, progress } = bench;
  const limitMs = settings.durationSeconds === undefined ? undefined : settings.durationSeconds * 1000;
  const most = limitMs === undefined ? (settings.generations ?? usualGenerations) : Number.MAX_SAFE_INTEGER;
  // A short run has a short warm-up: the rules of a run of seconds are not those of one of hours.
  const before =
    limitMs === undefined ? Math.min(warmup, Math.ceil(most * 0.3)) : Math.min(warmup, Math.ceil(limitMs / 50));
  await withSession(configuration, bench, async (session) => {
    // What a server does with an image; sharp works on threads of its own.
    const generation = async () => {
      const start = performance.now();
      const { images } = await session.call();
      await Promise.all(images.map((image) => image.encode('png')));
      return performance.now() - start;
    };
    for (let i = 0; i < before; i++) {
      signal.throwIfAborted();
      await generation();
      progress('warm-up', i + 1, before);
    }
    const samples: number[] = [];
    const resident: number[] = [];
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    const start = performance.now();
    await repeated(most, signal, async (i) => {
      if (limitMs !== undefined && samples.length >= 2 && performance.now() - start >= limitMs) return false;
      samples.push(await generation());
      resident.push(process.memoryUsage.rss());
      if (limitMs === undefined) progress('generation', i + 1, most);
      else progress(`generation ${i + 1}`, Math.min(limitMs, performance.now() - start), limitMs);
      return true;
    });
    const seconds = (performance.now() - start) / 1000;
    delay.disable();
    if (samples.length < 2) return;
    const windows = windowsOf(samples, resident);
    const [first, last] = [windows[0], windows.at(-1)];
    if (!first || !last) return;
    const { memory } = session.engine.stats();
    emit(
      session.row({
        scenario: 'soak',
        warmup: before,
        samples,
        counted: { textEncoding: configuration.fresh, decode: true, encodeFile: true },
        soak: {
          generations: samples.length,
          seconds: round(seconds),
          rssFirstBytes: first.rssBytes,
          rssLastBytes: last.rssBytes,
          rssGrowthBytes: last.rssBytes - first.rssBytes,
          latencyDrift: round(last.p50 / first.p50),
          engineCurrentBytes: memory.current,
          enginePeakBytes: memory.peak,
          // Nanoseconds; the timer's own resolution of 1 ms is in it.
          eventLoopDelayMs: {
            mean: finite(delay.mean / 1e6),
            p99: finite(delay.percentile(99) / 1e6),
            max: finite(delay.max / 1e6),
          },
          windows,
        },
      }),
    );
  });
}

/** A histogram without values has no mean. */
const finite = (ms: number) => (Number.isFinite(ms) ? round(ms) : 0);

/** Equal parts of the run, in order; all samples are in one. */
export function windowsOf(samples: readonly number[], resident: readonly number[]) {
  const count = Math.min(parts, samples.length);
  const edge = (part: number) => Math.round((part * samples.length) / count);
  return Array.from({ length: count }, (_, part) => ({
    generations: edge(part + 1) - edge(part),
    p50: round(median(samples.slice(edge(part), edge(part + 1)))),
    rssBytes: Math.round(median(resident.slice(edge(part), edge(part + 1)))),
  }));
}
