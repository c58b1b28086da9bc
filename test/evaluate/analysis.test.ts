/** Single parts of the analysis, and that its vocabulary is the one that the captions are made of. */

import { readFile } from 'node:fs/promises';
import t from 'tap';
import { difference, nearest, toLab } from '../../scripts/evaluate/colour.js';
import { type Expectation, readExpectations } from '../../scripts/evaluate/expectation.js';
import { assess, judge } from '../../scripts/evaluate/judge.js';
import { look } from '../../scripts/evaluate/picture.js';
import { COLOUR_LABS } from '../../scripts/evaluate/regions.js';
import { summarise, table } from '../../scripts/evaluate/summary.js';
import { BACKGROUND_VALUES, COLOUR_VALUES, RELATIONS, SHAPES } from '../../scripts/evaluate/vocabulary.js';
import { outline, render } from './renderer.js';

t.test('the vocabulary is that of the training data', async (t) => {
  const domain = JSON.parse(await readFile('scripts/train/domain.json', 'utf8'));
  t.same(domain.shapes, SHAPES);
  t.same(domain.colours, COLOUR_VALUES);
  t.same(domain.backgrounds, BACKGROUND_VALUES);
  t.same(domain.relations, RELATIONS);
});

t.test('every held-out caption can be read', async (t) => {
  const expectations = await readExpectations('scripts/train/heldout.json');
  t.ok(expectations.length >= 100);
  for (const { caption, objects, relations } of expectations) {
    for (const { shape, colour } of objects) t.match(caption, new RegExp(`${colour} ${shape}`));
    for (const { a, b } of relations) t.ok(a < objects.length && b < objects.length && a !== b);
  }
});

t.test('OKLab', (t) => {
  t.ok(difference(toLab([255, 255, 255]), [1, 0, 0]) < 1e-3);
  t.ok(difference(toLab([0, 0, 0]), [0, 0, 0]) < 1e-3);
  // Published values of sRGB red.
  t.ok(difference(toLab([255, 0, 0]), [0.628, 0.2249, 0.1258]) < 1e-3);
  t.equal(nearest(toLab([228, 60, 50]), COLOUR_LABS).name, 'red');
  t.throws(() => nearest(toLab([0, 0, 0]), []), RangeError);
  t.end();
});

t.test('place and size are measured to a fraction of a pixel', (t) => {
  for (const shape of SHAPES) {
    const polygon = outline(shape, 30.4, 25.7, 9);
    const { objects, background, specks } = look(
      render(64, 64, BACKGROUND_VALUES.gray, [{ polygon, colour: COLOUR_VALUES.blue }]),
    );
    t.equal(background, 'gray');
    t.equal(specks, 0);
    t.match(objects, [{ shape, colour: 'blue', size: 'medium' }]);
    const [object] = objects;
    t.ok(object && Math.hypot(object.x - 30.4, object.y - 25.7) < 0.6, `${shape}: centre ${object?.x}, ${object?.y}`);
    t.ok(object && Math.abs(object.width - 18) < 1.5 && Math.abs(object.height - 18) < 1.8);
  }
  t.end();
});

const wanted: Expectation = {
  caption: 'a red circle above a blue circle',
  background: 'white',
  objects: [
    { shape: 'circle', colour: 'red' },
    { shape: 'circle', colour: 'blue' },
  ],
  relations: [{ kind: 'above', a: 0, b: 1 }],
};

function circles(...at: Array<readonly [keyof typeof COLOUR_VALUES, number, number]>) {
  const objects = at.map(([colour, x, y]) => ({ polygon: outline('circle', x, y, 8), colour: COLOUR_VALUES[colour] }));
  return render(64, 64, BACKGROUND_VALUES.white, objects);
}

t.test('relations', (t) => {
  t.ok(assess(wanted, circles(['red', 32, 16], ['blue', 30, 48])).verdict.right);
  t.same(assess(wanted, circles(['red', 32, 48], ['blue', 30, 16])).verdict.faults, [
    'red circle not above blue circle',
  ]);
  t.same(
    assess(wanted, circles(['red', 16, 28], ['blue', 48, 36])).verdict.faults,
    ['red circle not above blue circle'],
    'beside is not above',
  );
  t.end();
});

t.test('what is wrong is named', (t) => {
  const { verdict } = assess(wanted, circles(['red', 32, 16]));
  t.same(verdict.faults, ['1 objects instead of 2', 'no blue circle', 'red circle not above blue circle']);
  t.match(verdict, { right: false, count: false, colours: false, shapes: false, relations: false, background: true });
  t.end();
});

t.test('a picture of nothing and a picture of noise', (t) => {
  const empty = look(render(64, 64, BACKGROUND_VALUES.black, []));
  t.match(empty, { background: 'black', objects: [], specks: 0 });
  t.equal(judge(wanted, empty, { width: 64, height: 64 }).right, false);
  const data = Uint8Array.from({ length: 3 * 64 * 64 }, (_, i) => (i * 7919 * ((i >> 3) + 13)) & 255);
  t.equal(assess(wanted, { width: 64, height: 64, data }).verdict.right, false);
  t.end();
});

t.test('summary', (t) => {
  const right = assess(wanted, circles(['red', 32, 16], ['blue', 30, 48]));
  const wrong = assess(wanted, circles(['green', 32, 16], ['blue', 30, 48]));
  const summary = summarise([right, wrong]);
  t.match(summary.all, { pictures: 2, right: { right: 1, count: 2, colours: 1, shapes: 2, relations: 2 } });
  t.equal(summary['one object'].pictures, 0);
  t.match(table(summary), /wholly right +\| +50\.0 %/);
  t.end();
});
