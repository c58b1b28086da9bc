/** Compares what is seen with what was asked for. */

import type { Expectation, WantedObject } from './expectation.js';
import type { FoundObject } from './look/objects.js';
import { look, type Seen } from './look/picture.js';
import type { Picture } from './look/raster.js';
import { type Assigned, brokenRelations, type Extent, nameOf } from './relations.js';

export interface Verdict {
  /** Everything below is right. */
  right: boolean;
  count: boolean;
  objects: boolean;
  colours: boolean;
  textures: boolean;
  relations: boolean;
  sizes: boolean;
  background: boolean;
  /** What is wrong, for people. */
  faults: string[];
}

/** Stray pixels that are a fault: so many in one patch, or such a share of the picture. */
const SPECK = 5;
const SPECKS = 0.002;
/** An object too many is a wrong count; with more than this there is nothing to tell apart, and the search would explode. */
const CANDIDATES = 6;

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

/** Or one that cannot be told from it at this size. */
function hasTexture({ texture }: WantedObject, object: FoundObject | undefined): boolean {
  return object !== undefined && (object.texture === texture || object.alike.includes(texture));
}

/** How well one seen object is the wanted one. */
function likeness(wanted: WantedObject, object: FoundObject | undefined): number {
  const points = [
    [object?.figure === wanted.figure, 2],
    [object?.colour === wanted.colour, 2],
    [hasTexture(wanted, object), 1],
    [sizeFits(wanted, object), 0.5],
  ] as const;
  return points.reduce((sum, [fits, worth]) => sum + (fits ? worth : 0), 0);
}

function bestAssignment(expectation: Expectation, candidates: readonly FoundObject[], extent: Extent): Assigned {
  let best: Assigned = [];
  let most = Number.NEGATIVE_INFINITY;
  for (const attempt of assignments(expectation.objects.length, candidates)) {
    const alike = expectation.objects.reduce((sum, wanted, i) => sum + likeness(wanted, attempt[i]), 0);
    // No relation can make up for more than all of them.
    if (alike <= most) continue;
    const points = alike - brokenRelations(expectation, attempt, extent).length;
    if (points > most) [most, best] = [points, attempt];
  }
  return best;
}

/** What is wrong with one object, by category. */
function compared(wanted: WantedObject, object: FoundObject | undefined) {
  const name = nameOf(wanted);
  if (!object) {
    const missing = { objects: false, colours: false, textures: false, sizes: wanted.size === undefined };
    return { ...missing, faults: [`no ${name}`] };
  }
  const result = {
    objects: object.figure === wanted.figure,
    colours: object.colour === wanted.colour,
    textures: hasTexture(wanted, object),
    sizes: sizeFits(wanted, object),
  };
  const faults: string[] = [];
  if (!result.objects) {
    const why = object.flaws.length > 0 ? ` (${object.flaws.join('; ')})` : '';
    faults.push(`${name}: figure ${object.figure}${why}`);
  }
  if (!result.colours) faults.push(`${name}: colour ${object.colour}`);
  // An unclear figure has no clear texture; it is one fault.
  if (!result.textures && object.figure !== 'unclear') faults.push(`${name}: texture ${object.texture}`);
  if (!result.sizes) faults.push(`${name}: ${object.size}, not ${wanted.size}`);
  return { ...result, faults };
}

function countFaults(expectation: Expectation, seen: Seen, extent: Extent): string[] {
  const [wanted, found] = [expectation.objects.length, seen.objects.length];
  if (found !== wanted) return [`${found} objects instead of ${wanted}`];
  const many = seen.largestStray >= SPECK || seen.stray > SPECKS * extent.width * extent.height;
  return many
    ? [`stray pixels (${Math.round(seen.stray)}, ${Math.round(seen.largestStray)} of them in one patch)`]
    : [];
}

export function judge(expectation: Expectation, seen: Seen, extent: Extent): Verdict {
  const candidates = [...seen.objects].sort((a, b) => b.half - a.half).slice(0, CANDIDATES);
  const assigned = bestAssignment(expectation, candidates, extent);
  const each = expectation.objects.map((wanted, index) => compared(wanted, assigned[index]));
  const count = countFaults(expectation, seen, extent);
  const broken = brokenRelations(expectation, assigned, extent);
  const background = seen.background === expectation.background;
  const faults = [
    ...count,
    ...each.flatMap((object) => object.faults),
    ...broken,
    ...(background ? [] : [`background ${seen.background}, not ${expectation.background}`]),
  ];
  const every = (key: 'objects' | 'colours' | 'textures' | 'sizes'): boolean => each.every((object) => object[key]);
  return {
    right: faults.length === 0,
    count: count.length === 0,
    objects: every('objects'),
    colours: every('colours'),
    textures: every('textures'),
    relations: broken.length === 0,
    sizes: every('sizes'),
    background,
    faults,
  };
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
