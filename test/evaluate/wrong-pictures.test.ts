/** Every kind of wrong picture must be refused, and for the right reason. */

import t from 'tap';
import { assess, type Verdict } from '../../scripts/evaluate/judge.js';
import type { Picture } from '../../scripts/evaluate/look/raster.js';
import {
  ACCENT_VALUES,
  BACKGROUNDS,
  FIGURES,
  known,
  type Rgb,
  TEXTURED_FIGURES,
} from '../../scripts/evaluate/vocabulary.js';
import {
  type Area,
  blurred,
  colourOf,
  compressed,
  type Drawn,
  disc,
  figureOf,
  generator,
  groundOf,
  type Placed,
  partsOf,
  polygon,
  rectangle,
} from './renderer.js';
import {
  type Arrangement,
  changed,
  contrasts,
  draw,
  drawnObjects,
  pick,
  randomScene,
  type Scene,
  shows,
} from './scenes.js';

// More than the default half minute where other work keeps the machine busy.
t.setTimeout(300_000);

const random = generator(21);
const PICTURES = 3;

/** Damage of the picture must not hide what is wrong: taken in turn. */
const views: Array<(picture: Picture) => Picture | Promise<Picture>> = [
  (picture) => picture,
  (picture) => blurred(picture, 0.7),
  (picture) => compressed(picture, 85),
];

const wantedOf = (scene: Scene, index: number) =>
  scene.expectation.objects[index] as Scene['expectation']['objects'][number];
const place = (scene: Scene, index: number): Placed => scene.places[index] as Placed;
const backgroundOf = (scene: Scene): string => scene.expectation.background;

/** A colour that shows on the background and is not the object's. */
function otherColour(scene: Scene, index: number): string {
  const { colour } = wantedOf(scene, index);
  const colours = ['red', 'yellow', 'green', 'blue', 'purple', 'pink', 'black', 'gray', 'light blue'];
  return pick(
    random,
    colours.filter((name) => name !== colour && contrasts(name, colour) && shows(name, backgroundOf(scene))),
  );
}

/** The picture with more things drawn over it. */
const over = (scene: Scene, ...more: Drawn[]): Picture => draw(scene, [...drawnObjects(scene).flat(), ...more]);

/** The right picture with the object in another colour where `where` says so. */
function partlyRecoloured(scene: Scene, index: number, where: Area): Picture {
  const right = draw(scene);
  const other = draw(changed(scene, index, { colour: otherColour(scene, index) }));
  const data = right.data.map((value, i) => {
    const pixel = Math.floor(i / 3);
    const [x, y] = [(pixel % right.width) + 0.5, Math.floor(pixel / right.width) + 0.5];
    return where(x, y) ? (other.data[i] ?? 0) : value;
  });
  return { ...right, data };
}

/** A scene with one plain object of the figure. */
function sceneOf(figure: string, colour: string, background: string): Scene {
  const scene = randomScene(random, 'alone');
  const expectation = { ...scene.expectation, background, objects: [{ figure, colour, texture: 'plain' as const }] };
  return { ...scene, expectation, places: [{ x: 64, y: 60, half: 20 }] };
}

/** The figure without some of its runs of layers. */
function lacking(figure: string, colour: string, background: string, missing: readonly string[]) {
  return (): [Scene, Picture] => {
    const scene = sceneOf(figure, colour, background);
    const parts = partsOf(figure, place(scene, 0))
      .filter(({ fill }) => !missing.includes(fill))
      .map(({ fill, area }) => ({ area, colour: fill === 'main' ? colourOf(colour) : known(ACCENT_VALUES, fill) }));
    return [scene, draw(scene, parts)];
  };
}

/** A scene of this arrangement to which the mistake can be made. */
function scene(arrangement: Arrangement, suits: (scene: Scene) => boolean = () => true): Scene {
  for (;;) {
    const made = randomScene(random, arrangement);
    if (suits(made)) return made;
  }
}

const isPlain = (made: Scene): boolean => made.expectation.objects.every(({ texture }) => texture === 'plain');
const isWide = (made: Scene): boolean =>
  isPlain(made) && ['circle', 'square', 'heart', 'face'].includes(wantedOf(made, 0).figure);

/** Makes what a caption asks for, and a picture that is wrong. */
type Mistake = () => [Scene, Picture];

const mistakes: Array<[name: string, category: keyof Verdict, make: Mistake]> = [
  [
    'another colour',
    'colours',
    () => {
      const made = scene('row2');
      return [made, draw(changed(made, 1, { colour: otherColour(made, 1) }))];
    },
  ],
  [
    'a colour of no name',
    'colours',
    () => {
      const made = sceneOf('circle', 'green', 'white');
      const colours: Rgb[] = [
        [60, 200, 210],
        [190, 230, 40],
        [180, 90, 90],
        [200, 20, 160],
      ];
      return [made, draw(made, figureOf('circle', pick(random, colours), 'plain', place(made, 0)))];
    },
  ],
  [
    'half of an object in another colour',
    'objects',
    () => {
      const made = scene('row2', isPlain);
      return [made, partlyRecoloured(made, 0, (x) => x > place(made, 0).x)];
    },
  ],
  [
    'the lower third of an object in another colour',
    'objects',
    () => {
      const made = scene('alone', isWide);
      const { y, half } = place(made, 0);
      return [made, partlyRecoloured(made, 0, (_, py) => py > y + 0.3 * half)];
    },
  ],
  [
    'another figure',
    'objects',
    () => {
      const made = scene('row2', isPlain);
      const figures = FIGURES.filter((figure) => figure !== wantedOf(made, 0).figure);
      return [made, draw(changed(made, 0, { figure: pick(random, figures) }, { variant: 0 }))];
    },
  ],
  [
    'another texture',
    'textures',
    () => {
      const plain = (made: Scene) =>
        TEXTURED_FIGURES.includes(wantedOf(made, 0).figure) &&
        isPlain(made) &&
        contrasts(wantedOf(made, 0).colour, 'white');
      const made = scene('alone', plain);
      const larger = changed(made, 0, { size: undefined }, { half: 20 });
      return [larger, draw(changed(larger, 0, { texture: pick(random, ['striped', 'dotted', 'outlined']) }))];
    },
  ],
  [
    'another size',
    'sizes',
    () => {
      const made = scene('alone', ({ expectation }) => expectation.objects[0]?.size !== undefined);
      return [made, draw(changed(made, 0, {}, { half: 20 }))];
    },
  ],
  [
    'an object missing',
    'count',
    () => ((made) => [made, draw(made, drawnObjects(made).slice(1).flat())])(scene('row3')),
  ],
  [
    'an object too many',
    'count',
    () => {
      const made = scene('alone');
      const colour = colourOf(otherColour(made, 0));
      return [made, over(made, ...figureOf('circle', colour, 'plain', { x: 20, y: 112, half: 12 }))];
    },
  ],
  [
    'places exchanged',
    'relations',
    () => {
      const made = scene('row2');
      const [a, b] = [place(made, 0), place(made, 1)];
      return [
        made,
        draw({
          ...made,
          places: [
            { ...a, x: b.x },
            { ...b, x: a.x },
          ],
        }),
      ];
    },
  ],
  [
    'beside instead of above',
    'relations',
    () => {
      const made = scene('column2');
      return [made, draw({ ...made, places: made.places.map((each) => ({ ...each, x: each.y, y: each.x })) })];
    },
  ],
  [
    'the inner object outside',
    'relations',
    () => {
      const made = scene('inside', (each) => shows(wantedOf(each, 1).colour, backgroundOf(each)));
      return [
        made,
        draw({
          ...made,
          places: [
            { x: 44, y: 64, half: 36 },
            { ...place(made, 1), x: 106, half: 16 },
          ],
        }),
      ];
    },
  ],
  [
    'another background',
    'background',
    () => {
      const made = scene('row2');
      const colours = made.expectation.objects.map(({ colour }) => colour);
      const others = BACKGROUNDS.filter(
        (name) => name !== backgroundOf(made) && colours.every((colour) => shows(colour, name)),
      );
      if (others.length === 0) return [made, draw(made, [])];
      return [made, draw({ ...made, expectation: { ...made.expectation, background: pick(random, others) } })];
    },
  ],
  [
    'a strip of another background',
    'right',
    () => {
      const made = scene('column2', (each) => !['black', 'night'].includes(backgroundOf(each)));
      return [
        made,
        draw(made, [{ area: rectangle(0, 0, 20, 128), colour: [22, 28, 72] }, ...drawnObjects(made).flat()]),
      ];
    },
  ],
  [
    'a blob instead of a figure',
    'objects',
    () => {
      const made = sceneOf('tree', 'green', 'white');
      const [a, b, c] = [disc(60, 52, 14, 9), disc(70, 64, 8, 14), disc(56, 68, 9, 6)];
      return [made, draw(made, [{ area: (x, y) => a(x, y) || b(x, y) || c(x, y), colour: colourOf('green') }])];
    },
  ],
  ['a house without a roof', 'objects', lacking('house', 'red', 'white', ['roof'])],
  ['a house without a door', 'objects', lacking('house', 'yellow', 'night', ['door'])],
  ['a car without wheels', 'objects', lacking('car', 'blue', 'white', ['dark'])],
  ['a boat without a sail', 'objects', lacking('boat', 'red', 'day', ['sail'])],
  ['a flower without a stem', 'objects', lacking('flower', 'pink', 'white', ['leaf'])],
  [
    'a face without a mouth',
    'objects',
    () => {
      const made = sceneOf('face', 'yellow', 'white');
      const right = figureOf('face', colourOf('yellow'), 'plain', place(made, 0));
      return [made, draw(made, [...right, { area: rectangle(48, 61, 80, 76), colour: colourOf('yellow') }])];
    },
  ],
  [
    'a fish without an eye',
    'objects',
    () => {
      const made = sceneOf('fish', 'orange', 'white');
      const right = figureOf('fish', colourOf('orange'), 'plain', place(made, 0));
      return [
        made,
        draw(
          made,
          right.filter((_, i) => i !== right.length - 1),
        ),
      ];
    },
  ],
  [
    'a broken outline',
    'objects',
    () => {
      const made = changed(sceneOf('square', 'red', 'white'), 0, { texture: 'outlined' });
      return [made, over(made, { area: rectangle(42, 52, 52, 62), colour: [255, 255, 255] })];
    },
  ],
  [
    'a speck',
    'count',
    () => {
      const made = scene('row2');
      return [made, over(made, { area: rectangle(62, 108, 65, 111), colour: colourOf(otherColour(made, 0)) })];
    },
  ],
  [
    'a spot on an object',
    'objects',
    () => {
      const made = scene('alone', (each) => isWide(each) && wantedOf(each, 0).figure !== 'face');
      const { x, y } = place(made, 0);
      return [made, over(made, { area: disc(x - 2, y - 1, 2.5), colour: colourOf(otherColour(made, 0)) })];
    },
  ],
  [
    'a hole',
    'objects',
    () => {
      const made = scene('alone', isWide);
      const { x, y, half } = place(made, 0);
      const ground = groundOf(backgroundOf(made), 128)[y] as Rgb;
      return [made, over(made, { area: disc(x, y, 0.4 * half), colour: ground })];
    },
  ],
  [
    'a corner missing',
    'objects',
    () => {
      const made = sceneOf('square', 'purple', 'beige');
      const corner = polygon([
        [83, 41],
        [66, 41],
        [83, 58],
      ]);
      return [made, over(made, { area: corner, colour: [236, 222, 192] })];
    },
  ],
  [
    'two objects melted together',
    'right',
    () => {
      const made = scene('row2', isPlain);
      const [a, b] = [place(made, 0), place(made, 1)];
      const colour = colourOf(wantedOf(made, 0).colour);
      return [made, over(made, { area: rectangle(a.x, a.y + 2, b.x, a.y + 9), colour })];
    },
  ],
  [
    'an object cut by the border',
    'objects',
    () => {
      const made = sceneOf('circle', 'red', 'white');
      return [made, draw(changed(made, 0, {}, { x: 10 }))];
    },
  ],
  [
    'two inside instead of one',
    'count',
    () => {
      const made = scene('inside', isPlain);
      const [, inner] = made.expectation.objects;
      const colour = colourOf(inner?.colour ?? 'red');
      return [made, over(made, ...figureOf('circle', colour, 'plain', { x: 64, y: 92, half: 9 }))];
    },
  ],
  [
    'dots of some pixels all over the ground',
    'count',
    () => {
      const made = sceneOf('star', 'red', 'white');
      const { x, y, half } = place(made, 0);
      const area: Area = (px, py) =>
        Math.floor(px) % 5 < 2 && Math.floor(py) % 5 < 2 && Math.max(Math.abs(px - x), Math.abs(py - y)) > half + 5;
      return [made, over(made, { area, colour: colourOf('black') })];
    },
  ],
  [
    'a rim of another colour',
    'objects',
    () => {
      const made = sceneOf('square', 'black', 'white');
      const { x, y, half } = place(made, 0);
      const depth = (px: number, py: number) => half - Math.max(Math.abs(px - x), Math.abs(py - y));
      const area: Area = (px, py) => Math.abs(depth(px, py)) <= 1;
      return [made, over(made, { area, colour: pick(random, [colourOf('red'), colourOf('blue'), colourOf('green')]) })];
    },
  ],
  [
    'more beside than above',
    'relations',
    () => {
      const made = scene('column2', isPlain);
      const places = made.expectation.relations.some(({ kind, a }) => kind === 'above' && a === 0)
        ? [
            { x: 22, y: 42, half: 14 },
            { x: 104, y: 78, half: 14 },
          ]
        : [
            { x: 104, y: 78, half: 14 },
            { x: 22, y: 42, half: 14 },
          ];
      const moved = { ...made, places: made.places.map((each, i) => ({ ...each, ...places[i] })) };
      return [made, draw(moved)];
    },
  ],
];

for (const [name, category, make] of mistakes) {
  t.test(name, async (t) => {
    for (let i = 0; i < PICTURES; i++) {
      const [made, picture] = make();
      const view = views[i % views.length] as (typeof views)[number];
      const { verdict, seen } = assess(made.expectation, await view(picture));
      const accepted = verdict.right || verdict[category];
      t.notOk(accepted, 'accepted', { expectation: made.expectation, verdict, seen });
    }
  });
}
