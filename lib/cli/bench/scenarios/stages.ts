/** `stages`: where the time of a call goes, by stage and by step, and what the products of a step would need alone. */
import type { StageTimings } from '../../../engine/types.js';
import { guidedSteps } from '../../../options/generate-options.js';
import { floorOf, noFloorBecause, type PlainRate, plainRate } from '../floor.js';
import { stageMedians, withSession } from '../session.js';
import type { Configuration } from '../settings.js';
import { median, round } from '../statistics.js';
import { type Bench, repeated, unlessInterrupted } from './context.js';
import { warmupOf } from './single.js';

export async function stages(configuration: Configuration, bench: Bench): Promise<void> {
  const { settings, signal, emit, progress } = bench;
  const { repeat } = settings;
  const before = warmupOf(settings.warmup);
  await withSession(configuration, bench, async (session) => {
    await session.warmUp(before, (done) => progress('warm-up', done, before + repeat));
    const noFloor = noFloorBecause(session);
    // In these steps both conditions are computed.
    const { steps: count = 1, conditionalSteps = 0, guidanceScale: scale = 1 } = session.parameters;
    const guidanceScale: readonly [number, number] = typeof scale === 'number' ? [scale, scale] : scale;
    const guided = guidedSteps({ steps: count, conditionalSteps, guidanceScale });
    const rates: PlainRate[] = [];
    if (noFloor === undefined) rates.push(await plainRate(session, guided > 0, signal));
    const samples: number[] = [];
    const timings: StageTimings[] = [];
    const steps: number[][] = [];
    const complete = await repeated(repeat, signal, async (i) => {
      const ends: number[] = [];
      const { ms, images } = await session.call({ onStep: ({ elapsedMs }) => ends.push(elapsedMs) });
      samples.push(ms);
      const told = images[0]?.timings;
      if (told) {
        timings.push(told);
        steps.push(ends.map((end, step) => end - (step === 0 ? told.encode_text + told.prior : (ends[step - 1] ?? 0))));
      }
      progress('call', before + i + 1, before + repeat);
    });
    if (samples.length === 0) return;
    if (noFloor === undefined && complete) {
      const after = await unlessInterrupted(signal, () => plainRate(session, guided > 0, signal));
      if (after) rates.push(after);
    }
    const perStep = (steps[0] ?? []).map((_, step) => median(steps.map((each) => Math.max(0, each[step] ?? 0))));
    // Steps of one kind: with guidance where there is some.
    const alike = guided > 0 ? perStep.slice(0, guided) : perStep;
    emit(
      session.row({
        scenario: 'stages',
        warmup: before,
        samples,
        stages: stageMedians(timings),
        perStep: perStep.map((ms) => round(ms)),
        ...(rates.length > 0 ? { floor: floorOf(rates, median(alike)) } : {}),
        details: { floor: noFloor ?? (guided > 0 ? 'of a guided step' : 'of a step without guidance') },
      }),
    );
  });
}
