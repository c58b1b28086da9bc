// scripts/gpu/tune.mjs: from timings to entries of the table of products.
import t from 'tap';
// @ts-expect-error: plain JavaScript, it runs where nothing is installed
import { entriesOf, replaceEntries } from '../../scripts/gpu/tune.mjs';

const timing = (rows: number, tile: number, splits: number, us: number) => ({
  sm: 90,
  columns: 1280,
  inner: 5120,
  rows,
  tile,
  splits,
  us,
});

t.test('one number of parts for all rows, the best tile for each', (t) => {
  const timings = [
    // Two parts win for the rows of one image by far, one part for many rows by a little.
    timing(512, 0, 1, 30),
    timing(512, 3, 1, 28),
    timing(512, 0, 2, 12),
    timing(512, 3, 2, 10),
    timing(1024, 0, 1, 31),
    timing(1024, 0, 2, 20),
    timing(1024, 3, 2, 15),
    timing(8192, 0, 1, 90),
    timing(8192, 0, 2, 95),
    timing(8192, 3, 2, 120),
  ];
  t.same(entriesOf(timings), [
    { sm: 90, columns: 1280, inner: 5120, maxRows: 1024, tile: 3, splits: 2 },
    { sm: 90, columns: 1280, inner: 5120, maxRows: 0, tile: 0, splits: 2 },
  ]);
  t.end();
});

t.test('entries replace those of their compute capability only', (t) => {
  const source =
    'before\ninline constexpr ProductEntry product_table[] = {\n    {80, 1, 2, 0, 3, 1},\n    {90, 5, 6, 0, 3, 1},\n};\nafter';
  const replaced = replaceEntries(source, [{ sm: 90, columns: 7, inner: 8, maxRows: 0, tile: 1, splits: 2 }]);
  t.equal(
    replaced,
    'before\ninline constexpr ProductEntry product_table[] = {\n    {80, 1, 2, 0, 3, 1},\n    {90, 7, 8, 0, 1, 2},\n};\nafter',
  );
  t.throws(() => replaceEntries('nothing', []), /product_table/);
  t.end();
});
