/** `scaling`: one curve for each axis, along which one size changes and all others stay. */
import { availableParallelism } from 'node:os';
import type { Arguments } from '../../run.js';
import { type Axis, configurationOf, list, optionOf } from '../settings.js';
import type { Bench } from './context.js';
import { single } from './single.js';

const usual: Record<Axis, readonly number[]> = {
  pixels: [64, 128, 192, 256],
  steps: [1, 2, 4, 8, 16],
  batch: [1, 2, 4, 8],
  threads: [],
};

/** The list that was given, else the usual values. */
function valuesOf(axis: Axis, args: Arguments): unknown[] {
  const option = optionOf[axis];
  const given = args[option] === undefined ? [] : list(option, args[option]);
  if (given.length > 1) return given;
  if (axis !== 'threads') return [...usual[axis]];
  const cores = availableParallelism();
  const powers = Array.from({ length: Math.ceil(Math.log2(cores)) }, (_, i) => 2 ** i);
  return [...powers, cores];
}

export async function scaling(args: Arguments, bench: Bench): Promise<void> {
  for (const axis of bench.settings.axes)
    for (const value of valuesOf(axis, args)) {
      if (bench.signal.aborted) return;
      // Each point is what `single` measures, and its command says so.
      const alone = { ...args, scenario: undefined };
      const point = { [optionOf[axis]]: value };
      const { count = 1 } = configurationOf(alone, point).generate;
      // The largest batch must fit into one.
      const room = count > 8 && args.maxBatch === undefined ? { maxBatch: count } : {};
      const configuration = configurationOf(alone, { ...point, ...room });
      const progress: Bench['progress'] = (text, done, total) =>
        bench.progress(`${axis} ${String(value)}: ${text}`, done, total);
      await single(configuration, { ...bench, progress }, { axis });
    }
}
