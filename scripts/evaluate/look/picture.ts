/** Everything that can be seen in one picture. */

import { findBackground } from './background.js';
import { blots } from './blots.js';
import { perceived } from './colour.js';
import { explainContainer, mayContain } from './containers.js';
import { explainAll, type FoundObject, isWhole, type Site } from './objects.js';
import { type Box, boxHeight, boxWidth, type Canvas, contains, type Picture } from './raster.js';
import { joined, labelled } from './regions.js';

export interface Seen {
  background: string;
  objects: FoundObject[];
  /** Pixels that are neither background nor object; pale ones count in part. */
  stray: number;
  /** The largest patch of them. */
  largestStray: number;
}

/** OKLab distance from which a pixel is not the background. */
const FOREGROUND = 0.05;
/** Least side of an object over the picture's shorter side; smaller regions are specks. */
const LEAST_SIDE = 0.06;
/**
 * A blot of more pixels than this (pale ones count in part) spoils an object: in px, and as a share of its box. One wrong
 * token has 16 px; an autoencoder's softness at details of a car or a boat stays below 12.
 */
const BLOT = { pixels: 12, share: 0.0015 };
/** All blots of an object together. */
const BLOTS = { pixels: 20, share: 0.02 };
/** Patches of fewer pixels are grain: no object's fault, but no part of the ground. */
const GRAIN = 2;
/** px around an object in which a blot is the object's fault. */
const MARGIN = 3;

function around({ left, top, right, bottom }: Box, by: number): Box {
  return { left: left - by, top: top - by, right: right + by, bottom: bottom + by };
}

const area = (box: Box): number => boxWidth(box) * boxHeight(box);

function isInside(inner: Box, outer: Box): boolean {
  return contains(outer, inner.left, inner.top) && contains(outer, inner.right, inner.bottom);
}

/** Large ones that hold others first: what stands inside is named with them. */
function findObjects(site: Site, labs: Float32Array): FoundObject[] {
  const { picture, labels } = site;
  const least = LEAST_SIDE * Math.min(picture.width, picture.height);
  const objects: FoundObject[] = [];
  const held: Box[] = [];
  let regions = labels.regions.filter(({ box }) => Math.max(boxWidth(box), boxHeight(box)) >= least);
  for (const region of regions.filter((each) => mayContain(each, picture))) {
    const group = isWhole(site, region) ? undefined : explainContainer(site, region, labs);
    if (!group) continue;
    objects.push(...group);
    held.push(region.box);
  }
  regions = regions.filter(({ box }) => !held.some((outer) => isInside(box, outer)));
  return [...objects, ...explainAll(site, regions)];
}

/** Gives every blot to the smallest object around it; returns the sizes of those that no object has, grain included. */
function blame(picture: Picture, site: Site, labs: Float32Array, objects: FoundObject[], ground: Canvas): number[] {
  const stray: number[] = [];
  const ofObject = new Map<FoundObject, number[]>();
  const bySize = [...objects].sort((a, b) => area(a.box) - area(b.box));
  for (const { box, weight } of blots(picture, labs, site.canvas, ground)) {
    const [x, y] = [(box.left + box.right) / 2, (box.top + box.bottom) / 2];
    const owner = bySize.find((object) => contains(around(object.box, MARGIN), x, y));
    if (owner && weight < GRAIN) continue;
    if (owner) ofObject.set(owner, [...(ofObject.get(owner) ?? []), weight]);
    else stray.push(weight);
  }
  for (const [object, sizes] of ofObject) {
    if (object.figure === 'unclear') continue;
    const [largest, total] = [Math.max(...sizes), sizes.reduce((a, b) => a + b, 0)];
    const most = (limit: { pixels: number; share: number }) => Math.max(limit.pixels, limit.share * area(object.box));
    if (largest <= most(BLOT) && total <= most(BLOTS)) continue;
    object.flaws.push(
      `blots of ${total.toFixed(1)} px, the largest of ${largest.toFixed(1)} px (like a ${object.texture} ${object.figure})`,
    );
    object.figure = 'unclear';
    object.texture = 'unclear';
  }
  return stray;
}

export function look(picture: Picture): Seen {
  const labs = perceived(picture.data);
  const { name, canvas, distances, clear } = findBackground(picture, labs);
  const mask = Uint8Array.from(distances, (distance) => (distance > FOREGROUND ? 1 : 0));
  const labels = joined(labelled(mask, picture.width, picture.height));
  const site: Site = { picture, canvas, labels, distances };
  const ground: Canvas = { ...canvas, data: canvas.data.slice() };
  const objects = findObjects(site, labs);
  const stray = blame(picture, site, labs, objects, ground);
  return {
    background: clear ? name : 'unclear',
    objects,
    stray: stray.reduce((a, b) => a + b, 0),
    largestStray: Math.max(0, ...stray),
  };
}
