/** Reading numbers from the command line. */

export function whole(value: string | undefined, name: string): number | undefined {
  if (value === undefined) return undefined;
  if (!/^\d+$/.test(value)) throw new Error(`--${name}: expected a whole number, got ${value}`);
  return Number(value);
}

export function numbers(value: string, name: string): number[] {
  const list = value.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
  if (list.some(Number.isNaN)) throw new Error(`--${name}: expected numbers with commas between them, got ${value}`);
  return list;
}

/** "3" or "3,1": the first and the last step. */
export function ramp(value: string | undefined, name: string): [number, number] | undefined {
  if (value === undefined) return undefined;
  const [first = Number.NaN, last = first, ...more] = numbers(value, name);
  if (more.length > 0) throw new Error(`--${name}: expected first,last, got ${value}`);
  return [first, last];
}

export function oneOf<T extends string>(value: string, allowed: readonly T[], name: string): T {
  const found = allowed.find((each) => each === value);
  if (found === undefined) throw new Error(`--${name}: expected one of ${allowed.join(', ')}, got ${value}`);
  return found;
}

/** The command without the folders of this machine. */
export function commandOf(script: string, given: readonly string[]): string {
  const shown = given.map((word) =>
    word.startsWith('/') ? `…/${word.split('/').filter(Boolean).at(-1) ?? ''}` : word,
  );
  return `npm run ${script}${shown.length > 0 ? ` -- ${shown.join(' ')}` : ''}`;
}
