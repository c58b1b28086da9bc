/** `offline`: throughput. Calls wait in the queue all the time, so that no batch begins late. */

import { loadDefaults } from '../../../options/load-options.js';
import { intervalsOf } from '../intervals.js';
import { stageMedians, withSession } from '../session.js';
import type { Configuration } from '../settings.js';
import { round } from '../statistics.js';
import type { Bench } from './context.js';
import { warmupOf } from './single.js';

/** `count` is the engine's largest batch unless it was given. */
export function fullBatches(configuration: Configuration): Configuration {
  const { load, generate } = configuration;
  return { ...configuration, generate: { ...generate, count: generate.count ?? load.maxBatch ?? 8 } };
}

export async function offline(given: Configuration, bench: Bench): Promise<void> {
  const { settings, signal, emit, progress } = bench;
  const { repeat, concurrency } = settings;
  const before = warmupOf(settings.warmup);
  const full = fullBatches(given);
  const maxQueue = Math.max(loadDefaults.maxQueue, concurrency);
  const configuration = { ...full, load: { ...full.load, maxQueue } };
  await withSession(configuration, bench, async (session) => {
    await session.warmUp(before, (done) => progress('warm-up', done, before + repeat));
    const ends: number[] = [];
    const timings: Parameters<typeof stageMedians>[0][number][] = [];
    let begun = 0;
    let failure: unknown;
    const start = performance.now();
    const oneAfterAnother = async () => {
      while (begun < repeat && failure === undefined && !signal.aborted) {
        begun++;
        const { images } = await session.call();
        ends.push(performance.now());
        if (images[0]) timings.push(images[0].timings);
        progress('call', before + ends.length, before + repeat);
      }
    };
    await Promise.all(
      Array.from({ length: concurrency }, () =>
        oneAfterAnother().catch((error: unknown) => {
          failure ??= error;
        }),
      ),
    );
    if (failure !== undefined && !signal.aborted) throw failure;
    if (ends.length === 0) return;
    const { samples, together } = intervalsOf(start, ends);
    const seconds = ((ends.at(-1) ?? start) - start) / 1000;
    emit(
      session.row({
        scenario: 'offline',
        warmup: before,
        samples,
        stages: stageMedians(timings),
        imagesPerSecond: round((ends.length * session.batch) / seconds),
        details: {
          concurrency,
          together,
          sample: 'time from one end of a call to the next; calls that end together share it equally',
        },
      }),
    );
  });
}
