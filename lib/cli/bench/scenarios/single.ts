/** `single`: latency, calls one after another. `--against`: two configurations in turns. */
import type { BenchRow } from '../schema.js';
import { type Session, stageMedians, withSession } from '../session.js';
import type { Configuration, Settings } from '../settings.js';
import { type Bench, repeated } from './context.js';

class Series {
  readonly #samples: number[] = [];
  readonly #timings: Parameters<typeof stageMedians>[0][number][] = [];
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async take(): Promise<void> {
    const { ms, images } = await this.#session.call();
    this.#samples.push(ms);
    if (images[0]) this.#timings.push(images[0].timings);
  }

  get length(): number {
    return this.#samples.length;
  }

  /** @param most samples that count */
  row({ scenario, warmup }: Settings, own: Partial<BenchRow> = {}, most = this.length): BenchRow {
    const stages = stageMedians(this.#timings.slice(0, most));
    return this.#session.row({
      scenario,
      warmup: warmupOf(warmup),
      samples: this.#samples.slice(0, most),
      stages,
      ...own,
    });
  }
}

/** The very first call is never among the samples: it makes what later ones find made. */
export const warmupOf = (warmup: number): number => Math.max(1, warmup);

export async function single(configuration: Configuration, bench: Bench, own: Partial<BenchRow> = {}): Promise<void> {
  const { settings, signal, emit, progress } = bench;
  const { repeat } = settings;
  const before = warmupOf(settings.warmup);
  await withSession(configuration, bench, async (session) => {
    await session.warmUp(before, (done) => progress('warm-up', done, before + repeat));
    const series = new Series(session);
    await repeated(repeat, signal, async (i) => {
      await series.take();
      progress('call', before + i + 1, before + repeat);
    });
    if (series.length > 0) emit(series.row(settings, own));
  });
}

/** A B A B …, both loaded: whatever the machine does in the meantime, it does to both. */
export async function paired(a: Configuration, b: Configuration, bench: Bench): Promise<void> {
  const { settings, signal, emit, progress } = bench;
  const { repeat } = settings;
  const before = warmupOf(settings.warmup);
  const total = 2 * (before + repeat);
  const id = new Date().toISOString();
  await withSession(a, bench, (sessionA) =>
    withSession(b, bench, async (sessionB) => {
      await sessionA.warmUp(before, (done) => progress('warm-up', done, total));
      await sessionB.warmUp(before, (done) => progress('warm-up', before + done, total));
      const [seriesA, seriesB] = [new Series(sessionA), new Series(sessionB)];
      await repeated(repeat, signal, async (i) => {
        await seriesA.take();
        await seriesB.take();
        progress('pair', 2 * (before + i + 1), total);
      });
      const pairs = Math.min(seriesA.length, seriesB.length);
      if (pairs === 0) return;
      emit(seriesA.row(settings, { pair: { id, side: 'A' } }, pairs));
      emit(seriesB.row(settings, { pair: { id, side: 'B' } }, pairs));
    }),
  );
}
