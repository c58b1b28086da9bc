/** Single parts of the analysis, and that every caption can be read. */

import t from 'tap';
import type { Expectation } from '../../scripts/evaluate/expectation.js';
import { readExpectations, spread } from '../../scripts/evaluate/expectation.js';
import { assess, judge } from '../../scripts/evaluate/judge.js';
import { difference, nearest, toLab } from '../../scripts/evaluate/look/colour.js';
import { look } from '../../scripts/evaluate/look/picture.js';
import { drawScene } from '../../scripts/evaluate/scene.js';
import { arrangement, commonFaults, shareOf, summarise, table } from '../../scripts/evaluate/summary.js';
import { COLOUR_VALUES, FIGURES } from '../../scripts/evaluate/vocabulary.js';
import { colourOf, figureOf, groundOf, render } from './renderer.js';

t.setTimeout(120_000);

t.test('every held-out caption can be read, and names what it asks for', async (t) => {
  const expectations = await readExpectations('scripts/train/heldout.json');
  t.ok(expectations.length >= 1000);
  for (const { caption, objects, relations } of expectations) {
    for (const { figure } of objects) t.ok(caption.toLowerCase().includes(figure), `${caption}: ${figure}`);
    for (const { a } of relations) t.ok(a < objects.length);
  }
});

t.test('the evaluator draws captions so that it finds them right', async (t) => {
  const expectations = spread(await readExpectations('scripts/train/heldout.json'), 26);
  for (const [i, expectation] of expectations.entries()) {
    const extent = i % 3 === 0 ? { width: 160, height: 96 } : { width: 128, height: 128 };
    const { verdict } = assess(expectation, drawScene(expectation, extent, i));
    t.same(verdict.faults, [], `${expectation.caption} ${extent.width}×${extent.height}`);
  }
});

t.test('a figure as large as those that hold others is taken as a whole', (t) => {
  for (const [figure, texture] of [
    ['face', 'plain'],
    ['square', 'dotted'],
    ['circle', 'striped'],
  ] as const) {
    const objects: Expectation['objects'] = [{ figure, colour: 'green', texture, size: 'large' }];
    const expectation: Expectation = { caption: '', part: '', background: 'beige', objects, relations: [] };
    for (const extent of [
      { width: 96, height: 160 },
      { width: 160, height: 96 },
    ])
      t.same(assess(expectation, drawScene(expectation, extent)).verdict.faults, [], `${texture} ${figure}`);
  }
  t.end();
});

t.test('OKLab', (t) => {
  const references = Object.entries(COLOUR_VALUES).map(([name, rgb]) => [name, toLab(rgb)] as const);
  t.ok(difference(toLab([255, 255, 255]), [1, 0, 0]) < 1e-3);
  t.ok(difference(toLab([0, 0, 0]), [0, 0, 0]) < 1e-3);
  // Published values of sRGB red.
  t.ok(difference(toLab([255, 0, 0]), [0.628, 0.2249, 0.1258]) < 1e-3);
  t.equal(nearest(toLab([228, 50, 46]), references).name, 'red');
  t.throws(() => nearest(toLab([0, 0, 0]), []), RangeError);
  t.end();
});

t.test('every figure is named, and its place and size measured to a fraction of a pixel, off the grid, too', (t) => {
  for (const figure of FIGURES) {
    const colour = figure === 'moon' || figure === 'cloud' ? 'white' : 'red';
    const picture = render(
      96,
      80,
      groundOf('day', 80),
      figureOf(figure, colourOf(colour), 'plain', { x: 45.4, y: 37.7, half: 17 }),
    );
    const { objects, background, stray } = look(picture);
    t.equal(background, 'day');
    t.equal(stray, 0);
    t.match(objects, [{ figure, colour, texture: 'plain' }]);
    const [object] = objects;
    t.ok(object && Math.hypot(object.x - 45.4, object.y - 37.7) < 0.5, `${figure}: centre ${object?.x}, ${object?.y}`);
    t.ok(object && Math.abs(object.half - 17) < 0.5, `${figure}: half ${object?.half}`);
  }
  t.end();
});

const wanted: Expectation = {
  caption: 'a red circle above a blue circle',
  part: '',
  background: 'white',
  objects: [
    { figure: 'circle', colour: 'red', texture: 'plain' },
    { figure: 'circle', colour: 'blue', texture: 'plain' },
  ],
  relations: [{ kind: 'above', a: 0, b: 1 }],
};

function circles(...at: Array<readonly [colour: string, x: number, y: number]>) {
  const objects = at.flatMap(([colour, x, y]) => figureOf('circle', colourOf(colour), 'plain', { x, y, half: 8 }));
  return render(64, 64, groundOf('white', 64), objects);
}

t.test('relations', (t) => {
  const faults = (relations: Expectation['relations'], ...at: Parameters<typeof circles>) => {
    const objects = at.map(([colour]) => ({ figure: 'circle', colour, texture: 'plain' as const }));
    return assess({ ...wanted, objects, relations }, circles(...at)).verdict.faults;
  };
  const above = wanted.relations;
  t.same(faults(above, ['red', 32, 16], ['blue', 30, 48]), []);
  t.same(faults(above, ['red', 32, 48], ['blue', 30, 16]), ['red circle not above blue circle']);
  t.same(faults(above, ['red', 16, 28], ['blue', 48, 36]), ['red circle not above blue circle'], 'beside is not above');
  const between: Expectation['relations'] = [{ kind: 'between', a: 0, b: 1, c: 2 }];
  t.same(faults(between, ['red', 32, 32], ['blue', 12, 32], ['green', 52, 32]), []);
  t.same(faults(between, ['red', 12, 32], ['blue', 32, 32], ['green', 52, 32]), [
    'red circle not between blue circle and green circle',
  ]);
  const corner: Expectation['relations'] = [{ kind: 'corner', a: 0, at: 'bottom left' }];
  t.same(faults(corner, ['red', 14, 50]), []);
  t.same(faults(corner, ['red', 32, 50]), ['red circle not in the bottom left corner']);
  t.end();
});

t.test('what is wrong is named', (t) => {
  const { verdict } = assess(wanted, circles(['red', 32, 16]));
  t.same(verdict.faults, ['1 objects instead of 2', 'no blue circle', 'red circle not above blue circle']);
  t.match(verdict, { right: false, count: false, colours: false, objects: false, relations: false, background: true });
  t.end();
});

t.test('a picture of nothing and a picture of noise', (t) => {
  const empty = look(render(64, 64, groundOf('black', 64), []));
  t.match(empty, { background: 'black', objects: [], stray: 0 });
  t.equal(judge(wanted, empty, { width: 64, height: 64 }).right, false);
  const data = Uint8Array.from({ length: 3 * 64 * 64 }, (_, i) => (i * 7919 * ((i >> 3) + 13)) & 255);
  t.equal(assess(wanted, { width: 64, height: 64, data }).verdict.right, false);
  t.end();
});

t.test('summary', (t) => {
  const right = assess(wanted, circles(['red', 32, 16], ['blue', 30, 48]));
  const wrong = assess(wanted, circles(['green', 32, 16], ['blue', 30, 48]));
  const summary = summarise([right, wrong]);
  t.match(summary.all, { pictures: 2, right: { right: 1, count: 2, colours: 1, objects: 2, relations: 2 } });
  t.match(table(summary), /wholly right +\| +50\.0 %/);
  t.equal(arrangement(wanted), 'one above the other');
  t.same(commonFaults([right, wrong]), [['a colour is another', 1]]);
  const { share, interval } = shareOf([right, wrong]);
  t.equal(share, 0.5);
  t.ok(interval[0] > 0.05 && interval[1] < 0.95);
  t.same(spread([1, 2, 3, 4, 5, 6], 3), [1, 3, 5]);
  t.end();
});
