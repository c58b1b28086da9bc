/** Compares what is seen with what was asked for. */

import type { Expectation, WantedObject } from './expectation.js';
import type { FoundObject } from './objects.js';
import { look, type Seen } from './picture.js';
import type { Picture } from './raster.js';
import type { Relation } from './vocabulary.js';

export interface Verdict {
  /** Everything below is right. */
  right: boolean;
  count: boolean;
  colours: boolean;
  shapes: boolean;
  relations: boolean;
  background: boolean;
  sizes: boolean;
  /** What is wrong, for people. */
  faults: string[];
}

/** Centres must differ by this share of the shorter side along the stated axis, and by more than across it. */
const MARGIN = 0.12;
/** More than this share of stray pixels is a fault: the picture is not plain. */
const SPECKS = 0.01;

type Assigned = Array<FoundObject | undefined>;

function holds(kind: Relation, a: FoundObject, b: FoundObject, shorter: number): boolean {
  const dx = b.x - a.x;
  const dy = b.y - a.y;
  const along = { left: dx, right: -dx, above: dy, below: -dy }[kind];
  const across = kind === 'left' || kind === 'right' ? dy : dx;
  return along >= MARGIN * shorter && along > Math.abs(across);
}

/** Every way to give each wanted object a seen one, or none where there are too few. */
function* assignments(wanted: number, seen: readonly FoundObject[]): Generator<Assigned> {
  if (wanted === 0) {
    yield [];
    return;
  }
  for (const rest of assignments(wanted - 1, seen)) {
    const free = seen.filter((object) => !rest.includes(object));
    for (const object of free) yield [...rest, object];
    if (seen.length < wanted || free.length === 0) yield [...rest, undefined];
  }
}

function sizeFits(wanted: WantedObject, object: FoundObject | undefined): boolean {
  return wanted.size === undefined || object?.size === wanted.size;
}

function nameOf(wanted: WantedObject | undefined): string {
  return wanted ? `${wanted.colour} ${wanted.shape}` : 'nothing';
}

function brokenRelations(expectation: Expectation, assigned: Assigned, shorter: number): string[] {
  return expectation.relations.flatMap(({ kind, a, b }) => {
    const [first, second] = [assigned[a], assigned[b]];
    if (first && second && holds(kind, first, second, shorter)) return [];
    const words = kind === 'left' || kind === 'right' ? `${kind} of` : kind;
    return [`${nameOf(expectation.objects[a])} not ${words} ${nameOf(expectation.objects[b])}`];
  });
}

function agreement(expectation: Expectation, assigned: Assigned, shorter: number): number {
  let points = -brokenRelations(expectation, assigned, shorter).length;
  expectation.objects.forEach((wanted, index) => {
    const object = assigned[index];
    if (object?.shape === wanted.shape) points += 2;
    if (object?.colour === wanted.colour) points += 2;
    if (sizeFits(wanted, object)) points += 0.5;
  });
  return points;
}

export function judge(expectation: Expectation, seen: Seen, picture: Pick<Picture, 'width' | 'height'>): Verdict {
  const shorter = Math.min(picture.width, picture.height);
  // An object too many is a wrong count; with more than six there is nothing to tell apart, and the search would explode.
  const candidates = [...seen.objects].sort((a, b) => b.width * b.height - a.width * a.height).slice(0, 6);
  let assigned: Assigned = [];
  let best = Number.NEGATIVE_INFINITY;
  for (const attempt of assignments(expectation.objects.length, candidates)) {
    const points = agreement(expectation, attempt, shorter);
    if (points > best) [best, assigned] = [points, attempt];
  }

  const faults: string[] = [];
  const count = seen.objects.length === expectation.objects.length && seen.specks <= SPECKS;
  if (seen.objects.length !== expectation.objects.length) {
    faults.push(`${seen.objects.length} objects instead of ${expectation.objects.length}`);
  } else if (!count) {
    faults.push(`stray pixels (${(100 * seen.specks).toFixed(1)} %)`);
  }
  let [colours, shapes, sizes] = [true, true, true];
  expectation.objects.forEach((wanted, index) => {
    const object = assigned[index];
    const name = nameOf(wanted);
    if (!object) {
      [colours, shapes, sizes] = [false, false, sizes && wanted.size === undefined];
      faults.push(`no ${name}`);
      return;
    }
    if (object.colour !== wanted.colour) {
      colours = false;
      faults.push(`${name}: colour ${object.colour}`);
    }
    if (object.shape !== wanted.shape) {
      shapes = false;
      faults.push(`${name}: shape ${object.shape}`);
    }
    if (!sizeFits(wanted, object)) {
      sizes = false;
      faults.push(`${name}: ${object.size}, not ${wanted.size}`);
    }
  });
  const broken = brokenRelations(expectation, assigned, shorter);
  faults.push(...broken);
  const background = seen.background === expectation.background;
  if (!background) faults.push(`background ${seen.background}, not ${expectation.background}`);
  const relations = broken.length === 0;
  const right = count && colours && shapes && relations && background && sizes;
  return { right, count, colours, shapes, relations, background, sizes, faults };
}

export interface Judged {
  expectation: Expectation;
  seen: Seen;
  verdict: Verdict;
}

export function assess(expectation: Expectation, picture: Picture): Judged {
  const seen = look(picture);
  return { expectation, seen, verdict: judge(expectation, seen, picture) };
}
