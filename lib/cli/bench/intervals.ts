/** From the moments at which calls ended to how long each of them took the machine: the samples of `offline`. */

/**
 * Calls of one batch end within a few ticks: so many milliseconds, or this share of the average time from end to end, which on
 * a busy machine is more. Of calls that have nothing to do with each other few end so near.
 */
const togetherMs = 0.5;
const togetherShare = 0.1;

export interface Intervals {
  /** Milliseconds, one for each end. Their sum is the time from the start to the last end. */
  samples: number[];
  /** Most calls that ended together. */
  together: number;
}

/**
 * The time from one end to the next. Those that end together were one piece of work, and share its time equally: else most of
 * them would have taken nothing, and the first of them everything.
 * @param ends ascending
 */
export function intervalsOf(start: number, ends: readonly number[]): Intervals {
  const samples: number[] = [];
  const near = Math.max(togetherMs, (togetherShare * ((ends.at(-1) ?? start) - start)) / ends.length);
  let [before, together] = [start, 0];
  for (let from = 0; from < ends.length; ) {
    let to = from + 1;
    while (to < ends.length && (ends[to] ?? Number.NaN) - (ends[to - 1] ?? Number.NaN) < near) to++;
    const last = ends[to - 1] ?? Number.NaN;
    for (let i = from; i < to; i++) samples.push((last - before) / (to - from));
    together = Math.max(together, to - from);
    [before, from] = [last, to];
  }
  return { samples, together };
}
