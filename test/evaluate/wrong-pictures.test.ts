/** Every kind of wrong picture must be refused, and for the right reason. */

import t from 'tap';
import { assess, type Verdict } from '../../scripts/evaluate/judge.js';
import type { Picture } from '../../scripts/evaluate/raster.js';
import {
  BACKGROUND_VALUES,
  BACKGROUNDS,
  COLOUR_VALUES,
  COLOURS,
  type Rgb,
  SHAPES,
} from '../../scripts/evaluate/vocabulary.js';
import { blurred, compressed, type Drawn, generator, outline, type Point, render } from './renderer.js';
import { draw, drawnObjects, type Placed, pick, randomScene, type Scene } from './scenes.js';

// Some 200 pictures: more than the default half minute where other work keeps the machine busy.
t.setTimeout(180_000);

const random = generator(21);
const PICTURES = 9;

/** Damage of the picture must not hide what is wrong: taken in turn. */
const views: Array<(picture: Picture) => Picture | Promise<Picture>> = [
  (picture) => picture,
  (picture) => blurred(picture, 0.7),
  (picture) => compressed(picture, 80),
];

function other<T>(value: T, values: readonly T[]): T {
  return pick(
    random,
    values.filter((candidate) => candidate !== value),
  );
}

function some(scene: Scene): number {
  return Math.floor(random() * scene.places.length);
}

function withObject(scene: Scene, index: number, change: Partial<Drawn>): Drawn[] {
  return drawnObjects(scene).map((object, i) => (i === index ? { ...object, ...change } : object));
}

/** The part of `b` below or right of a line, pasted over `a`. */
function patchwork(a: Picture, b: Picture, inB: (x: number, y: number) => boolean): Picture {
  const data = a.data.map((value, i) => {
    const at = Math.floor(i / 3);
    return inB((at % a.width) + 0.5, Math.floor(at / a.width) + 0.5) ? (b.data[i] ?? 0) : value;
  });
  return { ...a, data };
}

function recoloured(scene: Scene, index: number): Drawn[] {
  const colour = scene.expectation.objects[index]?.colour ?? 'red';
  return withObject(scene, index, { colour: COLOUR_VALUES[other(colour, COLOURS)] });
}

const place = (scene: Scene, index: number): Placed => scene.places[index] as Placed;

/** Nothing: the scene does not suit this mistake. */
type Mistake = (scene: Scene) => Picture | undefined;

const mistakes: Array<[name: string, category: keyof Verdict, make: Mistake]> = [
  ['another colour', 'colours', (scene) => draw(scene, recoloured(scene, some(scene)))],
  [
    'a colour of no name',
    'colours',
    (scene) => {
      const colours: Rgb[] = [
        [250, 170, 190],
        [120, 70, 30],
        [60, 200, 210],
        [150, 220, 60],
        [230, 90, 40],
        [245, 175, 40],
      ];
      return draw(scene, withObject(scene, some(scene), { colour: pick(random, colours) }));
    },
  ],
  [
    'half of an object in another colour',
    'right',
    (scene) => {
      const index = some(scene);
      return patchwork(draw(scene), draw(scene, recoloured(scene, index)), (x) => x > place(scene, index).x);
    },
  ],
  [
    'a third of an object in another colour',
    'right',
    (scene) => {
      const index = some(scene);
      const { y: middle, half } = place(scene, index);
      return patchwork(draw(scene), draw(scene, recoloured(scene, index)), (_, y) => y > middle + 0.3 * half);
    },
  ],
  [
    'another shape',
    'shapes',
    (scene) => {
      const index = some(scene);
      const { x, y, half } = place(scene, index);
      const shape = other(scene.expectation.objects[index]?.shape ?? 'circle', SHAPES);
      return draw(scene, withObject(scene, index, { polygon: outline(shape, x, y, half) }));
    },
  ],
  ['an object missing', 'count', (scene) => draw(scene, drawnObjects(scene).slice(1))],
  [
    'an object too many',
    'count',
    (scene) => {
      if (scene.places.length !== 1) return undefined;
      const shorter = Math.min(scene.width, scene.height);
      const polygon = outline(pick(random, SHAPES), 0.13 * shorter, 0.13 * shorter, 0.08 * shorter);
      return draw(scene, [...drawnObjects(scene), { polygon, colour: COLOUR_VALUES[pick(random, COLOURS)] }]);
    },
  ],
  [
    'colours exchanged',
    'right',
    (scene) => {
      const [a, b] = scene.expectation.objects;
      if (!a || !b || a.colour === b.colour || a.shape === b.shape) return undefined;
      const [first, second, ...rest] = drawnObjects(scene) as [Drawn, Drawn, ...Drawn[]];
      return draw(scene, [{ ...first, colour: second.colour }, { ...second, colour: first.colour }, ...rest]);
    },
  ],
  [
    'places exchanged',
    'relations',
    (scene) => {
      const [a, b] = scene.expectation.objects;
      if (!a || !b) return undefined;
      const [p, q] = [place(scene, 0), place(scene, 1)];
      const [first, second, ...rest] = drawnObjects(scene) as [Drawn, Drawn, ...Drawn[]];
      return draw(scene, [
        { ...first, polygon: outline(a.shape, q.x, q.y, p.half) },
        { ...second, polygon: outline(b.shape, p.x, p.y, q.half) },
        ...rest,
      ]);
    },
  ],
  [
    'beside instead of above',
    'relations',
    (scene) => {
      if (scene.places.length !== 2 || scene.width !== scene.height) return undefined;
      const polygons = scene.places.map(({ x, y, half }, i) =>
        outline(scene.expectation.objects[i]?.shape ?? 'circle', y, x, half),
      );
      return draw(
        scene,
        drawnObjects(scene).map((object, i) => ({ ...object, polygon: polygons[i] ?? object.polygon })),
      );
    },
  ],
  [
    'another size',
    'sizes',
    (scene) => {
      const index = scene.expectation.objects.findIndex(({ size }) => size !== undefined);
      const object = scene.expectation.objects[index];
      if (!object) return undefined;
      const { x, y } = place(scene, index);
      const half = 0.125 * Math.min(scene.width, scene.height);
      return draw(scene, withObject(scene, index, { polygon: outline(object.shape, x, y, half) }));
    },
  ],
  [
    'another background',
    'background',
    ({ width, height, expectation, ...scene }) =>
      render(
        width,
        height,
        BACKGROUND_VALUES[other(expectation.background, BACKGROUNDS)],
        drawnObjects({ width, height, expectation, ...scene }),
      ),
  ],
  [
    'a strip of another background',
    'right',
    (scene) => {
      const w = 0.3 * scene.width;
      const polygon: Point[] = [
        [0, 0],
        [w, 0],
        [w, scene.height],
        [0, scene.height],
      ];
      const colour = BACKGROUND_VALUES[other(scene.expectation.background, BACKGROUNDS)];
      return draw(scene, [{ polygon, colour }, ...drawnObjects(scene)]);
    },
  ],
  [
    'two objects of one colour melted together',
    'right',
    (scene) => {
      const [a, b] = scene.expectation.objects;
      if (!a || !b || a.shape === b.shape) return undefined;
      b.colour = a.colour;
      const [p, q] = [place(scene, 0), place(scene, 1)];
      const half = 0.5 * Math.min(p.half, q.half);
      const beside = Math.abs(p.x - q.x) > Math.abs(p.y - q.y);
      const [dx, dy] = beside ? [0, half] : [half, 0];
      const polygon: Point[] = [
        [p.x - dx, p.y - dy],
        [q.x - dx, q.y - dy],
        [q.x + dx, q.y + dy],
        [p.x + dx, p.y + dy],
      ];
      return draw(scene, [...drawnObjects(scene), { polygon, colour: COLOUR_VALUES[a.colour] }]);
    },
  ],
  [
    'a hole',
    'shapes',
    (scene) => {
      const { x, y, half } = place(scene, 0);
      const colour = BACKGROUND_VALUES[scene.expectation.background];
      return draw(scene, [...drawnObjects(scene), { polygon: outline('circle', x, y, 0.45 * half), colour }]);
    },
  ],
];

for (const [name, category, make] of mistakes) {
  t.test(name, async (t) => {
    let made = 0;
    for (let i = 0; made < PICTURES && i < 40 * PICTURES; i++) {
      const scene = randomScene(random, ((i % 3) + 1) as 1 | 2 | 3);
      const picture = make(scene);
      const view = views[made % views.length];
      if (!picture || !view) continue;
      made += 1;
      const { verdict, seen } = assess(scene.expectation, await view(picture));
      if (verdict.right || verdict[category]) t.fail('accepted', { expectation: scene.expectation, verdict, seen });
    }
    t.equal(made, PICTURES);
  });
}

const unit = (corners: number, turn = 0): Point[] =>
  Array.from({ length: corners }, (_, i) => {
    const angle = (2 * Math.PI * i) / corners + turn;
    return [Math.cos(angle), Math.sin(angle)] as const;
  });

/** Outlines in a box of half size 1 that are none of the four shapes. */
const strange: Array<[name: string, polygon: Point[]]> = [
  ['a triangle upside down', outline('triangle', 0, 0, 1, 180)],
  ['a cross turned by 45 degrees', outline('cross', 0, 0, 1, 45)],
  ['an ellipse', unit(64).map(([x, y]) => [1.25 * x, 0.8 * y] as const)],
  ['an oblong', outline('square', 0, 0, 0.8, 0, 1.5)],
  ['half a disc', unit(64).map(([x, y]) => [x, Math.max(0, y)] as const)],
  [
    'a pentagram',
    Array.from(
      { length: 10 },
      (_, i) => unit(10, Math.PI / 10)[i]?.map((v) => (i % 2 ? 0.45 : 1) * v) as unknown as Point,
    ),
  ],
  [
    'an L',
    [
      [-1, -1],
      [-0.3, -1],
      [-0.3, 0.4],
      [1, 0.4],
      [1, 1],
      [-1, 1],
    ],
  ],
  [
    'a T',
    [
      [-1, -1],
      [1, -1],
      [1, -0.36],
      [0.36, -0.36],
      [0.36, 1],
      [-0.36, 1],
      [-0.36, -0.36],
      [-1, -0.36],
    ],
  ],
  [
    'a right-angled triangle',
    [
      [-1, -1],
      [1, 1],
      [-1, 1],
    ],
  ],
  [
    'a house',
    [
      [0, -1],
      [1, -0.2],
      [1, 1],
      [-1, 1],
      [-1, -0.2],
    ],
  ],
];

for (const [name, polygon] of strange) {
  t.test(`${name} has no name`, async (t) => {
    for (let i = 0; i < 6; i++) {
      const scene = randomScene(random, 1);
      const { x, y, half } = place(scene, 0);
      const moved = polygon.map(([px, py]) => [x + half * px, y + half * py] as const);
      const picture = await (views[i % 3] ?? ((same: Picture) => same))(
        draw(scene, withObject(scene, 0, { polygon: moved })),
      );
      const { seen } = assess(scene.expectation, picture);
      t.ok(
        seen.objects.every(({ shape }) => shape === 'unclear'),
        JSON.stringify(seen.objects),
      );
    }
  });
}
