/** Random numbers that a seed repeats, for arrivals and for resampling. */

/** Uniform in [0, 1): mulberry32, a generator of 32 bits that is enough for this and nothing else. */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Arrivals of a Poisson process.
 * @param rate per second
 * @returns milliseconds from the start, ascending, below `durationMs`; at least one
 */
export function poissonArrivals(rate: number, durationMs: number, seed: number): number[] {
  const next = uniform(seed);
  const arrivals: number[] = [];
  for (let at = 0; ; ) {
    at += (-Math.log(1 - next()) / rate) * 1000;
    if (at >= durationMs && arrivals.length > 0) return arrivals;
    arrivals.push(Math.min(at, durationMs));
  }
}
