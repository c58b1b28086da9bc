/** Whether what was found stands as the caption says. */

import type { Expectation, Relation } from './expectation.js';
import type { FoundObject } from './look/objects.js';

/** Centres must differ by this share of the shorter side along the stated axis, and by more than across it. */
const MARGIN = 0.12;

export type Assigned = Array<FoundObject | undefined>;

export interface Extent {
  width: number;
  height: number;
}

/** Along one axis: far enough, and further than across. */
function precedes(along: number, across: number, shorter: number): boolean {
  return along >= MARGIN * shorter && along > Math.abs(across);
}

function isInside(a: FoundObject, b: FoundObject): boolean {
  return a.box.left > b.box.left && a.box.top > b.box.top && a.box.right < b.box.right && a.box.bottom < b.box.bottom;
}

/** In the middle of a row or a column, on the line that joins the other two. */
function isBetween(a: FoundObject, b: FoundObject, c: FoundObject, shorter: number): boolean {
  const [first, last] = b.x <= c.x ? [b, c] : [c, b];
  const [upper, lower] = b.y <= c.y ? [b, c] : [c, b];
  const beside = precedes(a.x - first.x, a.y - first.y, shorter) && precedes(last.x - a.x, last.y - a.y, shorter);
  const below = precedes(a.y - upper.y, a.x - upper.x, shorter) && precedes(lower.y - a.y, lower.x - a.x, shorter);
  return beside || below;
}

/** The centre is in the outer third of the picture on both sides that the corner names. */
function isInCorner({ x, y }: FoundObject, corner: string, { width, height }: Extent): boolean {
  const [vertical, horizontal] = corner.split(' ');
  const [across, down] = [x / width, y / height];
  return (
    (horizontal === 'left' ? across < 1 / 3 : across > 2 / 3) && (vertical === 'top' ? down < 1 / 3 : down > 2 / 3)
  );
}

/** Whether one of the two is above, or below, several things. */
function isOfGroup({ a, b }: { a: number; b: number }, relations: readonly Relation[]): boolean {
  const above = relations.filter(({ kind }) => kind === 'above');
  return (
    above.filter((each) => each.a === a).length > 1 || above.filter((each) => 'b' in each && each.b === b).length > 1
  );
}

function holds(relation: Relation, relations: readonly Relation[], assigned: Assigned, extent: Extent): boolean {
  const shorter = Math.min(extent.width, extent.height);
  const a = assigned[relation.a];
  if (!a) return false;
  if (relation.kind === 'corner') return isInCorner(a, relation.at, extent);
  const b = assigned[relation.b];
  if (!b) return false;
  if (relation.kind === 'between') {
    const c = assigned[relation.c];
    return c !== undefined && isBetween(a, b, c, shorter);
  }
  if (relation.kind === 'inside') return isInside(a, b);
  if (relation.kind === 'left') return precedes(b.x - a.x, b.y - a.y, shorter);
  return precedes(b.y - a.y, b.x - a.x, shorter) || (isOfGroup(relation, relations) && isClearOf(a, b, shorter));
}

/** Of a group above one thing, the outer ones stand more beside than above: being clear of each other is enough. */
function isClearOf(a: FoundObject, b: FoundObject, shorter: number): boolean {
  return b.y - a.y >= MARGIN * shorter && a.box.bottom < b.box.top;
}

export function nameOf(wanted: Expectation['objects'][number] | undefined): string {
  if (!wanted) return 'nothing';
  return `${wanted.colour} ${wanted.texture === 'plain' ? '' : `${wanted.texture} `}${wanted.figure}`;
}

/** The stated relations that do not hold, for people. */
export function brokenRelations({ objects, relations }: Expectation, assigned: Assigned, extent: Extent): string[] {
  return relations.flatMap((relation) => {
    if (holds(relation, relations, assigned, extent)) return [];
    const a = nameOf(objects[relation.a]);
    if (relation.kind === 'corner') return [`${a} not in the ${relation.at} corner`];
    const words = relation.kind === 'left' ? 'left of' : relation.kind;
    const others = [relation.b, ...(relation.kind === 'between' ? [relation.c] : [])];
    return [`${a} not ${words} ${others.map((other) => nameOf(objects[other])).join(' and ')}`];
  });
}
